/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the slots of large staged reductions are written through the caches or past them. Which is faster differs
 * between machines, and on one with the processors that the ranks run on: a line that changes hands between distant
 * ones costs more than a way through memory, between near ones much less. Rank 0 tries both on chunks of the running
 * operation, tells the others and looks again now and then. Bits do not depend on it.
 *
 * Where each rank has a processor, the time is that from chunk to chunk. Where ranks take turns on processors that
 * would be the length of a turn, which has nothing to do with it: there each stage is timed by itself, and the median
 * of a few is taken, so that one in which the processor was lost does not count.
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
    shm->tune.from = 0;
    for (int stage = 0; stage < SHM_STAGES; stage++)
        shm->tune.timed[stage] = 0;
}

/* What was tried took so long. */
static void end_trial(struct shm *shm, uint64_t took)
{
    struct shm_tune *tune = &shm->tune;
    uint64_t *best = &tune->best_ns[tune->past];

    *best = *best == 0 || took < *best ? took : *best;
    tune->past = !tune->past;
    if (++tune->trials == TRIALS) {
        tune->past = tune->best_ns[1] < tune->best_ns[0];
        tune->best_ns[0] = tune->best_ns[1] = 0;
        tune->trials = 0;
        tune->settled = SETTLED;
    }
    atomic_store_explicit(&shm->control->past_caches, tune->past, memory_order_relaxed);
}

void lsi_shm_tune_chunk(struct shm *shm)
{
    struct shm_tune *tune = &shm->tune;

    if (tune->settled > 0) {
        tune->settled--;
        return;
    }
    if (shm->crowded)
        return;
    tune->chunk++;
    if (tune->chunk == SKIPPED)
        tune->began_ns = ls_clock_now_ns();
    if (tune->chunk < SKIPPED + MEASURED)
        return;
    tune->chunk = 0;
    end_trial(shm, ls_clock_now_ns() - tune->began_ns);
}

uint64_t lsi_shm_tune_start(const struct shm *shm, uint64_t chunk)
{
    bool times = shm->run.large && shm->crowded && shm->group->rank == 0 && shm->tune.settled == 0;

    return times && chunk >= shm->tune.from ? ls_clock_now_ns() : 0;
}

static uint64_t median(const uint64_t times[SHM_TIMED])
{
    uint64_t sorted[SHM_TIMED];

    for (int i = 0; i < SHM_TIMED; i++) {
        int at = i;
        for (; at > 0 && sorted[at - 1] > times[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = times[i];
    }
    return sorted[SHM_TIMED / 2];
}

void lsi_shm_tune_stop(struct shm *shm, enum shm_stage stage, uint64_t began_ns)
{
    struct shm_tune *tune = &shm->tune;
    uint64_t took = 0;

    if (tune->timed[stage] < SHM_TIMED)
        tune->took_ns[stage][tune->timed[stage]++] = ls_clock_now_ns() - began_ns;
    for (int i = 0; i < SHM_STAGES; i++) {
        if (tune->timed[i] < SHM_TIMED)
            return;
        took += median(tune->took_ns[i]);
    }
    lsi_shm_tune_begin(shm);
    /* Peers have staged chunks ahead, as far as there were slots, before they are told. */
    tune->from = shm->run.sum + SHM_SLOTS + 1;
    end_trial(shm, took);
}
