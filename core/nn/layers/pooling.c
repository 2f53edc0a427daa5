/* SPDX-License-Identifier: Apache-2.0 */
/* MaxPooling2D and GlobalAveragePooling2D over (height, width, channels). */
#include "core/nn/layers/layers.h"

#include "core/ops/ops.h"

static void read_max(struct lsi_config *config, struct lsi_layer *layer)
{
    struct ls_max_pool2d_options *o = &layer->options.max_pool2d;
    o->size[0] = o->size[1] = 2;
    lsi_config_pair(config, "pool_size", o->size);
    o->stride[0] = o->size[0];
    o->stride[1] = o->size[1];
    lsi_config_pair(config, "strides", o->stride);
    o->padding = lsi_config_padding(config);
    lsi_config_channels_last(config);
}

static enum ls_status check_max(const struct lsi_layer *layer, struct ls_error *err)
{
    const struct ls_max_pool2d_options *o = &layer->options.max_pool2d;
    for (int i = 0; i < 2; i++)
        if (o->size[i] < 1 || o->stride[i] < 1 || o->size[i] > 65536 || o->stride[i] > 65536)
            return ls_error_set(err, LS_EINVAL, "pool size and strides must be from 1 to 65536");
    return LS_OK;
}

static enum ls_status max_windows(const struct ls_max_pool2d_options *o, const int64_t size[2],
                                  struct lsi_window window[2], struct ls_error *err)
{
    for (int i = 0; i < 2; i++) {
        enum ls_status status = lsi_window_of(size[i], o->size[i], o->stride[i], 1, o->padding, &window[i], err);
        if (status != LS_OK)
            return status;
    }
    return LS_OK;
}

static enum ls_status shape_max(const struct lsi_layer *layer, const struct ls_shape *in, int in_count,
                                struct ls_shape *out, struct ls_error *err)
{
    struct lsi_window window[2];
    (void)in_count;
    enum ls_status status = lsi_image_shape(&in[0], err);
    if (status == LS_OK)
        status = max_windows(&layer->options.max_pool2d, in[0].dim, window, err);
    if (status != LS_OK)
        return status;
    *out = LS_SHAPE(window[0].out, window[1].out, in[0].dim[2]);
    return LS_OK;
}

static enum ls_status apply_max(struct lsi_apply *a)
{
    const struct ls_max_pool2d_options *o = &a->layer->options.max_pool2d;
    struct lsi_window window[2];
    struct ls_op_attrs attrs = {0};
    enum ls_status status = max_windows(o, &ls_value_info(a->in[0].value)->shape.dim[1], window, a->err);
    if (status != LS_OK)
        return status;
    for (int i = 0; i < 2; i++) {
        attrs.pool2d.size[i] = o->size[i];
        attrs.pool2d.stride[i] = o->stride[i];
        attrs.pool2d.pad_begin[i] = window[i].pad_begin;
        attrs.pool2d.pad_end[i] = window[i].pad_end;
    }
    return ls_apply(a->context, LS_OP_MAX_POOL2D, &attrs, &a->in[0].value, 1, &a->out.value, a->err);
}

static void read_average(struct lsi_config *config, struct lsi_layer *layer)
{
    lsi_config_channels_last(config);
    layer->options.global_average.keep_dimensions = lsi_config_bool(config, "keepdims", false);
}

static enum ls_status shape_average(const struct lsi_layer *layer, const struct ls_shape *in, int in_count,
                                    struct ls_shape *out, struct ls_error *err)
{
    (void)in_count;
    enum ls_status status = lsi_image_shape(&in[0], err);
    if (status != LS_OK)
        return status;
    *out = layer->options.global_average.keep_dimensions ? LS_SHAPE(1, 1, in[0].dim[2]) : LS_SHAPE(in[0].dim[2]);
    return LS_OK;
}

static enum ls_status apply_average(struct lsi_apply *a)
{
    enum ls_status status = ls_unary(a->context, LS_OP_AVG_POOL_GLOBAL, a->in[0].value, &a->out.value, a->err);
    if (status != LS_OK || !a->layer->options.global_average.keep_dimensions)
        return status;
    struct ls_shape whole = lsi_batched(a, &a->node->shape);
    return ls_reshape(a->context, a->out.value, &whole, &a->out.value, a->err);
}

const struct lsi_layer_class lsi_layer_max_pool2d = {
    .name = "MaxPooling2D",
    .snake = "max_pooling2d",
    .min_inputs = 1,
    .max_inputs = 1,
    .read = read_max,
    .check = check_max,
    .shape = shape_max,
    .apply = apply_max,
};

const struct lsi_layer_class lsi_layer_global_average_pool2d = {
    .name = "GlobalAveragePooling2D",
    .snake = "global_average_pooling2d",
    .min_inputs = 1,
    .max_inputs = 1,
    .read = read_average,
    .shape = shape_average,
    .apply = apply_average,
};
