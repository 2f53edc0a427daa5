/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Activations by name, and the layers Activation, ReLU and Softmax. A softmax or sigmoid that ends a model leaves the
 * logits behind it for the loss (Keras' rule: whether it is an argument or a layer of its own).
 */
#include "core/nn/layers/layers.h"

#include "core/ops/ops.h"

#include <string.h>

static const char *const names[LS_LAYER_ACTIVATION_COUNT] = {
    [LS_LINEAR] = "linear", [LS_RELU] = "relu", [LS_SOFTMAX] = "softmax",         [LS_SIGMOID] = "sigmoid",
    [LS_TANH] = "tanh",     [LS_SILU] = "silu", [LS_EXPONENTIAL] = "exponential",
};

const char *lsi_activation_name(enum ls_layer_activation activation)
{
    return (unsigned)activation < LS_LAYER_ACTIVATION_COUNT ? names[activation] : "?";
}

bool lsi_activation_from_name(const char *name, enum ls_layer_activation *activation)
{
    if (strcmp(name, "swish") == 0) {
        *activation = LS_SILU;
        return true;
    }
    for (int i = 0; i < LS_LAYER_ACTIVATION_COUNT; i++)
        if (strcmp(names[i], name) == 0) {
            *activation = (enum ls_layer_activation)i;
            return true;
        }
    return false;
}

enum ls_status lsi_activation_check(enum ls_layer_activation activation, struct ls_error *err)
{
    if ((unsigned)activation >= LS_LAYER_ACTIVATION_COUNT)
        return ls_error_set(err, LS_EINVAL, "there is no activation number %d", (int)activation);
    return LS_OK;
}

enum ls_status lsi_activation_apply(struct ls_context *context, enum ls_layer_activation activation, struct ls_value *x,
                                    struct lsi_output *out, struct ls_error *err)
{
    static const enum ls_op ops[LS_LAYER_ACTIVATION_COUNT] = {
        [LS_LINEAR] = LS_OP_COUNT,    [LS_RELU] = LS_OP_RELU, [LS_SOFTMAX] = LS_OP_SOFTMAX,
        [LS_SIGMOID] = LS_OP_SIGMOID, [LS_TANH] = LS_OP_TANH, [LS_EXPONENTIAL] = LS_OP_EXP,
        [LS_SILU] = LS_OP_SIGMOID,
    };
    *out = (struct lsi_output){.value = x, .logits = NULL, .activation = LS_OP_COUNT};
    if (activation == LS_LINEAR)
        return LS_OK;
    enum ls_status status = ls_unary(context, ops[activation], x, &out->value, err);
    if (status == LS_OK && activation == LS_SILU)
        return ls_binary(context, LS_OP_MUL, x, out->value, &out->value, err);
    if (activation == LS_SOFTMAX || activation == LS_SIGMOID) {
        out->logits = x;
        out->activation = ops[activation];
    }
    return status;
}

static void read_activation(struct lsi_config *config, struct lsi_layer *layer)
{
    layer->options.activation = lsi_config_activation(config, "activation");
}

static void read_relu(struct lsi_config *config, struct lsi_layer *layer)
{
    lsi_config_neutral(config, "max_value");
    if (lsi_config_number(config, "negative_slope", 0.0) != 0.0)
        lsi_config_fail(config, LS_EUNSUPPORTED, "negative_slope is not supported; it must be 0");
    if (lsi_config_number(config, "threshold", 0.0) != 0.0)
        lsi_config_fail(config, LS_EUNSUPPORTED, "threshold is not supported; it must be 0");
    layer->options.activation = LS_RELU;
}

static void read_softmax(struct lsi_config *config, struct lsi_layer *layer)
{
    if (lsi_config_int(config, "axis", -1, -LS_MAX_RANK, LS_MAX_RANK) != -1)
        lsi_config_fail(config, LS_EUNSUPPORTED, "axis must be -1, softmax over other axes is not supported");
    layer->options.activation = LS_SOFTMAX;
}

static enum ls_status check(const struct lsi_layer *layer, struct ls_error *err)
{
    return lsi_activation_check(layer->options.activation, err);
}

static enum ls_status shape(const struct lsi_layer *layer, const struct ls_shape *in, int in_count,
                            struct ls_shape *out, struct ls_error *err)
{
    (void)in_count;
    if (layer->options.activation == LS_SOFTMAX && in[0].rank < 1)
        return ls_error_set(err, LS_EINVAL, "softmax needs samples of at least one dimension");
    *out = in[0];
    return LS_OK;
}

static enum ls_status apply(struct lsi_apply *a)
{
    if (a->layer->options.activation == LS_LINEAR) {
        a->out = a->in[0];
        return LS_OK;
    }
    return lsi_activation_apply(a->context, a->layer->options.activation, a->in[0].value, &a->out, a->err);
}

const struct lsi_layer_class lsi_layer_activation = {
    .name = "Activation",
    .snake = "activation",
    .min_inputs = 1,
    .max_inputs = 1,
    .read = read_activation,
    .check = check,
    .shape = shape,
    .apply = apply,
};

const struct lsi_layer_class lsi_layer_relu = {
    .name = "ReLU",
    .snake = "re_lu",
    .min_inputs = 1,
    .max_inputs = 1,
    .read = read_relu,
    .check = check,
    .shape = shape,
    .apply = apply,
};

const struct lsi_layer_class lsi_layer_softmax = {
    .name = "Softmax",
    .snake = "softmax",
    .min_inputs = 1,
    .max_inputs = 1,
    .read = read_softmax,
    .check = check,
    .shape = shape,
    .apply = apply,
};
