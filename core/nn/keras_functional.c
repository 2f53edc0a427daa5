/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functional models of Keras 3 JSON. Each layer lists its calls (inbound_nodes) with tensors that name where they come
 * from: keras_history = [layer, call, output]. Layers come first, then a node for every call, then the references, so
 * the order of the file is free.
 */
#include "core/nn/keras_internal.h"

#include <string.h>

/* Tensors among the arguments of one call: args[0] is one tensor or an array of them, all else must say nothing. */
static enum ls_status collect(const struct lsi_layer *layer, const json_t *call, const json_t *tensors[LSI_MAX_INPUTS],
                              int *count, struct ls_error *err)
{
    const char *key;
    json_t *value;
    json_t *args = json_object_get(call, "args"), *kwargs = json_object_get(call, "kwargs");
    if (!json_is_array(args) || json_array_size(args) == 0)
        return ls_error_set(err, LS_EUNSUPPORTED,
                            "layer \"%s\" has an inbound node without args (the form that Keras 3 writes)",
                            layer->name);
    for (size_t i = 1; i < json_array_size(args); i++)
        if (!json_is_null(json_array_get(args, i)))
            return ls_error_set(err, LS_EUNSUPPORTED, "layer \"%s\" is called with more than one argument",
                                layer->name);
    json_object_foreach(kwargs, key, value)
    {
        /* "training" is the mode the graph was made in; Keras replaces it by that of each pass. */
        if (json_is_null(value) || strcmp(key, "training") == 0)
            continue;
        return ls_error_set(err, LS_EUNSUPPORTED, "layer \"%s\" is called with the argument %s, which is not supported",
                            layer->name, key);
    }
    const json_t *first = json_array_get(args, 0);
    if (json_is_object(first)) {
        tensors[0] = first;
        *count = 1;
        return LS_OK;
    }
    if (!json_is_array(first) || json_array_size(first) == 0 || json_array_size(first) > LSI_MAX_INPUTS)
        return ls_error_set(err, LS_EUNSUPPORTED, "layer \"%s\" must be called with a tensor or 1 to %d tensors",
                            layer->name, LSI_MAX_INPUTS);
    *count = (int)json_array_size(first);
    for (int i = 0; i < *count; i++)
        tensors[i] = json_array_get(first, (size_t)i);
    return LS_OK;
}

/* The node of [layer, call, output]. */
static enum ls_status resolve(const struct ls_model *model, const json_t *history, const char *who, int *node,
                              struct ls_error *err)
{
    const char *name = json_string_value(json_array_get(history, 0));
    const json_t *call = json_array_get(history, 1), *output = json_array_get(history, 2);
    int layer = name != NULL ? lsi_find_layer(model, name) : -1;
    if (layer < 0)
        return ls_error_set(err, LS_EINVAL, "%s refers to the layer \"%s\", which the model does not have", who,
                            name != NULL ? name : "?");
    if (!json_is_integer(call) || json_integer_value(call) < 0 ||
        json_integer_value(call) >= model->layers[layer].calls)
        return ls_error_set(err, LS_EINVAL, "%s refers to a call of layer \"%s\" that does not exist (it has %d)", who,
                            name, model->layers[layer].calls);
    if (!json_is_integer(output) || json_integer_value(output) != 0)
        return ls_error_set(err, LS_EINVAL, "%s refers to an output of layer \"%s\" that does not exist (it has one)",
                            who, name);
    *node = model->layers[layer].node_first + (int)json_integer_value(call);
    return LS_OK;
}

static enum ls_status add_calls(struct ls_model *model, int index, const json_t *entry, struct ls_error *err)
{
    const json_t *calls = json_object_get(entry, "inbound_nodes");
    const json_t *tensors[LSI_MAX_INPUTS];
    enum ls_status status = LS_OK;
    int count = 0, node;
    model->layers[index].node_first = model->node_count;
    if (!json_is_array(calls))
        return ls_error_set(err, LS_EINVAL, "layer \"%s\" needs an array inbound_nodes", model->layers[index].name);
    if (model->layers[index].class->max_inputs == 0) {
        if (json_array_size(calls) > 0)
            return ls_error_set(err, LS_EINVAL, "input layer \"%s\" has inbound nodes", model->layers[index].name);
        return lsi_add_node(model, index, NULL, 0, &node, err);
    }
    for (size_t i = 0; status == LS_OK && i < json_array_size(calls); i++) {
        status = collect(&model->layers[index], json_array_get(calls, i), tensors, &count, err);
        if (status == LS_OK)
            status = lsi_add_node(model, index, NULL, count, &node, err);
    }
    return status;
}

