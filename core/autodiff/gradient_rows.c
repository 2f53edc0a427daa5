/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients of ops along the last axis. Losses have a first derivative, with respect to the logits. */
#include "core/autodiff/backward_internal.h"

static int64_t last_dim(const struct ls_value *value)
{
    const struct ls_shape *shape = &ls_value_info(value)->shape;

    return shape->dim[shape->rank - 1];
}

static struct ls_value *repeat(struct lsi_backward *b, struct ls_value *x, int64_t count)
{
    struct ls_op_attrs attrs = {.rows = {.count = count}};

    return lsi_emit(b, LS_OP_ROW_BROADCAST, &attrs, &x, 1);
}

static void softmax(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    lsi_give(b, node, 0, lsi_emit2(b, LS_OP_SOFTMAX_GRAD, node->out, dy));
}

/* out = y (dy - s), s = sum(dy y); with a the adjoint of out and t = sum(a y): ddy = y (a - t), and the adjoint of y
 * is a (dy - s) - dy t. */
static void softmax_grad(struct lsi_backward *b, const struct ls_node *node, struct ls_value *a)
{
    struct ls_value *y = node->in[0], *dy = node->in[1];

    if (lsi_wants(b, node, 1))
        lsi_give(b, node, 1, lsi_emit2(b, LS_OP_SOFTMAX_GRAD, y, a));
    if (lsi_wants(b, node, 0)) {
        int64_t count = last_dim(y);
        struct ls_value *s = lsi_emit1(b, LS_OP_ROW_REDUCE_SUM, lsi_emit2(b, LS_OP_MUL, dy, y));
        struct ls_value *t = lsi_emit1(b, LS_OP_ROW_REDUCE_SUM, lsi_emit2(b, LS_OP_MUL, a, y));
        struct ls_value *left = lsi_emit2(b, LS_OP_MUL, a, lsi_emit2(b, LS_OP_SUB, dy, repeat(b, s, count)));
        struct ls_value *right = lsi_emit2(b, LS_OP_MUL, dy, repeat(b, t, count));

        lsi_give(b, node, 0, lsi_emit2(b, LS_OP_SUB, left, right));
    }
}

static void reduce_sum(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    lsi_give(b, node, 0, repeat(b, dy, last_dim(node->in[0])));
}

static void broadcast(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    lsi_give(b, node, 0, lsi_emit1(b, LS_OP_ROW_REDUCE_SUM, dy));
}

/* A loss of logits and labels or targets: the op of its gradient takes the adjoint too. */
static void loss(struct lsi_backward *b, const struct ls_node *node, enum ls_op op, struct ls_value *dy)
{
    struct ls_value *in[] = {node->in[0], node->in[1], dy};

    if (lsi_wants(b, node, 1))
        lsi_no_gradient(b, node, "the target");
    if (lsi_wants(b, node, 0))
        lsi_give(b, node, 0, lsi_emit(b, op, NULL, in, 3));
}

static void sparse_softmax_xent(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    loss(b, node, LS_OP_SPARSE_SOFTMAX_XENT_GRAD, dy);
}

static void softmax_xent(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    loss(b, node, LS_OP_SOFTMAX_XENT_GRAD, dy);
}

static void sigmoid_xent(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    loss(b, node, LS_OP_SIGMOID_XENT_GRAD, dy);
}

static void gather_rows(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    struct ls_op_attrs attrs = {.rows = {.count = last_dim(node->in[0])}};
    struct ls_value *in[] = {dy, node->in[1]};

    lsi_give(b, node, 0, lsi_emit(b, LS_OP_SCATTER_ROWS, &attrs, in, 2));
}

static void scatter_rows(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    lsi_give(b, node, 0, lsi_emit2(b, LS_OP_GATHER_ROWS, dy, node->in[1]));
}

void lsi_gradients_rows(lsi_gradient_fn *table)
{
    table[LS_OP_SOFTMAX] = softmax;
    table[LS_OP_SOFTMAX_GRAD] = softmax_grad;
    table[LS_OP_ROW_REDUCE_SUM] = reduce_sum;
    table[LS_OP_ROW_BROADCAST] = broadcast;
    table[LS_OP_SPARSE_SOFTMAX_XENT] = sparse_softmax_xent;
    table[LS_OP_SOFTMAX_XENT] = softmax_xent;
    table[LS_OP_SIGMOID_XENT] = sigmoid_xent;
    table[LS_OP_GATHER_ROWS] = gather_rows;
    table[LS_OP_SCATTER_ROWS] = scatter_rows;
}
