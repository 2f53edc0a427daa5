/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dealing shards out. Compute is the largest share, bytes grow with the number of leaves, so: smallest possible
 * largest share first, then fewest leaves, by dynamic programming over the cut points (V x share states).
 */
#include "strategies/plan.h"

#include "core/base/alloc.h"

#include <string.h>

#define CHUNK 4096

/* Largest aligned range that starts at `first` and ends by `end`. */
static int aligned_count(int first, int end)
{
    int count = first == 0 ? LS_MAX_SHARDS : first & -first;

    while (first + count > end)
        count /= 2;
    return count;
}

static int leaves_of(int first, int end)
{
    int leaves = 0;

    for (; first < end; first += aligned_count(first, end))
        leaves++;
    return leaves;
}

/* cut[r] .. cut[r + 1] is the share of rank r < active. best[r][e]: fewest leaves of shards 0..e on r ranks. */
static enum ls_status choose_cuts(int v_total, int active, int *cut, struct ls_error *err)
{
    int share = (v_total + active - 1) / active, width = v_total + 1;
    size_t cells = (size_t)(active + 1) * (size_t)width;
    int *best = ls_alloc_zeroed(cells, 2 * sizeof *best);
    int *from = best + cells;

    if (best == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to plan %d shards on %d replicas", v_total, active);
    for (int e = 1; e < width; e++)
        best[e] = INT32_MAX;
    for (int r = 1; r <= active; r++)
        for (int e = 0; e < width; e++) {
            int *cell = &best[r * width + e];

            *cell = INT32_MAX;
            for (int b = e - share < 0 ? 0 : e - share; b < e; b++) {
                int before = best[(r - 1) * width + b];

                if (before != INT32_MAX && before + leaves_of(b, e) < *cell) {
                    *cell = before + leaves_of(b, e);
                    from[r * width + e] = b;
                }
            }
        }
    cut[active] = v_total;
    for (int r = active; r > 0; r--)
        cut[r - 1] = from[r * width + cut[r]];
    ls_free(best);
    return LS_OK;
}

static enum ls_status check(const struct ls_plan_options *options, struct ls_error *err)
{
    int v = options->v_total;

    if (v < 1 || v > LS_MAX_SHARDS || (v & (v - 1)) != 0)
        return ls_error_set(err, LS_EINVAL, "batch.shards is %d; it must be a power of two from 1 to %d", v,
                            LS_MAX_SHARDS);
    if (options->world < 1 || options->world > LS_MAX_MEMBERS)
        return ls_error_set(err, LS_EINVAL, "there are %d replicas in all; from 1 to %d are possible", options->world,
                            LS_MAX_MEMBERS);
    if (options->batch_samples < 1)
        return ls_error_set(err, LS_EINVAL, "a batch needs at least one sample");
    if (options->micro_shards < 0)
        return ls_error_set(err, LS_EINVAL, "run.micro_shards is negative");
    return LS_OK;
}

static int64_t samples_of(const struct ls_plan *plan, int first, int count)
{
    return ls_shard_begin(plan->batch_samples, plan->v_total, first + count) -
           ls_shard_begin(plan->batch_samples, plan->v_total, first);
}

static void add_leaves(struct ls_plan *plan, int first, int end)
{
    struct ls_tree_layout *layout = &plan->layout;
    int64_t samples = 0;

    while (first < end) {
        int count = aligned_count(first, end);
        int64_t own = samples_of(plan, first, count);

        if (own > 0)
            layout->ranges[layout->range_count++] = (struct ls_range){.first = first, .count = count};
        samples += own;
        first += count;
    }
    if (samples > plan->max_samples)
        plan->max_samples = samples;
}

enum ls_status ls_plan_build(const struct ls_plan_options *options, struct ls_plan *plan, struct ls_error *err)
{
    int cut[LS_MAX_SHARDS + 1];
    enum ls_status status = check(options, err);
    int active = options->world < options->v_total ? options->world : options->v_total;

    if (status == LS_OK)
        status = choose_cuts(options->v_total, active, cut, err);
    if (status != LS_OK)
        return status;
    memset(plan, 0, sizeof *plan);
    plan->batch_samples = options->batch_samples;
    plan->v_total = options->v_total;
    plan->world = options->world;
    plan->active = active;
    plan->call_shards = options->v_total;
    while (options->micro_shards > 0 && plan->call_shards > options->micro_shards)
        plan->call_shards /= 2;
    plan->layout.v_total = options->v_total;
    plan->layout.world = options->world;
    for (int r = 0; r < options->world; r++) {
        if (r < active)
            add_leaves(plan, cut[r], cut[r + 1]);
        plan->layout.first_range[r + 1] = plan->layout.range_count;
    }
    return LS_OK;
}

int ls_plan_leaf_count(const struct ls_plan *plan, int rank)
{
    return plan->layout.first_range[rank + 1] - plan->layout.first_range[rank];
}

struct ls_range ls_plan_leaf(const struct ls_plan *plan, int rank, int leaf)
{
    return plan->layout.ranges[plan->layout.first_range[rank] + leaf];
}

int ls_plan_calls(const struct ls_plan *plan, struct ls_range leaf, struct ls_range *calls)
{
    int size = leaf.count < plan->call_shards ? leaf.count : plan->call_shards;
    int found = 0;

    for (int first = leaf.first; first < leaf.first + leaf.count; first += size)
        if (samples_of(plan, first, size) > 0)
            calls[found++] = (struct ls_range){.first = first, .count = size};
    return found;
}

void ls_plan_owned(int64_t elements, int ordinal, int world, int rank, int64_t *begin, int64_t *count)
{
    int64_t chunks = (elements + CHUNK - 1) / CHUNK;
    int64_t first, last;

    if (chunks < world) {
        *begin = 0;
        *count = ordinal % world == rank ? elements : 0;
        return;
    }
    first = chunks * rank / world * CHUNK;
    last = chunks * (rank + 1) / world * CHUNK;
    *begin = first;
    *count = (last < elements ? last : elements) - first;
}
