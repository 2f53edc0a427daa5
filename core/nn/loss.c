/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Losses as Keras 3 defines them, per sample. Cross-entropies take logits where the model ends in softmax or sigmoid
 * (or the job says from_logits); probabilities from elsewhere are clipped to [1e-7, 1 - 1e-7]: categorical divides by
 * the sum, then clips; sparse clips, then divides by the sum (a softmax of logarithms); binary only clips.
 */
#include "core/nn/loss.h"

#include "core/base/str.h"
#include "core/ops/ops.h"

#include <string.h>

/* min(max(p, 1e-7), 1 - 1e-7); at the ends the gradient is p's. */
static enum ls_status clip(struct ls_context *context, struct ls_value *p, struct ls_value **clipped,
                           struct ls_error *err)
{
    float low = 1e-7f, high = (float)(1.0 - 1e-7);
    struct ls_value *bound, *raised;
    enum ls_status status = ls_value_constant(context, LS_F32, &LS_SHAPE_SCALAR, &low, &bound, err);
    if (status == LS_OK)
        status = ls_binary(context, LS_OP_MAXIMUM, p, bound, &raised, err);
    if (status == LS_OK)
        status = ls_value_constant(context, LS_F32, &LS_SHAPE_SCALAR, &high, &bound, err);
    if (status == LS_OK)
        status = ls_binary(context, LS_OP_MINIMUM, raised, bound, clipped, err);
    return status;
}

static enum ls_status clipped_log(struct ls_context *context, struct ls_value *p, struct ls_value **log,
                                  struct ls_error *err)
{
    struct ls_value *clipped;
    enum ls_status status = clip(context, p, &clipped, err);
    return status == LS_OK ? ls_unary(context, LS_OP_LOG, clipped, log, err) : status;
}

static enum ls_status sparse_categorical(const struct lsi_scores *s, struct ls_value **loss, struct ls_error *err)
{
    struct ls_value *labels, *logits = s->logits, *per_row;
    enum ls_status status = lsi_labels_index(s, &labels, err);
    if (status == LS_OK && logits == NULL)
        status = clipped_log(s->context, s->output, &logits, err);
    if (status == LS_OK)
        status = ls_binary(s->context, LS_OP_SPARSE_SOFTMAX_XENT, logits, labels, &per_row, err);
    return status == LS_OK ? lsi_sample_mean(s->context, per_row, loss, err) : status;
}

/* -sum over classes of target * log(clip(p / sum(p))) */
static enum ls_status categorical_probabilities(const struct lsi_scores *s, struct ls_value *targets,
                                                struct ls_value **per_row, struct ls_error *err)
{
    const struct ls_shape *shape = &ls_value_info(s->output)->shape;
    struct ls_op_attrs attrs = {.rows = {.count = shape->dim[shape->rank - 1]}};
    struct ls_value *sum, *wide, *share, *log, *product;
    enum ls_status status = ls_unary(s->context, LS_OP_ROW_REDUCE_SUM, s->output, &sum, err);
    if (status == LS_OK)
        status = ls_apply(s->context, LS_OP_ROW_BROADCAST, &attrs, &sum, 1, &wide, err);
    if (status == LS_OK)
        status = ls_binary(s->context, LS_OP_DIV, s->output, wide, &share, err);
    if (status == LS_OK)
        status = clipped_log(s->context, share, &log, err);
    if (status == LS_OK)
        status = ls_binary(s->context, LS_OP_MUL, log, targets, &product, err);
    if (status == LS_OK)
        status = ls_unary(s->context, LS_OP_ROW_REDUCE_SUM, product, &sum, err);
    return status == LS_OK ? ls_unary(s->context, LS_OP_NEG, sum, per_row, err) : status;
}

static enum ls_status categorical(const struct lsi_scores *s, struct ls_value **loss, struct ls_error *err)
{
    struct ls_value *targets, *per_row;
    enum ls_status status = lsi_labels_dense(s, &targets, err);
    if (status == LS_OK)
        status = s->logits != NULL ? ls_binary(s->context, LS_OP_SOFTMAX_XENT, s->logits, targets, &per_row, err)
                                   : categorical_probabilities(s, targets, &per_row, err);
    return status == LS_OK ? lsi_sample_mean(s->context, per_row, loss, err) : status;
}

