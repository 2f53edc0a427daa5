/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics as sums over the batch: i64 counts where a sample is right or wrong, f64 sums of a sample's mean where it
 * holds several decisions. They look at the model's outputs, as Keras does, not at logits.
 */
#include "core/nn/loss.h"

#include "core/base/str.h"
#include "core/ops/ops.h"

#include <string.h>

/* Sum over the batch of hits (n, ...) i64: a count, or of each sample's share. */
static enum ls_status sum_hits(struct ls_context *context, struct ls_value *hits, struct ls_value **sum,
                               struct ls_error *err)
{
    struct ls_value *flat, *mean;
    enum ls_status status;
    if (lsi_sample_elements(hits) == 1) {
        status = ls_reshape(context, hits, &LS_SHAPE(ls_value_info(hits)->shape.dim[0]), &flat, err);
        if (status == LS_OK)
            status = ls_unary(context, LS_OP_SUM_I64, flat, &mean, err);
        return status == LS_OK ? ls_reduce(context, mean, false, sum, err) : status;
    }
    status = ls_cast(context, hits, LS_F32, &flat, err);
    if (status == LS_OK)
        status = lsi_sample_mean(context, flat, &mean, err);
    return status == LS_OK ? lsi_batch_sum_f64(context, mean, sum, err) : status;
}

static enum ls_status sparse_accuracy(const struct lsi_scores *s, struct ls_value **sum, struct ls_error *err)
{
    struct ls_value *labels, *hits;
    enum ls_status status = lsi_labels_index(s, &labels, err);
    if (status == LS_OK)
        status = ls_binary(s->context, LS_OP_SPARSE_HIT, s->output, labels, &hits, err);
    return status == LS_OK ? sum_hits(s->context, hits, sum, err) : status;
}

static enum ls_status categorical_accuracy(const struct lsi_scores *s, struct ls_value **sum, struct ls_error *err)
{
    struct ls_value *targets, *hits;
    enum ls_status status = lsi_labels_dense(s, &targets, err);
    if (status == LS_OK)
        status = ls_binary(s->context, LS_OP_DENSE_HIT, s->output, targets, &hits, err);
    return status == LS_OK ? sum_hits(s->context, hits, sum, err) : status;
}

static enum ls_status binary_accuracy(const struct lsi_scores *s, struct ls_value **sum, struct ls_error *err)
{
    struct ls_op_attrs attrs = {.hit = {.threshold = 0.5f}};
    struct ls_value *targets, *hits;
    enum ls_status status = lsi_labels_dense(s, &targets, err);
    struct ls_value *in[] = {s->output, targets};
    if (status == LS_OK)
        status = ls_apply(s->context, LS_OP_BINARY_HIT, &attrs, in, 2, &hits, err);
    return status == LS_OK ? sum_hits(s->context, hits, sum, err) : status;
}

static enum ls_status squared_error(const struct lsi_scores *s, struct ls_value **sum, struct ls_error *err)
{
    const struct lsi_loss *loss;
    struct ls_value *per_sample;
    enum ls_status status = lsi_loss_find("mean_squared_error", &loss, err);
    if (status == LS_OK)
        status = loss->build(s, &per_sample, err);
    return status == LS_OK ? lsi_batch_sum_f64(s->context, per_sample, sum, err) : status;
}

enum { SPARSE, CATEGORICAL, BINARY, SQUARED };
static const struct lsi_metric metrics[] = {
    [SPARSE] = {"sparse_categorical_accuracy", "SparseCategoricalAccuracy", LSI_LABEL_INDEX, sparse_accuracy},
    [CATEGORICAL] = {"categorical_accuracy", "CategoricalAccuracy", LSI_LABEL_DENSE, categorical_accuracy},
    [BINARY] = {"binary_accuracy", "BinaryAccuracy", LSI_LABEL_DENSE, binary_accuracy},
    [SQUARED] = {"mean_squared_error", "mse", LSI_LABEL_DENSE, squared_error},
};
#define METRIC_COUNT (sizeof(metrics) / sizeof(metrics[0]))

