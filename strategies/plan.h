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
    int64_t batch_samples; /* of this (perhaps short) batch, >= 1 */
    int v_total;           /* V, a power of two up to LS_MAX_SHARDS */
    int world;             /* replicas, 1 .. LS_MAX_MEMBERS */
    int64_t micro_shards;  /* shards a call may hold at most, rounded down to a power of two; 0: no limit */
};

/* A leaf is an aligned range of shards whose partial sum a rank gives; a call evaluates a leaf, or an aligned part
 * of it where micro_shards limits the call. Ranges without samples are left out. */
struct ls_plan {
    int64_t batch_samples;
    int v_total;
    int world;                    /* replicas that exist */
    int active;                   /* replicas with work; the others are spares */
    int call_shards;              /* most shards of a call */
    struct ls_tree_layout layout; /* leaves of each rank, in rising order */
    int64_t max_samples;          /* largest number of samples of one rank */
};

/* Deals the shards out in contiguous ranges so that the largest share is as small as it can be and, among those, the
 * leaves are fewest. LS_EINVAL says which option is out of range. */
enum ls_status ls_plan_build(const struct ls_plan_options *options, struct ls_plan *plan, struct ls_error *err);

int ls_plan_leaf_count(const struct ls_plan *plan, int rank);
/* Range of leaf `leaf` (index among the rank's own). */
struct ls_range ls_plan_leaf(const struct ls_plan *plan, int rank, int leaf);
/* Calls that the leaf is evaluated in: writes their aligned, non-empty ranges in rising order, at most LS_MAX_SHARDS;
 * returns their number. */
int ls_plan_calls(const struct ls_plan *plan, struct ls_range leaf, struct ls_range *calls);

/* Run of elements that rank owns of a variable. Variables of at least `world` chunks (4,096 elements) are cut into
 * world runs of whole chunks; smaller ones are dealt out whole by their ordinal. */
void ls_plan_owned(int64_t elements, int ordinal, int world, int rank, int64_t *begin, int64_t *count);

#endif
