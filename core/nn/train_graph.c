/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds the training step: forward pass, loss, metrics, gradients of the per-sample losses seeded with the loss seed.
 * REDUCEs appear in the order loss, metrics, then gradients as they become ready (last layer first).
 */
#include "core/nn/loss.h"

#include "core/autodiff/gradient.h"
#include "core/base/alloc.h"
#include "core/ops/ops.h"

#include <stdio.h>

enum ls_status ls_train_spec_check(const struct ls_train_spec *spec, enum ls_dtype label_dtype,
                                   const struct ls_shape *label_shape, struct ls_error *err)
{
    const struct lsi_loss *loss;
    const struct lsi_metric *metric;
    char who[96];
    if (ls_model_output_count(spec->model) != 1)
        return ls_error_set(err, LS_EUNSUPPORTED, "the model has %d outputs, training takes models with one",
                            ls_model_output_count(spec->model));
    if (spec->metric_count > LS_MAX_METRICS)
        return ls_error_set(err, LS_EINVAL, "there are %d metrics, at most %d are possible", spec->metric_count,
                            LS_MAX_METRICS);
    const struct ls_shape *output = ls_model_output_shape(spec->model, 0);
    enum ls_status status = lsi_loss_find(spec->loss, &loss, err);
    if (status != LS_OK)
        return status;
    (void)snprintf(who, sizeof(who), "the loss %s", loss->name);
    status = lsi_label_check(loss->label, who, label_dtype, label_shape, output, err);
    for (int i = 0; status == LS_OK && i < spec->metric_count; i++) {
        status = lsi_metric_find(spec->metrics[i], output, label_shape, &metric, err);
        if (status != LS_OK)
            break;
        (void)snprintf(who, sizeof(who), "the metric %s", metric->name);
        status = lsi_label_check(metric->label, who, label_dtype, label_shape, output, err);
    }
    return status;
}

int64_t ls_train_loss_values(const struct ls_train_spec *spec)
{
    (void)spec; /* every loss is averaged inside the sample */
    return 1;
}

/* Shape of one sample of a (n, ...) value. */
static struct ls_shape sample_shape(const struct ls_value *value)
{
    const struct ls_shape *whole = &ls_value_info(value)->shape;
    struct ls_shape sample = {.rank = whole->rank - 1};
    for (int i = 0; i < sample.rank; i++)
        sample.dim[i] = whole->dim[i + 1];
    return sample;
}

static enum ls_status build_sums(const struct ls_train_spec *spec, const struct lsi_scores *scores,
                                 struct ls_train_step *step, struct ls_value **per_sample, struct ls_error *err)
{
    struct ls_shape label = sample_shape(scores->labels), output = sample_shape(scores->output);
    const struct lsi_loss *loss;
    const struct lsi_metric *metric;
    enum ls_status status = lsi_loss_find(spec->loss, &loss, err);
    if (status == LS_OK)
        status = loss->build(scores, per_sample, err);
    if (status == LS_OK)
        status = lsi_batch_sum_f64(scores->context, *per_sample, &step->loss_sum, err);
    if (status != LS_OK)
        return ls_error_wrap(err, "loss %s", spec->loss);
    for (int i = 0; i < spec->metric_count; i++) {
        status = lsi_metric_find(spec->metrics[i], &output, &label, &metric, err);
        if (status == LS_OK)
            status = metric->build(scores, &step->metric_sum[i], err);
        if (status != LS_OK)
            return ls_error_wrap(err, "metric %s", spec->metrics[i]);
    }
    return LS_OK;
}

/* The seed of every sample's loss: 1 * seed, the same bits. */
static enum ls_status spread_seed(struct ls_context *context, const struct ls_value *per_sample, struct ls_value *seed,
                                  struct ls_value **spread, struct ls_error *err)
{
    struct ls_value *ones;
    enum ls_status status = ls_fill(context, &ls_value_info(per_sample)->shape, LS_PER_SAMPLE, 1, 1.0f, &ones, err);
    return status == LS_OK ? ls_binary(context, LS_OP_MUL, ones, seed, spread, err) : status;
}

