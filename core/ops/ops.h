/* SPDX-License-Identifier: Apache-2.0 */
/* The op table as callers see it (names and rules), and short forms of ls_apply for common ops. */
#ifndef LOCKSTEP_CORE_OPS_OPS_H
#define LOCKSTEP_CORE_OPS_OPS_H

#include "core/ops/context.h"

/* Name of an op, e.g. "conv2d". Static memory. */
const char *ls_op_name(enum ls_op op);
/* Op of a name; LS_OP_COUNT where there is none. */
enum ls_op ls_op_from_name(const char *name);

/* Short forms. Each applies one op; see docs/numerics.md for formulas. bias may be NULL. */
enum ls_status ls_dense(struct ls_context *context, struct ls_value *x, struct ls_value *w, struct ls_value *bias,
                        enum ls_activation activation, struct ls_value **y, struct ls_error *err);
enum ls_status ls_conv2d(struct ls_context *context, struct ls_value *x, struct ls_value *w, struct ls_value *bias,
                         const struct ls_conv2d_attrs *attrs, struct ls_value **y, struct ls_error *err);
enum ls_status ls_unary(struct ls_context *context, enum ls_op op, struct ls_value *x, struct ls_value **y,
                        struct ls_error *err);
enum ls_status ls_binary(struct ls_context *context, enum ls_op op, struct ls_value *a, struct ls_value *b,
                         struct ls_value **y, struct ls_error *err);
enum ls_status ls_affine(struct ls_context *context, struct ls_value *x, float scale, float offset, struct ls_value **y,
                         struct ls_error *err);
enum ls_status ls_cast(struct ls_context *context, struct ls_value *x, enum ls_dtype dtype, struct ls_value **y,
                       struct ls_error *err);
enum ls_status ls_reshape(struct ls_context *context, struct ls_value *x, const struct ls_shape *shape,
                          struct ls_value **y, struct ls_error *err);
/* Partial -> replicated: the frontier where the canonical tree is finished over all workers. */
enum ls_status ls_reduce(struct ls_context *context, struct ls_value *partial, bool moments, struct ls_value **y,
                         struct ls_error *err);
/* f32 filled with one value; rows_per_sample > 0: per-sample. */
enum ls_status ls_fill(struct ls_context *context, const struct ls_shape *shape, enum ls_distribution distribution,
                       int64_t rows_per_sample, float value, struct ls_value **y, struct ls_error *err);

#endif