static enum ls_status connect_calls(struct ls_model *model, int index, const json_t *entry, struct ls_error *err)
{
    const json_t *calls = json_object_get(entry, "inbound_nodes");
    const json_t *tensors[LSI_MAX_INPUTS];
    enum ls_status status = LS_OK;
    char who[256];
    int count = 0;
    (void)snprintf(who, sizeof(who), "layer \"%s\"", model->layers[index].name);
    for (size_t i = 0; status == LS_OK && i < json_array_size(calls); i++) {
        struct lsi_node *node = &model->nodes[model->layers[index].node_first + (int)i];
        status = collect(&model->layers[index], json_array_get(calls, i), tensors, &count, err);
        for (int k = 0; status == LS_OK && k < count; k++) {
            const json_t *history = json_object_get(json_object_get(tensors[k], "config"), "keras_history");
            if (!json_is_array(history))
                status = ls_error_set(err, LS_EUNSUPPORTED,
                                      "%s is called with something that is no tensor of the "
                                      "model",
                                      who);
            else
                status = resolve(model, history, who, &node->in[k], err);
        }
    }
    return status;
}

/* input_layers or output_layers: one [name, call, output] or an array of them. */
static enum ls_status read_ends(const struct ls_model *model, const json_t *config, const char *key, int **list,
                                int *list_count, struct ls_error *err)
{
    const json_t *ends = json_object_get(config, key);
    int nodes[LSI_MAX_INPUTS];
    if (!json_is_array(ends) || json_array_size(ends) == 0)
        return ls_error_set(err, LS_EUNSUPPORTED, "%s must be an array of [layer, call, output]", key);
    if (json_is_string(json_array_get(ends, 0))) {
        enum ls_status status = resolve(model, ends, key, &nodes[0], err);
        return status == LS_OK ? lsi_set_nodes(list, list_count, nodes, 1, err) : status;
    }
    if (json_array_size(ends) > LSI_MAX_INPUTS)
        return ls_error_set(err, LS_EUNSUPPORTED, "%s has more than %d entries", key, LSI_MAX_INPUTS);
    for (size_t i = 0; i < json_array_size(ends); i++) {
        enum ls_status status = resolve(model, json_array_get(ends, i), key, &nodes[i], err);
        if (status != LS_OK)
            return status;
    }
    return lsi_set_nodes(list, list_count, nodes, (int)json_array_size(ends), err);
}

enum ls_status lsi_keras_functional(struct ls_model *model, const json_t *config, struct ls_error *err)
{
    const json_t *layers = json_object_get(config, "layers");
    enum ls_status status = LS_OK;
    int index;
    if (!json_is_array(layers) || json_array_size(layers) == 0)
        return ls_error_set(err, LS_EINVAL, "model \"%s\" has no array of layers", model->name);
    for (size_t i = 0; status == LS_OK && i < json_array_size(layers); i++)
        status = lsi_keras_layer(model, json_array_get(layers, i), &index, err);
    for (int i = 0; status == LS_OK && i < model->layer_count; i++)
        status = add_calls(model, i, json_array_get(layers, (size_t)i), err);
    for (int i = 0; status == LS_OK && i < model->layer_count; i++)
        status = connect_calls(model, i, json_array_get(layers, (size_t)i), err);
    if (status == LS_OK)
        status = read_ends(model, config, "input_layers", &model->inputs, &model->input_count, err);
    if (status == LS_OK)
        status = read_ends(model, config, "output_layers", &model->outputs, &model->output_count, err);
    for (int i = 0; status == LS_OK && i < model->input_count; i++)
        if (model->nodes[model->inputs[i]].in_count > 0)
            status = ls_error_set(err, LS_EINVAL, "input_layers names \"%s\", which is no InputLayer",
                                  model->layers[model->nodes[model->inputs[i]].layer].name);
    return status;
}
