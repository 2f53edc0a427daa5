/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Races of all-reduces: variants run in turns within each round, every rank rewrites its input before each, the time of
 * a run is the slowest rank's, the figure the median of the rounds. Called by all members of a control group alike.
 */
#ifndef LOCKSTEP_COLLECTIVE_BENCH_H
#define LOCKSTEP_COLLECTIVE_BENCH_H

#include "collective/group.h"

struct ls_bench_variant {
    const char *name;
    enum ls_status (*run)(void *state, const float *src, float *dst, int64_t count, struct ls_error *err);
    void *state;
    float *src; /* room for the largest count each; borrowed */
    float *dst;
};

struct ls_bench_figure {
    double median_s;
    double fastest_s;
    double slowest_s;
};

/* figures: one per variant. */
enum ls_status ls_bench_race(struct ls_group *control, const struct ls_bench_variant *variants, int variant_count,
                             int64_t count, int rounds, struct ls_bench_figure *figures, struct ls_error *err);

/* Variants. state: the group whose all-reduce it is */
enum ls_status ls_bench_group(void *state, const float *src, float *dst, int64_t count, struct ls_error *err);
/* memcpy in every rank at once; no state */
enum ls_status ls_bench_copy(void *state, const float *src, float *dst, int64_t count, struct ls_error *err);
/* MPI_Allreduce; no state; MPI was started (launch.h) */
enum ls_status ls_bench_mpi(void *state, const float *src, float *dst, int64_t count, struct ls_error *err);

#endif