static enum ls_status build_gradients(const struct ls_train_spec *spec, struct ls_context *context,
                                      struct ls_value *per_sample, struct ls_value *seed,
                                      struct ls_value *const *variables, struct ls_value **gradients,
                                      struct ls_error *err)
{
    int count = ls_model_variable_count(spec->model), sources = 0;
    struct ls_value **source = ls_alloc_zeroed(2 * (size_t)count + 1, sizeof(*source));
    struct ls_value **found, *spread;
    enum ls_status status = LS_OK;
    if (source == NULL)
        return ls_error_set(err, LS_ENOMEM, "there is not enough memory for the gradients");
    found = source + count;
    for (int i = 0; i < count; i++)
        if (ls_model_variable(spec->model, i)->role == LS_ROLE_TRAINABLE)
            source[sources++] = variables[i];
    if (sources > 0) {
        status = spread_seed(context, per_sample, seed, &spread, err);
        if (status == LS_OK)
            status = ls_gradient(context, &per_sample, &spread, 1, source, sources, found, err);
    }
    for (int i = 0, k = 0; status == LS_OK && i < count; i++) {
        gradients[i] = NULL;
        if (ls_model_variable(spec->model, i)->role != LS_ROLE_TRAINABLE)
            continue;
        gradients[i] = found[k++];
        if (gradients[i] == NULL) /* the loss does not depend on it */
            status =
                ls_fill(context, &ls_model_variable(spec->model, i)->shape, LS_REPLICATED, 0, 0.0f, &gradients[i], err);
    }
    ls_free(source);
    return status;
}

/* Room for a pass over the model, in one block. */
static enum ls_status pass_init(const struct ls_model *model, struct ls_train_step *step, struct ls_model_pass *pass,
                                struct ls_error *err)
{
    size_t outputs = (size_t)ls_model_output_count(model);
    pass->outputs = step->outputs;
    pass->updates = step->updates;
    pass->logits = ls_alloc_zeroed(outputs, sizeof(*pass->logits));
    pass->final_activation = ls_alloc_zeroed(outputs, sizeof(*pass->final_activation));
    if (pass->logits == NULL || pass->final_activation == NULL)
        return ls_error_set(err, LS_ENOMEM, "there is not enough memory to apply the model");
    return LS_OK;
}

enum ls_status ls_train_build(const struct ls_train_spec *spec, struct ls_context *context,
                              struct ls_value *const *inputs, struct ls_value *labels, struct ls_value *loss_seed,
                              struct ls_value *const *variables, bool training, struct ls_train_step *step,
                              struct ls_error *err)
{
    struct ls_model_pass pass = {0};
    struct ls_value *per_sample;
    enum ls_status status = LS_OK;
    if (labels == NULL && training)
        return ls_error_set(err, LS_EINVAL, "training needs labels");
    if (labels != NULL && ls_value_info(labels)->distribution == LS_PER_SAMPLE) {
        struct ls_shape label = sample_shape(labels);
        status = ls_train_spec_check(spec, ls_value_info(labels)->dtype, &label, err);
    }
    if (status == LS_OK)
        status = pass_init(spec->model, step, &pass, err);
    if (status == LS_OK)
        status = ls_model_forward(spec->model, context, inputs, variables, training, &pass, err);
    step->loss_sum = NULL;
    if (status == LS_OK && labels != NULL) {
        struct lsi_scores scores = {.context = context,
                                    .output = step->outputs[0],
                                    .logits = pass.logits[0] != NULL ? pass.logits[0]
                                              : spec->from_logits    ? step->outputs[0]
                                                                     : NULL,
                                    .labels = labels};
        status = build_sums(spec, &scores, step, &per_sample, err);
    }
    if (status == LS_OK && training)
        status = build_gradients(spec, context, per_sample, loss_seed, variables, step->gradients, err);
    ls_free(pass.logits);
    ls_free(pass.final_activation);
    return status;
}
