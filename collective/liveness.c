/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper thread; see liveness.h. */
#include "collective/liveness.h"

#include "core/base/thread.h"

#include <linux/futex.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define KEEPER_STACK ((size_t)256 * 1024)
#define LOOK_NS 100000000 /* a wake-up that was lost is made up for after so long */
#define ABSENT_NS 1000000 /* between two looks for a peer whose keeper does not hold its word yet */
#define START_NAP_NS 10000
#define STOP_NAP_NS 50000
#define PATIENCE_NS UINT64_C(10000000000)
#define ALL (1 << 30)

long lsi_futex_wait(_Atomic uint32_t *word, uint32_t value, int64_t timeout_ns)
{
    struct timespec timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};

    return syscall(SYS_futex, word, FUTEX_WAIT, value, &timeout, NULL, 0);
}

void lsi_futex_wake(_Atomic uint32_t *word, int count)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}

static bool stops(struct lsi_keeper *keeper)
{
    return atomic_load_explicit(&keeper->stop, memory_order_acquire) != 0;
}

/* The rank to watch: the next one that has not left; -1 where there is none. */
static int watched(struct lsi_keeper *keeper)
{
    for (int i = 1; i < keeper->world; i++) {
        int r = (keeper->rank + i) % keeper->world;
        struct lsi_robust *robust = keeper->of(keeper->argument, r);
        if (robust != NULL && !atomic_load_explicit(&robust->left, memory_order_acquire))
            return r;
    }
    return -1;
}

/* One sleep on the word of `rank`; false where it died. */
static bool watch(struct lsi_keeper *keeper, int rank, uint32_t changed)
{
    _Atomic uint32_t *word = &keeper->of(keeper->argument, rank)->word;
    uint32_t seen = atomic_load_explicit(word, memory_order_acquire);

    if (seen & FUTEX_OWNER_DIED)
        return false;
    if ((seen & FUTEX_TID_MASK) == 0) {
        (void)lsi_futex_wait(word, seen, ABSENT_NS);
        return true;
    }
    if (!(seen & FUTEX_WAITERS)) {
        if (!atomic_compare_exchange_strong(word, &seen, seen | FUTEX_WAITERS))
            return true;
        seen |= FUTEX_WAITERS;
    }
    if (!stops(keeper) && atomic_load_explicit(&keeper->changed, memory_order_acquire) == changed)
        (void)lsi_futex_wait(word, seen, LOOK_NS);
    return true;
}

static void watch_peers(struct lsi_keeper *keeper)
{
    while (!stops(keeper)) {
        uint32_t changed = atomic_load_explicit(&keeper->changed, memory_order_acquire);
        int rank = watched(keeper);
        if (rank < 0)
            (void)lsi_futex_wait(&keeper->changed, changed, LOOK_NS);
        else if (!watch(keeper, rank, changed)) {
            keeper->died(keeper->argument, rank);
            return;
        }
    }
}

/* The list head lies on this thread's stack, so the thread takes it back before it ends. */
static void *keeper_main(void *argument)
{
    struct lsi_keeper *keeper = argument;
    struct lsi_robust *own = keeper->of(keeper->argument, keeper->rank);
    struct robust_list_head head;

    memset(&head, 0, sizeof head);
    head.list.next = (struct robust_list *)(void *)own;
    own->next = (struct lsi_robust *)(void *)&head.list;
    head.futex_offset = (long)offsetof(struct lsi_robust, word);
    (void)syscall(SYS_set_robust_list, &head, sizeof head);
    atomic_store_explicit(&own->word, (uint32_t)syscall(SYS_gettid), memory_order_release);
    atomic_store_explicit(&keeper->state, 1, memory_order_release);
    watch_peers(keeper);
    while (!stops(keeper))
        (void)lsi_futex_wait(&keeper->changed, atomic_load(&keeper->changed), stops(keeper) ? 0 : LOOK_NS);
    atomic_store_explicit(&own->left, 1, memory_order_release);
    (void)syscall(SYS_set_robust_list, NULL, sizeof head);
    atomic_store_explicit(&own->word, 0, memory_order_release);
    lsi_futex_wake(&own->word, ALL);
    atomic_store_explicit(&keeper->state, 2, memory_order_release);
    return NULL;
}

enum ls_status lsi_keeper_start(struct lsi_keeper *keeper, struct ls_error *err)
{
    struct ls_wait wait;
    enum ls_status status = ls_thread_start("keeper", KEEPER_STACK, keeper_main, keeper, &keeper->thread, err);

    if (status != LS_OK) {
        (void)ls_error_wrap(err, "rank %d", keeper->rank);
        return status;
    }
    keeper->runs = true;
    wait = ls_wait_begin("the keeper's start", PATIENCE_NS);
    while (atomic_load_explicit(&keeper->state, memory_order_acquire) == 0)
        ls_wait_nap(&wait, START_NAP_NS);
    return LS_OK;
}

/* The keeper may sleep on a peer's word. */
void lsi_keeper_look(struct lsi_keeper *keeper)
{
    atomic_fetch_add_explicit(&keeper->changed, 1, memory_order_release);
    lsi_futex_wake(&keeper->changed, ALL);
    for (int r = 0; r < keeper->world; r++) {
        struct lsi_robust *robust = r != keeper->rank ? keeper->of(keeper->argument, r) : NULL;
        if (robust != NULL)
            lsi_futex_wake(&robust->word, ALL);
    }
}

/* It is woken until it has seen the wish to stop. */
void lsi_keeper_stop(struct lsi_keeper *keeper)
{
    struct ls_wait wait = ls_wait_begin("the keeper's end", PATIENCE_NS);

    if (!keeper->runs)
        return;
    atomic_store_explicit(&keeper->stop, 1, memory_order_release);
    while (atomic_load_explicit(&keeper->state, memory_order_acquire) != 2) {
        lsi_keeper_look(keeper);
        ls_wait_nap(&wait, STOP_NAP_NS);
    }
    (void)pthread_join(keeper->thread, NULL);
    keeper->runs = false;
}
