/* SPDX-License-Identifier: Apache-2.0 */
/* Dense: act(x w + bias) over the last axis; relu is part of the product, other activations follow it. */
#include "core/nn/layers/layers.h"

#include "core/ops/ops.h"

static void read_config(struct lsi_config *config, struct lsi_layer *layer)
{
    struct ls_dense_options *o = &layer->options.dense;
    struct lsi_kernel_options both = LSI_KERNEL_OPTIONS(o);
    o->units = lsi_config_int(config, "units", 0, 1, INT32_MAX);
    lsi_kernel_read(config, &both);
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
    struct ls_dense_options *o = &layer->options.dense;
    struct lsi_kernel_options both = LSI_KERNEL_OPTIONS(o);

    return lsi_kernel_add(model, layer, LS_SHAPE(layer->built.dim[layer->built.rank - 1], o->units), &both, err);
}

static enum ls_status apply(struct lsi_apply *a)
{
    const struct ls_dense_options *o = &a->layer->options.dense;
    bool relu = o->activation == LS_RELU;
    struct ls_value *y;
    enum ls_status status = ls_dense(a->context, a->in[0].value, a->variables[a->layer->variable[LSI_KERNEL]],
                                     o->no_bias ? NULL : a->variables[a->layer->variable[LSI_BIAS]],
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
