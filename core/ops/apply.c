/* SPDX-License-Identifier: Apache-2.0 */
/* Applying an op: check by the table, run the kernel (eager), record (traced, or eager while recording). */
#include "core/ops/context_internal.h"

#include "core/base/alloc.h"

#include <string.h>

static const struct ls_op_attrs no_attrs;

static enum ls_status check_call(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err)
{
    const struct lsi_rule *rule = lsi_op_rule(call->op);
    int wanted = lsi_op_inputs(call->op);
    enum ls_status status;

    if (rule->check == NULL)
        return ls_error_set(err, LS_EUNSUPPORTED, "%s has no rule in the op table", ls_op_name(call->op));
    if (wanted >= 0 && call->in_count != wanted)
        return lsi_rule_fail(call, err, "%d inputs where it takes %d", call->in_count, wanted);
    if (call->in_count > LS_MAX_INPUTS)
        return lsi_rule_fail(call, err, "%d inputs; at most %d are possible", call->in_count, LS_MAX_INPUTS);
    for (int i = 0; i < call->in_count; i++)
        if (lsi_in(call, i)->distribution == LS_PARTIAL && !rule->takes_partial)
            return lsi_rule_fail(call, err, "input %d is a partial sum; reduce it first", i);
    status = rule->check(call, out, err);
    /* A rule multiplies what its inputs say; nobody checked yet that the product can be counted. */
    if (status == LS_OK && ls_shape_check(&out->info.shape, out->info.dtype, err) != LS_OK)
        status = ls_error_wrap(err, "%s", ls_op_name(call->op));
    return status;
}

bool ls_node_needs_shards(const struct ls_node *node)
{
    if (node->out->info.distribution != LS_REPLICATED)
        return true;
    for (int i = 0; i < node->in_count; i++)
        if (node->in[i]->info.distribution != LS_REPLICATED)
            return true;
    return false;
}

static enum ls_status give_memory(struct ls_value *value, struct ls_error *err)
{
    enum ls_status status = ls_tensor_create(value->info.dtype, &value->info.shape, &value->tensor, err);

    if (status == LS_OK)
        value->data = value->tensor->view.data;
    return status;
}

static enum ls_status run_reduce(struct ls_context *context, const struct ls_node *node, struct ls_error *err)
{
    struct ls_view partial = ls_value_view(node->in[0]), reduced = ls_value_view(node->out);

    if (context->options.reduce != NULL)
        return context->options.reduce(context->options.reduce_state, node->attrs.reduce.moments, &partial, &reduced,
                                       err);
    memcpy(reduced.data, partial.data, ls_view_bytes(&reduced));
    return LS_OK;
}

static enum ls_status run_kernel(struct ls_context *context, const struct ls_node *node, struct ls_error *err)
{
    struct ls_view in[LS_MAX_INPUTS], out = ls_value_view(node->out);
    struct ls_op_call call = {.op = node->op,
                              .attrs = &node->attrs,
                              .in = in,
                              .in_count = node->in_count,
                              .out = &out,
                              .out_count = 1,
                              .shards = ls_node_needs_shards(node) ? &context->options.shards : NULL,
                              .step = &context->options.step};
    size_t workspace;

    for (int i = 0; i < node->in_count; i++)
        in[i] = ls_value_view(node->in[i]);
    workspace = ls_device_workspace(context->options.device, &call);
    if (workspace > context->scratch_bytes) {
        ls_free(context->scratch);
        context->scratch_bytes = 0;
        context->scratch = ls_alloc_aligned(workspace);
        if (context->scratch == NULL)
            return ls_error_set(err, LS_ENOMEM, "no memory for %zu bytes of scratch", workspace);
        context->scratch_bytes = workspace;
    }
    call.workspace = workspace > 0 ? context->scratch : NULL;
    return ls_device_run(context->options.device, &call, err);
}

/* Eager: gives node->out its bytes. */
static enum ls_status run_now(struct ls_context *context, const struct ls_node *node, struct ls_error *err)
{
    enum ls_status status;

    for (int i = 0; i < node->in_count; i++)
        if (node->in[i]->data == NULL && ls_shape_count(&node->in[i]->info.shape) > 0)
            return ls_error_set(err, LS_EINTERNAL, "%s: input %d has no bytes", ls_op_name(node->op), i);
    if (node->op == LS_OP_RESHAPE) {
        node->out->data = node->in[0]->data;
        node->out->tensor = node->in[0]->tensor != NULL ? ls_tensor_retain(node->in[0]->tensor) : NULL;
        return LS_OK;
    }
    status = give_memory(node->out, err);
    if (status != LS_OK || ls_shape_count(&node->out->info.shape) == 0)
        return status;
    return node->op == LS_OP_REDUCE ? run_reduce(context, node, err) : run_kernel(context, node, err);
}

static enum ls_status record(struct ls_context *context, struct ls_node *node, struct ls_error *err)
{
    struct ls_value **in;

    if (context->node_count == context->node_capacity) {
        int capacity = context->node_capacity < 64 ? 64 : 2 * context->node_capacity;
        struct ls_node **grown = ls_realloc(context->nodes, (size_t)capacity, sizeof(struct ls_node *));

        if (grown == NULL)
            return ls_error_set(err, LS_ENOMEM, "no memory for %d nodes", capacity);
        context->nodes = grown;
        context->node_capacity = capacity;
    }
    in = lsi_pool_take(&context->pool, (size_t)(node->in_count > 0 ? node->in_count : 1) * sizeof(struct ls_value *));
    if (in == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for a node");
    for (int i = 0; i < node->in_count; i++)
        in[i] = node->in[i];
    node->in = in;
    context->nodes[context->node_count++] = node;
    return LS_OK;
}

/* Makes the result, runs or records. `node` holds op, attrs, in, in_count, custom; borrowed. */
static enum ls_status finish(struct ls_context *context, const struct ls_node *node, const struct lsi_result *result,
                             struct ls_value **out, struct ls_error *err)
{
    struct ls_node *kept = lsi_pool_take(&context->pool, sizeof(*kept));
    struct ls_value_info info = result->info;
    enum ls_status status;

