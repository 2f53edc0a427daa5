/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values and the context that applies ops to them: eagerly (a kernel runs at once), traced (only recorded, for
 * core/graph), both through the same op table and so with the same bits. Recorded nodes are what core/autodiff
 * walks. A context belongs to one thread; values belong to their context and end with it or with
 * ls_context_reset.
 */
#ifndef LOCKSTEP_CORE_OPS_CONTEXT_H
#define LOCKSTEP_CORE_OPS_CONTEXT_H

#include "core/device/device.h"

struct ls_context;
struct ls_value;

/* How a value is spread over the samples of a batch (docs/numerics.md). */
enum ls_distribution {
    LS_REPLICATED, /* the same everywhere */
    LS_PER_SAMPLE, /* axis 0 holds rows_per_sample rows of each sample of the call */
    LS_PARTIAL     /* a sum over the call's shards that the canonical tree has yet to finish */
};

enum ls_value_kind { LS_VALUE_INPUT, LS_VALUE_VARIABLE, LS_VALUE_CONSTANT, LS_VALUE_RESULT };

/* What is known of a value. */
struct ls_value_info {
    enum ls_value_kind kind;
    int index; /* INPUT, VARIABLE: the number it was made with */
    enum ls_dtype dtype;
    struct ls_shape shape;
    enum ls_distribution distribution;
    int64_t rows_per_sample; /* PER_SAMPLE only */
};

/* Called by an eager context for a REDUCE: turns this call's partial into the reduced value. NULL hook: the call
 * covers the whole batch, and the partial is the value. */
typedef enum ls_status (*ls_reduce_fn)(void *state, bool moments, const struct ls_view *partial,
                                       const struct ls_view *reduced, struct ls_error *err);

struct ls_context_options {
    struct ls_device *device; /* borrowed; eager: runs kernels; traced: only asked what it supports */
    bool traced;
    struct ls_shards shards; /* of the call; shards.offset[count] is its number of samples */
    struct ls_step_info step;
    ls_reduce_fn reduce; /* eager only */
    void *reduce_state;
};

enum ls_status ls_context_create(const struct ls_context_options *options, struct ls_context **context,
                                 struct ls_error *err);
/* Ends every value of the context and forgets what was recorded. */
void ls_context_reset(struct ls_context *context);
void ls_context_destroy(struct ls_context *context);
bool ls_context_is_traced(const struct ls_context *context);
const struct ls_shards *ls_context_shards(const struct ls_context *context);
const struct ls_step_info *ls_context_step(const struct ls_context *context);
/* Eager: stops and resumes recording (a traced context always records). Starts recording. */
void ls_context_record(struct ls_context *context, bool on);

/* Values that enter. data: eager contexts borrow it until reset; ignored (may be NULL) when traced. */
enum ls_status ls_value_input(struct ls_context *context, int index, enum ls_dtype dtype, const struct ls_shape *shape,
                              enum ls_distribution distribution, int64_t rows_per_sample, void *data,
                              struct ls_value **value, struct ls_error *err);
enum ls_status ls_value_variable(struct ls_context *context, int index, enum ls_dtype dtype,
                                 const struct ls_shape *shape, void *data, struct ls_value **value,
                                 struct ls_error *err);
/* A replicated value whose bytes are copied now. */
enum ls_status ls_value_constant(struct ls_context *context, enum ls_dtype dtype, const struct ls_shape *shape,
                                 const void *data, struct ls_value **value, struct ls_error *err);

const struct ls_value_info *ls_value_info(const struct ls_value *value);
/* Eager: the value's memory (borrowed until reset). Traced: data is NULL. */
struct ls_view ls_value_view(const struct ls_value *value);

/* Applies an op: checks shapes, dtypes and distributions by the op table, runs or records it. An op that would mix
 * samples is an error that names it. *out is owned by the context. */
enum ls_status ls_apply(struct ls_context *context, enum ls_op op, const struct ls_op_attrs *attrs,
                        struct ls_value *const *in, int in_count, struct ls_value **out, struct ls_error *err);

/* A value that passes `in` on (same bits) but whose gradient is what fn says; fn applies ops in the context.
 * fn gets the adjoint of the result and gives the adjoint of in (NULL: none). state is borrowed. */
typedef enum ls_status (*ls_custom_gradient_fn)(void *state, struct ls_context *context, struct ls_value *in,
                                                struct ls_value *adjoint, struct ls_value **in_adjoint,
                                                struct ls_error *err);
enum ls_status ls_value_custom_gradient(struct ls_context *context, struct ls_value *in, ls_custom_gradient_fn fn,
                                        void *state, struct ls_value **out, struct ls_error *err);

#endif
