/* SPDX-License-Identifier: Apache-2.0 */
/* Dtypes, shapes and reference-counted tensors of tensor.h. */
#include "core/tensor/tensor.h"

#include "core/base/alloc.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define MAX_BYTES (INT64_C(1) << 62)

size_t ls_dtype_size(enum ls_dtype dtype)
{
    switch (dtype) {
#define LS_DTYPE_CASE(code, number, name, bytes) \
    case code:                                   \
        return bytes;
        LS_DTYPE_LIST(LS_DTYPE_CASE)
#undef LS_DTYPE_CASE
    }
    return 0;
}

const char *ls_dtype_name(enum ls_dtype dtype)
{
    switch (dtype) {
#define LS_DTYPE_CASE(code, number, name, bytes) \
    case code:                                   \
        return name;
        LS_DTYPE_LIST(LS_DTYPE_CASE)
#undef LS_DTYPE_CASE
    }
    return "?";
}

bool ls_dtype_from_name(const char *wanted, enum ls_dtype *dtype)
{
#define LS_DTYPE_MATCH(code, number, name, bytes) \
    if (strcmp(wanted, name) == 0) {              \
        *dtype = code;                            \
        return true;                              \
    }
    LS_DTYPE_LIST(LS_DTYPE_MATCH)
#undef LS_DTYPE_MATCH
    return false;
}

int64_t ls_shape_count(const struct ls_shape *shape)
{
    int64_t count = 1;
    int i;

    /* Beside an empty dimension the others may be too large to multiply. */
    for (i = 0; i < shape->rank; i++)
        if (shape->dim[i] == 0)
            return 0;
    for (i = 0; i < shape->rank; i++)
        count *= shape->dim[i];
    return count;
}

/* Dimensions are shown even where they are wrong, so that the user sees which one. */
enum ls_status ls_shape_check(const struct ls_shape *shape, enum ls_dtype dtype, struct ls_error *err)
{
    size_t size = ls_dtype_size(dtype);
    int64_t bytes = (int64_t)size;
    bool empty = false;
    char text[128];
    int i;

    if (size == 0)
        return ls_error_set(err, LS_EINVAL, "%d is not the number of a dtype", (int)dtype);
    if (shape->rank < 0 || shape->rank > LS_MAX_RANK)
        return ls_error_set(err, LS_EINVAL, "a tensor has 0 to %d dimensions, not %d", LS_MAX_RANK, shape->rank);
    for (i = 0; i < shape->rank; i++) {
        if (shape->dim[i] < 0)
            return ls_error_set(err, LS_EINVAL, "dimension %d of shape %s is negative", i, ls_shape_text(shape, text));
        empty = empty || shape->dim[i] == 0;
    }
    for (i = 0; i < shape->rank && !empty; i++) {
        if (__builtin_mul_overflow(bytes, shape->dim[i], &bytes) || bytes > MAX_BYTES)
            return ls_error_set(err, LS_EINVAL, "shape %s is too large", ls_shape_text(shape, text));
    }
    return LS_OK;
}

bool ls_shape_equal(const struct ls_shape *a, const struct ls_shape *b)
{
    int i;

    if (a->rank != b->rank)
        return false;
    for (i = 0; i < a->rank; i++) {
        if (a->dim[i] != b->dim[i])
            return false;
    }
    return true;
}

char *ls_shape_text(const struct ls_shape *shape, char text[128])
{
    int rank = shape->rank < 0 ? 0 : shape->rank > LS_MAX_RANK ? LS_MAX_RANK : shape->rank;
    int length = 1;
    int i;

    text[0] = '(';
    for (i = 0; i < rank && length < 120; i++)
        length += snprintf(text + length, 128 - (size_t)length, "%s%lld", i > 0 ? ", " : "", (long long)shape->dim[i]);
    if (length > 126)
        length = 126;
    text[length] = ')';
    text[length + 1] = '\0';
    return text;
}

size_t ls_view_bytes(const struct ls_view *view)
{
    return (size_t)ls_shape_count(&view->shape) * ls_dtype_size(view->dtype);
}

enum ls_status ls_tensor_create(enum ls_dtype dtype, const struct ls_shape *shape, struct ls_tensor **tensor,
                                struct ls_error *err)
{
    struct ls_tensor *created;
    enum ls_status status = ls_shape_check(shape, dtype, err);
    char text[128];

    if (status != LS_OK)
        return status;
    created = ls_alloc_zeroed(1, sizeof *created);
    if (created == NULL)
        goto short_of_memory;
    created->view.dtype = dtype;
    created->view.shape = *shape;
    created->view.data = ls_alloc_aligned(ls_view_bytes(&created->view));
    if (created->view.data == NULL)
        goto free_created;
    atomic_init(&created->references, 1);
    *tensor = created;
    return LS_OK;
free_created:
    ls_free(created);
short_of_memory:
    return ls_error_set(err, LS_ENOMEM, "there is no memory for a tensor %s of %s", ls_shape_text(shape, text),
                        ls_dtype_name(dtype));
}

struct ls_tensor *ls_tensor_retain(struct ls_tensor *tensor)
{
    atomic_fetch_add_explicit(&tensor->references, 1, memory_order_relaxed);
    return tensor;
}

void ls_tensor_release(struct ls_tensor *tensor)
{
    if (tensor == NULL || atomic_fetch_sub_explicit(&tensor->references, 1, memory_order_acq_rel) > 1)
        return;
    ls_free(tensor->view.data);
    ls_free(tensor);
}
