/* SPDX-License-Identifier: Apache-2.0 */
/* What the families' rules share: errors that name the op, and the checks that most of them make. */
#include "core/ops/context_internal.h"

#include <stdarg.h>
#include <stdio.h>

enum ls_status lsi_rule_fail(const struct lsi_rule_call *call, struct ls_error *err, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return ls_error_set(err, LS_EINVAL, "%s: %s", ls_op_name(call->op), text);
}

enum ls_status lsi_rule_dtype(const struct lsi_rule_call *call, int i, enum ls_dtype dtype, struct ls_error *err)
{
    if (lsi_in(call, i)->dtype != dtype)
        return lsi_rule_fail(call, err, "input %d is %s where %s is needed", i, ls_dtype_name(lsi_in(call, i)->dtype),
                             ls_dtype_name(dtype));
    return LS_OK;
}

enum ls_status lsi_rule_float(const struct lsi_rule_call *call, int i, struct ls_error *err)
{
    enum ls_dtype dtype = lsi_in(call, i)->dtype;

    if (dtype != LS_F32 && dtype != LS_F64)
        return lsi_rule_fail(call, err, "input %d is %s; float32 or float64 is needed", i, ls_dtype_name(dtype));
    return i > 0 ? lsi_rule_dtype(call, i, lsi_in(call, 0)->dtype, err) : LS_OK;
}

enum ls_status lsi_rule_parameter(const struct lsi_rule_call *call, int i, const struct ls_shape *shape,
                                  struct ls_error *err)
{
    char is[128], must[128];

    if (lsi_in(call, i)->distribution != LS_REPLICATED)
        return lsi_rule_fail(call, err, "input %d is spread over samples; it would mix them and must be replicated", i);
    if (!ls_shape_equal(&lsi_in(call, i)->shape, shape))
        return lsi_rule_fail(call, err, "input %d has shape %s where %s fits", i,
                             ls_shape_text(&lsi_in(call, i)->shape, is), ls_shape_text(shape, must));
    return LS_OK;
}

enum ls_status lsi_rule_same(const struct lsi_rule_call *call, int i, int j, struct ls_error *err)
{
    const struct ls_value_info *a = lsi_in(call, i), *b = lsi_in(call, j);
    char first[128], second[128];

    if (!ls_shape_equal(&a->shape, &b->shape))
        return lsi_rule_fail(call, err, "inputs %d and %d have shapes %s and %s, which must be one", i, j,
                             ls_shape_text(&a->shape, first), ls_shape_text(&b->shape, second));
    if (a->distribution != b->distribution || a->rows_per_sample != b->rows_per_sample)
        return lsi_rule_fail(call, err, "inputs %d and %d are spread differently over samples", i, j);
    return LS_OK;
}

enum ls_status lsi_rule_rank(const struct lsi_rule_call *call, int i, int rank, struct ls_error *err)
{
    char text[128];

    if (lsi_in(call, i)->shape.rank < rank)
        return lsi_rule_fail(call, err, "input %d has shape %s; at least %d dimensions are needed", i,
                             ls_shape_text(&lsi_in(call, i)->shape, text), rank);
    return LS_OK;
}

void lsi_rule_like(const struct lsi_rule_call *call, int i, struct lsi_result *out)
{
    const struct ls_value_info *in = lsi_in(call, i);

    out->info.dtype = in->dtype;
    out->info.shape = in->shape;
    out->info.distribution = in->distribution;
    out->info.rows_per_sample = in->rows_per_sample;
    out->per_shard = call->in[i]->per_shard;
}

static struct ls_shape with_shards(const struct lsi_rule_call *call, const struct ls_shape *shape)
{
    struct ls_shape per_shard = {.rank = shape->rank + 1};

    per_shard.dim[0] = call->shards->count;
    for (int d = 0; d < shape->rank; d++)
        per_shard.dim[d + 1] = shape->dim[d];
    return per_shard;
}

enum ls_status lsi_rule_partial(const struct lsi_rule_call *call, const struct ls_batch_reduction *batch,
                                const struct ls_shape *shape, struct lsi_result *out, struct ls_error *err)
{
    if (shape->rank >= LS_MAX_RANK)
        return lsi_rule_fail(call, err, "the sum has more than %d dimensions", LS_MAX_RANK - 1);
    if (batch->accumulate) {
        struct ls_shape running = with_shards(call, shape);

        if (!call->in[0]->per_shard || !ls_shape_equal(&lsi_in(call, 0)->shape, &running))
            return lsi_rule_fail(call, err, "input 0 is not the running sums of the call's %d shards",
                                 call->shards->count);
    }
    out->info.shape = batch->per_shard ? with_shards(call, shape) : *shape;
    out->info.dtype = lsi_in(call, 0)->dtype;
    out->info.distribution = LS_PARTIAL;
    out->per_shard = batch->per_shard;
    return LS_OK;
}

bool lsi_shape_is_suffix(const struct ls_shape *a, const struct ls_shape *b)
{
    if (b->rank > a->rank)
        return false;
    for (int d = 0; d < b->rank; d++)
        if (b->dim[b->rank - 1 - d] != a->dim[a->rank - 1 - d])
            return false;
    return true;
}
