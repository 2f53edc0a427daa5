/* SPDX-License-Identifier: Apache-2.0 */
/* The table that Keras prints as model.summary(), in plain characters. */
#include "core/nn/model_internal.h"

#include "core/base/buf.h"

#include <stdio.h>
#include <string.h>

struct widths {
    int layer, shape, parameters;
};

/* "(None, 28, 28)" */
static void shape_text(const struct ls_shape *shape, char text[160])
{
    size_t used = (size_t)snprintf(text, 160, "(None");
    for (int i = 0; i < shape->rank && used < 130; i++)
        used += (size_t)snprintf(text + used, 160 - used, ", %lld", (long long)shape->dim[i]);
    (void)snprintf(text + used, 160 - used, ")");
}

/* 1234567 as 1,234,567 */
static void grouped(int64_t number, char text[32])
{
    char digits[24];
    int length = snprintf(digits, sizeof(digits), "%lld", (long long)number), used = 0;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            text[used++] = ',';
        text[used++] = digits[i];
    }
    text[used] = '\0';
}

static int64_t parameters_of(const struct ls_model *model, const struct lsi_layer *layer)
{
    int64_t total = 0;
    for (int k = 0; k < LSI_LAYER_VARIABLES; k++)
        if (layer->variable[k] >= 0)
            total += ls_shape_count(&model->variables[layer->variable[k]].info.shape);
    return total;
}

/* Output of a layer's first call. */
static const struct ls_shape *shape_of(const struct ls_model *model, int layer)
{
    for (int i = 0; i < model->node_count; i++)
        if (model->nodes[i].layer == layer)
            return &model->nodes[i].shape;
    return &model->nodes[0].shape;
}

static int longer(int width, size_t length)
{
    return (int)length > width ? (int)length : width;
}

static void layer_cells(const struct ls_model *model, int i, char layer[256], char shape[160], char parameters[32])
{
    (void)snprintf(layer, 256, "%s (%s)", model->layers[i].name, model->layers[i].class->name);
    shape_text(shape_of(model, i), shape);
    grouped(parameters_of(model, &model->layers[i]), parameters);
}

char *ls_model_summary(const struct ls_model *model)
{
    struct ls_buf buf = {0};
    struct widths w = {.layer = 12, .shape = 12, .parameters = 7};
    char layer[256], shape[160], parameters[32];
    int64_t total = 0, trainable = 0;
    for (int i = 0; i < model->layer_count; i++) {
        layer_cells(model, i, layer, shape, parameters);
        w.layer = longer(w.layer, strlen(layer));
        w.shape = longer(w.shape, strlen(shape));
        w.parameters = longer(w.parameters, strlen(parameters));
    }
    (void)ls_buf_append_format(&buf, "Model: \"%s\"\n%-*s  %-*s  %*s\n", model->name, w.layer, "Layer (type)", w.shape,
                               "Output shape", w.parameters, "Param #");
    for (int i = 0; i < w.layer + w.shape + w.parameters + 4; i++)
        (void)ls_buf_append(&buf, "-", 1);
    (void)ls_buf_append(&buf, "\n", 1);
    for (int i = 0; i < model->layer_count; i++) {
        layer_cells(model, i, layer, shape, parameters);
        (void)ls_buf_append_format(&buf, "%-*s  %-*s  %*s\n", w.layer, layer, w.shape, shape, w.parameters, parameters);
    }
    for (int i = 0; i < model->variable_count; i++) {
        int64_t count = ls_shape_count(&model->variables[i].info.shape);
        total += count;
        trainable += model->variables[i].info.role == LS_ROLE_TRAINABLE ? count : 0;
    }
    grouped(total, parameters);
    (void)ls_buf_append_format(&buf, "Total params: %s\n", parameters);
    grouped(trainable, parameters);
    (void)ls_buf_append_format(&buf, "Trainable params: %s\n", parameters);
    grouped(total - trainable, parameters);
    (void)ls_buf_append_format(&buf, "Non-trainable params: %s\n", parameters);
    (void)ls_buf_append(&buf, "", 1);
    if (buf.failed) {
        ls_buf_deinit(&buf);
        return NULL;
    }
    return (char *)buf.data;
}
