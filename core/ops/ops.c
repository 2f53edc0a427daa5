/* SPDX-License-Identifier: Apache-2.0 */
/* Short forms of ls_apply. */
#include "core/ops/ops.h"

#include "core/ops/tape.h"

enum ls_status ls_dense(struct ls_context *context, struct ls_value *x, struct ls_value *w, struct ls_value *bias,
                        enum ls_activation activation, struct ls_value **y, struct ls_error *err)
{
    struct ls_op_attrs attrs = {.dense = {.activation = activation}};
    struct ls_value *in[] = {x, w, bias};

    return ls_apply(context, LS_OP_DENSE, &attrs, in, bias != NULL ? 3 : 2, y, err);
}

enum ls_status ls_conv2d(struct ls_context *context, struct ls_value *x, struct ls_value *w, struct ls_value *bias,
                         const struct ls_conv2d_attrs *attrs, struct ls_value **y, struct ls_error *err)
{
    struct ls_op_attrs full = {.conv2d = *attrs};
    struct ls_value *in[] = {x, w, bias};
    const struct ls_shape *image = &ls_value_info(x)->shape, *kernel = &ls_value_info(w)->shape;

    /* what the shapes say need not be said again */
    for (int d = 0; d < 2; d++) {
        if (full.conv2d.kernel[d] == 0 && kernel->rank == 4)
            full.conv2d.kernel[d] = (int)kernel->dim[d];
        if (full.conv2d.x_size[d] == 0 && image->rank == 4)
            full.conv2d.x_size[d] = (int)image->dim[d + 1];
    }
    return ls_apply(context, LS_OP_CONV2D, &full, in, bias != NULL ? 3 : 2, y, err);
}

enum ls_status ls_unary(struct ls_context *context, enum ls_op op, struct ls_value *x, struct ls_value **y,
                        struct ls_error *err)
{
    return ls_apply(context, op, NULL, &x, 1, y, err);
}

enum ls_status ls_binary(struct ls_context *context, enum ls_op op, struct ls_value *a, struct ls_value *b,
                         struct ls_value **y, struct ls_error *err)
{
    struct ls_value *in[] = {a, b};

    return ls_apply(context, op, NULL, in, 2, y, err);
}

enum ls_status ls_affine(struct ls_context *context, struct ls_value *x, float scale, float offset, struct ls_value **y,
                         struct ls_error *err)
{
    struct ls_op_attrs attrs = {.affine = {.scale = scale, .offset = offset}};

    return ls_apply(context, LS_OP_AFFINE, &attrs, &x, 1, y, err);
}

enum ls_status ls_cast(struct ls_context *context, struct ls_value *x, enum ls_dtype dtype, struct ls_value **y,
                       struct ls_error *err)
{
    struct ls_op_attrs attrs = {.cast = {.dtype = dtype}};

    return ls_apply(context, LS_OP_CAST, &attrs, &x, 1, y, err);
}

enum ls_status ls_reshape(struct ls_context *context, struct ls_value *x, const struct ls_shape *shape,
                          struct ls_value **y, struct ls_error *err)
{
    struct ls_op_attrs attrs = {.reshape = {.shape = *shape}};

    return ls_apply(context, LS_OP_RESHAPE, &attrs, &x, 1, y, err);
}

enum ls_status ls_reduce(struct ls_context *context, struct ls_value *partial, bool moments, struct ls_value **y,
                         struct ls_error *err)
{
    struct ls_op_attrs attrs = {.reduce = {.moments = moments}};

    return ls_apply(context, LS_OP_REDUCE, &attrs, &partial, 1, y, err);
}

enum ls_status ls_fill(struct ls_context *context, const struct ls_shape *shape, enum ls_distribution distribution,
                       int64_t rows_per_sample, float value, struct ls_value **y, struct ls_error *err)
{
    struct ls_value_info info = {
        .dtype = LS_F32, .shape = *shape, .distribution = distribution, .rows_per_sample = rows_per_sample};

    return ls_apply_fill(context, &info, value, y, err);
}
