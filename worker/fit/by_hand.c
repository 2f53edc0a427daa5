/* SPDX-License-Identifier: Apache-2.0 */
/* Shares of a batch and their reduction, see by_hand.h. */
#include "worker/fit/by_hand.h"

#include "core/base/alloc.h"

enum ls_status ls_share_of(const struct ls_group *group, int64_t batch_samples, int shards, struct ls_share *share,
                           struct ls_error *err)
{
    struct ls_plan_options options = {
        .batch_samples = batch_samples, .v_total = shards, .world = ls_group_world(group)};
    enum ls_status status;

    share->rank = ls_group_rank(group);
    status = ls_plan_build(&options, &share->plan, err);
    for (int r = 0; r < options.world && status == LS_OK; r++)
        if (ls_plan_leaf_count(&share->plan, r) > 1)
            status = ls_error_set(err, LS_EUNSUPPORTED,
                                  "%d replicas get several ranges of the %d shards each; a loop by hand takes 1, 2, 4, "
                                  "8 ... replicas, ls_fit any number",
                                  options.world, shards);
    if (status != LS_OK)
        return status;
    share->spare = ls_plan_leaf_count(&share->plan, share->rank) == 0;
    if (share->spare) {
        share->shards =
            (struct ls_shards){.total = shards, .count = 1, .batch_samples = batch_samples, .offset = {0, 1}};
    } else {
        struct ls_range range = ls_plan_leaf(&share->plan, share->rank, 0);

        share->shards = ls_shards_of(batch_samples, shards, range.first, range.count);
    }
    share->samples = share->shards.offset[share->shards.count];
    return LS_OK;
}

/* Moments are not a sum: everyone's are gathered and merged along the tree. */
static enum ls_status reduce_moments(const struct ls_tree_reduce *r, const struct ls_view *partial,
                                     const struct ls_view *reduced, struct ls_error *err)
{
    const struct ls_tree_layout *layout = &r->share->plan.layout;
    size_t bytes = ls_view_bytes(partial);
    int64_t counts[LS_MAX_MEMBERS];
    const void *leaves[LS_MAX_SHARDS];
    struct ls_tree_program tree;
    uint8_t *all = ls_alloc_aligned(bytes * (size_t)layout->range_count);
    enum ls_status status;

    if (all == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for the moments of %d replicas", layout->world);
    for (int k = 0; k < layout->world; k++)
        counts[k] = (int64_t)bytes * (layout->first_range[k + 1] - layout->first_range[k]);
    status =
        ls_group_run(r->group,
                     &(struct ls_collective){
                         .kind = LS_ALL_GATHER, .dtype = LS_U8, .src = partial->data, .dst = all, .counts = counts},
                     err);
    if (status == LS_OK) {
        for (int k = 0; k < layout->range_count; k++)
            leaves[k] = all + (size_t)k * bytes;
        ls_tree_program_build(layout->ranges, layout->range_count, layout->v_total, &tree);
        ls_device_tree_moments(r->device, &tree, leaves, reduced->data, ls_shape_count(&partial->shape) / 3);
    }
    ls_free(all);
    return status;
}

enum ls_status ls_tree_reduce(void *state, bool moments, const struct ls_view *partial, const struct ls_view *reduced,
                              struct ls_error *err)
{
    const struct ls_tree_reduce *r = state;
    const void *leaf = partial->data;

    if (moments)
        return reduce_moments(r, partial, reduced, err);
    return ls_group_run(r->group,
                        &(struct ls_collective){.kind = LS_ALL_REDUCE_TREE,
                                                .reduction = LS_SUM,
                                                .dtype = partial->dtype,
                                                .count = ls_shape_count(&partial->shape),
                                                .dst = reduced->data,
                                                .layout = &r->share->plan.layout,
                                                .leaves = &leaf},
                        err);
}
