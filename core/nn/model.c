/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model's parts: layers in model order, their calls, variables; the questions of model.h. Completing a model is in
 * model_complete.c, applying it in model_forward.c.
 */
#include "core/nn/model_internal.h"

#include "core/base/alloc.h"
#include "core/base/str.h"

#include <string.h>

struct ls_model *ls_model_create(const char *name)
{
    struct ls_model *model = ls_alloc_zeroed(1, sizeof(*model));
    if (model == NULL)
        return NULL;
    model->name = ls_str_copy(name != NULL ? name : "model");
    if (model->name == NULL) {
        ls_free(model);
        return NULL;
    }
    return model;
}

void ls_model_destroy(struct ls_model *model)
{
    if (model == NULL)
        return;
    for (int i = 0; i < model->layer_count; i++)
        ls_free(model->layers[i].name);
    for (int i = 0; i < model->node_count; i++)
        ls_free(model->nodes[i].in);
    for (int i = 0; i < model->variable_count; i++)
        ls_free(model->variables[i].path);
    ls_free(model->layers);
    ls_free(model->nodes);
    ls_free(model->variables);
    ls_free(model->order);
    ls_free(model->inputs);
    ls_free(model->outputs);
    ls_free(model->name);
    ls_free(model);
}

/* Makes room for one more element; *capacity elements of size bytes are in *memory. */
static enum ls_status grow(void *memory, int count, int *capacity, size_t size, struct ls_error *err)
{
    void **array = memory;
    if (count < *capacity)
        return LS_OK;
    int wanted = *capacity == 0 ? 16 : 2 * *capacity;
    void *larger = ls_realloc(*array, (size_t)wanted, size);
    if (larger == NULL)
        return ls_error_set(err, LS_ENOMEM, "there is not enough memory for the model's layers");
    *array = larger;
    *capacity = wanted;
    return LS_OK;
}

int lsi_find_layer(const struct ls_model *model, const char *name)
{
    for (int i = 0; i < model->layer_count; i++)
        if (strcmp(model->layers[i].name, name) == 0)
            return i;
    return -1;
}

/* "dense", "dense_1" ...: the first that is free. */
static char *free_name(const struct ls_model *model, const char *snake)
{
    char *name = ls_str_copy(snake);
    for (int k = 1; name != NULL && lsi_find_layer(model, name) >= 0; k++) {
        ls_free(name);
        name = ls_str_format("%s_%d", snake, k);
    }
    return name;
}

struct lsi_layer *lsi_add_layer(struct ls_model *model, const struct lsi_layer_class *class, const char *name,
                                struct ls_error *err)
{
    if (model->layer_count >= LSI_MAX_LAYERS) {
        ls_error_set(err, LS_EUNSUPPORTED, "the model has more than %d layers", LSI_MAX_LAYERS);
        return NULL;
    }
    if (name != NULL && lsi_find_layer(model, name) >= 0) {
        ls_error_set(err, LS_EINVAL, "two layers are named \"%s\"; rename one of them", name);
        return NULL;
    }
    if (grow(&model->layers, model->layer_count, &model->layer_capacity, sizeof(*model->layers), err) != LS_OK)
        return NULL;
    char *copy = name != NULL ? ls_str_copy(name) : free_name(model, class->snake);
    if (copy == NULL) {
        ls_error_set(err, LS_ENOMEM, "there is not enough memory for a layer's name");
        return NULL;
    }
    struct lsi_layer *layer = &model->layers[model->layer_count++];
    memset(layer, 0, sizeof(*layer));
    layer->class = class;
    layer->name = copy;
    layer->trainable = true;
    for (int i = 0; i < LSI_LAYER_VARIABLES; i++)
        layer->variable[i] = -1;
    return layer;
}

