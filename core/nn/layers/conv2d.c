/* SPDX-License-Identifier: Apache-2.0 */
/* Conv2D over (height, width, channels); relu is part of the op, other activations follow it. */
#include "core/nn/layers/layers.h"

#include "core/ops/ops.h"

static void read_config(struct lsi_config *config, struct lsi_layer *layer)
{
    struct ls_conv2d_options *o = &layer->options.conv2d;
    struct lsi_kernel_options both = LSI_KERNEL_OPTIONS(o);
    o->stride[0] = o->stride[1] = o->dilation[0] = o->dilation[1] = 1;
    o->filters = lsi_config_int(config, "filters", 0, 1, INT32_MAX);
    lsi_config_pair(config, "kernel_size", o->kernel);
    lsi_config_pair(config, "strides", o->stride);
    lsi_config_pair(config, "dilation_rate", o->dilation);
    o->padding = lsi_config_padding(config);
    lsi_config_channels_last(config);
    int64_t groups = lsi_config_int(config, "groups", 1, 1, INT32_MAX);
    if (groups != 1)
        lsi_config_fail(config, LS_EUNSUPPORTED, "groups is %lld, only 1 is supported", (long long)groups);
    lsi_kernel_read(config, &both);
}

static enum ls_status check(const struct lsi_layer *layer, struct ls_error *err)
{
    const struct ls_conv2d_options *o = &layer->options.conv2d;
    if (o->filters < 1 || o->filters > INT32_MAX)
        return ls_error_set(err, LS_EINVAL, "filters must be from 1 to %d", INT32_MAX);
    for (int i = 0; i < 2; i++) {
        if (o->kernel[i] < 1 || o->kernel[i] > 65536)
            return ls_error_set(err, LS_EINVAL, "the kernel size must be from 1 to 65536");
        if (o->stride[i] < 1 || o->dilation[i] < 1 || o->stride[i] > 65536 || o->dilation[i] > 65536)
            return ls_error_set(err, LS_EINVAL, "strides and dilations must be from 1 to 65536");
    }
    if ((o->stride[0] > 1 || o->stride[1] > 1) && (o->dilation[0] > 1 || o->dilation[1] > 1))
        return ls_error_set(err, LS_EINVAL, "strides and dilations above 1 exclude each other");
    return lsi_activation_check(o->activation, err);
}

static enum ls_status windows(const struct ls_conv2d_options *o, const struct ls_shape *in, struct lsi_window window[2],
                              struct ls_error *err)
{
    for (int i = 0; i < 2; i++) {
        enum ls_status status =
            lsi_window_of(in->dim[i], o->kernel[i], o->stride[i], o->dilation[i], o->padding, &window[i], err);
        if (status != LS_OK)
            return status;
    }
    return LS_OK;
}

static enum ls_status shape(const struct lsi_layer *layer, const struct ls_shape *in, int in_count,
                            struct ls_shape *out, struct ls_error *err)
{
    struct lsi_window window[2];
    (void)in_count;
    enum ls_status status = lsi_image_shape(&in[0], err);
    if (status == LS_OK)
        status = lsi_same_channels(layer, &in[0], err);
    if (status == LS_OK)
        status = windows(&layer->options.conv2d, &in[0], window, err);
    if (status != LS_OK)
        return status;
    *out = LS_SHAPE(window[0].out, window[1].out, layer->options.conv2d.filters);
    return LS_OK;
}

static enum ls_status variables(struct ls_model *model, struct lsi_layer *layer, struct ls_error *err)
{
    struct ls_conv2d_options *o = &layer->options.conv2d;
    struct lsi_kernel_options both = LSI_KERNEL_OPTIONS(o);

    return lsi_kernel_add(model, layer, LS_SHAPE(o->kernel[0], o->kernel[1], layer->built.dim[2], o->filters), &both,
                          err);
}

static enum ls_status apply(struct lsi_apply *a)
{
    const struct ls_conv2d_options *o = &a->layer->options.conv2d;
    const struct ls_shape *x = &ls_value_info(a->in[0].value)->shape;
    struct ls_shape sample = LS_SHAPE(x->dim[1], x->dim[2], x->dim[3]);
    bool relu = o->activation == LS_RELU;
    struct lsi_window window[2];
    struct ls_value *y;
    enum ls_status status = windows(o, &sample, window, a->err);
    if (status != LS_OK)
        return status;
    struct ls_conv2d_attrs attrs = {.activation = relu ? LS_ACTIVATION_RELU : LS_ACTIVATION_NONE};
    for (int i = 0; i < 2; i++) {
        attrs.stride[i] = o->stride[i];
        attrs.dilation[i] = o->dilation[i];
        attrs.kernel[i] = o->kernel[i];
        attrs.x_size[i] = (int)sample.dim[i];
        attrs.pad_begin[i] = window[i].pad_begin;
        attrs.pad_end[i] = window[i].pad_end;
    }
    status = ls_conv2d(a->context, a->in[0].value, a->variables[a->layer->variable[LSI_KERNEL]],
                       o->no_bias ? NULL : a->variables[a->layer->variable[LSI_BIAS]], &attrs, &y, a->err);
    if (status != LS_OK)
        return status;
    return lsi_activation_apply(a->context, relu ? LS_LINEAR : o->activation, y, &a->out, a->err);
}

const struct lsi_layer_class lsi_layer_conv2d = {
    .name = "Conv2D",
    .snake = "conv2d",
    .min_inputs = 1,
    .max_inputs = 1,
    .read = read_config,
    .check = check,
    .shape = shape,
    .variables = variables,
    .apply = apply,
};
