/* SPDX-License-Identifier: Apache-2.0 */
/* Batch normalisation with the statistics of the global batch: a global op made of others, with its own gradient. */
#ifndef LOCKSTEP_CORE_OPS_BATCH_NORM_H
#define LOCKSTEP_CORE_OPS_BATCH_NORM_H

#include "core/ops/context.h"

/* x (rows.., C) per-sample; gamma, beta (C) replicated -> y like x, mean and (biased) var (C) replicated, of all
 * samples of the batch. Records MOMENTS and a REDUCE that merges, so a program is cut here; the gradient adds two
 * REDUCEs (sum dy, sum dy xhat), which are also the adjoints of beta and gamma: already reduced, added after the
 * tree. Gradients flow through y only, not through mean and var (they serve moving statistics); no second
 * derivative. Ioffe, Szegedy: Batch Normalization, 2015. */
enum ls_status ls_batch_norm_train(struct ls_context *context, struct ls_value *x, struct ls_value *gamma,
                                   struct ls_value *beta, float epsilon, struct ls_value **y, struct ls_value **mean,
                                   struct ls_value **var, struct ls_error *err);

#endif
