/* SPDX-License-Identifier: Apache-2.0 */
/* Trials in turns, and the choice; see tune.h. */
#include "worker/step/tune.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define WARM_UP 2 /* steps in which memory is touched and buffers grow */
#define ROUNDS 6  /* trials of each candidate; the least time counts, since a disturbance only adds */
/* Another than the first has to save one part in so many. */
#define CLEARLY 20

static void add(struct ls_tuner *tuner, struct ls_arrangement arrangement)
{
    tuner->candidate[tuner->count++] = arrangement;
}

void ls_tuner_init(struct ls_tuner *tuner, const struct ls_tuner_options *options)
{
    *tuner = (struct ls_tuner){.chosen = -1};
    add(tuner, (struct ls_arrangement){256 * KIB, 4 * MIB, options->beside, NULL});
    if (options->fixed || options->world == 1) {
        tuner->chosen = 0;
        return;
    }
    if (!options->any_order) {
        add(tuner, (struct ls_arrangement){64 * KIB, 1 * MIB, options->beside, NULL});
        add(tuner, (struct ls_arrangement){1 * MIB, 16 * MIB, options->beside, NULL});
    }
    if (options->beside)
        add(tuner, (struct ls_arrangement){256 * KIB, 4 * MIB, false, NULL});
    /* Of two members each sends as much as by the canonical way, in one phase less. */
    if (options->beside && options->world == 2 && !options->any_order && !options->ways_chosen)
        add(tuner, (struct ls_arrangement){256 * KIB, 4 * MIB, true, "gather"});
}

static int candidate_at(const struct ls_tuner *tuner, int step)
{
    return step < WARM_UP ? 0 : (step - WARM_UP) % tuner->count;
}

const struct ls_arrangement *ls_tuner_arrangement(const struct ls_tuner *tuner)
{
    return &tuner->candidate[tuner->chosen >= 0 ? tuner->chosen : candidate_at(tuner, tuner->step)];
}

static int best(const struct ls_tuner *tuner)
{
    int chosen = 0;

    for (int i = 1; i < tuner->count; i++)
        if (tuner->least_ns[i] < tuner->least_ns[chosen])
            chosen = i;
    return tuner->least_ns[chosen] < tuner->least_ns[0] - tuner->least_ns[0] / CLEARLY ? chosen : 0;
}

bool ls_tuner_tell(struct ls_tuner *tuner, uint64_t slowest_ns)
{
    uint64_t *least = &tuner->least_ns[candidate_at(tuner, tuner->step)];

    if (tuner->chosen >= 0)
        return false;
    if (tuner->step >= WARM_UP && (*least == 0 || slowest_ns < *least))
        *least = slowest_ns > 0 ? slowest_ns : 1;
    if (++tuner->step < WARM_UP + ROUNDS * tuner->count)
        return false;
    tuner->chosen = best(tuner);
    return true;
}
