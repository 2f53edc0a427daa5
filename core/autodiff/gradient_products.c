/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients of the dense product, and of its weight gradient (for gradients of gradients). */
#include "core/autodiff/backward_internal.h"

static struct ls_value *product(struct lsi_backward *b, struct ls_value *x, struct ls_value *w, bool transposed_w)
{
    struct ls_op_attrs attrs = {.dense = {.transposed_w = transposed_w}};
    struct ls_value *in[] = {x, w};

    return lsi_emit(b, LS_OP_DENSE, &attrs, in, 2);
}

/* left^T right of replicated values: (rows, a), (rows, b) -> (a, b). */
static struct ls_value *sample_free(struct lsi_backward *b, struct ls_value *left, struct ls_value *right,
                                    const struct ls_shape *shape)
{
    struct ls_value *l = lsi_emit_matrix(b, left, shape->dim[0]), *r = lsi_emit_matrix(b, right, shape->dim[1]);

    return product(b, lsi_emit1(b, LS_OP_TRANSPOSE2D, l), r, false);
}

/* y = act(x w + bias): dz = act'(y) dy; dx = dz w^T; dw = x^T dz; dbias = sum dz. */
static void dense(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    bool transposed = node->attrs.dense.transposed_w;
    struct ls_value *dz = dy, *x = node->in[0], *w = node->in[1];

    if (node->attrs.dense.activation == LS_ACTIVATION_RELU)
        dz = lsi_emit2(b, LS_OP_RELU_GRAD, node->out, dy);
    if (dz == NULL)
        return;
    if (node->in_count == 3)
        lsi_give_suffix(b, node, 2, dz);
    if (lsi_wants(b, node, 1)) {
        struct ls_value *left = transposed ? dz : x, *right = transposed ? x : dz;

        if (lsi_is_per_sample(node->out))
            lsi_give_reduction(b, node, 1, LS_OP_DENSE_WGRAD, NULL, left, right);
        else
            lsi_give(b, node, 1, sample_free(b, left, right, &ls_value_info(w)->shape));
    }
    if (lsi_wants(b, node, 0))
        lsi_give(b, node, 0, product(b, dz, w, !transposed));
}

/* dw = sum of x^T dy over pairs; g is the adjoint of dw: dx = dy g^T, ddy = x g. */
static void dense_wgrad(struct lsi_backward *b, const struct ls_node *node, struct ls_value *g)
{
    int first = node->attrs.batch.accumulate ? 1 : 0;

    for (int i = node->in_count - 2; i >= first; i -= 2) {
        if (lsi_wants(b, node, i + 1))
            lsi_give(b, node, i + 1, product(b, node->in[i], g, false));
        if (lsi_wants(b, node, i))
            lsi_give(b, node, i, product(b, node->in[i + 1], g, true));
    }
    if (first == 1)
        lsi_give(b, node, 0, g);
}

void lsi_gradients_products(lsi_gradient_fn *table)
{
    table[LS_OP_DENSE] = dense;
    table[LS_OP_DENSE_WGRAD] = dense_wgrad;
}
