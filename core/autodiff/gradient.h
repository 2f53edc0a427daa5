/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gradients by walking what a context recorded, backwards, applying each op's gradient rule through the same
 * context: so it works eagerly and traced, and gradients of gradients work too. The order of every sum is
 * docs/numerics.md's: fan-out adjoints in reverse program order of the uses; the per-sample uses of a replicated
 * value are batch reductions over one running sum per shard, last use first, then the tree, then REDUCE.
 */
#ifndef LOCKSTEP_CORE_AUTODIFF_GRADIENT_H
#define LOCKSTEP_CORE_AUTODIFF_GRADIENT_H

#include "core/ops/context.h"

/* grads[j] = sum over i of seeds[i] * d targets[i] / d sources[j]. seeds may be NULL (ones), else seeds[i] has the
 * shape and distribution of targets[i]. A per-sample target's samples are summed. Sources that are replicated get
 * replicated gradients (their REDUCEs are recorded in the order in which gradients become ready: last layer first);
 * per-sample sources get per-sample ones. grads[j] is NULL where sources[j] has no influence.
 * LS_EUNSUPPORTED names an op without a gradient. */
enum ls_status ls_gradient(struct ls_context *context, struct ls_value *const *targets, struct ls_value *const *seeds,
                           int target_count, struct ls_value *const *sources, int source_count, struct ls_value **grads,
                           struct ls_error *err);

#endif