/* Keras' rule: by the last axes and the ranks, whatever the loss. */
static const struct lsi_metric *accuracy_of(const struct ls_shape *output, const struct ls_shape *label)
{
    int64_t classes = output->rank > 0 ? output->dim[output->rank - 1] : 1;
    if (classes == 1)
        return &metrics[BINARY];
    bool one_label = label->rank > 0 && label->dim[label->rank - 1] == 1;
    return &metrics[label->rank < output->rank || one_label ? SPARSE : CATEGORICAL];
}

enum ls_status lsi_metric_find(const char *name, const struct ls_shape *output, const struct ls_shape *label,
                               const struct lsi_metric **metric, struct ls_error *err)
{
    const char *names[METRIC_COUNT + 1];
    if (name != NULL && (strcmp(name, "accuracy") == 0 || strcmp(name, "acc") == 0)) {
        *metric = accuracy_of(output, label);
        return LS_OK;
    }
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        names[i] = metrics[i].name;
        if (name != NULL && (strcmp(name, metrics[i].name) == 0 || strcmp(name, metrics[i].alias) == 0)) {
            *metric = &metrics[i];
            return LS_OK;
        }
    }
    names[METRIC_COUNT] = "accuracy";
    const char *near = name != NULL ? ls_str_nearest(name, names, METRIC_COUNT + 1) : NULL;
    if (near != NULL)
        return ls_error_set(err, LS_EINVAL, "there is no metric \"%s\"; did you mean \"%s\"?", name, near);
    return ls_error_set(err, LS_EINVAL,
                        "there is no metric \"%s\"; there are accuracy, sparse_categorical_accuracy, "
                        "categorical_accuracy, binary_accuracy and mean_squared_error",
                        name != NULL ? name : "");
}

static const char *label_text(const struct ls_shape *shape, char text[128])
{
    return shape->rank == 0 ? "one number" : ls_shape_text(shape, text);
}

enum ls_status lsi_label_check(enum lsi_label_kind kind, const char *who, enum ls_dtype dtype,
                               const struct ls_shape *label, const struct ls_shape *output, struct ls_error *err)
{
    char given_text[128], wanted_text[128];
    struct ls_shape wanted = *output;
    if (kind == LSI_LABEL_INDEX && output->rank < 1)
        return ls_error_set(err, LS_EINVAL, "%s needs an output of at least one dimension a sample", who);
    if (kind == LSI_LABEL_INDEX)
        wanted.rank--;
    /* One axis of length 1 more or less says the same. */
    struct ls_shape longer = wanted;
    if (longer.rank < LS_MAX_RANK)
        longer.dim[longer.rank++] = 1;
    struct ls_shape shorter = wanted;
    if (kind == LSI_LABEL_DENSE && shorter.rank > 0 && shorter.dim[shorter.rank - 1] == 1)
        shorter.rank--;
    if (!ls_shape_equal(label, &wanted) && !(kind == LSI_LABEL_INDEX && ls_shape_equal(label, &longer)) &&
        !ls_shape_equal(label, &shorter))
        return ls_error_set(err, LS_EINVAL,
                            "%s needs labels of %s a sample beside this model's output, the data has %s", who,
                            label_text(&wanted, wanted_text), label_text(label, given_text));
    if (kind == LSI_LABEL_INDEX && dtype != LS_I32)
        return ls_error_set(err, LS_EINVAL, "%s needs integer labels (class numbers), the data has %s", who,
                            ls_dtype_name(dtype));
    if (kind == LSI_LABEL_DENSE && dtype != LS_F32 && dtype != LS_I32)
        return ls_error_set(err, LS_EINVAL, "%s needs labels of float32 or int32, the data has %s", who,
                            ls_dtype_name(dtype));
    return LS_OK;
}