enum ls_status lsi_add_node(struct ls_model *model, int layer, const int *in, int in_count, int *node,
                            struct ls_error *err)
{
    struct lsi_layer *l = &model->layers[layer];
    if (in_count < l->class->min_inputs || in_count > l->class->max_inputs)
        return ls_error_set(err, LS_EINVAL, "layer \"%s\" (%s) is called with %d inputs, it takes %d%s", l->name,
                            l->class->name, in_count, l->class->min_inputs,
                            l->class->max_inputs > l->class->min_inputs ? " or more" : "");
    if (model->node_count >= LSI_MAX_NODES)
        return ls_error_set(err, LS_EUNSUPPORTED, "the model has more than %d calls of layers", LSI_MAX_NODES);
    enum ls_status status = grow(&model->nodes, model->node_count, &model->node_capacity, sizeof(*model->nodes), err);
    if (status != LS_OK)
        return status;
    struct lsi_node made = {.layer = layer, .call = l->calls, .in_count = in_count};
    if (in_count > 0) {
        made.in = ls_alloc_zeroed((size_t)in_count, sizeof(int));
        if (made.in == NULL)
            return ls_error_set(err, LS_ENOMEM, "there is not enough memory for the model's calls");
        if (in != NULL)
            memcpy(made.in, in, (size_t)in_count * sizeof(int));
    }
    l->calls++;
    model->nodes[model->node_count] = made;
    *node = model->node_count++;
    return LS_OK;
}

enum ls_status lsi_add_variable(struct ls_model *model, struct lsi_layer *layer, const struct lsi_variable_plan *plan,
                                struct ls_error *err)
{
    enum ls_status status = ls_shape_check(&plan->shape, LS_F32, err);
    if (status == LS_OK)
        status = lsi_initializer_check(&plan->initializer, err);
    if (status != LS_OK)
        return ls_error_wrap(err, "layer \"%s\", %s", layer->name, plan->name);
    status = grow(&model->variables, model->variable_count, &model->variable_capacity, sizeof(*model->variables), err);
    if (status != LS_OK)
        return status;
    struct lsi_variable *variable = &model->variables[model->variable_count];
    memset(variable, 0, sizeof(*variable));
    variable->path = ls_str_format("%s/%s", layer->name, plan->name);
    if (variable->path == NULL)
        return ls_error_set(err, LS_ENOMEM, "there is not enough memory for a variable's name");
    variable->initializer = plan->initializer;
    variable->info.path = variable->path;
    variable->info.role = layer->trainable ? plan->role : LS_ROLE_STATE;
    variable->info.dtype = LS_F32;
    variable->info.shape = plan->shape;
    layer->variable[plan->slot] = model->variable_count++;
    return LS_OK;
}

enum ls_status lsi_set_nodes(int **list, int *list_count, const int *nodes, int count, struct ls_error *err)
{
    int *copy = ls_alloc_zeroed((size_t)(count > 0 ? count : 1), sizeof(int));
    if (copy == NULL)
        return ls_error_set(err, LS_ENOMEM, "there is not enough memory for the model's ends");
    if (count > 0)
        memcpy(copy, nodes, (size_t)count * sizeof(int));
    ls_free(*list);
    *list = copy;
    *list_count = count;
    return LS_OK;
}

int ls_model_variable_count(const struct ls_model *model)
{
    return model->variable_count;
}

const struct ls_variable_info *ls_model_variable(const struct ls_model *model, int index)
{
    return &model->variables[index].info;
}

enum ls_status ls_model_initialize(const struct ls_model *model, uint64_t seed, int index, void *data,
                                   struct ls_error *err)
{
    const struct lsi_variable *variable = &model->variables[index];
    enum ls_status status =
        lsi_initialize(&variable->initializer, &variable->info.shape, seed, (uint64_t)index, data, err);
    return status == LS_OK ? LS_OK : ls_error_wrap(err, "initial value of %s", variable->path);
}

int ls_model_input_count(const struct ls_model *model)
{
    return model->input_count;
}

int ls_model_output_count(const struct ls_model *model)
{
    return model->output_count;
}

const struct ls_shape *ls_model_input_shape(const struct ls_model *model, int input)
{
    return &model->nodes[model->inputs[input]].shape;
}

enum ls_dtype ls_model_input_dtype(const struct ls_model *model, int input)
{
    return model->layers[model->nodes[model->inputs[input]].layer].options.input.dtype;
}

const struct ls_shape *ls_model_output_shape(const struct ls_model *model, int output)
{
    return &model->nodes[model->outputs[output]].shape;
}
