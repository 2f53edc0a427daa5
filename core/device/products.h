/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the product kernels read a call: the operands of dense and dense_wgrad, and where a batch reduction cuts.
 * Operands are typed float; the reference reads them as double where the call says so.
 */
#ifndef LOCKSTEP_CORE_DEVICE_PRODUCTS_H
#define LOCKSTEP_CORE_DEVICE_PRODUCTS_H

#include "core/device/device_impl.h"

/* y (rows, columns) = act(x (rows, depth) w + bias) */
struct lsi_dense {
    const float *x, *w, *bias; /* bias: NULL where there is none */
    float *y;
    int64_t rows, depth, columns;
    bool transposed_w;
    bool relu;
};
struct lsi_dense lsi_dense_of(const struct ls_op_call *call);

/* One use of a weight: x (rows, k) and dy (rows, n). */
struct lsi_wgrad_pair {
    const float *x, *dy;
    int64_t positions; /* rows of a sample */
    int64_t cut;       /* rows of a block; a block also ends where a sample does if positions > LSI_BLOCK */
};

/* (k, n) = the sum over rows of x^T dy, over the pairs and the shards' tree. */
struct lsi_wgrad {
    const float *acc; /* (shards, k, n) or NULL */
    float *out;       /* (k, n), or (shards, k, n) where per_shard */
    int64_t k, n;
    int64_t samples;
    int first; /* input that the pairs begin at: 1 behind running sums, whether or not they have memory yet */
    int pairs;
    bool per_shard;
    int shards;
    const int64_t *offset; /* shards + 1 */
    int64_t one_shard[2];  /* what offset points at where the call names no shards */
};
void lsi_wgrad_of(const struct ls_op_call *call, struct lsi_wgrad *wgrad);
struct lsi_wgrad_pair lsi_wgrad_pair_of(const struct ls_op_call *call, const struct lsi_wgrad *wgrad, int pair);

/* Where the block that begins at `row` ends, `end` being the end of the shard's rows. */
static inline int64_t lsi_block_end(const struct lsi_wgrad_pair *pair, int64_t row, int64_t end)
{
    int64_t cut = row + pair->cut;

    if (pair->positions > LSI_BLOCK) {
        int64_t sample_end = (row / pair->positions + 1) * pair->positions;

        cut = cut < sample_end ? cut : sample_end;
    }
    return cut < end ? cut : end;
}

/* max(y, +0) by the rule of docs/numerics.md: NaN stays, a zero is +0. */
static inline float lsi_relu(float y)
{
    return y > 0.0f || y != y ? y : 0.0f;
}

#endif
