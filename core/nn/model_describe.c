/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model as one canonical JSON text: layers with every option that results depend on, calls, variables. Equal texts
 * are equal models, whether read from Keras JSON or built in C; a job's fingerprint rests on it. It is not Keras'
 * format.
 */
#include "core/nn/model_internal.h"

#include "core/formats/json.h"

#include <string.h>

static json_t *shape_json(const struct ls_shape *shape)
{
    json_t *list = json_array();

    for (int i = 0; i < shape->rank; i++)
        (void)json_array_append_new(list, json_integer((json_int_t)shape->dim[i]));
    return list;
}

static json_t *pair_json(const int pair[2])
{
    return json_pack("[i, i]", pair[0], pair[1]);
}

static json_t *input_json(const struct lsi_layer *layer)
{
    return json_pack("{s:s, s:o}", "dtype", ls_dtype_name(layer->options.input.dtype), "shape",
                     shape_json(&layer->options.input.shape));
}

static json_t *dense_json(const struct lsi_layer *layer)
{
    const struct ls_dense_options *o = &layer->options.dense;

    return json_pack("{s:I, s:s, s:b}", "units", (json_int_t)o->units, "activation", lsi_activation_name(o->activation),
                     "bias", (int)!o->no_bias);
}

static json_t *conv2d_json(const struct lsi_layer *layer)
{
    const struct ls_conv2d_options *o = &layer->options.conv2d;

    return json_pack("{s:I, s:o, s:o, s:o, s:s, s:s, s:b}", "filters", (json_int_t)o->filters, "kernel",
                     pair_json(o->kernel), "stride", pair_json(o->stride), "dilation", pair_json(o->dilation),
                     "padding", o->padding == LS_SAME ? "same" : "valid", "activation",
                     lsi_activation_name(o->activation), "bias", (int)!o->no_bias);
}

static json_t *max_pool2d_json(const struct lsi_layer *layer)
{
    const struct ls_max_pool2d_options *o = &layer->options.max_pool2d;

    return json_pack("{s:o, s:o, s:s}", "size", pair_json(o->size), "stride", pair_json(o->stride), "padding",
                     o->padding == LS_SAME ? "same" : "valid");
}

static json_t *global_average_json(const struct lsi_layer *layer)
{
    return json_pack("{s:b}", "keep_dimensions", (int)layer->options.global_average.keep_dimensions);
}

static json_t *batch_norm_json(const struct lsi_layer *layer)
{
    const struct ls_batch_norm_options *o = &layer->options.batch_norm;

    return json_pack("{s:f, s:f, s:b, s:b}", "momentum", o->momentum, "epsilon", o->epsilon, "center",
                     (int)!o->no_center, "scale", (int)!o->no_scale);
}

static json_t *rescaling_json(const struct lsi_layer *layer)
{
    return json_pack("{s:f, s:f}", "scale", layer->options.rescaling.scale, "offset", layer->options.rescaling.offset);
}

static json_t *dropout_json(const struct lsi_layer *layer)
{
    return json_pack("{s:f}", "rate", layer->options.dropout.rate);
}

static json_t *activation_json(const struct lsi_layer *layer)
{
    return json_pack("{s:s}", "activation", lsi_activation_name(layer->options.activation));
}

static json_t *reshape_json(const struct lsi_layer *layer)
{
    return json_pack("{s:o}", "shape", shape_json(&layer->options.reshape));
}

static json_t *concatenate_json(const struct lsi_layer *layer)
{
    return json_pack("{s:i}", "axis", layer->options.axis);
}

/* What results depend on, by class; classes that are not here have no options. */
static const struct {
    const char *class;
    json_t *(*options)(const struct lsi_layer *layer);
} writers[] = {{"InputLayer", input_json},
               {"Dense", dense_json},
               {"Conv2D", conv2d_json},
               {"MaxPooling2D", max_pool2d_json},
               {"GlobalAveragePooling2D", global_average_json},
               {"BatchNormalization", batch_norm_json},
               {"Rescaling", rescaling_json},
               {"Dropout", dropout_json},
               {"Activation", activation_json},
               {"Reshape", reshape_json},
               {"Concatenate", concatenate_json}};

static json_t *layer_json(const struct lsi_layer *layer)
{
    json_t *options = NULL;

    for (size_t i = 0; i < sizeof writers / sizeof *writers; i++)
        if (strcmp(writers[i].class, layer->class->name) == 0)
            options = writers[i].options(layer);
    return json_pack("{s:s, s:s, s:b, s:o}", "name", layer->name, "class", layer->class->name, "trainable",
                     (int)layer->trainable, "options", options != NULL ? options : json_object());
}

static json_t *nodes_json(const int *nodes, int count)
{
    json_t *list = json_array();

    for (int i = 0; i < count; i++)
        (void)json_array_append_new(list, json_integer(nodes[i]));
    return list;
}

/* Calls are numbered in program order, however they were made. */
static json_t *calls_json(const struct ls_model *model, const int *place)
{
    json_t *list = json_array();

    for (int i = 0; i < model->node_count; i++) {
        const struct lsi_node *node = &model->nodes[model->order[i]];
        json_t *in = json_array();

        for (int k = 0; k < node->in_count; k++)
            (void)json_array_append_new(in, json_integer(place[node->in[k]]));
        (void)json_array_append_new(list, json_pack("{s:s, s:o}", "layer", model->layers[node->layer].name, "in", in));
    }
    return list;
}

static json_t *variable_json(const struct lsi_variable *v)
{
    const struct ls_initializer *init = &v->initializer;

    return json_pack("{s:s, s:i, s:s, s:o, s:[i, f, f, i, i]}", "path", v->path, "role", (int)v->info.role, "dtype",
                     ls_dtype_name(v->info.dtype), "shape", shape_json(&v->info.shape), "initializer", (int)init->kind,
                     init->a, init->b, (int)init->fan, (int)init->distribution);
}

static json_t *places_json(const int *nodes, int count, const int *place)
{
    json_t *list = nodes_json(nodes, count);

    for (int i = 0; i < count; i++)
        (void)json_array_set_new(list, (size_t)i, json_integer(place[nodes[i]]));
    return list;
}

enum ls_status ls_model_describe(const struct ls_model *model, char **json, struct ls_error *err)
{
    json_t *root, *layers, *variables;
    int place[LSI_MAX_NODES];
    enum ls_status status;

    if (model->order == NULL)
        return ls_error_set(err, LS_EINVAL, "the model %s is not finished; ls_model_finish completes it", model->name);
    layers = json_array();
    variables = json_array();
    for (int i = 0; i < model->node_count; i++)
        place[model->order[i]] = i;
    for (int i = 0; i < model->layer_count; i++)
        (void)json_array_append_new(layers, layer_json(&model->layers[i]));
    for (int i = 0; i < model->variable_count; i++)
        (void)json_array_append_new(variables, variable_json(&model->variables[i]));
    root = json_pack("{s:i, s:o, s:o, s:o, s:o, s:o}", "format", 1, "layers", layers, "calls", calls_json(model, place),
                     "variables", variables, "inputs", places_json(model->inputs, model->input_count, place), "outputs",
                     places_json(model->outputs, model->output_count, place));
    if (root == NULL || json_array_size(layers) != (size_t)model->layer_count ||
        json_array_size(variables) != (size_t)model->variable_count)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to describe the model %s", model->name);
    else
        status = ls_json_canonical_text(root, json, err);
    json_decref(root);
    return status;
}
