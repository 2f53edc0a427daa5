/* SPDX-License-Identifier: Apache-2.0 */
/* Dense: act(x w + bias) over the last axis; relu is part of the product, other activations follow it. */
#include "core/nn/layers/layers.h"

#include "core/ops/ops.h"

enum { KERNEL, BIAS };

static void read_config(struct lsi_config *config, struct lsi_layer *layer)
{
    struct ls_dense_options *o = &layer->options.dense;
    o->units = lsi_config_int(config, "units", 0, 1, INT32_MAX);
    o->activation = lsi_config_activation(config, "activation");
    o->no_bias = !lsi_config_bool(config, "use_bias", true);
    lsi_config_initializer(config, "kernel_initializer", &o->kernel_initializer);
    lsi_config_initializer(config, "bias_initializer", &o->bias_initializer);
    lsi_config_neutral(config, "kernel_regularizer");
    lsi_config_neutral(config, "bias_regularizer");
    lsi_config_neutral(config, "activity_regularizer");
    lsi_config_neutral(config, "kernel_constraint");
    lsi_config_neutral(config, "bias_constraint");
    lsi_config_neutral(config, "quantization_config");
    lsi_config_neutral(config, "lora_rank");
}

static enum ls_status check(const struct lsi_layer *layer, struct ls_error *err)
{
    const struct ls_dense_options *o = &layer->options.dense;
    if (o->units < 1 || o->units > INT32_MAX)
        return ls_error_set(err, LS_EINVAL, "units must be from 1 to %d", INT32_MAX);
    return lsi_activation_check(o->activation, err);
}

static enum ls_status shape(const struct lsi_layer *layer, const struct ls_shape *in, int in_count,
                            struct ls_shape *out, struct ls_error *err)
{
    (void)in_count;
    if (in[0].rank < 1)
        return ls_error_set(err, LS_EINVAL, "it needs samples of at least one dimension");
    enum ls_status status = lsi_same_channels(layer, &in[0], err);
    if (status != LS_OK)
        return status;
    *out = in[0];
    out->dim[out->rank - 1] = layer->options.dense.units;
    return LS_OK;
}

static enum ls_status variables(struct ls_model *model, struct lsi_layer *layer, struct ls_error *err)
{
    const struct ls_dense_options *o = &layer->options.dense;
    struct lsi_variable_plan kernel = {.slot = KERNEL,
                                       .name = "kernel",
                                       .role = LS_ROLE_TRAINABLE,
                                       .shape = LS_SHAPE(layer->built.dim[layer->built.rank - 1], o->units),
                                       .initializer = lsi_initializer_or(o->kernel_initializer, LS_GLOROT_UNIFORM)};
    struct lsi_variable_plan bias = {.slot = BIAS,
                                     .name = "bias",
                                     .role = LS_ROLE_TRAINABLE,
                                     .shape = LS_SHAPE(o->units),
                                     .initializer = lsi_initializer_or(o->bias_initializer, LS_ZEROS)};
    enum ls_status status = lsi_add_variable(model, layer, &kernel, err);
    if (status == LS_OK && !o->no_bias)
        status = lsi_add_variable(model, layer, &bias, err);
    return status;
}

static enum ls_status apply(struct lsi_apply *a)
{
    const struct ls_dense_options *o = &a->layer->options.dense;
    bool relu = o->activation == LS_RELU;
    struct ls_value *y;
    enum ls_status status = ls_dense(a->context, a->in[0].value, a->variables[a->layer->variable[KERNEL]],
                                     o->no_bias ? NULL : a->variables[a->layer->variable[BIAS]],
                                     relu ? LS_ACTIVATION_RELU : LS_ACTIVATION_NONE, &y, a->err);
    if (status != LS_OK)
        return status;
    return lsi_activation_apply(a->context, relu ? LS_LINEAR : o->activation, y, &a->out, a->err);
}

const struct lsi_layer_class lsi_layer_dense = {
    .name = "Dense",
    .snake = "dense",
    .min_inputs = 1,
    .max_inputs = 1,
    .read = read_config,
    .check = check,
    .shape = shape,
    .variables = variables,
    .apply = apply,
};
