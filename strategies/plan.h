/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a strategy decided for one step of n samples: which replica evaluates which shard ranges, in how many calls;
 * and who owns which runs of the state. Pure arithmetic: printable (`lockstep plan`) and testable.
 */
#ifndef LOCKSTEP_STRATEGIES_PLAN_H
#define LOCKSTEP_STRATEGIES_PLAN_H

#include "collective/group.h"
#include "core/device/shards.h"

struct ls_plan_options {
    int64_t batch_samples; /* of this (perhaps short) batch */
    int v_total;
    int world;
    int64_t micro_shards; /* shards a call may hold at most; 0: no limit */
};

/* One call: an aligned range and its leaf (the partial it gives; calls of a micro-sharded range share a leaf's
 * subtree only through the tree, so each is its own leaf). */
struct ls_plan {
    int64_t batch_samples;
    int v_total;
    int world;                    /* replicas that exist */
    int active;                   /* replicas with work: min(world, V); the others are spares */
    struct ls_tree_layout layout; /* calls of each rank, in rising order */
    int64_t max_samples;          /* largest number of samples of one rank */
};

/* Deals the shards out so that the largest share is as small as it can be and, among those, calls are fewest.
 * LS_EINVAL: V no power of two, world < 1. */
enum ls_status ls_plan_build(const struct ls_plan_options *options, struct ls_plan *plan, struct ls_error *err);
/* Shard layout of call `call` (index among the rank's own calls). */
struct ls_shards ls_plan_call(const struct ls_plan *plan, int rank, int call);
int ls_plan_call_count(const struct ls_plan *plan, int rank);

/* Runs of chunks (4,096 elements) that rank owns of a variable: [*begin, *begin + *count) elements. Variables of at
 * least `world` chunks are cut into world runs; smaller ones are dealt out whole by their ordinal. */
void ls_plan_owned(int64_t elements, int ordinal, int world, int rank, int64_t *begin, int64_t *count);

#endif
