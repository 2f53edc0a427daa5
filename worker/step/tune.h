/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How gradients travel, chosen by trying: the first steps go a few ways in turns, everyone's votes say how long each
 * took, and all ranks take the same best one from the same numbers. No state moves by it: every way gives the same
 * bits.
 */
#ifndef LOCKSTEP_WORKER_STEP_TUNE_H
#define LOCKSTEP_WORKER_STEP_TUNE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LS_TUNE_CANDIDATES 6

/* How the gradients of a step are cut and carried. */
struct ls_arrangement {
    size_t first_bucket_bytes; /* a bucket is closed as soon as it holds so much; of the first small, to begin early */
    size_t bucket_bytes;
    bool beside;     /* by the courier, while the replica computes; where there is one */
    const char *way; /* of the all-reduce, NULL: by the table of choices */
};

struct ls_tuner {
    int count; /* candidates; the first is taken where none is clearly better */
    struct ls_arrangement candidate[LS_TUNE_CANDIDATES];
    uint64_t least_ns[LS_TUNE_CANDIDATES]; /* of the slowest rank; 0: not tried */
    int step;                              /* of the trial */
    int chosen;                            /* -1: still trying */
};

struct ls_tuner_options {
    int world;
    bool fixed;     /* nothing is tried */
    bool beside;    /* there is a courier */
    bool any_order; /* sums may depend on buckets and ways, which then stay as they are, so that runs can be repeated */
    bool ways_chosen; /* the user said which way operations go */
};

void ls_tuner_init(struct ls_tuner *tuner, const struct ls_tuner_options *options);
/* What the step that is next is to use. */
const struct ls_arrangement *ls_tuner_arrangement(const struct ls_tuner *tuner);
/* The step took the slowest rank so long: the same number in all ranks. True where the choice is made by it. */
bool ls_tuner_tell(struct ls_tuner *tuner, uint64_t slowest_ns);

#endif
