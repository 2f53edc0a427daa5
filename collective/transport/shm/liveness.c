/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notices a killed process at once. Each rank has a keeper thread that holds a robust futex word and sleeps on the word
 * of the next rank. When a process dies, however much memory it has, the kernel marks the words that its threads held
 * and wakes one sleeper (man 2 get_robust_list); that keeper ends the group for everybody.
 */
#include "collective/transport/shm/shm_internal.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define KEEPER_STACK ((size_t)256 * 1024)
#define LOOK_NS 100000000
#define ABSENT_NS 1000000
#define SLICE_NS 100000

static void report(struct shm *shm, int rank)
{
    char who[128];
    char reason[256];

    (void)snprintf(reason, sizeof reason, "%s died", lsi_member_text(shm->group, rank, who));
    lsi_shm_end(shm, LS_EPEER, rank, reason);
}

/* The rank to watch: the next one that has not left; -1 where there is none. */
static int watched(const struct shm *shm)
{
    int world = shm->group->world;

    for (int i = 1; i < world; i++) {
        int r = (shm->group->rank + i) % world;
        if (!atomic_load_explicit(&shm_lane(shm, r)->robust.left, memory_order_acquire))
            return r;
    }
    return -1;
}

/* One sleep on the word of `rank`; false where it died. */
static bool watch(struct shm *shm, int rank)
{
    _Atomic uint32_t *word = &shm_lane(shm, rank)->robust.word;
    uint32_t seen = atomic_load_explicit(word, memory_order_acquire);

    if (seen & FUTEX_OWNER_DIED)
        return false;
    if ((seen & FUTEX_TID_MASK) == 0) {
        (void)lsi_shm_futex_wait(word, seen, ABSENT_NS);
        return true;
    }
    if (!(seen & FUTEX_WAITERS)) {
        if (!atomic_compare_exchange_strong(word, &seen, seen | FUTEX_WAITERS))
            return true;
        seen |= FUTEX_WAITERS;
    }
    if (!atomic_load_explicit(&shm->keeper_stop, memory_order_acquire))
        (void)lsi_shm_futex_wait(word, seen, LOOK_NS);
    return true;
}

static void watch_peers(struct shm *shm)
{
    while (!atomic_load_explicit(&shm->keeper_stop, memory_order_acquire)) {
        int rank = watched(shm);
        if (rank < 0) {
            struct timespec pause = {0, ABSENT_NS};
            (void)nanosleep(&pause, NULL);
            continue;
        }
        if (!watch(shm, rank)) {
            report(shm, rank);
            return;
        }
    }
}

/* A keeper works for microseconds at a time: with a short slice the scheduler lets it run at once on a busy machine
 * (sched(7), sched_setattr(2); kernels before 6.12 take no notice). */
static void ask_for_short_slices(void)
{
    struct slice {
        uint32_t size;
        uint32_t policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime;
        uint64_t deadline;
        uint64_t period;
    } slice = {.size = sizeof slice, .nice = getpriority(PRIO_PROCESS, 0), .runtime = SLICE_NS};

    if (sched_getscheduler(0) == SCHED_OTHER)
        (void)syscall(SYS_sched_setattr, 0, &slice, 0);
}

static void *keeper_main(void *argument)
{
    struct shm *shm = argument;
    struct shm_robust *own = &shm_lane(shm, shm->group->rank)->robust;
    struct robust_list_head head;

    ask_for_short_slices();
    memset(&head, 0, sizeof head);
    head.list.next = (struct robust_list *)(void *)own;
    own->next = (struct shm_robust *)(void *)&head.list;
    head.futex_offset = (long)offsetof(struct shm_robust, word);
    (void)syscall(SYS_set_robust_list, &head, sizeof head);
    atomic_store_explicit(&own->word, (uint32_t)syscall(SYS_gettid), memory_order_release);
    atomic_store_explicit(&shm->keeper_state, 1, memory_order_release);
    watch_peers(shm);
    while (!atomic_load_explicit(&shm->keeper_stop, memory_order_acquire)) {
        struct timespec pause = {0, ABSENT_NS};
        (void)nanosleep(&pause, NULL);
    }
    atomic_store_explicit(&own->left, 1, memory_order_release);
    (void)syscall(SYS_set_robust_list, NULL, sizeof head);
    atomic_store_explicit(&own->word, 0, memory_order_release);
    lsi_shm_futex_wake(&own->word, 1 << 30);
    atomic_store_explicit(&shm->keeper_state, 2, memory_order_release);
    return NULL;
}

enum ls_status lsi_shm_keeper_start(struct shm *shm, struct ls_error *err)
{
    pthread_attr_t attributes;
    sigset_t all;
    sigset_t before;
    int failed;

    if (shm->group->world == 1)
        return LS_OK;
    if (pthread_attr_init(&attributes) != 0)
        return ls_error_set(err, LS_ENOMEM, "no memory for the keeper thread of rank %d", shm->group->rank);
    (void)pthread_attr_setstacksize(&attributes, KEEPER_STACK);
    /* Signals are for the program's own threads. */
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&shm->keeper, &attributes, keeper_main, shm);
    /* A program with many thread-local variables needs the usual stack, which has room for them. */
    if (failed == EINVAL)
        failed = pthread_create(&shm->keeper, NULL, keeper_main, shm);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (failed != 0)
        return ls_error_set(err, LS_ENOMEM, "cannot start the keeper thread of rank %d: %s", shm->group->rank,
                            strerror(failed));
    shm->keeper_runs = true;
    while (atomic_load_explicit(&shm->keeper_state, memory_order_acquire) == 0)
        (void)sched_yield();
    return LS_OK;
}

/* The keeper sleeps on a peer's word: that one is woken until it has seen the wish to stop. */
void lsi_shm_keeper_stop(struct shm *shm)
{
    if (!shm->keeper_runs)
        return;
    atomic_store_explicit(&shm->keeper_stop, 1, memory_order_release);
    while (atomic_load_explicit(&shm->keeper_state, memory_order_acquire) != 2) {
        for (int r = 0; r < shm->group->world; r++)
            if (r != shm->group->rank)
                lsi_shm_futex_wake(&shm_lane(shm, r)->robust.word, 1 << 30);
        struct timespec pause = {0, 50000};
        (void)nanosleep(&pause, NULL);
    }
    (void)pthread_join(shm->keeper, NULL);
    shm->keeper_runs = false;
}
