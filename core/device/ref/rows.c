/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations along the last axis: softmax, cross-entropies, hits, gather and scatter. Sums follow the row rule of
 * docs/numerics.md: 32 lanes, halved.
 */
#include "core/device/ref/call.h"
#include "core/device/ref/real.h"

#include <string.h>

#define LANES 32

#define LSI_REAL_BODY "core/device/ref/rows_real.inc"
#include "core/device/ref/both_reals.inc"

#define RUN_REAL(name)                                                                                        \
    static enum ls_status name(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err) \
    {                                                                                                         \
        (void)device;                                                                                         \
        if (call->in[0].dtype == LS_F32)                                                                      \
            return run_##name##_f32(call, err);                                                               \
        return call->in[0].dtype == LS_F64 ? run_##name##_f64(call, err) : lsi_call_unsupported(call, err);   \
    }
RUN_REAL(softmax)
RUN_REAL(softmax_grad)
RUN_REAL(row_reduce_sum)
RUN_REAL(sparse_xent)
RUN_REAL(sparse_xent_grad)
RUN_REAL(softmax_xent)
RUN_REAL(softmax_xent_grad)
RUN_REAL(sparse_hit)
RUN_REAL(dense_hit)
RUN_REAL(binary_hit)

/* (..) -> (.., count): each element repeated. Any dtype. */
static enum ls_status row_broadcast(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    size_t size = ls_dtype_size(call->out[0].dtype);
    int64_t width = lsi_row_length(&call->out[0]), rows = lsi_row_count(&call->out[0]);

    (void)device;
    (void)err;
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < width; c++)
            memcpy((char *)call->out[0].data + (size_t)(r * width + c) * size,
                   (const char *)call->in[0].data + (size_t)r * size, size);
    }
    return LS_OK;
}

/* GATHER_ROWS (n, C), labels -> p[label]; SCATTER_ROWS is its adjoint: zeros elsewhere. Any dtype. */
static enum ls_status gather_scatter(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    bool gather = call->op == LS_OP_GATHER_ROWS;
    const struct ls_view *wide = gather ? &call->in[0] : &call->out[0];
    size_t size = ls_dtype_size(call->out[0].dtype);
    int64_t width = lsi_row_length(wide), rows = lsi_row_count(wide);
    char *out = call->out[0].data;
    const char *in = call->in[0].data;

    (void)device;
    if (!gather)
        memset(out, 0, ls_view_bytes(&call->out[0]));
    for (int64_t r = 0; r < rows; r++) {
        int64_t label = lsi_label(&call->in[1], r);
        size_t narrow_at = (size_t)r * size, wide_at;

        if (label < 0 || label >= width)
            return lsi_call_bad_label(call, rows, r, label, width, err);
        wide_at = (size_t)(r * width + label) * size;
        memcpy(out + (gather ? narrow_at : wide_at), in + (gather ? wide_at : narrow_at), size);
    }
    return LS_OK;
}

void lsi_ref_rows(struct lsi_kernel *table)
{
    table[LS_OP_SOFTMAX] = (struct lsi_kernel){.run = softmax};
    table[LS_OP_SOFTMAX_GRAD] = (struct lsi_kernel){.run = softmax_grad};
    table[LS_OP_ROW_REDUCE_SUM] = (struct lsi_kernel){.run = row_reduce_sum};
    table[LS_OP_ROW_BROADCAST] = (struct lsi_kernel){.run = row_broadcast};
    table[LS_OP_SPARSE_SOFTMAX_XENT] = (struct lsi_kernel){.run = sparse_xent};
    table[LS_OP_SPARSE_SOFTMAX_XENT_GRAD] = (struct lsi_kernel){.run = sparse_xent_grad};
    table[LS_OP_SOFTMAX_XENT] = (struct lsi_kernel){.run = softmax_xent};
    table[LS_OP_SOFTMAX_XENT_GRAD] = (struct lsi_kernel){.run = softmax_xent_grad};
    table[LS_OP_SPARSE_HIT] = (struct lsi_kernel){.run = sparse_hit};
    table[LS_OP_DENSE_HIT] = (struct lsi_kernel){.run = dense_hit};
    table[LS_OP_BINARY_HIT] = (struct lsi_kernel){.run = binary_hit};
    table[LS_OP_GATHER_ROWS] = (struct lsi_kernel){.run = gather_scatter};
    table[LS_OP_SCATTER_ROWS] = (struct lsi_kernel){.run = gather_scatter};
}
