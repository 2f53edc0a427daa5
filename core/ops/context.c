/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts: their life, the values that enter, and what is known of a value. */
#include "core/ops/context_internal.h"

#include "core/base/alloc.h"

#include <string.h>

enum ls_status ls_context_create(const struct ls_context_options *options, struct ls_context **context,
                                 struct ls_error *err)
{
    struct ls_context *made;

    if (options->shards.count < 0 || options->shards.count > LS_MAX_SHARDS)
        return ls_error_set(err, LS_EINVAL, "a context over %d shards; 0 to %d are possible", options->shards.count,
                            LS_MAX_SHARDS);
    if (options->device == NULL)
        return ls_error_set(err, LS_EINVAL, "a context needs a device; open one with ls_device_open");
    made = ls_alloc_zeroed(1, sizeof(*made));
    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for a context");
    made->options = *options;
    made->recording = true;
    *context = made;
    return LS_OK;
}

void ls_context_reset(struct ls_context *context)
{
    for (int i = 0; i < context->value_count; i++)
        ls_tensor_release(context->values[i]->tensor);
    context->value_count = 0;
    context->node_count = 0;
    lsi_pool_reset(&context->pool);
}

void ls_context_restart(struct ls_context *context, const struct ls_shards *shards, const struct ls_step_info *step)
{
    ls_context_reset(context);
    context->options.shards = *shards;
    context->options.step = *step;
}

void ls_context_destroy(struct ls_context *context)
{
    if (context == NULL)
        return;
    ls_context_reset(context);
    ls_free(context->values);
    ls_free(context->nodes);
    ls_free(context->scratch);
    ls_free(context);
}

bool ls_context_is_traced(const struct ls_context *context)
{
    return context->options.traced;
}

const struct ls_shards *ls_context_shards(const struct ls_context *context)
{
    return &context->options.shards;
}

const struct ls_step_info *ls_context_step(const struct ls_context *context)
{
    return &context->options.step;
}

void ls_context_record(struct ls_context *context, bool on)
{
    context->recording = on || context->options.traced;
}

void *ls_context_memory(struct ls_context *context, size_t bytes)
{
    return lsi_pool_take(&context->pool, bytes);
}

enum ls_status lsi_value_new(struct ls_context *context, const struct ls_value_info *info, struct ls_value **value,
                             struct ls_error *err)
{
    struct ls_value *made;

    if (context->value_count == context->value_capacity) {
        int capacity = context->value_capacity < 64 ? 64 : 2 * context->value_capacity;
        struct ls_value **grown = ls_realloc(context->values, (size_t)capacity, sizeof(struct ls_value *));

        if (grown == NULL)
            return ls_error_set(err, LS_ENOMEM, "no memory for %d values", capacity);
        context->values = grown;
        context->value_capacity = capacity;
    }
    made = lsi_pool_take(&context->pool, sizeof(*made));
    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for a value");
    made->info = *info;
    made->id = context->value_count;
    context->values[context->value_count++] = made;
    *value = made;
    return LS_OK;
}

static enum ls_status enter(struct ls_context *context, const struct ls_value_info *info, void *data,
                            struct ls_value **value, struct ls_error *err)
{
    enum ls_status status = ls_shape_check(&info->shape, info->dtype, err);

    if (status != LS_OK)
        return ls_error_wrap(err, "%s %d", info->kind == LS_VALUE_VARIABLE ? "variable" : "input", info->index);
    if (data == NULL && !context->options.traced && ls_shape_count(&info->shape) > 0)
        return ls_error_set(err, LS_EINVAL, "%s %d has no data in an eager context",
                            info->kind == LS_VALUE_VARIABLE ? "variable" : "input", info->index);
    status = lsi_value_new(context, info, value, err);
    if (status == LS_OK)
        (*value)->data = context->options.traced ? NULL : data;
    return status;
}

enum ls_status ls_value_input(struct ls_context *context, int index, enum ls_dtype dtype, const struct ls_shape *shape,
                              enum ls_distribution distribution, int64_t rows_per_sample, void *data,
                              struct ls_value **value, struct ls_error *err)
{
    int64_t samples = context->options.shards.offset[context->options.shards.count], rows;
    struct ls_value_info info = {.kind = LS_VALUE_INPUT,
                                 .index = index,
                                 .dtype = dtype,
                                 .shape = *shape,
                                 .distribution = distribution,
                                 .rows_per_sample = distribution == LS_PER_SAMPLE ? rows_per_sample : 0};

    if (distribution == LS_PARTIAL)
        return ls_error_set(err, LS_EINVAL, "input %d: a partial sum cannot enter a context", index);
    if (distribution == LS_PER_SAMPLE &&
        (shape->rank < 1 || rows_per_sample < 1 || __builtin_mul_overflow(rows_per_sample, samples, &rows) ||
         shape->dim[0] != rows)) {
        char text[128];

        return ls_error_set(err, LS_EINVAL, "input %d: shape %s is not %lld rows for each of the call's %lld samples",
                            index, ls_shape_text(shape, text), (long long)rows_per_sample, (long long)samples);
    }
    return enter(context, &info, data, value, err);
}

enum ls_status ls_value_variable(struct ls_context *context, int index, enum ls_dtype dtype,
                                 const struct ls_shape *shape, void *data, struct ls_value **value,
                                 struct ls_error *err)
{
    struct ls_value_info info = {
        .kind = LS_VALUE_VARIABLE, .index = index, .dtype = dtype, .shape = *shape, .distribution = LS_REPLICATED};

    return enter(context, &info, data, value, err);
}

enum ls_status ls_value_constant(struct ls_context *context, enum ls_dtype dtype, const struct ls_shape *shape,
                                 const void *data, struct ls_value **value, struct ls_error *err)
{
    struct ls_value_info info = {
        .kind = LS_VALUE_CONSTANT, .dtype = dtype, .shape = *shape, .distribution = LS_REPLICATED};
    enum ls_status status = ls_shape_check(shape, dtype, err);
    struct ls_tensor *tensor = NULL;
    struct ls_value *made;

    if (status != LS_OK)
        return ls_error_wrap(err, "constant");
    status = ls_tensor_create(dtype, shape, &tensor, err);
    if (status != LS_OK)
        return status;
    status = lsi_value_new(context, &info, &made, err);
    if (status != LS_OK) {
        ls_tensor_release(tensor);
        return status;
    }
    if (ls_view_bytes(&tensor->view) > 0)
        memcpy(tensor->view.data, data, ls_view_bytes(&tensor->view));
    made->tensor = tensor;
    made->constant = tensor->view.data;
    made->data = context->options.traced ? NULL : tensor->view.data;
    *value = made;
    return LS_OK;
}

const struct ls_value_info *ls_value_info(const struct ls_value *value)
{
    return &value->info;
}

struct ls_view ls_value_view(const struct ls_value *value)
{
    return (struct ls_view){.dtype = value->info.dtype, .shape = value->info.shape, .data = value->data};
}

const void *ls_value_constant_data(const struct ls_value *value)
{
    return value->constant;
}

bool ls_value_is_per_shard(const struct ls_value *value)
{
    return value->per_shard;
}

int ls_value_id(const struct ls_value *value)
{
    return value->id;
}

int ls_value_count(const struct ls_context *context)
{
    return context->value_count;
}

int ls_tape_count(const struct ls_context *context)
{
    return context->node_count;
}

const struct ls_node *ls_tape_node(const struct ls_context *context, int index)
{
    return context->nodes[index];
}
