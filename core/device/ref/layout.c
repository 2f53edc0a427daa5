/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that move elements without looking at them: any dtype. FILL is f32 (or f64). */
#include "core/device/ref/call.h"

#include <string.h>

static enum ls_status reshape(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    (void)device;
    (void)err;
    if (call->out[0].data != call->in[0].data)
        memcpy(call->out[0].data, call->in[0].data, ls_view_bytes(&call->out[0]));
    return LS_OK;
}

/* One tile at (row, column) of at most TILE x TILE elements, so that both sides stay in cache. */
#define TILE 16
#define TRANSPOSE_TILE(type)                                                                              \
    static void transpose_tile_##type(const type *in, type *out, size_t rows, size_t columns, size_t row, \
                                      size_t column)                                                      \
    {                                                                                                     \
        size_t row_end = row + TILE < rows ? row + TILE : rows;                                           \
        size_t column_end = column + TILE < columns ? column + TILE : columns;                            \
                                                                                                          \
        for (size_t c = column; c < column_end; c++) {                                                    \
            for (size_t r = row; r < row_end; r++)                                                        \
                out[c * rows + r] = in[r * columns + c];                                                  \
        }                                                                                                 \
    }
TRANSPOSE_TILE(uint8_t)
TRANSPOSE_TILE(uint16_t)
TRANSPOSE_TILE(uint32_t)
TRANSPOSE_TILE(uint64_t)

static enum ls_status transpose2d(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    size_t rows = (size_t)call->in[0].shape.dim[0], columns = (size_t)call->in[0].shape.dim[1];
    const void *in = call->in[0].data;
    void *out = call->out[0].data;

    (void)device;
    (void)err;
    for (size_t row = 0; row < rows; row += TILE) {
        for (size_t column = 0; column < columns; column += TILE) {
            switch (ls_dtype_size(call->out[0].dtype)) {
            case 1:
                transpose_tile_uint8_t(in, out, rows, columns, row, column);
                break;
            case 2:
                transpose_tile_uint16_t(in, out, rows, columns, row, column);
                break;
            case 4:
                transpose_tile_uint32_t(in, out, rows, columns, row, column);
                break;
            default:
                transpose_tile_uint64_t(in, out, rows, columns, row, column);
            }
        }
    }
    return LS_OK;
}

/* A shape seen from an axis: outer x axis x inner bytes. */
struct cut {
    size_t outer, axis, inner;
};

static struct cut cut_at(const struct ls_view *view, int axis)
{
    struct cut cut = {1, 1, ls_dtype_size(view->dtype)};

    axis += axis < 0 ? view->shape.rank : 0;
    for (int i = 0; i < view->shape.rank; i++)
        *(i < axis ? &cut.outer : i == axis ? &cut.axis : &cut.inner) *= (size_t)view->shape.dim[i];
    return cut;
}

static enum ls_status concat(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    struct cut whole = cut_at(&call->out[0], call->attrs->slice.axis);
    size_t begin = 0;

    (void)device;
    (void)err;
    for (int k = 0; k < call->in_count; k++) {
        struct cut part = cut_at(&call->in[k], call->attrs->slice.axis);
        size_t bytes = part.axis * part.inner;

        for (size_t o = 0; o < whole.outer; o++)
            memcpy((char *)call->out[0].data + o * whole.axis * whole.inner + begin * whole.inner,
                   (const char *)call->in[k].data + o * bytes, bytes);
        begin += part.axis;
    }
    return LS_OK;
}

/* SLICE: [begin, begin + count) of an axis; PAD_SLICE: the same place in zeros of length total. */
static enum ls_status slice(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    bool take = call->op == LS_OP_SLICE;
    int axis = call->attrs->slice.axis;
    struct cut whole = cut_at(take ? &call->in[0] : &call->out[0], axis);
    struct cut part = cut_at(take ? &call->out[0] : &call->in[0], axis);
    size_t bytes = part.axis * part.inner, begin = (size_t)call->attrs->slice.begin * whole.inner;

    (void)device;
    (void)err;
    if (!take)
        memset(call->out[0].data, 0, ls_view_bytes(&call->out[0]));
    for (size_t o = 0; o < whole.outer; o++) {
        size_t whole_at = o * whole.axis * whole.inner + begin;

        memcpy((char *)call->out[0].data + (take ? o * bytes : whole_at),
               (const char *)call->in[0].data + (take ? whole_at : o * bytes), bytes);
    }
    return LS_OK;
}

static enum ls_status fill(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    int64_t count = ls_shape_count(&call->out[0].shape);

    (void)device;
    if (call->out[0].dtype != LS_F32 && call->out[0].dtype != LS_F64)
        return lsi_call_unsupported(call, err);
    for (int64_t i = 0; i < count; i++) {
        if (call->out[0].dtype == LS_F32)
            ((float *)call->out[0].data)[i] = call->attrs->fill.value;
        else
            ((double *)call->out[0].data)[i] = (double)call->attrs->fill.value;
    }
    return LS_OK;
}

void lsi_ref_layout(struct lsi_kernel *table)
{
    table[LS_OP_RESHAPE] = (struct lsi_kernel){.run = reshape};
    table[LS_OP_TRANSPOSE2D] = (struct lsi_kernel){.run = transpose2d};
    table[LS_OP_CONCAT] = (struct lsi_kernel){.run = concat};
    table[LS_OP_SLICE] = (struct lsi_kernel){.run = slice};
    table[LS_OP_PAD_SLICE] = (struct lsi_kernel){.run = slice};
    table[LS_OP_FILL] = (struct lsi_kernel){.run = fill};
}
