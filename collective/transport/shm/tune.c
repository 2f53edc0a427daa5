/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the slots of large staged reductions are written through the caches or past them. Which is faster differs
 * between machines, and on one with the processors that the ranks run on: a line that changes hands between distant
 * ones costs more than a way through memory, between near ones much less. Rank 0 tries both on chunks of the running
 * operation, tells the others and looks again now and then. Bits do not depend on it.
 */
#include "collective/transport/shm/shm_internal.h"

#include "core/base/clock.h"

/* Chunks after a change that do not count, then those that do. */
#define SKIPPED 4
#define MEASURED 8
#define TRIALS 6
/* Chunks until both are tried again. */
#define SETTLED 2048

void lsi_shm_tune_begin(struct shm *shm)
{
    shm->tune.chunk = 0;
}

void lsi_shm_tune_chunk(struct shm *shm)
{
    struct shm_tune *tune = &shm->tune;

    if (tune->settled > 0) {
        tune->settled--;
        return;
    }
    tune->chunk++;
    if (tune->chunk == SKIPPED)
        tune->began_ns = ls_clock_now_ns();
    if (tune->chunk < SKIPPED + MEASURED)
        return;
    uint64_t took = ls_clock_now_ns() - tune->began_ns;
    uint64_t *best = &tune->best_ns[tune->past];
    *best = *best == 0 || took < *best ? took : *best;
    tune->past = !tune->past;
    tune->chunk = 0;
    if (++tune->trials == TRIALS) {
        tune->past = tune->best_ns[1] < tune->best_ns[0];
        tune->best_ns[0] = tune->best_ns[1] = 0;
        tune->trials = 0;
        tune->settled = SETTLED;
    }
    atomic_store_explicit(&shm->control->past_caches, tune->past, memory_order_relaxed);
}
