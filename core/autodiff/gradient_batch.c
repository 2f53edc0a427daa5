/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gradients of batch reductions (the adjoint of a partial sum is replicated and reaches every row), of the frontier,
 * and of batch normalisation with given statistics. Statistics themselves have none here: batch_norm.h's rule.
 */
#include "core/autodiff/backward_internal.h"

static void row_sum(struct lsi_backward *b, const struct ls_node *node, struct ls_value *g)
{
    int first = node->attrs.batch.accumulate ? 1 : 0;

    for (int i = node->in_count - 1; i >= first; i--)
        if (lsi_wants(b, node, i))
            lsi_give(b, node, i, lsi_emit_broadcast(b, g, node->in[i]));
    if (first == 1)
        lsi_give(b, node, 0, g);
}

static void row_dot(struct lsi_backward *b, const struct ls_node *node, struct ls_value *g)
{
    int first = node->attrs.batch.accumulate ? 1 : 0;

    for (int i = node->in_count - 2; i >= first; i -= 2) {
        if (lsi_wants(b, node, i + 1))
            lsi_give(b, node, i + 1, lsi_emit2(b, LS_OP_MUL, node->in[i], g));
        if (lsi_wants(b, node, i))
            lsi_give(b, node, i, lsi_emit2(b, LS_OP_MUL, node->in[i + 1], g));
    }
    if (first == 1)
        lsi_give(b, node, 0, g);
}

static void shard_tree(struct lsi_backward *b, const struct ls_node *node, struct ls_value *g)
{
    lsi_give(b, node, 0, g);
}

static void sum_f64(struct lsi_backward *b, const struct ls_node *node, struct ls_value *g)
{
    struct ls_op_attrs attrs = {.cast = {.dtype = ls_value_info(node->in[0])->dtype}};

    if (ls_value_info(g)->dtype != attrs.cast.dtype)
        g = lsi_emit(b, LS_OP_CAST, &attrs, &g, 1);
    lsi_give(b, node, 0, lsi_emit_broadcast(b, g, node->in[0]));
}

static void reduce(struct lsi_backward *b, const struct ls_node *node, struct ls_value *g)
{
    if (node->attrs.reduce.moments)
        lsi_no_gradient(b, node, "a merge of statistics");
    else
        lsi_give(b, node, 0, g);
}

/* y = (x - mean) inv gamma + beta, inv = 1 / sqrt(var + epsilon). */
static void bn_apply(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    struct ls_value *normal[] = {node->in[0], node->in[1], node->in[2]}, *gamma = node->in[3];
    struct ls_value *shifted = lsi_emit_affine(b, node->in[2], 1.0f, node->attrs.bn.epsilon);
    struct ls_value *dx = NULL, *xhat = NULL;

    if (lsi_wants(b, node, 0) || lsi_wants(b, node, 1))
        dx = lsi_emit2(b, LS_OP_MUL, dy, lsi_emit2(b, LS_OP_DIV, gamma, lsi_emit1(b, LS_OP_SQRT, shifted)));
    if (lsi_wants(b, node, 2) || lsi_wants(b, node, 3))
        xhat = lsi_emit(b, LS_OP_BN_XHAT, &node->attrs, normal, 3);
    lsi_give_suffix(b, node, 4, dy);
    lsi_give_suffix_dot(b, node, 3, xhat, dy);
    if (lsi_wants(b, node, 2)) {
        struct ls_value *slope = lsi_emit2(b, LS_OP_DIV, lsi_emit_affine(b, gamma, -0.5f, 0.0f), shifted);

        lsi_give_suffix_dot(b, node, 2, xhat, lsi_emit2(b, LS_OP_MUL, dy, slope));
    }
    if (lsi_wants(b, node, 1))
        lsi_give_suffix(b, node, 1, lsi_emit1(b, LS_OP_NEG, dx));
    lsi_give(b, node, 0, dx);
}

void lsi_gradients_batch(lsi_gradient_fn *table)
{
    table[LS_OP_ROW_SUM] = row_sum;
    table[LS_OP_ROW_DOT] = row_dot;
    table[LS_OP_SHARD_TREE] = shard_tree;
    table[LS_OP_SUM_F64] = sum_f64;
    table[LS_OP_REDUCE] = reduce;
    table[LS_OP_BN_APPLY] = bn_apply;
}
