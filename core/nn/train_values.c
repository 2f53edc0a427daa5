/* SPDX-License-Identifier: Apache-2.0 */
/* Small values that losses and metrics are made of: labels in shape, means of a sample, sums over the batch. */
#include "core/nn/loss.h"

#include "core/ops/ops.h"

int64_t lsi_sample_elements(const struct ls_value *x)
{
    struct ls_shape sample = ls_value_info(x)->shape;
    sample.dim[0] = 1;
    return ls_shape_count(&sample);
}

/* Reshapes unless the shape is that already. */
static enum ls_status shaped(struct ls_context *context, struct ls_value *x, const struct ls_shape *shape,
                             struct ls_value **y, struct ls_error *err)
{
    if (ls_shape_equal(&ls_value_info(x)->shape, shape)) {
        *y = x;
        return LS_OK;
    }
    return ls_reshape(context, x, shape, y, err);
}

enum ls_status lsi_labels_index(const struct lsi_scores *scores, struct ls_value **labels, struct ls_error *err)
{
    struct ls_shape rows = ls_value_info(scores->output)->shape;
    rows.rank--;
    return shaped(scores->context, scores->labels, &rows, labels, err);
}

enum ls_status lsi_labels_dense(const struct lsi_scores *scores, struct ls_value **labels, struct ls_error *err)
{
    struct ls_value *made = scores->labels;
    enum ls_status status = LS_OK;
    if (ls_value_info(made)->dtype != LS_F32)
        status = ls_cast(scores->context, made, LS_F32, &made, err);
    if (status != LS_OK)
        return status;
    return shaped(scores->context, made, &ls_value_info(scores->output)->shape, labels, err);
}

enum ls_status lsi_sample_mean(struct ls_context *context, struct ls_value *x, struct ls_value **mean,
                               struct ls_error *err)
{
    int64_t elements = lsi_sample_elements(x), samples = ls_value_info(x)->shape.dim[0];
    float divisor = (float)elements;
    struct ls_value *rows, *sum, *count;
    if (elements == 1)
        return shaped(context, x, &LS_SHAPE(samples), mean, err);
    enum ls_status status = shaped(context, x, &LS_SHAPE(samples, elements), &rows, err);
    if (status == LS_OK)
        status = ls_unary(context, LS_OP_ROW_REDUCE_SUM, rows, &sum, err);
    if (status == LS_OK)
        status = ls_value_constant(context, LS_F32, &LS_SHAPE_SCALAR, &divisor, &count, err);
    if (status == LS_OK)
        status = ls_binary(context, LS_OP_DIV, sum, count, mean, err);
    return status;
}

enum ls_status lsi_batch_sum_f64(struct ls_context *context, struct ls_value *x, struct ls_value **sum,
                                 struct ls_error *err)
{
    struct ls_value *partial;
    enum ls_status status = ls_unary(context, LS_OP_SUM_F64, x, &partial, err);
    return status == LS_OK ? ls_reduce(context, partial, false, sum, err) : status;
}
