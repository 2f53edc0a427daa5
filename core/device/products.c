/* SPDX-License-Identifier: Apache-2.0 */
/* Operands of the product ops. */
#include "core/device/products.h"

static int64_t rows_of(const struct ls_view *view)
{
    struct ls_shape leading = view->shape;

    leading.rank--;
    return ls_shape_count(&leading);
}

static int64_t last_of(const struct ls_view *view)
{
    return view->shape.dim[view->shape.rank - 1];
}

struct lsi_dense lsi_dense_of(const struct ls_op_call *call)
{
    return (struct lsi_dense){
        .x = call->in[0].data,
        .w = call->in[1].data,
        .bias = call->in_count > 2 ? call->in[2].data : NULL,
        .y = call->out[0].data,
        .rows = rows_of(&call->in[0]),
        .depth = last_of(&call->in[0]),
        .columns = last_of(&call->out[0]),
        .transposed_w = call->attrs->dense.transposed_w,
        .relu = call->attrs->dense.activation == LS_ACTIVATION_RELU,
    };
}

void lsi_wgrad_of(const struct ls_op_call *call, struct lsi_wgrad *wgrad)
{
    int first = call->attrs->batch.accumulate ? 1 : 0;

    *wgrad = (struct lsi_wgrad){
        .acc = first ? call->in[0].data : NULL,
        .out = call->out[0].data,
        .k = last_of(&call->in[first]),
        .n = last_of(&call->in[first + 1]),
        .first = first,
        .pairs = (call->in_count - first) / 2,
        .per_shard = call->attrs->batch.per_shard,
    };
    if (call->shards != NULL) {
        wgrad->shards = call->shards->count;
        wgrad->offset = call->shards->offset;
    } else {
        wgrad->shards = 1;
        wgrad->one_shard[1] = rows_of(&call->in[first]);
        wgrad->offset = wgrad->one_shard;
    }
    wgrad->samples = wgrad->offset[wgrad->shards];
}

struct lsi_wgrad_pair lsi_wgrad_pair_of(const struct ls_op_call *call, const struct lsi_wgrad *wgrad, int pair)
{
    const struct ls_view *x = &call->in[wgrad->first + 2 * pair];
    int64_t rows = rows_of(x);
    int64_t positions = wgrad->samples > 0 ? rows / wgrad->samples : 0;
    struct lsi_wgrad_pair read = {.x = x[0].data, .dy = x[1].data, .positions = positions, .cut = LSI_BLOCK};

    if (positions > 0 && positions <= LSI_BLOCK)
        read.cut = LSI_BLOCK / positions * positions;
    return read;
}
