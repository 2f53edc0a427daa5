/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients of layout ops. Reshapes and transposes of replicated values mostly never get here (frontier.c). */
#include "core/autodiff/backward_internal.h"

static void reshape(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    struct ls_shape shape = ls_value_info(node->in[0])->shape;

    /* the adjoint of running sums is that of their tree: it has no axis of shards */
    if (ls_value_is_per_shard(node->in[0])) {
        shape.rank--;
        for (int d = 0; d < shape.rank; d++)
            shape.dim[d] = shape.dim[d + 1];
    }
    lsi_give(b, node, 0, lsi_emit_reshape(b, dy, &shape));
}

static void transpose(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    lsi_give(b, node, 0, lsi_emit1(b, LS_OP_TRANSPOSE2D, dy));
}

static int64_t along(const struct ls_node *node, int i)
{
    return ls_value_info(node->in[i])->shape.dim[node->attrs.slice.axis];
}

static void concat(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    int64_t end = ls_value_info(node->out)->shape.dim[node->attrs.slice.axis];

    for (int i = node->in_count - 1; i >= 0; i--) {
        struct ls_op_attrs attrs = {
            .slice = {.axis = node->attrs.slice.axis, .begin = end - along(node, i), .count = along(node, i)}};

        end = attrs.slice.begin;
        if (lsi_wants(b, node, i))
            lsi_give(b, node, i, lsi_emit(b, LS_OP_SLICE, &attrs, &dy, 1));
    }
}

static void slice(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    struct ls_op_attrs attrs = {
        .slice = {.axis = node->attrs.slice.axis, .begin = node->attrs.slice.begin, .total = along(node, 0)}};

    lsi_give(b, node, 0, lsi_emit(b, LS_OP_PAD_SLICE, &attrs, &dy, 1));
}

static void pad_slice(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy)
{
    struct ls_op_attrs attrs = {
        .slice = {.axis = node->attrs.slice.axis, .begin = node->attrs.slice.begin, .count = along(node, 0)}};

    lsi_give(b, node, 0, lsi_emit(b, LS_OP_SLICE, &attrs, &dy, 1));
}

void lsi_gradients_layout(lsi_gradient_fn *table)
{
    table[LS_OP_RESHAPE] = reshape;
    table[LS_OP_TRANSPOSE2D] = transpose;
    table[LS_OP_CONCAT] = concat;
    table[LS_OP_SLICE] = slice;
    table[LS_OP_PAD_SLICE] = pad_slice;
}
