/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models from Keras 3 JSON (model.to_json()): the top level, layers, Sequential. Functional graphs are read in
 * keras_functional.c. What the file says about compiling is left alone: loss and optimizer are the job's.
 */
#include "core/nn/keras_internal.h"

#include "core/base/str.h"
#include "core/formats/json.h"

#include <string.h>

#define MAX_TEXT_BYTES (16 << 20)

static enum ls_status unknown_class(const char *name, const char *class_name, struct ls_error *err)
{
    const char *names[64];
    int count;
    const struct lsi_layer_class *const *classes = lsi_layer_classes(&count);
    if (strcmp(class_name, "Sequential") == 0 || strcmp(class_name, "Functional") == 0 ||
        strcmp(class_name, "Model") == 0)
        return ls_error_set(err, LS_EUNSUPPORTED,
                            "layer \"%s\" is a model inside the model (%s), which is not supported; put its layers "
                            "into the outer model",
                            name, class_name);
    for (int i = 0; i < count; i++)
        names[i] = classes[i]->name;
    const char *near = ls_str_nearest(class_name, names, (size_t)count);
    if (near != NULL)
        return ls_error_set(err, LS_EUNSUPPORTED, "layer \"%s\": there is no layer class \"%s\"; did you mean \"%s\"?",
                            name, class_name, near);
    return ls_error_set(err, LS_EUNSUPPORTED,
                        "layer \"%s\": the layer class \"%s\" is not supported; docs/models.md lists those that are",
                        name, class_name);
}

/* Keras' own class, not one that a user registered under the same name. */
static enum ls_status check_origin(const json_t *entry, const char *name, struct ls_error *err)
{
    const char *module = json_string_value(json_object_get(entry, "module"));
    const json_t *registered = json_object_get(entry, "registered_name");
    if ((registered != NULL && !json_is_null(registered)) ||
        (module != NULL && strcmp(module, "keras.layers") != 0 && strncmp(module, "keras.src.", 10) != 0))
        return ls_error_set(
            err, LS_EUNSUPPORTED,
            "layer \"%s\" is of a class of its own (%s), only Keras' classes are "
            "supported",
            name, json_is_string(registered) ? json_string_value(registered) : (module != NULL ? module : "?"));
    return LS_OK;
}

static enum ls_status read_options(struct lsi_layer *layer, const json_t *config, struct ls_error *err)
{
    struct lsi_config reader;
    struct ls_error policy = LS_ERROR_INIT;
    lsi_config_open(&reader, layer->name, config);
    lsi_config_ignore(&reader, "name");
    lsi_config_ignore(&reader, "batch_shape"); /* of a first layer that makes its own InputLayer */
    lsi_config_ignore(&reader, "autocast");
    layer->trainable = lsi_config_bool(&reader, "trainable", true);
    if (layer->class->max_inputs > 0 && lsi_config_policy(lsi_config_get(&reader, "dtype"), &policy) != LS_OK)
        lsi_config_fail(&reader, policy.status, "%s", policy.message);
    layer->class->read(&reader, layer);
    enum ls_status status = lsi_config_close(&reader, err);
    if (status != LS_OK || layer->class->check == NULL)
        return status;
    status = layer->class->check(layer, err);
    return status == LS_OK ? LS_OK : ls_error_wrap(err, "layer \"%s\"", layer->name);
}

enum ls_status lsi_keras_layer(struct ls_model *model, const json_t *entry, int *index, struct ls_error *err)
{
    const char *class_name = json_string_value(json_object_get(entry, "class_name"));
    const json_t *config = json_object_get(entry, "config");
    if (class_name == NULL || !json_is_object(config))
        return ls_error_set(err, LS_EINVAL, "layer number %d must be an object with class_name and config",
                            model->layer_count + 1);
    const char *name = json_string_value(json_object_get(config, "name"));
    if (name == NULL || name[0] == '\0' || strlen(name) > LSI_MAX_NAME)
        return ls_error_set(err, LS_EINVAL, "layer number %d (%s) needs a name of at most %d bytes in its config",
                            model->layer_count + 1, class_name, LSI_MAX_NAME);
    const struct lsi_layer_class *class = lsi_layer_class_find(class_name);
    if (class == NULL)
        return unknown_class(name, class_name, err);
    enum ls_status status = check_origin(entry, name, err);
    if (status != LS_OK)
        return status;
    struct lsi_layer *layer = lsi_add_layer(model, class, name, err);
    if (layer == NULL)
        return err != NULL ? err->status : LS_EINTERNAL;
    *index = model->layer_count - 1;
    return read_options(layer, config, err);
}

