/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sample-free frontier (docs/numerics.md). Uses of a replicated value by per-sample ops are kept as batch
 * reductions until the walk has passed the value's first use; then they become, last use first, one fused reduction
 * (or a chain over running sums), the tree and a REDUCE. Adjoints from sample-free ops are added after it, last use
 * first. Reshapes and transposes of a value count as the value (its root here): a reshape keeps the order of elements,
 * a transpose swaps the operands of a product's weight gradient.
 */
#include "core/autodiff/backward_internal.h"

#include <limits.h>
#include <stddef.h>
#include <string.h>

struct ls_value *const *lsi_node_sources(const struct ls_node *node, int *count)
{
    *count = node->custom != NULL ? node->custom->in_count : node->in_count;
    return node->custom != NULL ? node->custom->in : node->in;
}

static bool is_active(struct lsi_backward *b, const struct ls_node *node)
{
    const struct lsi_adjoint *out = lsi_adjoint_of(b, node->out);

    return out->depends && out->reaches;
}

static bool is_replicated(const struct ls_value *value)
{
    return ls_value_info(value)->distribution == LS_REPLICATED;
}

/* A reshape or transpose that may count as its input. */
static bool may_alias(struct lsi_backward *b, const struct ls_node *node)
{
    return (node->op == LS_OP_RESHAPE || node->op == LS_OP_TRANSPOSE2D) && node->custom == NULL &&
           is_replicated(node->out) && !lsi_adjoint_of(b, node->out)->source;
}

static struct ls_value *root_of(struct lsi_backward *b, struct ls_value *value)
{
    const struct ls_node *alias;

    while ((alias = lsi_adjoint_of(b, value)->alias) != NULL)
        value = alias->in[0];
    return value;
}

/* Marks how the node's replicated inputs are used over samples. Nodes come in reverse. */
static void mark_spread(struct lsi_backward *b, const struct ls_node *node)
{
    const struct lsi_adjoint *out = lsi_adjoint_of(b, node->out);
    bool spreads = !is_replicated(node->out) && node->custom == NULL;

    for (int j = 0; j < node->in_count; j++) {
        struct lsi_adjoint *in = lsi_adjoint_of(b, node->in[j]);

        if (!is_replicated(node->in[j]) || !in->depends)
            continue;
        if (spreads) {
            in->spread_any = true;
            in->spread_other = in->spread_other || node->op != LS_OP_DENSE || j != 1;
        } else if (may_alias(b, node)) {
            in->spread_any = in->spread_any || out->spread_any;
            in->spread_other = in->spread_other || out->spread_other || (node->op == LS_OP_RESHAPE && out->spread_any);
        }
    }
}

static void mark_uses(struct lsi_backward *b, const struct ls_node *node, int position)
{
    int count;
    struct ls_value *const *in = lsi_node_sources(node, &count);

    for (int j = 0; j < count; j++) {
        struct lsi_adjoint *root;

        if (!is_replicated(in[j]) || !lsi_adjoint_of(b, in[j])->depends)
            continue;
        root = lsi_adjoint_of(b, root_of(b, in[j]));
        if (root->first_use < 0)
            root->first_use = position;
        root->uses++;
    }
}

/* A transpose that does not pass its uses on (one of them is no plain product) may be the only use of its value:
 * then the order is that of its own uses. */
static void check_transpose(struct lsi_backward *b, const struct ls_node *node)
{
    const struct lsi_adjoint *out = lsi_adjoint_of(b, node->out);

    if (node->op != LS_OP_TRANSPOSE2D || out->alias != NULL || !out->spread_other)
        return;
    if (lsi_adjoint_of(b, root_of(b, node->in[0]))->uses > 1)
        lsi_no_gradient(b, node, "a value with other uses whose transpose is used over samples in another shape");
}

