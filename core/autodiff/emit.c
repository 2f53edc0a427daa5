/* SPDX-License-Identifier: Apache-2.0 */
/* What gradient rules say things with: applying ops, and giving adjoints to the inputs of a node. */
#include "core/autodiff/backward_internal.h"

struct ls_value *lsi_emit(struct lsi_backward *b, enum ls_op op, const struct ls_op_attrs *attrs,
                          struct ls_value *const *in, int in_count)
{
    struct ls_value *out = NULL;

    for (int i = 0; i < in_count; i++)
        if (in[i] == NULL)
            return NULL;
    if (b->status == LS_OK)
        b->status = ls_apply(b->context, op, attrs, in, in_count, &out, b->err);
    return b->status == LS_OK ? out : NULL;
}

struct ls_value *lsi_emit1(struct lsi_backward *b, enum ls_op op, struct ls_value *x)
{
    return lsi_emit(b, op, NULL, &x, 1);
}

struct ls_value *lsi_emit2(struct lsi_backward *b, enum ls_op op, struct ls_value *x, struct ls_value *y)
{
    struct ls_value *in[] = {x, y};

    return lsi_emit(b, op, NULL, in, 2);
}

struct ls_value *lsi_emit_affine(struct lsi_backward *b, struct ls_value *x, float scale, float offset)
{
    struct ls_op_attrs attrs = {.affine = {.scale = scale, .offset = offset}};

    return lsi_emit(b, LS_OP_AFFINE, &attrs, &x, 1);
}

struct ls_value *lsi_emit_reshape(struct lsi_backward *b, struct ls_value *x, const struct ls_shape *shape)
{
    struct ls_op_attrs attrs = {.reshape = {.shape = *shape}};

    if (x == NULL || ls_shape_equal(&ls_value_info(x)->shape, shape))
        return x;
    return lsi_emit(b, LS_OP_RESHAPE, &attrs, &x, 1);
}

struct ls_value *lsi_emit_fill(struct lsi_backward *b, const struct ls_value *like, float value)
{
    struct ls_op_attrs attrs = {.cast = {.dtype = ls_value_info(like)->dtype}};
    struct ls_value *out = NULL;

    if (b->status == LS_OK)
        b->status = ls_apply_fill(b->context, ls_value_info(like), value, &out, b->err);
    if (b->status != LS_OK || attrs.cast.dtype == LS_F32)
        return out;
    return lsi_emit(b, LS_OP_CAST, &attrs, &out, 1);
}

struct ls_value *lsi_emit_broadcast(struct lsi_backward *b, struct ls_value *suffix, const struct ls_value *like)
{
    if (suffix == NULL || ls_shape_equal(&ls_value_info(suffix)->shape, &ls_value_info(like)->shape))
        return suffix;
    return lsi_emit2(b, LS_OP_ADD, lsi_emit_fill(b, like, 0.0f), suffix);
}

struct ls_value *lsi_emit_matrix(struct lsi_backward *b, struct ls_value *x, int64_t last)
{
    if (x == NULL)
        return NULL;
    return lsi_emit_reshape(b, x, &LS_SHAPE(last > 0 ? ls_shape_count(&ls_value_info(x)->shape) / last : 0, last));
}

bool lsi_wants(struct lsi_backward *b, const struct ls_node *node, int i)
{
    return i < node->in_count && lsi_adjoint_of(b, node->in[i])->depends;
}

void lsi_give(struct lsi_backward *b, const struct ls_node *node, int i, struct ls_value *adjoint)
{
    if (adjoint != NULL && lsi_wants(b, node, i))
        lsi_give_value(b, node->in[i], adjoint);
}

/* Sum over leading dimensions of a replicated value: each column as a row, by the row rule. */
static struct ls_value *sum_leading(struct lsi_backward *b, struct ls_value *dy, const struct ls_shape *suffix)
{
    int64_t columns = ls_shape_count(suffix);
    struct ls_value *matrix;

    if (dy == NULL || ls_shape_equal(&ls_value_info(dy)->shape, suffix))
        return dy;
    matrix = lsi_emit_matrix(b, dy, columns);
    return lsi_emit_reshape(b, lsi_emit1(b, LS_OP_ROW_REDUCE_SUM, lsi_emit1(b, LS_OP_TRANSPOSE2D, matrix)), suffix);
}

void lsi_give_suffix(struct lsi_backward *b, const struct ls_node *node, int i, struct ls_value *dy)
{
    struct ls_value *input = node->in[i];
    const struct ls_shape *shape = &ls_value_info(input)->shape;

    if (dy == NULL || !lsi_wants(b, node, i))
        return;
    if (lsi_is_per_sample(input))
        lsi_give(b, node, i, dy);
    else if (lsi_is_per_sample(dy))
        lsi_give_reduction(b, node, i, LS_OP_ROW_SUM, NULL, NULL, lsi_emit_matrix(b, dy, ls_shape_count(shape)));
    else
        lsi_give(b, node, i, sum_leading(b, dy, shape));
}

void lsi_give_suffix_dot(struct lsi_backward *b, const struct ls_node *node, int i, struct ls_value *x,
                         struct ls_value *dy)
{
    struct ls_value *input = node->in[i];
    int64_t count = ls_shape_count(&ls_value_info(input)->shape);

    if (x == NULL || dy == NULL || !lsi_wants(b, node, i))
        return;
    if (!lsi_is_per_sample(input) && lsi_is_per_sample(dy))
        lsi_give_reduction(b, node, i, LS_OP_ROW_DOT, NULL, lsi_emit_matrix(b, x, count),
                           lsi_emit_matrix(b, dy, count));
    else
        lsi_give_suffix(b, node, i, lsi_emit2(b, LS_OP_MUL, dy, x));
}

void lsi_no_gradient(struct lsi_backward *b, const struct ls_node *node, const char *what)
{
    if (b->status == LS_OK)
        b->status =
            ls_error_set(b->err, LS_EUNSUPPORTED, "%s: %s has no gradient; keep the sources from influencing it",
                         ls_op_name(node->op), what);
}
