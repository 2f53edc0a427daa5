/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completes a model once all layers and calls are known: program order (topological; ties by the layer's position in
 * the model, then by the call's number), shapes, variables in model order, random streams.
 */
#include "core/nn/model_internal.h"

#include "core/base/alloc.h"

#include <string.h>

/* A call comes before another one that is ready too. */
static bool comes_first(const struct ls_model *model, int a, int b)
{
    const struct lsi_node *x = &model->nodes[a], *y = &model->nodes[b];
    return x->layer != y->layer ? x->layer < y->layer : x->call < y->call;
}

/* A binary heap of nodes, the first on top. */
static void heap_push(const struct ls_model *model, int *heap, int *count, int node)
{
    int i = (*count)++;
    while (i > 0 && comes_first(model, node, heap[(i - 1) / 2])) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = node;
}

static int heap_pop(const struct ls_model *model, int *heap, int *count)
{
    int top = heap[0], last = heap[--*count], i = 0;
    for (;;) {
        int child = 2 * i + 1;
        if (child >= *count)
            break;
        if (child + 1 < *count && comes_first(model, heap[child + 1], heap[child]))
            child++;
        if (!comes_first(model, heap[child], last))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return top;
}

/* Users of each node as lists: first[node] .. first[node + 1] in user[]. */
struct users {
    int *first;
    int *user;
    int *waiting; /* inputs of a node that are not ordered yet */
    int *heap;
};

static void users_deinit(struct users *users)
{
    ls_free(users->first);
    ls_free(users->user);
    ls_free(users->waiting);
    ls_free(users->heap);
}

static enum ls_status users_init(const struct ls_model *model, struct users *users, struct ls_error *err)
{
    size_t count = (size_t)model->node_count, edges = 0;
    for (int i = 0; i < model->node_count; i++)
        edges += (size_t)model->nodes[i].in_count;
    users->first = ls_alloc_zeroed(count + 2, sizeof(int));
    users->user = ls_alloc_zeroed(edges + 1, sizeof(int));
    users->waiting = ls_alloc_zeroed(count + 1, sizeof(int));
    users->heap = ls_alloc_zeroed(count + 1, sizeof(int));
    if (users->first == NULL || users->user == NULL || users->waiting == NULL || users->heap == NULL)
        return ls_error_set(err, LS_ENOMEM, "there is not enough memory to order the model's calls");
    /* Counting sort by used node: first[n + 2] counts, then first[n + 1] is where n's next user goes. */
    for (int i = 0; i < model->node_count; i++)
        for (int k = 0; k < model->nodes[i].in_count; k++)
            users->first[model->nodes[i].in[k] + 2]++;
    for (size_t i = 2; i < count + 2; i++)
        users->first[i] += users->first[i - 1];
    for (int i = 0; i < model->node_count; i++)
        for (int k = 0; k < model->nodes[i].in_count; k++)
            users->user[users->first[model->nodes[i].in[k] + 1]++] = i;
    return LS_OK;
}

static enum ls_status order_nodes(struct ls_model *model, struct ls_error *err)
{
    struct users users = {0};
    int heap_count = 0, done = 0;
    enum ls_status status = users_init(model, &users, err);
    if (status != LS_OK)
        goto out;
    model->order = ls_alloc_zeroed((size_t)model->node_count + 1, sizeof(int));
    if (model->order == NULL) {
        status = ls_error_set(err, LS_ENOMEM, "there is not enough memory to order the model's calls");
        goto out;
    }
    for (int i = 0; i < model->node_count; i++) {
        users.waiting[i] = model->nodes[i].in_count;
        if (users.waiting[i] == 0)
            heap_push(model, users.heap, &heap_count, i);
    }
    while (heap_count > 0) {
        int node = heap_pop(model, users.heap, &heap_count);
        model->order[done++] = node;
        for (int k = users.first[node]; k < users.first[node + 1]; k++)
            if (--users.waiting[users.user[k]] == 0)
                heap_push(model, users.heap, &heap_count, users.user[k]);
    }
    for (int i = 0; done < model->node_count && i < model->node_count; i++)
        if (users.waiting[i] > 0) {
            status = ls_error_set(err, LS_EINVAL, "layer \"%s\" depends on its own output",
                                  model->layers[model->nodes[i].layer].name);
            break;
        }
out:
    users_deinit(&users);
    return status;
}

/* Every call leads to an output, every input layer is an input, every layer is called. */
static enum ls_status check_reached(const struct ls_model *model, struct ls_error *err)
{
    bool *reached = ls_alloc_zeroed((size_t)model->node_count + 1, sizeof(bool));
    enum ls_status status = LS_OK;
    if (reached == NULL)
        return ls_error_set(err, LS_ENOMEM, "there is not enough memory to check the model");
    for (int i = 0; i < model->output_count; i++)
        reached[model->outputs[i]] = true;
    for (int i = 0; i < model->input_count; i++)
        reached[model->inputs[i]] = true;
    for (int i = model->node_count - 1; i >= 0; i--) {
        const struct lsi_node *node = &model->nodes[model->order[i]];
        const struct lsi_layer *layer = &model->layers[node->layer];
        if (!reached[model->order[i]]) {
            status =
                node->in_count == 0
                    ? ls_error_set(err, LS_EINVAL, "input layer \"%s\" is not among the model's inputs", layer->name)
                    : ls_error_set(err, LS_EINVAL, "call %d of layer \"%s\" leads to no output of the model",
                                   node->call, layer->name);
            break;
        }
        for (int k = 0; k < node->in_count; k++)
            if (model->nodes[node->in[k]].in_count > 0)
                reached[node->in[k]] = true;
    }
    for (int i = 0; status == LS_OK && i < model->layer_count; i++)
        if (model->layers[i].calls == 0)
            status = ls_error_set(err, LS_EINVAL, "layer \"%s\" is never called", model->layers[i].name);
    ls_free(reached);
    return status;
}

static enum ls_status infer_shape(struct ls_model *model, struct lsi_node *node, struct ls_error *err)
{
    struct lsi_layer *layer = &model->layers[node->layer];
    struct ls_shape in[LSI_MAX_INPUTS];
    for (int k = 0; k < node->in_count; k++)
        in[k] = model->nodes[node->in[k]].shape;
    enum ls_status status = layer->class->shape(layer, in, node->in_count, &node->shape, err);
    if (status == LS_OK && node->shape.rank >= LS_MAX_RANK)
        status = ls_error_set(err, LS_EUNSUPPORTED, "its output has more than %d dimensions", LS_MAX_RANK - 1);
    if (status == LS_OK)
        status = ls_shape_check(&node->shape, LS_F32, err);
    if (status != LS_OK)
        return ls_error_wrap(err, "layer \"%s\" (%s)", layer->name, layer->class->name);
    if (!layer->is_built && node->in_count > 0) {
        layer->is_built = true;
        layer->built = in[0];
    }
    return LS_OK;
}

enum ls_status lsi_model_complete(struct ls_model *model, struct ls_error *err)
{
    if (model->input_count == 0)
        return ls_error_set(err, LS_EINVAL, "model \"%s\" has no input", model->name);
    if (model->output_count == 0)
        return ls_error_set(err, LS_EINVAL, "model \"%s\" has no output", model->name);
    enum ls_status status = order_nodes(model, err);
    if (status == LS_OK)
        status = check_reached(model, err);
    for (int i = 0; status == LS_OK && i < model->node_count; i++)
        status = infer_shape(model, &model->nodes[model->order[i]], err);
    uint64_t dropouts = 0;
    for (int i = 0; status == LS_OK && i < model->layer_count; i++) {
        struct lsi_layer *layer = &model->layers[i];
        if (layer->class->variables != NULL)
            status = layer->class->variables(model, layer, err);
        if (strcmp(layer->class->name, "Dropout") == 0)
            layer->stream = LSI_DROPOUT_STREAM + dropouts++;
    }
    model->finished = status == LS_OK;
    return status;
}