void lsi_frontier_prepare(struct lsi_backward *b)
{
    for (int id = 0; id < ls_value_count(b->context); id++)
        b->adjoints[id].first_use = -1;
    for (int i = b->node_count - 1; i >= 0; i--)
        if (is_active(b, ls_tape_node(b->context, i)))
            mark_spread(b, ls_tape_node(b->context, i));
    for (int i = 0; i < b->node_count; i++) {
        const struct ls_node *node = ls_tape_node(b->context, i);
        struct lsi_adjoint *out = lsi_adjoint_of(b, node->out);

        if (!is_active(b, node))
            continue;
        if (may_alias(b, node) && (node->op == LS_OP_RESHAPE || !out->spread_other))
            out->alias = node;
        else
            mark_uses(b, node, i);
    }
    for (int i = 0; i < b->node_count; i++)
        if (is_active(b, ls_tape_node(b->context, i)))
            check_transpose(b, ls_tape_node(b->context, i));
}

/* Puts a term behind those of the same or later uses. */
static void insert(struct lsi_backward *b, struct lsi_term **list, const struct lsi_term *term)
{
    struct lsi_term *kept = ls_context_memory(b->context, sizeof(*kept));

    if (kept == NULL) {
        b->status = ls_error_set(b->err, LS_ENOMEM, "no memory for an adjoint");
        return;
    }
    while (*list != NULL && (*list)->position >= term->position)
        list = &(*list)->next;
    *kept = *term;
    kept->next = *list;
    *list = kept;
}

/* Whether an adjoint may be one of value: its shape (running sums: without the shards), and spread like it; that of a
 * partial sum is replicated. */
static bool fits(const struct ls_value *value, const struct ls_value *adjoint)
{
    const struct ls_value_info *v = ls_value_info(value), *a = ls_value_info(adjoint);

    if (v->distribution == LS_PARTIAL)
        return a->distribution == LS_REPLICATED;
    return a->distribution == v->distribution && a->rows_per_sample == v->rows_per_sample &&
           ls_shape_equal(&a->shape, &v->shape);
}

void lsi_give_value(struct lsi_backward *b, struct ls_value *value, struct ls_value *adjoint)
{
    struct lsi_adjoint *to = lsi_adjoint_of(b, value);

    if (b->status != LS_OK || adjoint == NULL)
        return;
    if (!fits(value, adjoint)) {
        b->status =
            ls_error_set(b->err, LS_EINTERNAL, "%s: an adjoint does not fit the value it is of",
                         b->position < b->node_count ? ls_op_name(ls_tape_node(b->context, b->position)->op) : "seed");
        return;
    }
    if (!is_replicated(value)) {
        to->sum = to->sum == NULL ? adjoint : lsi_emit2(b, LS_OP_ADD, to->sum, adjoint);
        return;
    }
    while (to->alias != NULL) {
        struct ls_value *of = to->alias->in[0];

        adjoint = to->alias->op == LS_OP_RESHAPE ? lsi_emit_reshape(b, adjoint, &ls_value_info(of)->shape)
                                                 : lsi_emit1(b, LS_OP_TRANSPOSE2D, adjoint);
        to = lsi_adjoint_of(b, of);
    }
    if (b->status == LS_OK)
        insert(b, &to->plain, &(struct lsi_term){.position = b->position, .op = LS_OP_COUNT, .dy = adjoint});
}

void lsi_give_reduction(struct lsi_backward *b, const struct ls_node *node, int i, enum ls_op op,
                        const struct ls_conv2d_attrs *conv, struct ls_value *x, struct ls_value *dy)
{
    struct lsi_term term = {.position = b->position, .op = op, .x = x, .dy = dy};
    struct lsi_adjoint *to;

    if (b->status != LS_OK || !lsi_wants(b, node, i))
        return;
    if (conv != NULL) {
        term.conv = *conv;
        term.conv.activation = LS_ACTIVATION_NONE;
        term.conv.batch = (struct ls_batch_reduction){0};
    }
    to = lsi_adjoint_of(b, node->in[i]);
    while (to->alias != NULL) {
        if (to->alias->op == LS_OP_TRANSPOSE2D) {
            struct ls_value *swapped = term.x;

            term.x = term.dy;
            term.dy = swapped;
        }
        to = lsi_adjoint_of(b, to->alias->in[0]);
    }
    insert(b, &to->spread, &term);
}

static int64_t last_dim(const struct ls_value *value)
{
    const struct ls_shape *shape = &ls_value_info(value)->shape;

    return shape->dim[shape->rank - 1];
}

