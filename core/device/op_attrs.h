/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes of ops: one plain struct that all ops share a union of. Zero is the default of every field. */
#ifndef LOCKSTEP_CORE_DEVICE_OP_ATTRS_H
#define LOCKSTEP_CORE_DEVICE_OP_ATTRS_H

#include "core/tensor/tensor.h"

enum ls_activation { LS_ACTIVATION_NONE, LS_ACTIVATION_RELU };

/* How a batch reduction (DENSE_WGRAD, CONV2D_WGRAD, ROW_SUM, ROW_DOT) begins and ends. */
struct ls_batch_reduction {
    bool accumulate; /* input 0 is the running sum of each shard, (shards, ...), continued; else they begin at +0 */
    bool per_shard;  /* give the running sums (shards, ...) instead of their tree */
};

struct ls_conv2d_attrs {
    int stride[2];    /* >= 1 */
    int dilation[2];  /* >= 1 */
    int pad_begin[2]; /* rows above, columns left; "same" as TensorFlow places it */
    int pad_end[2];
    int kernel[2];                   /* kh, kw */
    int x_size[2];                   /* height and width of the input: needed by XGRAD */
    enum ls_activation activation;   /* CONV2D only */
    struct ls_batch_reduction batch; /* WGRAD only */
};

struct ls_pool2d_attrs {
    int size[2];
    int stride[2];
    int pad_begin[2]; /* padding never wins a maximum */
    int pad_end[2];
};

struct ls_op_attrs {
    union {
        struct {
            bool transposed_w; /* w is (N, K) */
            enum ls_activation activation;
        } dense;
        struct ls_batch_reduction batch;
        struct ls_conv2d_attrs conv2d;
        struct ls_pool2d_attrs pool2d;
        struct {
            int h, w;
        } avg_pool_grad;
        struct {
            float epsilon;
        } bn;
        struct {
            float scale, offset;
        } affine;
        struct {
            enum ls_dtype dtype;
        } cast;
        struct {
            float rate;      /* share of elements set to 0, [0, 1) */
            uint64_t stream; /* ordinal of the random stream in model order */
            uint64_t call;   /* index of the layer's call within the model */
        } dropout;
        struct {
            int64_t count;
        } rows; /* ROW_BROADCAST, SCATTER_ROWS */
        struct {
            float threshold;
        } hit;
        struct {
            struct ls_shape shape; /* whole shape; dim[0] is the call's rows for a per-sample value */
        } reshape;
        struct {
            int axis;
            int64_t begin, count, total;
        } slice; /* SLICE: begin, count; PAD_SLICE: begin, total; CONCAT: axis */
        struct {
            struct ls_shape shape;
            float value;
        } fill;
        struct {
            bool moments; /* merge (count, mean, M2) instead of adding */
        } reduce;
    };
};

#endif
