/* SPDX-License-Identifier: Apache-2.0 */
/* Batch normalisation over the global batch: forward as recorded ops, backward as one custom rule. */
#include "core/ops/batch_norm.h"

#include "core/ops/ops.h"
#include "core/ops/tape.h"

struct batch_norm {
    float epsilon;
    struct ls_value *mean, *var, *count;
};

/* Row `row` of merged moments (3, C) as (C). */
static enum ls_status moment(struct ls_context *context, struct ls_value *moments, int row, struct ls_value **out,
                             struct ls_error *err)
{
    struct ls_op_attrs attrs = {.slice = {.axis = 0, .begin = row, .count = 1}};
    struct ls_value *slice = NULL;
    enum ls_status status = ls_apply(context, LS_OP_SLICE, &attrs, &moments, 1, &slice, err);

    if (status != LS_OK)
        return status;
    return ls_reshape(context, slice, &LS_SHAPE(ls_value_info(moments)->shape.dim[1]), out, err);
}

/* Sum over the batch of dy, or of x dy where x is not NULL, reduced. */
static enum ls_status batch_sum(struct ls_context *context, struct ls_value *x, struct ls_value *dy,
                                struct ls_value **out, struct ls_error *err)
{
    struct ls_value *pair[] = {x, dy}, *partial = NULL;
    enum ls_status status = x != NULL ? ls_apply(context, LS_OP_ROW_DOT, NULL, pair, 2, &partial, err)
                                      : ls_apply(context, LS_OP_ROW_SUM, NULL, &dy, 1, &partial, err);

    return status == LS_OK ? ls_reduce(context, partial, false, out, err) : status;
}

static enum ls_status backward(const struct ls_custom_call *call, struct ls_value **in_adjoints, struct ls_error *err)
{
    const struct batch_norm *bn = call->state;
    struct ls_op_attrs attrs = {.bn = {.epsilon = bn->epsilon}};
    struct ls_value *normal[] = {call->in[0], bn->mean, bn->var}, *dy = call->adjoint;
    struct ls_value *xhat = NULL, *sum_dy = NULL, *sum_dy_xhat = NULL;
    const bool *wanted = call->wanted;
    enum ls_status status = LS_OK;

    /* Only what somebody asks for: a traced step leaves unused sums out, and an eager one must reduce the same. */
    if (wanted[0] || wanted[1])
        status = ls_apply(call->context, LS_OP_BN_XHAT, &attrs, normal, 3, &xhat, err);
    if (status == LS_OK && (wanted[0] || wanted[2]))
        status = batch_sum(call->context, NULL, dy, &sum_dy, err);
    if (status == LS_OK && (wanted[0] || wanted[1]))
        status = batch_sum(call->context, xhat, dy, &sum_dy_xhat, err);
    if (status == LS_OK && wanted[0]) {
        struct ls_value *in[] = {xhat, dy, bn->var, call->in[1], sum_dy, sum_dy_xhat, bn->count};

        status = ls_apply(call->context, LS_OP_BN_XGRAD, &attrs, in, 7, &in_adjoints[0], err);
    }
    in_adjoints[1] = sum_dy_xhat;
    in_adjoints[2] = sum_dy;
    return status;
}

enum ls_status ls_batch_norm_train(struct ls_context *context, struct ls_value *x, struct ls_value *gamma,
                                   struct ls_value *beta, float epsilon, struct ls_value **y, struct ls_value **mean,
                                   struct ls_value **var, struct ls_error *err)
{
    struct ls_op_attrs attrs = {.bn = {.epsilon = epsilon}};
    struct batch_norm *bn = ls_context_memory(context, sizeof(*bn));
    struct ls_value *partial = NULL, *moments = NULL, *m2 = NULL, *normal = NULL, *out = NULL;
    struct ls_value *sources[] = {x, gamma, beta};
    struct ls_custom_rule rule = {.in = sources, .in_count = 3, .fn = backward, .state = bn};
    enum ls_status status;

    if (bn == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for a batch normalisation");
    bn->epsilon = epsilon;
    status = ls_unary(context, LS_OP_MOMENTS, x, &partial, err);
    if (status == LS_OK)
        status = ls_reduce(context, partial, true, &moments, err);
    if (status == LS_OK)
        status = moment(context, moments, 0, &bn->count, err);
    if (status == LS_OK)
        status = moment(context, moments, 1, &bn->mean, err);
    if (status == LS_OK)
        status = moment(context, moments, 2, &m2, err);
    if (status == LS_OK)
        status = ls_binary(context, LS_OP_DIV, m2, bn->count, &bn->var, err);
    if (status == LS_OK) {
        struct ls_value *in[] = {x, bn->mean, bn->var, gamma, beta};

        status = ls_apply(context, LS_OP_BN_APPLY, &attrs, in, 5, &normal, err);
    }
    if (status == LS_OK)
        status = ls_value_custom_rule(context, normal, &rule, &out, err);
    if (status != LS_OK)
        return status;
    *y = out;
    *mean = bn->mean;
    *var = bn->var;
    return LS_OK;
}
