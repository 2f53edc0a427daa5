/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tensors: dtype, shape and reference-counted memory. Always contiguous, row-major, little-endian;
 * images are NHWC. A view borrows memory and is what kernels take.
 */
#ifndef LOCKSTEP_CORE_TENSOR_TENSOR_H
#define LOCKSTEP_CORE_TENSOR_TENSOR_H

#include "core/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(code, number, name, bytes of an element). Numbers are stored in checkpoints and sent: never reuse one.
 * float16 travels and is reduced (collective/group.h); no op computes in it. */
#define LS_DTYPE_LIST(X)         \
    X(LS_F32, 1, "float32", 4)   \
    X(LS_F64, 2, "float64", 8)   \
    X(LS_BF16, 3, "bfloat16", 2) \
    X(LS_I32, 4, "int32", 4)     \
    X(LS_I64, 5, "int64", 8)     \
    X(LS_U8, 6, "uint8", 1)      \
    X(LS_BOOL, 7, "bool", 1)     \
    X(LS_F16, 8, "float16", 2)

enum ls_dtype {
#define LS_DTYPE_ENUM(code, number, name, bytes) code = number,
    LS_DTYPE_LIST(LS_DTYPE_ENUM)
#undef LS_DTYPE_ENUM
};

/* Bytes of one element; 0 for a number that is no dtype. */
size_t ls_dtype_size(enum ls_dtype dtype);
/* Name, e.g. "float32"; "?" for a number that is no dtype. Static memory. */
const char *ls_dtype_name(enum ls_dtype dtype);
/* Dtype of a name; false (nothing written) where there is none. */
bool ls_dtype_from_name(const char *name, enum ls_dtype *dtype);

#define LS_MAX_RANK 6

struct ls_shape {
    int rank;
    int64_t dim[LS_MAX_RANK];
};

/* LS_SHAPE(28, 28, 1) */
#define LS_SHAPE(...) \
    ((struct ls_shape){.rank = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), .dim = {__VA_ARGS__}})
#define LS_SHAPE_SCALAR ((struct ls_shape){.rank = 0})

/* Number of elements (1 for a scalar). Dimensions were checked with ls_shape_check. */
int64_t ls_shape_count(const struct ls_shape *shape);
/* LS_EINVAL where rank or a dimension is negative or the number of bytes passes 2^62. */
enum ls_status ls_shape_check(const struct ls_shape *shape, enum ls_dtype dtype, struct ls_error *err);
bool ls_shape_equal(const struct ls_shape *a, const struct ls_shape *b);
/* "(256, 28, 28)" into text of at least 128 bytes; returns text. */
char *ls_shape_text(const struct ls_shape *shape, char text[128]);

/* Borrowed memory of a dtype and shape. */
struct ls_view {
    enum ls_dtype dtype;
    struct ls_shape shape;
    void *data;
};

size_t ls_view_bytes(const struct ls_view *view);

/* Reference-counted tensor in host memory (aligned to 64 bytes). view.data belongs to it. */
struct ls_tensor {
    struct ls_view view;
    _Atomic int references;
};

/* A zeroed tensor with one reference. Returned; ends with ls_tensor_release. */
enum ls_status ls_tensor_create(enum ls_dtype dtype, const struct ls_shape *shape, struct ls_tensor **tensor,
                                struct ls_error *err);
struct ls_tensor *ls_tensor_retain(struct ls_tensor *tensor);
/* Accepts NULL. */
void ls_tensor_release(struct ls_tensor *tensor);

#endif
