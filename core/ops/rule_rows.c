/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of ops along the last axis: softmax, cross-entropies, hits, gather. The last axis is never the samples'. */
#include "core/ops/context_internal.h"

/* Input 0 is a float with a last axis that holds no samples. */
static enum ls_status check_last_axis(const struct lsi_rule_call *call, struct ls_error *err)
{
    enum ls_status status = lsi_rule_float(call, 0, err);

    if (status == LS_OK && lsi_in(call, 0)->distribution == LS_PER_SAMPLE && lsi_in(call, 0)->shape.rank < 2)
        return lsi_rule_fail(call, err, "the last axis of input 0 holds the samples; it would mix them");
    return status == LS_OK ? lsi_rule_rank(call, 0, 1, err) : status;
}

/* Input i (n..) goes with the rows of input 0 (n.., C). */
static enum ls_status check_per_row(const struct lsi_rule_call *call, int i, enum ls_dtype dtype, struct ls_error *err)
{
    const struct ls_value_info *x = lsi_in(call, 0), *y = lsi_in(call, i);
    struct ls_shape rows = x->shape;
    enum ls_status status = dtype == LS_I32 ? lsi_rule_dtype(call, i, dtype, err) : lsi_rule_float(call, i, err);
    char is[128], must[128];

    if (status != LS_OK)
        return status;
    rows.rank--;
    if (!ls_shape_equal(&rows, &y->shape))
        return lsi_rule_fail(call, err, "input %d has shape %s where %s goes with input 0", i,
                             ls_shape_text(&y->shape, is), ls_shape_text(&rows, must));
    if (x->distribution != y->distribution || x->rows_per_sample != y->rows_per_sample)
        return lsi_rule_fail(call, err, "inputs 0 and %d are spread differently over samples", i);
    return LS_OK;
}

/* Input i is like input 0 in all. */
static enum ls_status check_like(const struct lsi_rule_call *call, int i, struct ls_error *err)
{
    enum ls_status status = lsi_rule_float(call, i, err);

    return status == LS_OK ? lsi_rule_same(call, 0, i, err) : status;
}

static enum ls_status check_softmax(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    enum ls_status status = check_last_axis(call, err);

    if (status == LS_OK && call->op == LS_OP_SOFTMAX_GRAD)
        status = check_like(call, 1, err);
    if (status == LS_OK)
        lsi_rule_like(call, 0, out);
    return status;
}

static enum ls_status check_reduce_sum(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    enum ls_status status = check_last_axis(call, err);

    if (status != LS_OK)
        return status;
    lsi_rule_like(call, 0, out);
    out->info.shape.rank--;
    return LS_OK;
}

/* ROW_BROADCAST and SCATTER_ROWS: (n..) -> (n.., count). The gradient of a sum of nothing is nothing; but a place
 * cannot be one of none. */
static enum ls_status check_widen(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    const struct ls_value_info *x = lsi_in(call, 0);
    int least = call->op == LS_OP_ROW_BROADCAST ? 0 : 1;
    enum ls_status status = lsi_rule_float(call, 0, err);

    if (status == LS_OK && call->op == LS_OP_SCATTER_ROWS)
        status = lsi_rule_dtype(call, 1, LS_I32, err);
    if (status == LS_OK && call->op == LS_OP_SCATTER_ROWS)
        status = lsi_rule_same(call, 0, 1, err);
    if (status != LS_OK)
        return status;
    if (x->shape.rank >= LS_MAX_RANK || call->attrs->rows.count < least)
        return lsi_rule_fail(call, err, "at most %d dimensions and a count of at least %d are possible",
                             LS_MAX_RANK - 1, least);
    lsi_rule_like(call, 0, out);
    out->info.shape.dim[out->info.shape.rank++] = call->attrs->rows.count;
    return LS_OK;
}

/* Scores (n.., C) against labels i32 (n..): a loss, a hit or a chosen element a row. */
static enum ls_status check_labelled(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    enum ls_status status = check_last_axis(call, err);

    if (status == LS_OK)
        status = check_per_row(call, 1, LS_I32, err);
    if (status != LS_OK)
        return status;
    lsi_rule_like(call, 1, out);
    out->info.dtype = call->op == LS_OP_SPARSE_HIT ? LS_I64 : lsi_in(call, 0)->dtype;
    return LS_OK;
}

/* Scores against targets of the same shape: a loss or a hit a row. */
static enum ls_status check_targets(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    enum ls_status status = check_last_axis(call, err);

    if (status == LS_OK)
        status = check_like(call, 1, err);
    if (status != LS_OK)
        return status;
    lsi_rule_like(call, 0, out);
    out->info.shape.rank--;
    if (call->op == LS_OP_DENSE_HIT)
        out->info.dtype = LS_I64;
    return LS_OK;
}

/* The adjoint of either loss: logits, labels or targets, dloss (n..) -> dlogits. */
static enum ls_status check_loss_grad(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    enum ls_status status = check_last_axis(call, err);

    if (status == LS_OK)
        status =
            call->op == LS_OP_SPARSE_SOFTMAX_XENT_GRAD ? check_per_row(call, 1, LS_I32, err) : check_like(call, 1, err);
    if (status == LS_OK)
        status = check_per_row(call, 2, LS_F32, err);
    if (status == LS_OK)
        lsi_rule_like(call, 0, out);
    return status;
}

static enum ls_status check_elementwise(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    enum ls_status status = lsi_rule_float(call, 0, err);

    for (int i = 1; i < call->in_count && status == LS_OK; i++)
        status = check_like(call, i, err);
    if (status != LS_OK)
        return status;
    lsi_rule_like(call, 0, out);
    if (call->op == LS_OP_BINARY_HIT)
        out->info.dtype = LS_I64;
    return LS_OK;
}

void lsi_rules_rows(struct lsi_rule *table)
{
    table[LS_OP_SOFTMAX] = (struct lsi_rule){.check = check_softmax};
    table[LS_OP_SOFTMAX_GRAD] = (struct lsi_rule){.check = check_softmax};
    table[LS_OP_ROW_REDUCE_SUM] = (struct lsi_rule){.check = check_reduce_sum};
    table[LS_OP_ROW_BROADCAST] = (struct lsi_rule){.check = check_widen};
    table[LS_OP_SCATTER_ROWS] = (struct lsi_rule){.check = check_widen};
    table[LS_OP_SPARSE_SOFTMAX_XENT] = (struct lsi_rule){.check = check_labelled};
    table[LS_OP_SPARSE_HIT] = (struct lsi_rule){.check = check_labelled};
    table[LS_OP_GATHER_ROWS] = (struct lsi_rule){.check = check_labelled};
    table[LS_OP_SOFTMAX_XENT] = (struct lsi_rule){.check = check_targets};
    table[LS_OP_DENSE_HIT] = (struct lsi_rule){.check = check_targets};
    table[LS_OP_SPARSE_SOFTMAX_XENT_GRAD] = (struct lsi_rule){.check = check_loss_grad};
    table[LS_OP_SOFTMAX_XENT_GRAD] = (struct lsi_rule){.check = check_loss_grad};
    table[LS_OP_SIGMOID_XENT] = (struct lsi_rule){.check = check_elementwise};
    table[LS_OP_SIGMOID_XENT_GRAD] = (struct lsi_rule){.check = check_elementwise};
    table[LS_OP_BINARY_HIT] = (struct lsi_rule){.check = check_elementwise};
}