/* Whether two terms can be of one fused reduction. */
static bool alike(const struct lsi_term *a, const struct lsi_term *b)
{
    if (a->op != b->op || last_dim(a->dy) != last_dim(b->dy))
        return false;
    if (a->op == LS_OP_DENSE_WGRAD || a->op == LS_OP_CONV2D_WGRAD)
        return last_dim(a->x) == last_dim(b->x) &&
               memcmp(&a->conv, &b->conv, offsetof(struct ls_conv2d_attrs, activation)) == 0;
    return true;
}

/* Shape in which a term gives its sum. */
static struct ls_shape shape_of(const struct lsi_term *term)
{
    switch (term->op) {
    case LS_OP_DENSE_WGRAD:
        return LS_SHAPE(last_dim(term->x), last_dim(term->dy));
    case LS_OP_CONV2D_WGRAD:
        return LS_SHAPE(term->conv.kernel[0], term->conv.kernel[1], last_dim(term->x), last_dim(term->dy));
    default:
        return LS_SHAPE(last_dim(term->dy));
    }
}

/* One fused reduction of terms [first, end), going on with `running` where it is not NULL. */
static struct ls_value *fused(struct lsi_backward *b, const struct lsi_term *first, const struct lsi_term *end,
                              struct ls_value *running)
{
    struct ls_batch_reduction batch = {.accumulate = running != NULL, .per_shard = end != NULL};
    struct ls_op_attrs attrs = {.batch = batch};
    struct ls_value *in[LS_MAX_INPUTS];
    int count = 0;

    if (first->op == LS_OP_CONV2D_WGRAD) {
        attrs = (struct ls_op_attrs){.conv2d = first->conv};
        attrs.conv2d.batch = batch;
    }
    if (running != NULL) {
        struct ls_shape shape = shape_of(first), all = {.rank = shape.rank + 1};

        all.dim[0] = ls_context_shards(b->context)->count;
        for (int d = 0; d < shape.rank; d++)
            all.dim[d + 1] = shape.dim[d];
        in[count++] = lsi_emit_reshape(b, running, &all);
    }
    for (const struct lsi_term *term = first; term != end; term = term->next) {
        if (term->op != LS_OP_ROW_SUM)
            in[count++] = term->x;
        in[count++] = term->dy;
    }
    return lsi_emit(b, first->op, &attrs, in, count);
}

/* All terms of a root: shard by shard one running sum, then the tree. */
static struct ls_value *partial_of(struct lsi_backward *b, const struct lsi_term *terms)
{
    struct ls_value *running = NULL;

    while (terms != NULL && b->status == LS_OK) {
        const struct lsi_term *end = terms->next;
        int inputs = 1, width = terms->op == LS_OP_ROW_SUM ? 1 : 2;

        for (inputs += width; end != NULL && alike(terms, end) && inputs + width <= LS_MAX_INPUTS; inputs += width)
            end = end->next;
        running = fused(b, terms, end, running);
        terms = end;
    }
    return running;
}

void lsi_frontier_complete(struct lsi_backward *b, struct ls_value *root)
{
    struct lsi_adjoint *a = lsi_adjoint_of(b, root);
    struct ls_op_attrs attrs = {.reduce = {.moments = false}};
    struct ls_value *total = NULL;

    if (a->complete || b->status != LS_OK)
        return;
    a->complete = true;
    if (a->spread != NULL) {
        struct ls_value *partial = lsi_emit_reshape(b, partial_of(b, a->spread), &ls_value_info(root)->shape);

        total = lsi_emit(b, LS_OP_REDUCE, &attrs, &partial, 1);
    }
    for (const struct lsi_term *term = a->plain; term != NULL && b->status == LS_OK; term = term->next)
        total = total == NULL ? term->dy : lsi_emit2(b, LS_OP_ADD, total, term->dy);
    a->sum = total;
}

void lsi_frontier_passed(struct lsi_backward *b, const struct ls_node *node)
{
    int count;
    struct ls_value *const *in = lsi_node_sources(node, &count);

    for (int j = count - 1; j >= 0; j--) {
        struct ls_value *root;

        if (!is_replicated(in[j]) || !lsi_adjoint_of(b, in[j])->depends)
            continue;
        root = root_of(b, in[j]);
        if (lsi_adjoint_of(b, root)->first_use == b->position)
            lsi_frontier_complete(b, root);
    }
}
