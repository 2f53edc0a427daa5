/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients of convolution and pooling, and of convolution's own gradients. */
#include "core/autodiff/backward_internal.h"

static struct ls_value *convolve(struct lsi_backward *b, enum ls_op op, const struct ls_node *node, struct ls_value *x,
                                 struct ls_value *w)
{
    struct ls_op_attrs attrs = node->attrs;
    struct ls_value *in[] = {x, w};

    attrs.conv2d.activation = LS_ACTIVATION_NONE;
    attrs.conv2d.batch = (struct ls_batch_reduction){0};
    return lsi_emit(b, op, &attrs, in, 2);
}

static void give_weight(struct lsi_backward *b, const struct ls_node *node, struct ls_value *x, struct ls_value *dy)
{
    if (!lsi_wants(b, node, 1) || dy == NULL)
        return;
    if (!lsi_is_per_sample(dy)) {
        lsi_no_gradient(b, node, "the kernel over replicated images");
        return;
    }
    lsi_give_reduction(b, node, 1, LS_OP_CONV2D_WGRAD, &node->attrs.conv2d, x, dy);
}

static void conv2d(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    struct ls_value *dz = dy;

    if (node->attrs.conv2d.activation == LS_ACTIVATION_RELU)
        dz = lsi_emit2(b, LS_OP_RELU_GRAD, node->out, dy);
    if (dz == NULL)
        return;
    if (node->in_count == 3)
        lsi_give_suffix(b, node, 2, dz);
    give_weight(b, node, node->in[0], dz);
    if (lsi_wants(b, node, 0))
        lsi_give(b, node, 0, convolve(b, LS_OP_CONV2D_XGRAD, node, dz, node->in[1]));
}

/* dx = f(dy, w), linear in both; a is the adjoint of dx. */
static void conv2d_xgrad(struct lsi_backward *b, const struct ls_node *node, struct ls_value *a)
{
    give_weight(b, node, a, node->in[0]);
    if (lsi_wants(b, node, 0))
        lsi_give(b, node, 0, convolve(b, LS_OP_CONV2D, node, a, node->in[1]));
}

static void conv2d_wgrad(struct lsi_backward *b, const struct ls_node *node, struct ls_value *g)
{
    int first = node->attrs.conv2d.batch.accumulate ? 1 : 0;

    for (int i = node->in_count - 2; i >= first; i -= 2) {
        if (lsi_wants(b, node, i + 1))
            lsi_give(b, node, i + 1, convolve(b, LS_OP_CONV2D, node, node->in[i], g));
        if (lsi_wants(b, node, i))
            lsi_give(b, node, i, convolve(b, LS_OP_CONV2D_XGRAD, node, node->in[i + 1], g));
    }
    if (first == 1)
        lsi_give(b, node, 0, g);
}

static void max_pool2d(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    struct ls_value *in[] = {node->in[0], dy};

    lsi_give(b, node, 0, lsi_emit(b, LS_OP_MAX_POOL2D_GRAD, &node->attrs, in, 2));
}

static void avg_pool(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    const struct ls_shape *x = &ls_value_info(node->in[0])->shape;
    struct ls_op_attrs attrs = {.avg_pool_grad = {.h = (int)x->dim[1], .w = (int)x->dim[2]}};

    lsi_give(b, node, 0, lsi_emit(b, LS_OP_AVG_POOL_GLOBAL_GRAD, &attrs, &dy, 1));
}

static void avg_pool_grad(struct lsi_backward *b, const struct ls_node *node, struct ls_value *a)
{
    lsi_give(b, node, 0, lsi_emit1(b, LS_OP_AVG_POOL_GLOBAL, a));
}

void lsi_gradients_conv(lsi_gradient_fn *table)
{
    table[LS_OP_CONV2D] = conv2d;
    table[LS_OP_CONV2D_XGRAD] = conv2d_xgrad;
    table[LS_OP_CONV2D_WGRAD] = conv2d_wgrad;
    table[LS_OP_MAX_POOL2D] = max_pool2d;
    table[LS_OP_AVG_POOL_GLOBAL] = avg_pool;
    table[LS_OP_AVG_POOL_GLOBAL_GRAD] = avg_pool_grad;
}
