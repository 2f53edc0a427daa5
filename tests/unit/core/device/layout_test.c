/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that move elements: every dtype, against index arithmetic. */
#include "tests/support/kernels.h"

#include <criterion/criterion.h>
#include <string.h>

static const enum ls_dtype dtypes[] = {LS_F32, LS_F64, LS_BF16, LS_I32, LS_I64, LS_U8, LS_BOOL};

static bool element_same(const struct ls_view *a, int64_t i, const struct ls_view *b, int64_t j)
{
    size_t size = ls_dtype_size(a->dtype);

    return memcmp((char *)a->data + (size_t)i * size, (char *)b->data + (size_t)j * size, size) == 0;
}

/* A transposed matrix holds (c, r) where the matrix holds (r, c). */
Test(layout, transpose)
{
    for (int round = 0; round < 70; round++) {
        int64_t rows = lst_between(1, 90), columns = lst_between(1, 90);
        struct ls_view in = lst_view(dtypes[round % 7], LS_SHAPE(rows, columns), LST_TAME);
        struct ls_view out = lst_view_empty(dtypes[round % 7], LS_SHAPE(columns, rows));
        struct ls_op_call call = {.op = LS_OP_TRANSPOSE2D, .in = &in, .in_count = 1, .out = &out, .out_count = 1};

        cr_assert_eq(lst_compare(&call, "transpose"), LS_OK);
        for (int64_t i = 0; i < rows * columns; i++)
            cr_assert(element_same(&in, i, &out, i % columns * rows + i / columns));
        lst_view_free(&in);
        lst_view_free(&out);
    }
}

/* Slices of a concatenation are its parts, on every axis; padding a slice back leaves zeros around it. */
Test(layout, slices_of_a_concatenation_are_its_parts)
{
    for (int round = 0; round < 84; round++) {
        enum ls_dtype dtype = dtypes[round % 7];
        int axis = round % 3, parts = (int)lst_between(1, 4);
        struct ls_shape whole = LS_SHAPE(lst_between(1, 6), lst_between(1, 6), lst_between(1, 9));
        struct ls_view in[4], out, back, padded;
        struct ls_op_attrs attrs = {.slice = {.axis = axis}};
        struct ls_op_call call = {
            .op = LS_OP_CONCAT, .attrs = &attrs, .in = in, .in_count = parts, .out = &out, .out_count = 1};
        int64_t begin = 0;

        whole.dim[axis] = 0;
        for (int k = 0; k < parts; k++) {
            struct ls_shape shape = whole;

            shape.dim[axis] = lst_between(1, 5);
            in[k] = lst_view(dtype, shape, LST_TAME);
            begin += shape.dim[axis];
        }
        whole.dim[axis] = begin;
        out = lst_view_empty(dtype, whole);
        padded = lst_view_empty(dtype, whole);
        cr_assert_eq(lst_compare(&call, "concat"), LS_OK);
        begin = 0;
        for (int k = 0; k < parts; k++) {
            attrs.slice.begin = begin;
            attrs.slice.count = in[k].shape.dim[axis];
            attrs.slice.total = whole.dim[axis];
            back = lst_view_empty(dtype, in[k].shape);
            call = (struct ls_op_call){
                .op = LS_OP_SLICE, .attrs = &attrs, .in = &out, .in_count = 1, .out = &back, .out_count = 1};
            cr_assert_eq(lst_compare(&call, "slice"), LS_OK);
            cr_assert_arr_eq(back.data, in[k].data, ls_view_bytes(&back));
            call = (struct ls_op_call){
                .op = LS_OP_PAD_SLICE, .attrs = &attrs, .in = &in[k], .in_count = 1, .out = &padded, .out_count = 1};
            cr_assert_eq(lst_compare(&call, "pad_slice"), LS_OK);
            memset(back.data, 0x77, ls_view_bytes(&back));
            call = (struct ls_op_call){
                .op = LS_OP_SLICE, .attrs = &attrs, .in = &padded, .in_count = 1, .out = &back, .out_count = 1};
            cr_assert_eq(lst_compare(&call, "slice"), LS_OK);
            cr_assert_arr_eq(back.data, in[k].data, ls_view_bytes(&back));
            lst_view_free(&back);
            begin += in[k].shape.dim[axis];
        }
        for (int k = 0; k < parts; k++)
            lst_view_free(&in[k]);
        lst_view_free(&out);
        lst_view_free(&padded);
    }
}

/* What a padded slice does not cover is zero. */
Test(layout, padding_is_zero)
{
    float x[] = {1, 2, 3, 4}, y[12];
    static const float expected[] = {0, 1, 2, 0, 0, 0, 0, 3, 4, 0, 0, 0};
    struct ls_view in = {LS_F32, LS_SHAPE(2, 2), x}, out = {LS_F32, LS_SHAPE(2, 6), y};
    struct ls_op_attrs attrs = {.slice = {.axis = 1, .begin = 1, .count = 2, .total = 6}};
    struct ls_op_call call = {
        .op = LS_OP_PAD_SLICE, .attrs = &attrs, .in = &in, .in_count = 1, .out = &out, .out_count = 1};

    memset(y, 0x55, sizeof y);
    cr_assert_eq(lst_compare(&call, "pad_slice"), LS_OK);
    cr_assert_arr_eq(y, expected, sizeof y);
}

/* A reshape keeps the bytes, in place too; a fill writes its value everywhere. */
Test(layout, reshape_and_fill)
{
    struct ls_view in = lst_view(LS_I64, LS_SHAPE(6, 4), LST_WILD), out = lst_view_empty(LS_I64, LS_SHAPE(24));
    struct ls_view filled = lst_view_empty(LS_F32, LS_SHAPE(5, 7)), same = in;
    struct ls_op_attrs attrs = {.fill = {.shape = LS_SHAPE(5, 7), .value = -2.5f}};
    struct ls_op_call call = {.op = LS_OP_RESHAPE, .in = &in, .in_count = 1, .out = &out, .out_count = 1};

    cr_assert_eq(lst_compare(&call, "reshape"), LS_OK);
    cr_assert_arr_eq(out.data, in.data, ls_view_bytes(&in));
    same.shape = LS_SHAPE(24);
    call.out = &same;
    cr_assert_eq(ls_device_run(lst_ref(), &call, NULL), LS_OK);
    cr_assert_arr_eq(out.data, in.data, ls_view_bytes(&in));
    call = (struct ls_op_call){.op = LS_OP_FILL, .attrs = &attrs, .out = &filled, .out_count = 1};
    cr_assert_eq(lst_compare(&call, "fill"), LS_OK);
    for (int i = 0; i < 35; i++)
        cr_assert_eq(((float *)filled.data)[i], -2.5f);
    lst_view_free(&in);
    lst_view_free(&out);
    lst_view_free(&filled);
}
