/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of the dense product and its weight gradient. */
#include "core/ops/context_internal.h"

static enum ls_status check_dense(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    const struct ls_value_info *x = lsi_in(call, 0), *w = lsi_in(call, 1);
    enum ls_status status = LS_OK;
    int64_t k, n;

    if (call->in_count < 2 || call->in_count > 3)
        return lsi_rule_fail(call, err, "%d inputs; x, w and perhaps a bias are needed", call->in_count);
    for (int i = 0; i < call->in_count && status == LS_OK; i++)
        status = lsi_rule_float(call, i, err);
    if (status == LS_OK)
        status = lsi_rule_rank(call, 0, x->distribution == LS_PER_SAMPLE ? 2 : 1, err);
    if (status == LS_OK && w->shape.rank != 2)
        status = lsi_rule_fail(call, err, "w has %d dimensions, 2 are needed", w->shape.rank);
    if (status != LS_OK)
        return status;
    k = w->shape.dim[call->attrs->dense.transposed_w ? 1 : 0];
    n = w->shape.dim[call->attrs->dense.transposed_w ? 0 : 1];
    if (x->shape.dim[x->shape.rank - 1] != k)
        return lsi_rule_fail(call, err, "x has rows of %lld where w takes %lld",
                             (long long)x->shape.dim[x->shape.rank - 1], (long long)k);
    status = lsi_rule_parameter(call, 1, &w->shape, err);
    if (status == LS_OK && call->in_count == 3)
        status = lsi_rule_parameter(call, 2, &LS_SHAPE(n), err);
    if (status != LS_OK)
        return status;
    lsi_rule_like(call, 0, out);
    out->info.shape.dim[out->info.shape.rank - 1] = n;
    return LS_OK;
}

/* One pair x (rows.., K), dy (rows.., N) of samples. */
static enum ls_status check_pair(const struct lsi_rule_call *call, int i, struct ls_shape *shape, struct ls_error *err)
{
    const struct ls_value_info *x = lsi_in(call, i), *dy = lsi_in(call, i + 1);
    enum ls_status status = lsi_rule_rank(call, i, 2, err);
    int last = x->shape.rank - 1;

    if (status == LS_OK)
        status = lsi_rule_float(call, i, err);
    if (status == LS_OK)
        status = lsi_rule_float(call, i + 1, err);
    if (status != LS_OK)
        return status;
    if (x->distribution != LS_PER_SAMPLE || dy->distribution != LS_PER_SAMPLE)
        return lsi_rule_fail(call, err, "inputs %d and %d must be spread over samples", i, i + 1);
    if (x->shape.rank != dy->shape.rank || x->rows_per_sample != dy->rows_per_sample)
        return lsi_rule_fail(call, err, "inputs %d and %d have different rows", i, i + 1);
    for (int d = 0; d < last; d++)
        if (x->shape.dim[d] != dy->shape.dim[d])
            return lsi_rule_fail(call, err, "inputs %d and %d differ in dimension %d", i, i + 1, d);
    *shape = LS_SHAPE(x->shape.dim[last], dy->shape.dim[last]);
    return LS_OK;
}

static enum ls_status check_dense_wgrad(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    const struct ls_batch_reduction *batch = &call->attrs->batch;
    int first = batch->accumulate ? 1 : 0;
    struct ls_shape shape = {0};

    if (call->in_count < first + 2 || (call->in_count - first) % 2 != 0)
        return lsi_rule_fail(call, err, "%d inputs; pairs of x and dy are needed", call->in_count);
    for (int i = first; i < call->in_count; i += 2) {
        struct ls_shape pair;
        enum ls_status status = check_pair(call, i, &pair, err);

        if (status != LS_OK)
            return status;
        if (i > first && !ls_shape_equal(&pair, &shape))
            return lsi_rule_fail(call, err, "inputs %d and %d give another shape than the first pair", i, i + 1);
        shape = pair;
    }
    return lsi_rule_partial(call, batch, &shape, out, err);
}

void lsi_rules_products(struct lsi_rule *table)
{
    table[LS_OP_DENSE] = (struct lsi_rule){.check = check_dense};
    table[LS_OP_DENSE_WGRAD] = (struct lsi_rule){.check = check_dense_wgrad, .takes_partial = true};
}
