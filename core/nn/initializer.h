/* SPDX-License-Identifier: Apache-2.0 */
/* Initial values of variables (formulas: docs/numerics.md); how they are named stands in model_build.h. */
#ifndef LOCKSTEP_CORE_NN_INITIALIZER_H
#define LOCKSTEP_CORE_NN_INITIALIZER_H

#include "core/nn/model_build.h"

/* The initialiser, or fallback where its kind is LS_INIT_DEFAULT. */
struct ls_initializer lsi_initializer_or(struct ls_initializer initializer, struct ls_initializer fallback);
/* LS_EINVAL unless its numbers are finite, low <= high, scale > 0. */
enum ls_status lsi_initializer_check(const struct ls_initializer *initializer, struct ls_error *err);
/* Fills data, one f32 an element of shape, from the stream of this number. */
enum ls_status lsi_initialize(const struct ls_initializer *initializer, const struct ls_shape *shape, uint64_t seed,
                              uint64_t stream, float *data, struct ls_error *err);

#endif