/* -(target * log(q) + (1 - target) * log(1 - q)), q = clip(p) */
static enum ls_status binary_probabilities(const struct lsi_scores *s, struct ls_value *targets,
                                           struct ls_value **per_element, struct ls_error *err)
{
    struct ls_value *q, *log, *hit, *other, *rest, *miss, *sum;
    enum ls_status status = clip(s->context, s->output, &q, err);
    if (status == LS_OK)
        status = ls_unary(s->context, LS_OP_LOG, q, &log, err);
    if (status == LS_OK)
        status = ls_binary(s->context, LS_OP_MUL, log, targets, &hit, err);
    if (status == LS_OK)
        status = ls_affine(s->context, q, -1.0f, 1.0f, &other, err);
    if (status == LS_OK)
        status = ls_unary(s->context, LS_OP_LOG, other, &log, err);
    if (status == LS_OK)
        status = ls_affine(s->context, targets, -1.0f, 1.0f, &rest, err);
    if (status == LS_OK)
        status = ls_binary(s->context, LS_OP_MUL, log, rest, &miss, err);
    if (status == LS_OK)
        status = ls_binary(s->context, LS_OP_ADD, hit, miss, &sum, err);
    return status == LS_OK ? ls_unary(s->context, LS_OP_NEG, sum, per_element, err) : status;
}

static enum ls_status binary(const struct lsi_scores *s, struct ls_value **loss, struct ls_error *err)
{
    struct ls_value *targets, *per_element;
    enum ls_status status = lsi_labels_dense(s, &targets, err);
    if (status == LS_OK)
        status = s->logits != NULL ? ls_binary(s->context, LS_OP_SIGMOID_XENT, s->logits, targets, &per_element, err)
                                   : binary_probabilities(s, targets, &per_element, err);
    return status == LS_OK ? lsi_sample_mean(s->context, per_element, loss, err) : status;
}

static enum ls_status mean_squared_error(const struct lsi_scores *s, struct ls_value **loss, struct ls_error *err)
{
    struct ls_value *targets, *difference, *square;
    enum ls_status status = lsi_labels_dense(s, &targets, err);
    if (status == LS_OK)
        status = ls_binary(s->context, LS_OP_SUB, s->output, targets, &difference, err);
    if (status == LS_OK)
        status = ls_binary(s->context, LS_OP_MUL, difference, difference, &square, err);
    return status == LS_OK ? lsi_sample_mean(s->context, square, loss, err) : status;
}

static const struct lsi_loss losses[] = {
    {"sparse_categorical_crossentropy", "SparseCategoricalCrossentropy", LSI_LABEL_INDEX, sparse_categorical},
    {"categorical_crossentropy", "CategoricalCrossentropy", LSI_LABEL_DENSE, categorical},
    {"binary_crossentropy", "BinaryCrossentropy", LSI_LABEL_DENSE, binary},
    {"mean_squared_error", "mse", LSI_LABEL_DENSE, mean_squared_error},
};
#define LOSS_COUNT (sizeof(losses) / sizeof(losses[0]))

enum ls_status lsi_loss_find(const char *name, const struct lsi_loss **loss, struct ls_error *err)
{
    const char *names[LOSS_COUNT];
    for (size_t i = 0; i < LOSS_COUNT; i++) {
        names[i] = losses[i].name;
        if (name != NULL && (strcmp(name, losses[i].name) == 0 || strcmp(name, losses[i].alias) == 0)) {
            *loss = &losses[i];
            return LS_OK;
        }
    }
    const char *near = name != NULL ? ls_str_nearest(name, names, LOSS_COUNT) : NULL;
    if (near != NULL)
        return ls_error_set(err, LS_EINVAL, "there is no loss \"%s\"; did you mean \"%s\"?", name, near);
    return ls_error_set(err, LS_EINVAL,
                        "there is no loss \"%s\"; there are sparse_categorical_crossentropy, "
                        "categorical_crossentropy, binary_crossentropy and mean_squared_error",
                        name != NULL ? name : "");
}
