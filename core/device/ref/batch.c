/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reductions over the batch: sums of rows by blocks, shards and the canonical tree; statistics; batch
 * normalisation. docs/numerics.md, "Batch reductions".
 */
#include "core/device/ref/call.h"
#include "core/device/ref/real.h"

#include <string.h>

/* Rows of one shard: width columns, `positions` rows a sample. */
struct span {
    int64_t begin, end, positions, width;
};

#define LSI_REAL_BODY "core/device/ref/batch_real.inc"
#include "core/device/ref/both_reals.inc"

static size_t sums_workspace(const struct ls_device *device, const struct ls_op_call *call)
{
    size_t copies = call->op == LS_OP_MOMENTS ? 3 : 1;

    (void)device;
    if (lsi_batch_attrs(call)->per_shard)
        return 0;
    return copies * (size_t)lsi_shard_count(call) * (size_t)lsi_batch_width(call) * ls_dtype_size(call->out[0].dtype);
}

#define RUN_REAL(name)                                                                                        \
    static enum ls_status name(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err) \
    {                                                                                                         \
        (void)device;                                                                                         \
        if (call->out[0].dtype != LS_F32 && call->out[0].dtype != LS_F64)                                     \
            return lsi_call_unsupported(call, err);                                                           \
        return call->out[0].dtype == LS_F32 ? run_##name##_f32(call) : run_##name##_f64(call);                \
    }
RUN_REAL(row_reduction)
RUN_REAL(moments)
RUN_REAL(bn)
RUN_REAL(bn_xgrad)

static void tree_i64(const struct ls_op_call *call, int64_t *sums, int64_t width)
{
    for (int v = 1; v < lsi_shard_count(call); v++) {
        for (int64_t c = 0; c < width; c++)
            sums[c] = (int64_t)((uint64_t)sums[c] + (uint64_t)sums[v * width + c]);
    }
}

/* The sums of the call's shards in call->workspace: their tree to out[0]. */
static enum ls_status finish_tree(const struct ls_op_call *call, int64_t width, int64_t rows, struct ls_error *err)
{
    switch (call->out[0].dtype) {
    case LS_F32:
        tree_rows_f32(call, call->workspace, width, rows);
        break;
    case LS_F64:
        tree_rows_f64(call, call->workspace, width, rows);
        break;
    case LS_I64:
        tree_i64(call, call->workspace, width);
        break;
    default:
        return lsi_call_unsupported(call, err);
    }
    memcpy(call->out[0].data, call->workspace, ls_view_bytes(&call->out[0]));
    return LS_OK;
}

static enum ls_status shard_tree(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    int64_t width = ls_shape_count(&call->out[0].shape);

    (void)device;
    if (call->in[0].dtype != call->out[0].dtype)
        return lsi_call_unsupported(call, err);
    memcpy(call->workspace, call->in[0].data, ls_view_bytes(&call->in[0]));
    return finish_tree(call, width, 1, err);
}

static size_t scalar_workspace(const struct ls_device *device, const struct ls_op_call *call)
{
    (void)device;
    return (size_t)lsi_shard_count(call) * 8;
}

/* SUM_F64, SUM_I64: all elements of a shard in order, then the tree. */
static enum ls_status sum_scalar(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    int64_t rows = ls_shape_count(&call->in[0].shape);
    int64_t samples = lsi_sample_count(call, rows), per_sample = samples ? rows / samples : 0;
    enum ls_dtype dtype = call->in[0].dtype;

    (void)device;
    if (call->op == LS_OP_SUM_I64 ? dtype != LS_I64 : dtype != LS_F32 && dtype != LS_F64)
        return lsi_call_unsupported(call, err);
    for (int v = 0; v < lsi_shard_count(call); v++) {
        uint64_t integer = 0;
        double sum = 0;

        for (int64_t i = lsi_shard_offset(call, v, rows) * per_sample;
             i < lsi_shard_offset(call, v + 1, rows) * per_sample; i++) {
            if (dtype == LS_I64)
                integer += ((const uint64_t *)call->in[0].data)[i];
            else
                sum += dtype == LS_F32 ? (double)((const float *)call->in[0].data)[i]
                                       : ((const double *)call->in[0].data)[i];
        }
        memcpy((char *)call->workspace + 8 * v, dtype == LS_I64 ? (void *)&integer : (void *)&sum, 8);
    }
    return finish_tree(call, 1, rows, err);
}

/* REDUCE where nobody else holds a part: the partial sum of all shards is the value. */
static enum ls_status reduce(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    (void)device;
    if (call->shards && call->shards->count != call->shards->total)
        return ls_error_set(err, LS_EINTERNAL,
                            "operation reduce was given to a device that holds %d of %d shards: the executor must "
                            "hand it to the collective",
                            call->shards->count, call->shards->total);
    memcpy(call->out[0].data, call->in[0].data, ls_view_bytes(&call->out[0]));
    return LS_OK;
}

void lsi_ref_batch(struct lsi_kernel *table)
{
    table[LS_OP_ROW_SUM] = (struct lsi_kernel){.run = row_reduction, .workspace = sums_workspace};
    table[LS_OP_ROW_DOT] = (struct lsi_kernel){.run = row_reduction, .workspace = sums_workspace};
    table[LS_OP_MOMENTS] = (struct lsi_kernel){.run = moments, .workspace = sums_workspace};
    table[LS_OP_SHARD_TREE] = (struct lsi_kernel){.run = shard_tree, .workspace = sums_workspace};
    table[LS_OP_SUM_F64] = (struct lsi_kernel){.run = sum_scalar, .workspace = scalar_workspace};
    table[LS_OP_SUM_I64] = (struct lsi_kernel){.run = sum_scalar, .workspace = scalar_workspace};
    table[LS_OP_REDUCE] = (struct lsi_kernel){.run = reduce};
    table[LS_OP_BN_APPLY] = (struct lsi_kernel){.run = bn};
    table[LS_OP_BN_XHAT] = (struct lsi_kernel){.run = bn};
    table[LS_OP_BN_XGRAD] = (struct lsi_kernel){.run = bn_xgrad};
}
