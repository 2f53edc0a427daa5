/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every op that a device can run: one line an op. Its formula stands in docs/numerics.md, its attributes in
 * op_attrs.h, its shape, distribution and gradient rules in core/ops, its kernels in core/device/<device>.
 *
 * X(code, name, inputs (-1: any number), outputs)
 */
#ifndef LOCKSTEP_CORE_DEVICE_OP_LIST_H
#define LOCKSTEP_CORE_DEVICE_OP_LIST_H

#define LS_OP_LIST(X)                                                                                                  \
    /* products: x (rows.., K) per sample or replicated; w replicated; optional bias (input 2) and activation */       \
    X(LS_OP_DENSE, "dense", -1, 1)               /* x, w [, bias] -> y = act(x w + bias); attrs transposed_w */        \
    X(LS_OP_DENSE_WGRAD, "dense_wgrad", -1, 1)   /* [acc,] (x, dy)... -> sum over rows of x^T dy, per shard or tree */ \
    X(LS_OP_CONV2D, "conv2d", -1, 1)             /* x, w (kh,kw,ci,co) [, bias] -> y */                                \
    X(LS_OP_CONV2D_XGRAD, "conv2d_xgrad", 2, 1)  /* dy, w -> dx */                                                     \
    X(LS_OP_CONV2D_WGRAD, "conv2d_wgrad", -1, 1) /* [acc,] (x, dy)... -> dw */                                         \
    X(LS_OP_MAX_POOL2D, "max_pool2d", 1, 1)                                                                            \
    X(LS_OP_MAX_POOL2D_GRAD, "max_pool2d_grad", 2, 1) /* x, dy -> dx (first maximum in row order takes it) */          \
    X(LS_OP_AVG_POOL_GLOBAL, "avg_pool_global", 1, 1) /* (n,h,w,c) -> (n,c) */                                         \
    X(LS_OP_AVG_POOL_GLOBAL_GRAD, "avg_pool_global_grad", 1, 1) /* dy (n,c); attrs hold h, w */                        \
    /* batch reductions: per-sample in, partial sum out */                                                             \
    X(LS_OP_ROW_SUM, "row_sum", -1, 1)      /* [acc,] dy... -> sum over rows of dy */                                  \
    X(LS_OP_ROW_DOT, "row_dot", -1, 1)      /* [acc,] (x, dy)... -> sum over rows of x * dy, element-wise */           \
    X(LS_OP_SHARD_TREE, "shard_tree", 1, 1) /* (shards of the call, ...) -> partial: the tree over the shards */       \
    X(LS_OP_SUM_F64, "sum_f64", 1, 1)       /* f32 (n) -> f64 scalar partial, k order in a shard, then tree */         \
    X(LS_OP_SUM_I64, "sum_i64", 1, 1)       /* i64 (n) -> i64 scalar partial */                                        \
    X(LS_OP_MOMENTS, "moments", 1, 1)       /* x (rows.., C) -> (3, C): count, mean, M2; merged by the tree */         \
    /* the frontier: partial -> replicated; the executor hands it to the collective */                                 \
    X(LS_OP_REDUCE, "reduce", 1, 1)                                                                                    \
    /* batch normalisation (global statistics) */                                                                      \
    X(LS_OP_BN_APPLY, "bn_apply", 5, 1) /* x, mean, var, gamma, beta -> y */                                           \
    X(LS_OP_BN_XHAT, "bn_xhat", 3, 1)   /* x, mean, var -> (x - mean) / sqrt(var + eps) */                             \
    X(LS_OP_BN_XGRAD, "bn_xgrad", 7, 1) /* xhat, dy, var, gamma, sum dy, sum dy xhat, count -> dx */                   \
    /* element-wise; b may be broadcast over leading dimensions (a suffix of a's shape) or a scalar */                 \
    X(LS_OP_ADD, "add", 2, 1)                                                                                          \
    X(LS_OP_SUB, "sub", 2, 1)                                                                                          \
    X(LS_OP_MUL, "mul", 2, 1)                                                                                          \
    X(LS_OP_DIV, "div", 2, 1)                                                                                          \
    X(LS_OP_MAXIMUM, "maximum", 2, 1)                                                                                  \
    X(LS_OP_MINIMUM, "minimum", 2, 1)                                                                                  \
    X(LS_OP_SELECT_GE, "select_ge", 4, 1) /* a, b, x, y (one shape) -> a >= b ? x : y */                               \
    X(LS_OP_NEG, "neg", 1, 1)                                                                                          \
    X(LS_OP_EXP, "exp", 1, 1)                                                                                          \
    X(LS_OP_LOG, "log", 1, 1)                                                                                          \
    X(LS_OP_TANH, "tanh", 1, 1)                                                                                        \
    X(LS_OP_SQRT, "sqrt", 1, 1)                                                                                        \
    X(LS_OP_RELU, "relu", 1, 1)                                                                                        \
    X(LS_OP_RELU_GRAD, "relu_grad", 2, 1) /* y, dy -> y > 0 ? dy : +0 */                                               \
    X(LS_OP_SIGMOID, "sigmoid", 1, 1)     /* 1 / (1 + exp(-x)) */                                                      \
    X(LS_OP_AFFINE, "affine", 1, 1)       /* x * scale + offset (fma), attrs */                                        \
    X(LS_OP_CAST, "cast", 1, 1)                                                                                        \
    X(LS_OP_DROPOUT, "dropout", 1, 1) /* also its own gradient (same stream and call) */                               \
    /* rows: along the last axis, by the row rule */                                                                   \
    X(LS_OP_SOFTMAX, "softmax", 1, 1)                                                                                  \
    X(LS_OP_SOFTMAX_GRAD, "softmax_grad", 2, 1)               /* y, dy -> y * (dy - sum(dy * y)) */                    \
    X(LS_OP_ROW_REDUCE_SUM, "row_reduce_sum", 1, 1)           /* (.., C) -> (..) */                                    \
    X(LS_OP_ROW_BROADCAST, "row_broadcast", 1, 1)             /* (..) -> (.., C), attrs count */                       \
    X(LS_OP_SPARSE_SOFTMAX_XENT, "sparse_softmax_xent", 2, 1) /* logits (n.., C), labels i32 (n..) -> loss (n..) */    \
    X(LS_OP_SPARSE_SOFTMAX_XENT_GRAD, "sparse_softmax_xent_grad", 3, 1) /* logits, labels, dloss -> dlogits */         \
    X(LS_OP_SOFTMAX_XENT, "softmax_xent", 2, 1)                         /* logits, targets (n.., C) -> loss (n..) */   \
    X(LS_OP_SOFTMAX_XENT_GRAD, "softmax_xent_grad", 3, 1)                                                              \
    X(LS_OP_SIGMOID_XENT, "sigmoid_xent", 2, 1) /* logits, targets, one shape, -> loss element-wise */                 \
    X(LS_OP_SIGMOID_XENT_GRAD, "sigmoid_xent_grad", 3, 1)                                                              \
    X(LS_OP_SPARSE_HIT, "sparse_hit", 2, 1)   /* scores (n.., C), labels i32 -> i64 1 where argmax equals label */     \
    X(LS_OP_DENSE_HIT, "dense_hit", 2, 1)     /* scores, targets (n.., C) -> i64 1 where the argmaxes agree */         \
    X(LS_OP_BINARY_HIT, "binary_hit", 2, 1)   /* scores, targets -> i64 1 where (score > 0.5) equals target; attrs */  \
    X(LS_OP_GATHER_ROWS, "gather_rows", 2, 1) /* p (n, C), labels i32 (n) -> p[label] (n) */                           \
    X(LS_OP_SCATTER_ROWS, "scatter_rows", 2, 1) /* dy (n), labels i32 (n) -> (n, C), attrs count */                    \
    /* layout */                                                                                                       \
    X(LS_OP_RESHAPE, "reshape", 1, 1)                                                                                  \
    X(LS_OP_TRANSPOSE2D, "transpose2d", 1, 1) /* replicated (a, b) -> (b, a) */                                        \
    X(LS_OP_CONCAT, "concat", -1, 1)          /* along an axis that is not the sample axis */                          \
    X(LS_OP_SLICE, "slice", 1, 1)             /* along an axis: begin, count; also the parts of a concat's adjoint */  \
    X(LS_OP_PAD_SLICE, "pad_slice", 1, 1)     /* adjoint of slice: zeros around, attrs axis, begin, total */           \
    X(LS_OP_FILL, "fill", 0, 1)               /* attrs shape, dtype f32, value */

enum ls_op {
#define LS_OP_ENUM(code, name, inputs, outputs) code,
    LS_OP_LIST(LS_OP_ENUM)
#undef LS_OP_ENUM
        LS_OP_COUNT
};

#endif
