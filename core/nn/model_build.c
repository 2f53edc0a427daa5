/* SPDX-License-Identifier: Apache-2.0 */
/* Building models from C. Zero options become Keras' defaults here; the rest is as for a model that was read. */
#include "core/nn/model_internal.h"

#include "core/base/alloc.h"
#include "core/base/str.h"

#include <string.h>

static const struct ls_symbol NONE = {-1};

/* Keeps the first mistake; returns the symbol that stands for it. */
static struct ls_symbol mistake(struct ls_model *model, const struct ls_error *err)
{
    if (model->error.status == LS_OK)
        model->error = *err;
    return NONE;
}

static struct ls_symbol call(struct ls_model *model, int layer, const struct ls_symbol *in, int in_count)
{
    struct ls_error err = LS_ERROR_INIT;
    int nodes[LSI_MAX_INPUTS], node;
    if (model->error.status != LS_OK)
        return NONE;
    if (in_count > LSI_MAX_INPUTS) {
        ls_error_set(&err, LS_EINVAL, "layer \"%s\" is called with more than %d inputs", model->layers[layer].name,
                     LSI_MAX_INPUTS);
        return mistake(model, &err);
    }
    for (int i = 0; i < in_count; i++) {
        if (in[i].index < 0 || in[i].index >= model->node_count) {
            ls_error_set(&err, LS_EINVAL, "layer \"%s\" is called with a symbol of another model",
                         model->layers[layer].name);
            return mistake(model, &err);
        }
        nodes[i] = in[i].index;
    }
    if (lsi_add_node(model, layer, nodes, in_count, &node, &err) != LS_OK)
        return mistake(model, &err);
    return (struct ls_symbol){node};
}

/* A new layer to fill; NULL where the model holds a mistake. */
static struct lsi_layer *begin(struct ls_model *model, const char *class_name, const char *name)
{
    struct ls_error err = LS_ERROR_INIT;
    if (model->error.status == LS_OK && model->finished)
        ls_error_set(&model->error, LS_EINVAL, "model \"%s\" is finished, no layer can be added", model->name);
    if (model->error.status != LS_OK)
        return NULL;
    struct lsi_layer *layer = lsi_add_layer(model, lsi_layer_class_find(class_name), name, &err);
    if (layer == NULL)
        (void)mistake(model, &err);
    return layer;
}

/* Checks the filled layer and calls it. Names in its options are the caller's and not kept. */
static struct ls_symbol finish(struct ls_model *model, struct lsi_layer *layer, const struct ls_symbol *in,
                               int in_count)
{
    struct ls_error err = LS_ERROR_INIT;
    if (layer->class->check != NULL && layer->class->check(layer, &err) != LS_OK) {
        ls_error_wrap(&err, "layer \"%s\"", layer->name);
        return mistake(model, &err);
    }
    return call(model, (int)(layer - model->layers), in, in_count);
}

static void pair_default(int pair[2], int height, int width)
{
    pair[0] = pair[0] == 0 ? height : pair[0];
    pair[1] = pair[1] == 0 ? width : pair[1];
}

struct ls_symbol ls_input(struct ls_model *model, enum ls_dtype dtype, struct ls_shape shape, const char *name)
{
    struct lsi_layer *layer = begin(model, "InputLayer", name);
    if (layer == NULL)
        return NONE;
    layer->options.input = (struct lsi_input_options){.shape = shape, .dtype = dtype};
    return finish(model, layer, NULL, 0);
}

struct ls_symbol ls_layer_again(struct ls_model *model, struct ls_symbol of, const struct ls_symbol *in, int in_count)
{
    if (model->error.status != LS_OK)
        return NONE;
    if (of.index < 0 || of.index >= model->node_count) {
        struct ls_error err = LS_ERROR_INIT;
        ls_error_set(&err, LS_EINVAL, "ls_layer_again is given a symbol of another model");
        return mistake(model, &err);
    }
    return call(model, model->nodes[of.index].layer, in, in_count);
}

struct ls_symbol ls_dense_layer(struct ls_model *model, struct ls_symbol in, struct ls_dense_options options)
{
    struct lsi_layer *layer = begin(model, "Dense", options.name);
    if (layer == NULL)
        return NONE;
    layer->trainable = !options.frozen;
    layer->options.dense = options;
    return finish(model, layer, &in, 1);
}

struct ls_symbol ls_conv2d_layer(struct ls_model *model, struct ls_symbol in, struct ls_conv2d_options options)
{
    struct lsi_layer *layer = begin(model, "Conv2D", options.name);
    if (layer == NULL)
        return NONE;
    pair_default(options.stride, 1, 1);
    pair_default(options.dilation, 1, 1);
    layer->trainable = !options.frozen;
    layer->options.conv2d = options;
    return finish(model, layer, &in, 1);
}

struct ls_symbol ls_max_pool2d_layer(struct ls_model *model, struct ls_symbol in, struct ls_max_pool2d_options options)
{
    struct lsi_layer *layer = begin(model, "MaxPooling2D", options.name);
    if (layer == NULL)
        return NONE;
    pair_default(options.size, 2, 2);
    pair_default(options.stride, options.size[0], options.size[1]);
    layer->options.max_pool2d = options;
    return finish(model, layer, &in, 1);
}