    if (kept == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for a node");
    *kept = *node;
    info.kind = LS_VALUE_RESULT;
    info.index = 0;
    if (info.distribution != LS_PER_SAMPLE)
        info.rows_per_sample = 0;
    status = lsi_value_new(context, &info, &kept->out, err);
    if (status != LS_OK)
        return status;
    kept->out->per_shard = result->per_shard;
    if (!context->options.traced)
        status = run_now(context, kept, err);
    if (status == LS_OK && context->recording)
        status = record(context, kept, err);
    if (status == LS_OK)
        *out = kept->out;
    return status;
}

enum ls_status ls_apply(struct ls_context *context, enum ls_op op, const struct ls_op_attrs *attrs,
                        struct ls_value *const *in, int in_count, struct ls_value **out, struct ls_error *err)
{
    struct ls_node node = {.op = op, .attrs = attrs != NULL ? *attrs : no_attrs, .in = in, .in_count = in_count};
    struct lsi_rule_call call = {
        .op = op, .attrs = &node.attrs, .in = in, .in_count = in_count, .shards = &context->options.shards};
    struct lsi_result result = {0};
    enum ls_status status;

    if ((unsigned)op >= LS_OP_COUNT)
        return ls_error_set(err, LS_EINVAL, "op %d does not exist", (int)op);
    status = check_call(&call, &result, err);
    return status == LS_OK ? finish(context, &node, &result, out, err) : status;
}

enum ls_status ls_apply_fill(struct ls_context *context, const struct ls_value_info *info, float value,
                             struct ls_value **out, struct ls_error *err)
{
    const struct ls_shards *shards = &context->options.shards;
    struct ls_node node = {.op = LS_OP_FILL, .attrs = {.fill = {.shape = info->shape, .value = value}}};
    struct lsi_result result = {.info = *info};
    enum ls_status status = ls_shape_check(&info->shape, LS_F32, err);

    if (status != LS_OK)
        return ls_error_wrap(err, "fill");
    if (info->distribution == LS_PARTIAL)
        return ls_error_set(err, LS_EINVAL, "fill: a partial sum cannot be filled");
    if (info->distribution == LS_PER_SAMPLE &&
        (info->shape.rank < 1 || info->shape.dim[0] != info->rows_per_sample * shards->offset[shards->count]))
        return ls_error_set(err, LS_EINVAL, "fill: the first axis does not hold %lld rows a sample",
                            (long long)info->rows_per_sample);
    result.info.dtype = LS_F32;
    return finish(context, &node, &result, out, err);
}

enum ls_status ls_value_custom_rule(struct ls_context *context, struct ls_value *value,
                                    const struct ls_custom_rule *rule, struct ls_value **out, struct ls_error *err)
{
    struct ls_custom_rule *kept;
    struct ls_value **in;
    struct ls_node node = {
        .op = LS_OP_RESHAPE, .attrs = {.reshape = {.shape = value->info.shape}}, .in = &value, .in_count = 1};
    struct lsi_result result = {.info = value->info, .per_shard = value->per_shard};

    if (rule->in_count < 0 || rule->in_count > LS_MAX_INPUTS)
        return ls_error_set(err, LS_EINVAL, "a custom gradient of %d inputs; 0 to %d are possible", rule->in_count,
                            LS_MAX_INPUTS);
    if (value->info.distribution == LS_PARTIAL)
        return ls_error_set(err, LS_EINVAL, "a custom gradient of a partial sum; reduce it first");
    kept = lsi_pool_take(&context->pool, sizeof(*kept));
    in = lsi_pool_take(&context->pool, (size_t)(rule->in_count + 1) * sizeof(struct ls_value *));
    if (kept == NULL || in == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for a custom gradient");
    for (int i = 0; i < rule->in_count; i++)
        in[i] = rule->in[i];
    *kept = *rule;
    kept->in = in;
    node.custom = kept;
    return finish(context, &node, &result, out, err);
}

/* ---- the simple form of context.h over the general one ---- */

struct simple_custom {
    ls_custom_gradient_fn fn;
    void *state;
};

static enum ls_status simple_rule(const struct ls_custom_call *call, struct ls_value **in_adjoints,
                                  struct ls_error *err)
{
    const struct simple_custom *simple = call->state;

    return simple->fn(simple->state, call->context, call->in[0], call->adjoint, &in_adjoints[0], err);
}

enum ls_status ls_value_custom_gradient(struct ls_context *context, struct ls_value *in, ls_custom_gradient_fn fn,
                                        void *state, struct ls_value **out, struct ls_error *err)
{
    struct simple_custom *simple = lsi_pool_take(&context->pool, sizeof(*simple));
    struct ls_custom_rule rule = {.in = &in, .in_count = 1, .fn = simple_rule, .state = simple};

    if (simple == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for a custom gradient");
    *simple = (struct simple_custom){.fn = fn, .state = state};
    return ls_value_custom_rule(context, in, &rule, out, err);
}
