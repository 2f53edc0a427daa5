/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of layout ops: what moves or names elements and computes nothing. */
#include "core/ops/context_internal.h"

static enum ls_status check_reshape(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    const struct ls_value_info *x = lsi_in(call, 0);
    const struct ls_shape *shape = &call->attrs->reshape.shape;
    int64_t samples = call->shards->offset[call->shards->count];
    char is[128], must[128];
    enum ls_status status = ls_shape_check(shape, x->dtype, err);

    if (status != LS_OK)
        return status;
    if (ls_shape_count(shape) != ls_shape_count(&x->shape))
        return lsi_rule_fail(call, err, "%s does not hold the elements of %s", ls_shape_text(shape, must),
                             ls_shape_text(&x->shape, is));
    lsi_rule_like(call, 0, out);
    out->info.shape = *shape;
    if (x->distribution == LS_PER_SAMPLE) {
        if (shape->rank < 1 || (samples > 0 && (shape->dim[0] < samples || shape->dim[0] % samples != 0)))
            return lsi_rule_fail(call, err, "%s would mix the call's %lld samples; its first axis holds whole samples",
                                 ls_shape_text(shape, must), (long long)samples);
        out->info.rows_per_sample = samples > 0 ? shape->dim[0] / samples : x->rows_per_sample;
    }
    if (call->in[0]->per_shard && (shape->rank < 1 || shape->dim[0] != call->shards->count))
        return lsi_rule_fail(call, err, "%s would mix the running sums of the call's %d shards",
                             ls_shape_text(shape, must), call->shards->count);
    return LS_OK;
}

static enum ls_status check_transpose(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    const struct ls_value_info *x = lsi_in(call, 0);

    if (x->shape.rank != 2)
        return lsi_rule_fail(call, err, "input 0 has %d dimensions, 2 are needed", x->shape.rank);
    if (x->distribution != LS_REPLICATED)
        return lsi_rule_fail(call, err, "input 0 is spread over samples; it would mix them");
    lsi_rule_like(call, 0, out);
    out->info.shape = LS_SHAPE(x->shape.dim[1], x->shape.dim[0]);
    return LS_OK;
}

/* The axis is one of input 0's and not the samples'. */
static enum ls_status check_axis(const struct lsi_rule_call *call, struct ls_error *err)
{
    const struct ls_value_info *x = lsi_in(call, 0);
    int axis = call->attrs->slice.axis;

    if (axis < 0 || axis >= x->shape.rank)
        return lsi_rule_fail(call, err, "axis %d of %d dimensions", axis, x->shape.rank);
    if (axis == 0 && x->distribution == LS_PER_SAMPLE)
        return lsi_rule_fail(call, err, "axis 0 holds the samples; it would mix them");
    return LS_OK;
}

static enum ls_status check_concat(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    int axis = call->attrs->slice.axis;
    enum ls_status status;

    if (call->in_count < 1)
        return lsi_rule_fail(call, err, "nothing to join");
    status = check_axis(call, err);
    if (status != LS_OK)
        return status;
    lsi_rule_like(call, 0, out);
    for (int i = 1; i < call->in_count; i++) {
        const struct ls_value_info *a = lsi_in(call, 0), *b = lsi_in(call, i);
        bool fits = a->shape.rank == b->shape.rank && a->dtype == b->dtype && a->distribution == b->distribution &&
                    a->rows_per_sample == b->rows_per_sample;

        for (int d = 0; fits && d < a->shape.rank; d++)
            fits = d == axis || a->shape.dim[d] == b->shape.dim[d];
        if (!fits)
            return lsi_rule_fail(call, err, "input %d does not fit input 0 beside axis %d", i, axis);
        if (__builtin_add_overflow(out->info.shape.dim[axis], b->shape.dim[axis], &out->info.shape.dim[axis]))
            return lsi_rule_fail(call, err, "the inputs are too large together");
    }
    return ls_shape_check(&out->info.shape, out->info.dtype, err);
}

static enum ls_status check_slice(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    int axis = call->attrs->slice.axis;
    int64_t begin = call->attrs->slice.begin, count = call->attrs->slice.count;
    enum ls_status status = check_axis(call, err);

    if (status != LS_OK)
        return status;
    lsi_rule_like(call, 0, out);
    if (begin < 0 || count < 0 || begin > out->info.shape.dim[axis] - count)
        return lsi_rule_fail(call, err, "%lld elements from %lld on of an axis of %lld", (long long)count,
                             (long long)begin, (long long)out->info.shape.dim[axis]);
    out->info.shape.dim[axis] = count;
    return LS_OK;
}

static enum ls_status check_pad_slice(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    int axis = call->attrs->slice.axis;
    int64_t begin = call->attrs->slice.begin, total = call->attrs->slice.total;
    enum ls_status status = check_axis(call, err);

    if (status != LS_OK)
        return status;
    lsi_rule_like(call, 0, out);
    if (begin < 0 || begin > total - out->info.shape.dim[axis])
        return lsi_rule_fail(call, err, "%lld elements from %lld on do not fit an axis of %lld",
                             (long long)out->info.shape.dim[axis], (long long)begin, (long long)total);
    out->info.shape.dim[axis] = total;
    return ls_shape_check(&out->info.shape, out->info.dtype, err);
}

static enum ls_status check_fill(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    out->info.dtype = LS_F32;
    out->info.shape = call->attrs->fill.shape;
    out->info.distribution = LS_REPLICATED;
    return ls_shape_check(&out->info.shape, LS_F32, err);
}

void lsi_rules_layout(struct lsi_rule *table)
{
    table[LS_OP_RESHAPE] = (struct lsi_rule){.check = check_reshape, .takes_partial = true};
    table[LS_OP_TRANSPOSE2D] = (struct lsi_rule){.check = check_transpose};
    table[LS_OP_CONCAT] = (struct lsi_rule){.check = check_concat};
    table[LS_OP_SLICE] = (struct lsi_rule){.check = check_slice};
    table[LS_OP_PAD_SLICE] = (struct lsi_rule){.check = check_pad_slice};
    table[LS_OP_FILL] = (struct lsi_rule){.check = check_fill};
}
