/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules of batch reductions (per-sample in, partial out), of the frontier, and of batch normalisation. These are
 * the only ops that may see more than one sample at once.
 */
#include "core/ops/context_internal.h"

/* Input i is a float, spread over samples, with rows along its last axis. */
static enum ls_status check_rows(const struct lsi_rule_call *call, int i, struct ls_error *err)
{
    enum ls_status status = lsi_rule_float(call, i, err);

    if (status == LS_OK)
        status = lsi_rule_rank(call, i, 2, err);
    if (status == LS_OK && lsi_in(call, i)->distribution != LS_PER_SAMPLE)
        status = lsi_rule_fail(call, err, "input %d must be spread over samples", i);
    return status;
}

static int64_t last_dim(const struct lsi_rule_call *call, int i)
{
    const struct ls_shape *shape = &lsi_in(call, i)->shape;

    return shape->dim[shape->rank - 1];
}

/* ROW_SUM (stride 1) and ROW_DOT (stride 2): all inputs but a running sum have one last dimension. */
static enum ls_status check_reduction(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    const struct ls_batch_reduction *batch = &call->attrs->batch;
    int first = batch->accumulate ? 1 : 0, stride = call->op == LS_OP_ROW_DOT ? 2 : 1;

    if (call->in_count < first + stride || (call->in_count - first) % stride != 0)
        return lsi_rule_fail(call, err, "%d inputs do not make whole terms", call->in_count);
    for (int i = first; i < call->in_count; i++) {
        enum ls_status status = check_rows(call, i, err);

        if (status == LS_OK && stride == 2 && (i - first) % 2 == 1)
            status = lsi_rule_same(call, i - 1, i, err);
        if (status != LS_OK)
            return status;
        if (last_dim(call, i) != last_dim(call, first))
            return lsi_rule_fail(call, err, "input %d has rows of %lld where the first has %lld", i,
                                 (long long)last_dim(call, i), (long long)last_dim(call, first));
    }
    return lsi_rule_partial(call, batch, &LS_SHAPE(last_dim(call, first)), out, err);
}

static enum ls_status check_shard_tree(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    if (!call->in[0]->per_shard)
        return lsi_rule_fail(call, err, "input 0 is not the running sums of the call's shards");
    lsi_rule_like(call, 0, out);
    out->info.shape.rank--;
    for (int d = 0; d < out->info.shape.rank; d++)
        out->info.shape.dim[d] = lsi_in(call, 0)->shape.dim[d + 1];
    out->per_shard = false;
    return LS_OK;
}

static enum ls_status check_scalar_sum(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    enum ls_status status =
        call->op == LS_OP_SUM_F64 ? lsi_rule_float(call, 0, err) : lsi_rule_dtype(call, 0, LS_I64, err);

    if (status != LS_OK)
        return status;
    if (lsi_in(call, 0)->distribution != LS_PER_SAMPLE || lsi_in(call, 0)->shape.rank != 1)
        return lsi_rule_fail(call, err, "input 0 must have one dimension, spread over samples");
    out->info.dtype = call->op == LS_OP_SUM_F64 ? LS_F64 : LS_I64;
    out->info.shape = LS_SHAPE_SCALAR;
    out->info.distribution = LS_PARTIAL;
    return LS_OK;
}

static enum ls_status check_moments(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    enum ls_status status = check_rows(call, 0, err);

    if (status != LS_OK)
        return status;
    if (lsi_in(call, 0)->dtype != LS_F32)
        return lsi_rule_fail(call, err, "statistics are of float32 values");
    out->info.dtype = LS_F32;
    out->info.shape = LS_SHAPE(3, last_dim(call, 0));
    out->info.distribution = LS_PARTIAL;
    return LS_OK;
}

static enum ls_status check_reduce(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    const struct ls_value_info *in = lsi_in(call, 0);

    if (in->distribution != LS_PARTIAL || call->in[0]->per_shard)
        return lsi_rule_fail(call, err, "input 0 is not the partial sum of a call");
    if (call->attrs->reduce.moments && (in->dtype != LS_F32 || in->shape.rank != 2 || in->shape.dim[0] != 3))
        return lsi_rule_fail(call, err, "moments are f32 (3, channels)");
    lsi_rule_like(call, 0, out);
    out->info.distribution = LS_REPLICATED;
    return LS_OK;
}

/* x (rows.., C) and parameters (C) from input `first` on. */
static enum ls_status check_channels(const struct lsi_rule_call *call, int first, struct ls_error *err)
{
    enum ls_status status = lsi_rule_float(call, 0, err);

    if (status == LS_OK)
        status = lsi_rule_rank(call, 0, lsi_in(call, 0)->distribution == LS_PER_SAMPLE ? 2 : 1, err);
    for (int i = first; i < call->in_count && status == LS_OK; i++) {
        status = lsi_rule_float(call, i, err);
        if (status == LS_OK)
            status = lsi_rule_parameter(call, i, &LS_SHAPE(last_dim(call, 0)), err);
    }
    return status;
}

static enum ls_status check_bn(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    enum ls_status status = check_channels(call, 1, err);

    if (status == LS_OK)
        lsi_rule_like(call, 0, out);
    return status;
}

static enum ls_status check_bn_xgrad(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    enum ls_status status = check_channels(call, 2, err);

    if (status == LS_OK)
        status = lsi_rule_float(call, 1, err);
    if (status == LS_OK)
        status = lsi_rule_same(call, 0, 1, err);
    if (status == LS_OK)
        lsi_rule_like(call, 0, out);
    return status;
}

void lsi_rules_batch(struct lsi_rule *table)
{
    table[LS_OP_ROW_SUM] = (struct lsi_rule){.check = check_reduction, .takes_partial = true};
    table[LS_OP_ROW_DOT] = (struct lsi_rule){.check = check_reduction, .takes_partial = true};
    table[LS_OP_SHARD_TREE] = (struct lsi_rule){.check = check_shard_tree, .takes_partial = true};
    table[LS_OP_SUM_F64] = (struct lsi_rule){.check = check_scalar_sum};
    table[LS_OP_SUM_I64] = (struct lsi_rule){.check = check_scalar_sum};
    table[LS_OP_MOMENTS] = (struct lsi_rule){.check = check_moments};
    table[LS_OP_REDUCE] = (struct lsi_rule){.check = check_reduce, .takes_partial = true};
    table[LS_OP_BN_APPLY] = (struct lsi_rule){.check = check_bn};
    table[LS_OP_BN_XHAT] = (struct lsi_rule){.check = check_bn};
    table[LS_OP_BN_XGRAD] = (struct lsi_rule){.check = check_bn_xgrad};
}
