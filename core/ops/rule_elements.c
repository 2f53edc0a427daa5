/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of element-wise ops. Of two operands the second may be a suffix of the first, or a scalar. */
#include "core/ops/context_internal.h"

static enum ls_status check_unary(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    lsi_rule_like(call, 0, out);
    return lsi_rule_float(call, 0, err);
}

static enum ls_status check_binary(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    const struct ls_value_info *a = lsi_in(call, 0), *b = lsi_in(call, 1);
    char first[128], second[128];
    enum ls_status status = lsi_rule_float(call, 0, err);

    if (status == LS_OK)
        status = lsi_rule_float(call, 1, err);
    if (status != LS_OK)
        return status;
    lsi_rule_like(call, 0, out);
    if (b->distribution == LS_PER_SAMPLE)
        return lsi_rule_same(call, 0, 1, err);
    if (!lsi_shape_is_suffix(&a->shape, &b->shape))
        return lsi_rule_fail(call, err, "input 1 has shape %s, which is no suffix of %s",
                             ls_shape_text(&b->shape, second), ls_shape_text(&a->shape, first));
    if (a->distribution == LS_PER_SAMPLE && b->shape.rank >= a->shape.rank)
        return lsi_rule_fail(call, err, "input 1 is replicated and spans the sample axis of input 0");
    return LS_OK;
}

static enum ls_status check_pairwise(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    lsi_rule_like(call, 0, out);
    for (int i = 0; i < call->in_count; i++) {
        enum ls_status status = lsi_rule_float(call, i, err);

        if (status == LS_OK && i > 0)
            status = lsi_rule_same(call, 0, i, err);
        if (status != LS_OK)
            return status;
    }
    return LS_OK;
}

static enum ls_status check_cast(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    lsi_rule_like(call, 0, out);
    out->info.dtype = call->attrs->cast.dtype;
    if (ls_dtype_size(out->info.dtype) == 0)
        return lsi_rule_fail(call, err, "%d is no dtype", (int)out->info.dtype);
    if (out->info.dtype == LS_F16 || lsi_in(call, 0)->dtype == LS_F16)
        return lsi_rule_fail(call, err, "no op computes in float16");
    return LS_OK;
}

static enum ls_status check_dropout(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    float rate = call->attrs->dropout.rate;

    if (!(rate >= 0.0f && rate < 1.0f))
        return lsi_rule_fail(call, err, "a rate of %g; it lies in [0, 1)", (double)rate);
    return check_unary(call, out, err);
}

void lsi_rules_elements(struct lsi_rule *table)
{
    static const enum ls_op unary[] = {LS_OP_NEG,  LS_OP_EXP,  LS_OP_LOG,     LS_OP_TANH,
                                       LS_OP_SQRT, LS_OP_RELU, LS_OP_SIGMOID, LS_OP_AFFINE};
    static const enum ls_op binary[] = {LS_OP_ADD, LS_OP_SUB, LS_OP_MUL, LS_OP_DIV, LS_OP_MAXIMUM, LS_OP_MINIMUM};

    for (size_t i = 0; i < sizeof(unary) / sizeof(unary[0]); i++)
        table[unary[i]] = (struct lsi_rule){.check = check_unary};
    for (size_t i = 0; i < sizeof(binary) / sizeof(binary[0]); i++)
        table[binary[i]] = (struct lsi_rule){.check = check_binary};
    table[LS_OP_SELECT_GE] = (struct lsi_rule){.check = check_pairwise};
    table[LS_OP_RELU_GRAD] = (struct lsi_rule){.check = check_pairwise};
    table[LS_OP_CAST] = (struct lsi_rule){.check = check_cast};
    table[LS_OP_DROPOUT] = (struct lsi_rule){.check = check_dropout};
}
