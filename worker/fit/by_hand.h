/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For training loops written out by hand under the mirrored strategy: which samples of a batch a replica evaluates, and
 * the hook through which an eager context's reductions are finished over all replicas, in the canonical order. With
 * them a loop of ls_apply, ls_gradient and ls_optimizer_apply gives the bits of ls_fit.
 */
#ifndef LOCKSTEP_WORKER_FIT_BY_HAND_H
#define LOCKSTEP_WORKER_FIT_BY_HAND_H

#include "core/ops/context.h"
#include "strategies/plan.h"

/* One replica's part of one batch: a single call. */
struct ls_share {
    struct ls_plan plan;
    int rank;
    bool spare;              /* there are more replicas than shards: evaluates one sample, which does not count */
    struct ls_shards shards; /* of the call: what ls_context_options takes */
    int64_t samples;         /* of the call; the first is shards.first_sample in the batch */
};

/* shards: V of the batch size (ls_shards_default), not of a short last batch. LS_EUNSUPPORTED where a replica would
 * have several ranges of shards (3 replicas, for example): by hand take 1, 2, 4, 8 ..., or use ls_fit. */
enum ls_status ls_share_of(const struct ls_group *group, int64_t batch_samples, int shards, struct ls_share *share,
                           struct ls_error *err);

/* State of ls_tree_reduce; all borrowed for the context's life. */
struct ls_tree_reduce {
    struct ls_group *group;
    struct ls_device *device;
    const struct ls_share *share;
};
/* An ls_reduce_fn: the partials of all replicas, added (or, for moments, merged) along the canonical tree. */
enum ls_status ls_tree_reduce(void *state, bool moments, const struct ls_view *partial, const struct ls_view *reduced,
                              struct ls_error *err);

#endif
