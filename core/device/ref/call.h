/* SPDX-License-Identifier: Apache-2.0 */
/* How kernels read a call: rows, samples, blocks of batch reductions, labels. Shared by every device in C. */
#ifndef LOCKSTEP_CORE_DEVICE_REF_CALL_H
#define LOCKSTEP_CORE_DEVICE_REF_CALL_H

#include "core/device/device_impl.h"

/* "device <op>: does not take <dtype>": LS_EUNSUPPORTED. */
enum ls_status lsi_call_unsupported(const struct ls_op_call *call, struct ls_error *err);
/* Runs bodies[0] for f32 or bodies[1] for f64 results over [0, count) on the device's threads; their state is the
 * call. */
enum ls_status lsi_call_over(struct ls_device *device, const struct ls_op_call *call, int64_t count,
                             const lsi_range_fn bodies[2], struct ls_error *err);
/* LS_EINVAL for a label outside 0 .. classes - 1; row is its index in the call. */
enum ls_status lsi_call_bad_label(const struct ls_op_call *call, int64_t rows, int64_t row, int64_t label,
                                  int64_t classes, struct ls_error *err);

/* Elements of one row along the last axis; 1 for a scalar. */
static inline int64_t lsi_row_length(const struct ls_view *view)
{
    return view->shape.rank ? view->shape.dim[view->shape.rank - 1] : 1;
}

/* Rows along the last axis. */
static inline int64_t lsi_row_count(const struct ls_view *view)
{
    int64_t count = 1;

    for (int i = 0; i + 1 < view->shape.rank; i++)
        count *= view->shape.dim[i];
    return count;
}

/* Label `i` of i32, i64 or u8 labels. */
static inline int64_t lsi_label(const struct ls_view *labels, int64_t i)
{
    if (labels->dtype == LS_I32)
        return ((const int32_t *)labels->data)[i];
    return labels->dtype == LS_I64 ? ((const int64_t *)labels->data)[i] : ((const uint8_t *)labels->data)[i];
}

/* How ROW_SUM and ROW_DOT begin and end; zeros for other ops. */
static inline const struct ls_batch_reduction *lsi_batch_attrs(const struct ls_op_call *call)
{
    static const struct ls_batch_reduction none = {0};

    return call->attrs && (call->op == LS_OP_ROW_SUM || call->op == LS_OP_ROW_DOT) ? &call->attrs->batch : &none;
}

/* Shards of the call; 1 where it has none (then every row is a sample of one shard). */
static inline int lsi_shard_count(const struct ls_op_call *call)
{
    return call->shards ? call->shards->count : 1;
}

static inline int64_t lsi_shard_offset(const struct ls_op_call *call, int shard, int64_t rows)
{
    if (call->shards)
        return call->shards->offset[shard];
    return shard ? rows : 0;
}

/* Samples of the call where an operand has `rows` rows. */
static inline int64_t lsi_sample_count(const struct ls_op_call *call, int64_t rows)
{
    return lsi_shard_offset(call, lsi_shard_count(call), rows);
}

/* Elements (columns) that a batch reduction keeps. */
static inline int64_t lsi_batch_width(const struct ls_op_call *call)
{
    int64_t width = ls_shape_count(&call->out[0].shape);

    if (call->op == LS_OP_MOMENTS)
        return width / 3;
    return lsi_batch_attrs(call)->per_shard ? width / lsi_shard_count(call) : width;
}

/* Rows (sample, position) of one operand of a batch reduction and positions P that a sample has. */
struct lsi_batch_rows {
    int64_t rows, positions;
};

static inline struct lsi_batch_rows lsi_batch_rows_of(const struct ls_op_call *call, const struct ls_view *view,
                                                      int64_t width)
{
    struct lsi_batch_rows result = {0, 1};
    int64_t samples;

    result.rows = width ? ls_shape_count(&view->shape) / width : 0;
    samples = lsi_sample_count(call, result.rows);
    result.positions = samples ? result.rows / samples : 1;
    return result;
}

/* End of the block that begins at `row`: floor(256 / P) whole samples, or at most 256 positions of one sample;
 * `end` is the shard's last row. Blocks of a shard are walked from its first row. */
static inline int64_t lsi_batch_block_end(int64_t row, int64_t end, int64_t positions)
{
    int64_t stop;

    if (positions <= LSI_BLOCK) {
        stop = row + LSI_BLOCK / positions * positions;
    } else {
        int64_t sample_end = (row / positions + 1) * positions;

        stop = row + LSI_BLOCK < sample_end ? row + LSI_BLOCK : sample_end;
    }
    return stop < end ? stop : end;
}

#endif
