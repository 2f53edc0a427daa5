/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gradients of element-wise ops. Where operands of a maximum or minimum are equal the first takes the adjoint, as the
 * first wins forward.
 */
#include "core/autodiff/backward_internal.h"

static void add(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    lsi_give_suffix(b, node, 1, dy);
    lsi_give(b, node, 0, dy);
}

static void sub(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    if (lsi_wants(b, node, 1))
        lsi_give_suffix(b, node, 1, lsi_emit1(b, LS_OP_NEG, dy));
    lsi_give(b, node, 0, dy);
}

static void mul(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    lsi_give_suffix_dot(b, node, 1, node->in[0], dy);
    if (lsi_wants(b, node, 0))
        lsi_give(b, node, 0, lsi_emit2(b, LS_OP_MUL, dy, node->in[1]));
}

static void divide(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    if (lsi_wants(b, node, 1)) {
        struct ls_value *slope = lsi_emit2(b, LS_OP_DIV, lsi_emit2(b, LS_OP_MUL, dy, node->out), node->in[1]);

        lsi_give_suffix(b, node, 1, lsi_emit1(b, LS_OP_NEG, slope));
    }
    if (lsi_wants(b, node, 0))
        lsi_give(b, node, 0, lsi_emit2(b, LS_OP_DIV, dy, node->in[1]));
}

static struct ls_value *select_ge(struct lsi_backward *b, struct ls_value *left, struct ls_value *right,
                                  struct ls_value *yes, struct ls_value *no)
{
    struct ls_value *in[] = {left, right, yes, no};

    return lsi_emit(b, LS_OP_SELECT_GE, NULL, in, 4);
}

static void extremum(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    bool maximum = node->op == LS_OP_MAXIMUM;
    struct ls_value *x = node->in[0], *y = lsi_emit_broadcast(b, node->in[1], x);
    struct ls_value *left = maximum ? x : y, *right = maximum ? y : x, *zero = lsi_emit_fill(b, x, 0.0f);

    if (lsi_wants(b, node, 1))
        lsi_give_suffix(b, node, 1, select_ge(b, left, right, zero, dy));
    if (lsi_wants(b, node, 0))
        lsi_give(b, node, 0, select_ge(b, left, right, dy, zero));
}

static void selection(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    struct ls_value *zero = lsi_emit_fill(b, dy, 0.0f);

    if (lsi_wants(b, node, 3))
        lsi_give(b, node, 3, select_ge(b, node->in[0], node->in[1], zero, dy));
    if (lsi_wants(b, node, 2))
        lsi_give(b, node, 2, select_ge(b, node->in[0], node->in[1], dy, zero));
}

static void neg(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    lsi_give(b, node, 0, lsi_emit1(b, LS_OP_NEG, dy));
}

static void exponential(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    lsi_give(b, node, 0, lsi_emit2(b, LS_OP_MUL, dy, node->out));
}

static void logarithm(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    lsi_give(b, node, 0, lsi_emit2(b, LS_OP_DIV, dy, node->in[0]));
}

static void hyperbolic(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    struct ls_value *square = lsi_emit2(b, LS_OP_MUL, node->out, node->out);

    lsi_give(b, node, 0, lsi_emit2(b, LS_OP_MUL, dy, lsi_emit_affine(b, square, -1.0f, 1.0f)));
}

static void root(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    lsi_give(b, node, 0, lsi_emit2(b, LS_OP_DIV, lsi_emit_affine(b, dy, 0.5f, 0.0f), node->out));
}

static void relu(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    lsi_give(b, node, 0, lsi_emit2(b, LS_OP_RELU_GRAD, node->out, dy));
}

static void relu_grad(struct lsi_backward *b, const struct ls_node *node, struct ls_value *a)
{
    if (lsi_wants(b, node, 1))
        lsi_give(b, node, 1, lsi_emit2(b, LS_OP_RELU_GRAD, node->in[0], a));
}

static void sigmoid(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    struct ls_value *slope = lsi_emit2(b, LS_OP_MUL, node->out, lsi_emit_affine(b, node->out, -1.0f, 1.0f));

    lsi_give(b, node, 0, lsi_emit2(b, LS_OP_MUL, dy, slope));
}

static void affine(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    lsi_give(b, node, 0, lsi_emit_affine(b, dy, node->attrs.affine.scale, 0.0f));
}

static void cast(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    struct ls_op_attrs attrs = {.cast = {.dtype = ls_value_info(node->in[0])->dtype}};

    lsi_give(b, node, 0, lsi_emit(b, LS_OP_CAST, &attrs, &dy, 1));
}

static void dropout(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    lsi_give(b, node, 0, lsi_emit(b, LS_OP_DROPOUT, &node->attrs, &dy, 1));
}

void lsi_gradients_elements(lsi_gradient_fn *table)
{
    table[LS_OP_ADD] = add;
    table[LS_OP_SUB] = sub;
    table[LS_OP_MUL] = mul;
    table[LS_OP_DIV] = divide;
    table[LS_OP_MAXIMUM] = extremum;
    table[LS_OP_MINIMUM] = extremum;
    table[LS_OP_SELECT_GE] = selection;
    table[LS_OP_NEG] = neg;
    table[LS_OP_EXP] = exponential;
    table[LS_OP_LOG] = logarithm;
    table[LS_OP_TANH] = hyperbolic;
    table[LS_OP_SQRT] = root;
    table[LS_OP_RELU] = relu;
    table[LS_OP_RELU_GRAD] = relu_grad;
    table[LS_OP_SIGMOID] = sigmoid;
    table[LS_OP_AFFINE] = affine;
    table[LS_OP_CAST] = cast;
    table[LS_OP_DROPOUT] = dropout;
}
