/* SPDX-License-Identifier: Apache-2.0 */
/* The walk backwards over what was recorded. */
#include "core/autodiff/gradient.h"

#include "core/autodiff/backward_internal.h"
#include "core/base/alloc.h"

#include <limits.h>

static bool is_float(const struct ls_value *value)
{
    enum ls_dtype dtype = ls_value_info(value)->dtype;

    return dtype == LS_F32 || dtype == LS_F64 || dtype == LS_BF16;
}

static enum ls_status check_ends(struct ls_value *const *targets, int target_count, struct ls_value *const *sources,
                                 int source_count, struct ls_error *err)
{
    for (int i = 0; i < target_count; i++)
        if (ls_value_info(targets[i])->distribution == LS_PARTIAL || !is_float(targets[i]))
            return ls_error_set(err, LS_EINVAL, "gradient: target %d is a partial sum or no float; reduce or cast it",
                                i);
    for (int j = 0; j < source_count; j++)
        if (ls_value_info(sources[j])->distribution == LS_PARTIAL || !is_float(sources[j]))
            return ls_error_set(err, LS_EINVAL, "gradient: source %d is a partial sum or no float", j);
    return LS_OK;
}

/* What depends on the sources, and what the targets depend on. */
static void mark(struct lsi_backward *b)
{
    for (int i = 0; i < b->node_count; i++) {
        const struct ls_node *node = ls_tape_node(b->context, i);
        struct lsi_adjoint *out = lsi_adjoint_of(b, node->out);
        int count;
        struct ls_value *const *in = lsi_node_sources(node, &count);

        for (int j = 0; j < count && is_float(node->out); j++)
            out->depends = out->depends || lsi_adjoint_of(b, in[j])->depends;
    }
    for (int i = b->node_count - 1; i >= 0; i--) {
        const struct ls_node *node = ls_tape_node(b->context, i);
        int count;
        struct ls_value *const *in = lsi_node_sources(node, &count);

        for (int j = 0; j < count && lsi_adjoint_of(b, node->out)->reaches; j++)
            lsi_adjoint_of(b, in[j])->reaches = true;
    }
}

static void give_seed(struct lsi_backward *b, struct ls_value *target, struct ls_value *seed, int index)
{
    const struct ls_value_info *t = ls_value_info(target);

    if (!lsi_adjoint_of(b, target)->depends || b->status != LS_OK)
        return;
    if (seed == NULL) {
        seed = lsi_emit_fill(b, target, 1.0f);
    } else {
        const struct ls_value_info *s = ls_value_info(seed);

        if (s->dtype != t->dtype || s->distribution != t->distribution || s->rows_per_sample != t->rows_per_sample ||
            !ls_shape_equal(&s->shape, &t->shape)) {
            b->status =
                ls_error_set(b->err, LS_EINVAL, "gradient: seed %d is not of its target's kind and shape", index);
            return;
        }
    }
    lsi_give_value(b, target, seed);
}

static void run_custom(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    const struct ls_custom_rule *rule = node->custom;
    struct ls_value *adjoints[LS_MAX_INPUTS] = {NULL};
    bool wanted[LS_MAX_INPUTS];
    struct ls_custom_call call = {.context = b->context,
                                  .state = rule->state,
                                  .in = rule->in,
                                  .in_count = rule->in_count,
                                  .out = node->out,
                                  .adjoint = dy,
                                  .wanted = wanted};

    for (int j = 0; j < rule->in_count; j++)
        wanted[j] = lsi_adjoint_of(b, rule->in[j])->depends;
    b->status = rule->fn(&call, adjoints, b->err);
    for (int j = rule->in_count - 1; j >= 0 && b->status == LS_OK; j--)
        if (wanted[j])
            lsi_give_value(b, rule->in[j], adjoints[j]);
}

static void visit(struct lsi_backward *b, const struct ls_node *node)
{
    struct lsi_adjoint *out = lsi_adjoint_of(b, node->out);

    if (!out->depends || !out->reaches || out->alias != NULL)
        return;
    if (ls_value_info(node->out)->distribution == LS_REPLICATED)
        lsi_frontier_complete(b, node->out);
    if (out->sum != NULL && b->status == LS_OK) {
        lsi_gradient_fn rule = lsi_gradient_rule(node->op);

        if (node->custom != NULL)
            run_custom(b, node, out->sum);
        else if (rule != NULL)
            rule(b, node, out->sum);
        else
            lsi_no_gradient(b, node, "its result");
    }
    lsi_frontier_passed(b, node);
}

static void walk(struct lsi_backward *b)
{
    for (int i = b->node_count - 1; i >= 0 && b->status == LS_OK; i--) {
        b->position = i;
        visit(b, ls_tape_node(b->context, i));
    }
}

enum ls_status ls_gradient(struct ls_context *context, struct ls_value *const *targets, struct ls_value *const *seeds,
                           int target_count, struct ls_value *const *sources, int source_count, struct ls_value **grads,
                           struct ls_error *err)
{
    struct lsi_backward b = {.context = context, .node_count = ls_tape_count(context), .status = LS_OK, .err = err};
    enum ls_status status = check_ends(targets, target_count, sources, source_count, err);

    if (status != LS_OK)
        return status;
    b.adjoints = ls_alloc_zeroed((size_t)ls_value_count(context), sizeof(struct lsi_adjoint));
    if (b.adjoints == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for the adjoints of %d values", ls_value_count(context));
    for (int j = 0; j < source_count; j++)
        lsi_adjoint_of(&b, sources[j])->depends = lsi_adjoint_of(&b, sources[j])->source = true;
    for (int i = 0; i < target_count; i++)
        lsi_adjoint_of(&b, targets[i])->reaches = true;
    mark(&b);
    lsi_frontier_prepare(&b);
    b.position = INT_MAX;
    for (int i = 0; i < target_count; i++)
        give_seed(&b, targets[i], seeds != NULL ? seeds[i] : NULL, i);
    walk(&b);
    for (int j = 0; j < source_count && b.status == LS_OK; j++) {
        if (ls_value_info(sources[j])->distribution == LS_REPLICATED)
            lsi_frontier_complete(&b, sources[j]);
        grads[j] = b.status == LS_OK ? lsi_adjoint_of(&b, sources[j])->sum : NULL;
    }
    ls_free(b.adjoints);
    return b.status;
}
