/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting in shared memory: spin, then yield, then sleep on the own bell (a futex word) for at most 5 ms. A member that
 * changed a flag rings the bells of those who sleep; in the usual case that is one load.
 */
#include "collective/transport/shm/shm_internal.h"

#include <sched.h>
#include <stdio.h>

#define SLEEP_NS 5000000

/* A full fence. The thread sanitizer does not know fences; an operation on the shared word is as good and slower. */
static void fence(struct shm *shm)
{
#if defined(__SANITIZE_THREAD__)
    (void)atomic_fetch_add(&shm->control->sleepers, 0);
#else
    (void)shm;
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

static void ring(struct shm_lane *lane)
{
    atomic_fetch_add_explicit(&lane->bell.count, 1, memory_order_release);
    lsi_futex_wake(&lane->bell.count, 1);
}

/* Orders the flags stored before against the look at the sleepers; pairs with the arming in lsi_shm_idle. */
void lsi_shm_notify(struct shm *shm)
{
    fence(shm);
    if (atomic_load_explicit(&shm->control->sleepers, memory_order_relaxed) == 0)
        return;
    for (int r = 0; r < shm->group->world; r++)
        if (r != shm->group->rank && atomic_load_explicit(&shm_lane(shm, r)->bell.sleeping, memory_order_relaxed))
            ring(shm_lane(shm, r));
}

void lsi_shm_disarm(struct shm *shm)
{
    if (!shm->armed)
        return;
    atomic_store_explicit(&shm_lane(shm, shm->group->rank)->bell.sleeping, 0, memory_order_relaxed);
    atomic_fetch_sub_explicit(&shm->control->sleepers, 1, memory_order_relaxed);
    shm->armed = false;
}

/* Sleeping takes two rounds: arm, let the caller look once more, then sleep. True where it slept. */
bool lsi_shm_idle(struct shm *shm, int round)
{
    struct shm_lane *own = shm_lane(shm, shm->group->rank);

    if (round < shm->spin_rounds) {
        lsi_shm_disarm(shm);
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
        return false;
    }
    if (round < shm->spin_rounds + shm->yield_rounds) {
        lsi_shm_disarm(shm);
        (void)sched_yield();
        return false;
    }
    if (!shm->armed) {
        shm->bell_seen = atomic_load_explicit(&own->bell.count, memory_order_acquire);
        atomic_store_explicit(&own->bell.sleeping, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&shm->control->sleepers, 1, memory_order_relaxed);
        shm->armed = true;
        fence(shm);
        return false;
    }
    (void)lsi_futex_wait(&own->bell.count, shm->bell_seen, SLEEP_NS);
    lsi_shm_disarm(shm);
    return true;
}

/* From any thread. The first reason stays; everybody is woken. */
void lsi_shm_end(struct shm *shm, enum ls_status status, int culprit, const char *reason)
{
    struct shm_end *end = &shm->control->end;
    uint32_t runs = 0;

    if (atomic_compare_exchange_strong(&end->state, &runs, 1)) {
        end->status = status;
        end->culprit = culprit;
        (void)snprintf(end->reason, sizeof end->reason, "%s", reason);
        atomic_store_explicit(&end->state, 2, memory_order_release);
    }
    for (int r = 0; r < shm->group->world; r++)
        ring(shm_lane(shm, r));
}

enum ls_status lsi_shm_end_error(struct shm *shm, struct ls_error *err)
{
    return lsi_shm_end_read(&shm->control->end, shm->group->world, &shm->group->waits_for, err);
}