/* A Sequential that was built without an InputLayer: its input is what build_input_shape says. */
static enum ls_status implied_input(struct ls_model *model, const json_t *config, int *node, struct ls_error *err)
{
    json_t *shape = json_object_get(config, "build_input_shape");
    if (!json_is_array(shape))
        return ls_error_set(err, LS_EINVAL,
                            "model \"%s\" does not say the shape of its input; begin it with an "
                            "InputLayer",
                            model->name);
    struct lsi_layer *layer = lsi_add_layer(model, lsi_layer_class_find("InputLayer"), NULL, err);
    if (layer == NULL)
        return err != NULL ? err->status : LS_EINTERNAL;
    json_t *made = json_pack("{s:O}", "batch_shape", shape);
    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "there is not enough memory for the model's input");
    enum ls_status status = read_options(layer, made, err);
    json_decref(made);
    return status == LS_OK ? lsi_add_node(model, model->layer_count - 1, NULL, 0, node, err) : status;
}

static enum ls_status read_sequential(struct ls_model *model, const json_t *config, struct ls_error *err)
{
    const json_t *layers = json_object_get(config, "layers");
    int node = -1, index = -1;
    if (!json_is_array(layers) || json_array_size(layers) == 0)
        return ls_error_set(err, LS_EINVAL, "model \"%s\" has no array of layers", model->name);
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *entry = json_array_get(layers, i);
        const char *class_name = json_string_value(json_object_get(entry, "class_name"));
        bool is_input = class_name != NULL && strcmp(class_name, "InputLayer") == 0;
        enum ls_status status = LS_OK;
        if (is_input && i > 0)
            return ls_error_set(err, LS_EINVAL,
                                "model \"%s\" is Sequential and has an InputLayer behind its first "
                                "layer",
                                model->name);
        if (i == 0 && !is_input) {
            status = implied_input(model, config, &node, err);
            if (status == LS_OK)
                status = lsi_set_nodes(&model->inputs, &model->input_count, &node, 1, err);
        }
        if (status == LS_OK)
            status = lsi_keras_layer(model, entry, &index, err);
        if (status == LS_OK)
            status = lsi_add_node(model, index, &node, is_input ? 0 : 1, &node, err);
        if (status == LS_OK && is_input)
            status = lsi_set_nodes(&model->inputs, &model->input_count, &node, 1, err);
        if (status != LS_OK)
            return status;
    }
    return lsi_set_nodes(&model->outputs, &model->output_count, &node, 1, err);
}

static enum ls_status read_top(const json_t *root, struct ls_model **model, struct ls_error *err)
{
    const char *class_name = json_string_value(json_object_get(root, "class_name"));
    const json_t *config = json_object_get(root, "config");
    if (json_object_get(root, "keras_version") != NULL && json_object_get(root, "module") == NULL)
        return ls_error_set(err, LS_EUNSUPPORTED,
                            "the model was written by Keras 2 (tf_keras); load it with Keras 3 "
                            "and write it again with model.to_json()");
    if (class_name == NULL || !json_is_object(config))
        return ls_error_set(err, LS_EINVAL, "this is no Keras model: the top level needs class_name and config");
    bool sequential = strcmp(class_name, "Sequential") == 0;
    if (!sequential && strcmp(class_name, "Functional") != 0 && strcmp(class_name, "Model") != 0)
        return ls_error_set(err, LS_EUNSUPPORTED,
                            "the model is of class \"%s\"; only Sequential and Functional models can be read",
                            class_name);
    if (json_is_false(json_object_get(config, "trainable")))
        return ls_error_set(err, LS_EUNSUPPORTED, "the whole model says trainable: false; there is nothing to train");
    const char *name = json_string_value(json_object_get(config, "name"));
    struct ls_model *made = ls_model_create(name != NULL && strlen(name) <= LSI_MAX_NAME ? name : NULL);
    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "there is not enough memory for the model");
    enum ls_status status = sequential ? read_sequential(made, config, err) : lsi_keras_functional(made, config, err);
    if (status == LS_OK)
        status = lsi_model_complete(made, err);
    if (status != LS_OK) {
        ls_model_destroy(made);
        return status;
    }
    *model = made;
    return LS_OK;
}

enum ls_status ls_model_from_keras(const char *text, size_t length, struct ls_model **model, struct ls_error *err)
{
    struct ls_error local = LS_ERROR_INIT;
    json_t *root = NULL;
    if (err == NULL)
        err = &local;
    if (length > MAX_TEXT_BYTES)
        return ls_error_set(err, LS_EINVAL, "the model's JSON is longer than %d bytes", MAX_TEXT_BYTES);
    enum ls_status status = ls_json_parse(text, length, "model JSON", &root, err);
    if (status != LS_OK)
        return status;
    status = read_top(root, model, err);
    json_decref(root);
    return status;
}