struct ls_symbol ls_global_average_pool2d_layer(struct ls_model *model, struct ls_symbol in,
                                                struct ls_global_average_options options)
{
    struct lsi_layer *layer = begin(model, "GlobalAveragePooling2D", options.name);
    if (layer == NULL)
        return NONE;
    layer->options.global_average = options;
    return finish(model, layer, &in, 1);
}

struct ls_symbol ls_batch_norm_layer(struct ls_model *model, struct ls_symbol in, struct ls_batch_norm_options options)
{
    struct lsi_layer *layer = begin(model, "BatchNormalization", options.name);
    if (layer == NULL)
        return NONE;
    options.momentum = options.momentum == 0.0 ? 0.99 : options.momentum;
    options.epsilon = options.epsilon == 0.0 ? 1e-3 : options.epsilon;
    layer->trainable = !options.frozen;
    layer->options.batch_norm = options;
    return finish(model, layer, &in, 1);
}

struct ls_symbol ls_rescaling_layer(struct ls_model *model, struct ls_symbol in, struct ls_rescaling_options options)
{
    struct lsi_layer *layer = begin(model, "Rescaling", options.name);
    if (layer == NULL)
        return NONE;
    options.scale = options.scale == 0.0 ? 1.0 : options.scale;
    layer->options.rescaling = options;
    return finish(model, layer, &in, 1);
}

struct ls_symbol ls_dropout_layer(struct ls_model *model, struct ls_symbol in, double rate, const char *name)
{
    struct lsi_layer *layer = begin(model, "Dropout", name);
    if (layer == NULL)
        return NONE;
    layer->options.dropout.rate = rate;
    return finish(model, layer, &in, 1);
}

struct ls_symbol ls_flatten_layer(struct ls_model *model, struct ls_symbol in, const char *name)
{
    struct lsi_layer *layer = begin(model, "Flatten", name);
    return layer == NULL ? NONE : finish(model, layer, &in, 1);
}

struct ls_symbol ls_reshape_layer(struct ls_model *model, struct ls_symbol in, struct ls_shape shape, const char *name)
{
    struct lsi_layer *layer = begin(model, "Reshape", name);
    if (layer == NULL)
        return NONE;
    layer->options.reshape = shape;
    return finish(model, layer, &in, 1);
}

struct ls_symbol ls_activation_layer(struct ls_model *model, struct ls_symbol in, enum ls_layer_activation activation,
                                     const char *name)
{
    struct lsi_layer *layer = begin(model, "Activation", name);
    if (layer == NULL)
        return NONE;
    layer->options.activation = activation;
    return finish(model, layer, &in, 1);
}

struct ls_symbol ls_add_layer(struct ls_model *model, const struct ls_symbol *in, int in_count, const char *name)
{
    struct lsi_layer *layer = begin(model, "Add", name);
    return layer == NULL ? NONE : finish(model, layer, in, in_count);
}

struct ls_symbol ls_concatenate_layer(struct ls_model *model, const struct ls_symbol *in, int in_count, int axis,
                                      const char *name)
{
    struct lsi_layer *layer = begin(model, "Concatenate", name);
    if (layer == NULL)
        return NONE;
    layer->options.axis = axis;
    return finish(model, layer, in, in_count);
}

/* Every input layer, in the order they were made. */
static enum ls_status gather_inputs(struct ls_model *model, struct ls_error *err)
{
    int nodes[LSI_MAX_INPUTS], count = 0;
    for (int i = 0; i < model->node_count; i++)
        if (model->nodes[i].in_count == 0) {
            if (count == LSI_MAX_INPUTS)
                return ls_error_set(err, LS_EUNSUPPORTED, "the model has more than %d inputs", LSI_MAX_INPUTS);
            nodes[count++] = i;
        }
    return lsi_set_nodes(&model->inputs, &model->input_count, nodes, count, err);
}

enum ls_status ls_model_finish(struct ls_model *model, const struct ls_symbol *outputs, int output_count,
                               struct ls_error *err)
{
    struct ls_error local = LS_ERROR_INIT;
    int nodes[LSI_MAX_INPUTS];
    if (model->error.status == LS_OK && model->finished)
        ls_error_set(&model->error, LS_EINVAL, "model \"%s\" is finished already", model->name);
    if (model->error.status == LS_OK && (output_count < 1 || output_count > LSI_MAX_INPUTS))
        ls_error_set(&model->error, LS_EINVAL, "a model has 1 to %d outputs", LSI_MAX_INPUTS);
    for (int i = 0; model->error.status == LS_OK && i < output_count; i++) {
        nodes[i] = outputs[i].index;
        if (nodes[i] < 0 || nodes[i] >= model->node_count)
            ls_error_set(&model->error, LS_EINVAL, "output %d is no symbol of model \"%s\"", i, model->name);
    }
    if (model->error.status == LS_OK &&
        (lsi_set_nodes(&model->outputs, &model->output_count, nodes, output_count, &local) != LS_OK ||
         gather_inputs(model, &local) != LS_OK || lsi_model_complete(model, &local) != LS_OK))
        model->error = local;
    if (model->error.status == LS_OK)
        return LS_OK;
    return ls_error_set(err, model->error.status, "%s", model->error.message);
}
