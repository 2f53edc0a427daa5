/* SPDX-License-Identifier: Apache-2.0 */
/* Add (left to right) and Concatenate. */
#include "core/nn/layers/layers.h"

#include "core/ops/ops.h"

static void read_nothing(struct lsi_config *config, struct lsi_layer *layer)
{
    (void)config;
    (void)layer;
}

static enum ls_status shape_add(const struct lsi_layer *layer, const struct ls_shape *in, int in_count,
                                struct ls_shape *out, struct ls_error *err)
{
    char first[128], other[128];
    (void)layer;
    for (int i = 1; i < in_count; i++)
        if (!ls_shape_equal(&in[0], &in[i]))
            return ls_error_set(err, LS_EUNSUPPORTED, "its inputs have the shapes %s and %s, they must be equal",
                                ls_shape_text(&in[0], first), ls_shape_text(&in[i], other));
    *out = in[0];
    return LS_OK;
}

static enum ls_status apply_add(struct lsi_apply *a)
{
    enum ls_status status = LS_OK;
    struct ls_value *sum = a->in[0].value;
    for (int i = 1; status == LS_OK && i < a->in_count; i++)
        status = ls_binary(a->context, LS_OP_ADD, sum, a->in[i].value, &sum, a->err);
    a->out.value = sum;
    return status;
}

static void read_concatenate(struct lsi_config *config, struct lsi_layer *layer)
{
    int64_t axis = lsi_config_int(config, "axis", -1, -LS_MAX_RANK, LS_MAX_RANK);
    if (axis == 0)
        lsi_config_fail(config, LS_EUNSUPPORTED, "axis 0 would join samples; it must be another one");
    layer->options.axis = (int)(axis > 0 ? axis - 1 : axis); /* Keras counts the batch axis */
}

/* The axis of one sample, or -1 where samples of this rank have none such. */
static int axis_of(const struct lsi_layer *layer, int rank)
{
    int axis = layer->options.axis < 0 ? layer->options.axis + rank : layer->options.axis;
    return axis < rank ? axis : -1;
}

static enum ls_status shape_concatenate(const struct lsi_layer *layer, const struct ls_shape *in, int in_count,
                                        struct ls_shape *out, struct ls_error *err)
{
    char first[128], other[128];
    int axis = axis_of(layer, in[0].rank);
    if (axis < 0)
        return ls_error_set(err, LS_EINVAL, "samples of %s have no such axis", ls_shape_text(&in[0], first));
    *out = in[0];
    for (int i = 1; i < in_count; i++) {
        struct ls_shape rest = in[i];
        if (rest.rank == in[0].rank)
            rest.dim[axis] = in[0].dim[axis];
        if (!ls_shape_equal(&in[0], &rest))
            return ls_error_set(err, LS_EINVAL, "its inputs have the shapes %s and %s, which differ beside the axis",
                                ls_shape_text(&in[0], first), ls_shape_text(&in[i], other));
        if (__builtin_add_overflow(out->dim[axis], in[i].dim[axis], &out->dim[axis]))
            return ls_error_set(err, LS_EINVAL, "its inputs of %s and so on are too large together",
                                ls_shape_text(&in[0], first));
    }
    return LS_OK;
}

static enum ls_status apply_concatenate(struct lsi_apply *a)
{
    struct ls_value *in[LSI_MAX_INPUTS];
    struct ls_op_attrs attrs = {.slice = {.axis = 1 + axis_of(a->layer, a->node->shape.rank)}};
    for (int i = 0; i < a->in_count; i++)
        in[i] = a->in[i].value;
    return ls_apply(a->context, LS_OP_CONCAT, &attrs, in, a->in_count, &a->out.value, a->err);
}

const struct lsi_layer_class lsi_layer_add = {
    .name = "Add",
    .snake = "add",
    .min_inputs = 2,
    .max_inputs = LSI_MAX_INPUTS,
    .read = read_nothing,
    .shape = shape_add,
    .apply = apply_add,
};

const struct lsi_layer_class lsi_layer_concatenate = {
    .name = "Concatenate",
    .snake = "concatenate",
    .min_inputs = 2,
    .max_inputs = LSI_MAX_INPUTS,
    .read = read_concatenate,
    .shape = shape_concatenate,
    .apply = apply_concatenate,
};
