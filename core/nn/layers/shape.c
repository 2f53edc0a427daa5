/* SPDX-License-Identifier: Apache-2.0 */
/* InputLayer, Flatten, Reshape: what a sample looks like; no arithmetic. */
#include "core/nn/layers/layers.h"

#include "core/ops/ops.h"

#include <string.h>

static void read_input_dtype(struct lsi_config *config, struct lsi_input_options *o)
{
    const char *dtype = lsi_config_string(config, "dtype", "float32");
    o->dtype = LS_F32;
    if (strcmp(dtype, "uint8") == 0)
        o->dtype = LS_U8;
    else if (strcmp(dtype, "float32") != 0)
        lsi_config_fail(config, LS_EUNSUPPORTED, "dtype is \"%s\", an input must be \"float32\" or \"uint8\"", dtype);
}

static void read_input(struct lsi_config *config, struct lsi_layer *layer)
{
    struct lsi_input_options *o = &layer->options.input;
    read_input_dtype(config, o);
    lsi_config_neutral(config, "sparse");
    lsi_config_neutral(config, "ragged");
    lsi_config_neutral(config, "optional");
    const json_t *shape = lsi_config_get(config, "batch_shape");
    if (!json_is_array(shape) || json_array_size(shape) < 1 || json_array_size(shape) > LS_MAX_RANK) {
        lsi_config_fail(config, LS_EINVAL, "batch_shape must be an array of 1 to %d numbers, null first", LS_MAX_RANK);
        return;
    }
    if (!json_is_null(json_array_get(shape, 0)))
        lsi_config_fail(config, LS_EUNSUPPORTED, "batch_shape fixes the batch size; its first entry must be null");
    o->shape.rank = (int)json_array_size(shape) - 1;
    for (int i = 0; i < o->shape.rank; i++) {
        const json_t *dim = json_array_get(shape, (size_t)i + 1);
        if (!json_is_integer(dim))
            lsi_config_fail(config, LS_EUNSUPPORTED,
                            "batch_shape has a size that is not an integer; all but the "
                            "first must be known");
        else
            o->shape.dim[i] = json_integer_value(dim);
    }
}

static enum ls_status check_input(const struct lsi_layer *layer, struct ls_error *err)
{
    const struct lsi_input_options *o = &layer->options.input;
    if (o->shape.rank < 0 || o->shape.rank >= LS_MAX_RANK)
        return ls_error_set(err, LS_EINVAL, "a sample has at most %d dimensions", LS_MAX_RANK - 1);
    for (int i = 0; i < o->shape.rank; i++)
        if (o->shape.dim[i] < 1 || o->shape.dim[i] > INT32_MAX)
            return ls_error_set(err, LS_EINVAL, "a sample's sizes must be from 1 to %d", INT32_MAX);
    if (o->dtype != LS_F32 && o->dtype != LS_U8)
        return ls_error_set(err, LS_EUNSUPPORTED, "an input must be float32 or uint8");
    return LS_OK;
}

static enum ls_status shape_input(const struct lsi_layer *layer, const struct ls_shape *in, int in_count,
                                  struct ls_shape *out, struct ls_error *err)
{
    (void)in;
    (void)in_count;
    (void)err;
    *out = layer->options.input.shape;
    return LS_OK;
}

static void read_flatten(struct lsi_config *config, struct lsi_layer *layer)
{
    (void)layer;
    lsi_config_channels_last(config);
}

static enum ls_status shape_flatten(const struct lsi_layer *layer, const struct ls_shape *in, int in_count,
                                    struct ls_shape *out, struct ls_error *err)
{
    (void)layer;
    (void)in_count;
    (void)err;
    *out = LS_SHAPE(ls_shape_count(&in[0]));
    return LS_OK;
}

static void read_reshape(struct lsi_config *config, struct lsi_layer *layer)
{
    struct ls_shape *target = &layer->options.reshape;
    const json_t *shape = lsi_config_get(config, "target_shape");
    if (!json_is_array(shape) || json_array_size(shape) >= LS_MAX_RANK) {
        lsi_config_fail(config, LS_EINVAL, "target_shape must be an array of at most %d integers", LS_MAX_RANK - 1);
        return;
    }
    target->rank = (int)json_array_size(shape);
    for (int i = 0; i < target->rank; i++) {
        const json_t *dim = json_array_get(shape, (size_t)i);
        if (!json_is_integer(dim))
            lsi_config_fail(config, LS_EINVAL, "target_shape must hold integers");
        else
            target->dim[i] = json_integer_value(dim);
    }
}

static enum ls_status check_reshape(const struct lsi_layer *layer, struct ls_error *err)
{
    const struct ls_shape *target = &layer->options.reshape;
    int open = 0;
    if (target->rank < 0 || target->rank >= LS_MAX_RANK)
        return ls_error_set(err, LS_EINVAL, "target_shape has more than %d dimensions", LS_MAX_RANK - 1);
    for (int i = 0; i < target->rank; i++) {
        open += target->dim[i] == -1;
        if (target->dim[i] != -1 && (target->dim[i] < 1 || target->dim[i] > INT32_MAX))
            return ls_error_set(err, LS_EINVAL, "target_shape must hold numbers from 1 to %d or one -1", INT32_MAX);
    }
    if (open > 1)
        return ls_error_set(err, LS_EINVAL, "target_shape has more than one -1");
    return LS_OK;
}

static enum ls_status shape_reshape(const struct lsi_layer *layer, const struct ls_shape *in, int in_count,
                                    struct ls_shape *out, struct ls_error *err)
{
    char from[128], to[128];
    int64_t elements = ls_shape_count(&in[0]), known = 1;
    bool fits = true;
    int open = -1;
    (void)in_count;
    *out = layer->options.reshape;
    for (int i = 0; i < out->rank; i++) {
        if (out->dim[i] == -1)
            open = i;
        else
            fits = fits && !__builtin_mul_overflow(known, out->dim[i], &known);
    }
    if (fits && open >= 0 && elements % known == 0)
        out->dim[open] = elements / known;
    else if (!fits || open >= 0 || known != elements)
        return ls_error_set(err, LS_EINVAL, "samples of %s cannot take the shape %s", ls_shape_text(&in[0], from),
                            ls_shape_text(out, to));
    return LS_OK;
}

/* Flatten and Reshape. */
static enum ls_status apply_reshape(struct lsi_apply *a)
{
    struct ls_shape whole = lsi_batched(a, &a->node->shape);
    return ls_reshape(a->context, a->in[0].value, &whole, &a->out.value, a->err);
}

const struct lsi_layer_class lsi_layer_input = {
    .name = "InputLayer",
    .snake = "input_layer",
    .min_inputs = 0,
    .max_inputs = 0,
    .read = read_input,
    .check = check_input,
    .shape = shape_input,
};

const struct lsi_layer_class lsi_layer_flatten = {
    .name = "Flatten",
    .snake = "flatten",
    .min_inputs = 1,
    .max_inputs = 1,
    .read = read_flatten,
    .shape = shape_flatten,
    .apply = apply_reshape,
};

const struct lsi_layer_class lsi_layer_reshape = {
    .name = "Reshape",
    .snake = "reshape",
    .min_inputs = 1,
    .max_inputs = 1,
    .read = read_reshape,
    .check = check_reshape,
    .shape = shape_reshape,
    .apply = apply_reshape,
};
