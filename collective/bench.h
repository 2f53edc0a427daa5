/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Races of all-reduces: variants run in turns within each round, every rank rewrites its input before each, the time of
 * a run is the slowest rank's, the figure the median of the rounds. Called by all members of a control group alike.
 */
#ifndef LOCKSTEP_COLLECTIVE_BENCH_H
#define LOCKSTEP_COLLECTIVE_BENCH_H

#include "collective/group.h"

#include <stdatomic.h>

struct ls_bench_variant {
    const char *name;
    enum ls_status (*run)(void *state, const float *src, float *dst, int64_t count, struct ls_error *err);
    void *state;
    float *src; /* room for the largest count each; borrowed */
    float *dst;
    /* Nullable: called before each run, outside the measured time. */
    enum ls_status (*prepare)(const struct ls_bench_variant *variant, int64_t count, struct ls_error *err);
};

struct ls_bench_figure {
    double median;
    double least;
    double most;
};

/* times: variant_count * rounds; [v * rounds + i] are the seconds of variant v in round i. */
enum ls_status ls_bench_race(struct ls_group *control, const struct ls_bench_variant *variants, int variant_count,
                             int64_t count, int rounds, double *times, struct ls_error *err);
/* Of the times of one variant. */
struct ls_bench_figure ls_bench_figure_of(const double *times, int rounds);
/* Of the rounds' ratios a / b: what disturbs the machine disturbs both sides of a round. */
struct ls_bench_figure ls_bench_ratio_of(const double *a, const double *b, int rounds);

/* Variants. state: the group whose all-reduce it is */
enum ls_status ls_bench_group(void *state, const float *src, float *dst, int64_t count, struct ls_error *err);
/* memcpy in every rank at once; no state */
enum ls_status ls_bench_copy(void *state, const float *src, float *dst, int64_t count, struct ls_error *err);
/* MPI_Allreduce; no state; MPI was started (launch.h) */
enum ls_status ls_bench_mpi(void *state, const float *src, float *dst, int64_t count, struct ls_error *err);
/* prepare: the C library's heap as it is by itself, or as one that keeps what it was given: Open MPI takes its scratch
 * memory anew for each call, and large pieces come from and go back to the kernel, page by page. */
enum ls_status ls_bench_heap_usual(const struct ls_bench_variant *variant, int64_t count, struct ls_error *err);
enum ls_status ls_bench_heap_kept(const struct ls_bench_variant *variant, int64_t count, struct ls_error *err);

/* The ways that an all-reduce can go in the group, without its one-shot; returns how many. Static memory. */
int ls_bench_ways(const struct ls_group *group, const char *names[8]);
/* The way that the group's table chooses for an all-reduce of f32. Static memory. */
const char *ls_bench_chosen(struct ls_group *group, int64_t count);
/* Row i of the group's table; false behind the last. */
bool ls_bench_row(const struct ls_group *group, int i, char text[80]);

/* Seconds of one round trip of a cache line between two processors: side 0 and side 1 call it at once with the same
 * line (in shared memory, 0 at first). 0 where the other side did not come within a second. */
double ls_bench_round_trip(_Atomic uint32_t *line, int side);

#endif
