/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the sources of the f64 interpreter. */
#ifndef LOCKSTEP_TESTS_SUPPORT_F64_EVAL_INTERNAL_H
#define LOCKSTEP_TESTS_SUPPORT_F64_EVAL_INTERNAL_H

#include "core/ops/tape.h"

/* Products, convolution, pooling, batch reductions, batch normalisation; false: none of these. */
bool lst_f64_images(const struct ls_context *context, const struct ls_node *node, const double *const *in, double *out);

#endif
