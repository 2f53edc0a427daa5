/* SPDX-License-Identifier: Apache-2.0 */
/* Operations along the last axis: values made by hand or by f64, then every device against the reference. */
#include "tests/support/kernels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static struct ls_shape some_rows(void)
{
    int64_t width = lst_random(4) ? lst_between(1, 40) : lst_between(41, 300);

    return LS_SHAPE(lst_random(5) ? lst_between(1, 40) : lst_between(500, 700), width);
}

static struct ls_view some_labels(struct ls_shape rows)
{
    struct ls_view labels = lst_view_empty(LS_I32, LS_SHAPE(rows.dim[0]));

    for (int64_t r = 0; r < rows.dim[0]; r++)
        ((int32_t *)labels.data)[r] = (int32_t)lst_random((uint64_t)rows.dim[1]);
    return labels;
}

static const struct row_case {
    enum ls_op op;
    const char *name;
    const char *in; /* w: rows x width, l: labels, n: one value a row */
    char out;
    enum ls_dtype out_dtype;
} row_cases[] = {
    {LS_OP_SOFTMAX, "softmax", "w", 'w', LS_F32},
    {LS_OP_SOFTMAX_GRAD, "softmax_grad", "ww", 'w', LS_F32},
    {LS_OP_ROW_REDUCE_SUM, "row_reduce_sum", "w", 'n', LS_F32},
    {LS_OP_ROW_BROADCAST, "row_broadcast", "n", 'w', LS_F32},
    {LS_OP_SPARSE_SOFTMAX_XENT, "sparse_softmax_xent", "wl", 'n', LS_F32},
    {LS_OP_SPARSE_SOFTMAX_XENT_GRAD, "sparse_softmax_xent_grad", "wln", 'w', LS_F32},
    {LS_OP_SOFTMAX_XENT, "softmax_xent", "ww", 'n', LS_F32},
    {LS_OP_SOFTMAX_XENT_GRAD, "softmax_xent_grad", "wwn", 'w', LS_F32},
    {LS_OP_SPARSE_HIT, "sparse_hit", "wl", 'n', LS_I64},
    {LS_OP_DENSE_HIT, "dense_hit", "ww", 'n', LS_I64},
    {LS_OP_BINARY_HIT, "binary_hit", "ww", 'w', LS_I64},
    {LS_OP_GATHER_ROWS, "gather_rows", "wl", 'n', LS_F32},
    {LS_OP_SCATTER_ROWS, "scatter_rows", "nl", 'w', LS_F32},
};
#define ROW_CASES ((int)(sizeof row_cases / sizeof row_cases[0]))

static struct ls_shape shape_of(char kind, struct ls_shape rows)
{
    return kind == 'w' ? rows : LS_SHAPE(rows.dim[0]);
}

/* Every row operation gives the reference's bits for all widths and kinds of values. */
Test(rows, operations_equal_the_reference)
{
    for (int round = 0; round < 40 * ROW_CASES; round++) {
        const struct row_case *c = &row_cases[round % ROW_CASES];
        struct ls_shape rows = some_rows();
        struct ls_view in[3], out = lst_view_empty(c->out_dtype, shape_of(c->out, rows));
        struct ls_op_attrs attrs = {.hit = {.threshold = 0.5f}};
        struct ls_op_call call = {
            .op = c->op, .attrs = &attrs, .in = in, .in_count = (int)strlen(c->in), .out = &out, .out_count = 1};

        if (c->op == LS_OP_ROW_BROADCAST || c->op == LS_OP_SCATTER_ROWS)
            attrs.rows.count = rows.dim[1];
        for (int k = 0; k < call.in_count; k++)
            in[k] = c->in[k] == 'l'
                        ? some_labels(rows)
                        : lst_view(LS_F32, shape_of(c->in[k], rows), (enum lst_values)(round / ROW_CASES % 3));
        cr_assert_eq(lst_compare(&call, c->name), LS_OK);
        for (int k = 0; k < call.in_count; k++)
            lst_view_free(&in[k]);
        lst_view_free(&out);
    }
}

static struct ls_view widened(const struct ls_view *view)
{
    struct ls_view wide = lst_view_empty(view->dtype == LS_F32 ? LS_F64 : view->dtype, view->shape);

    if (view->dtype != LS_F32)
        memcpy(wide.data, view->data, ls_view_bytes(view));
    for (int64_t i = 0; view->dtype == LS_F32 && i < ls_shape_count(&view->shape); i++)
        ((double *)wide.data)[i] = (double)((float *)view->data)[i];
    return wide;
}

/* The f64 forms (for tests of gradients) are near the f32 ones; hits are the same. */
Test(rows, f64_forms_are_near)
{
    struct ls_shape rows = LS_SHAPE(7, 45);

    for (int k = 0; k < ROW_CASES; k++) {
        const struct row_case *c = &row_cases[k];
        struct ls_view in[3], wide[3], out = lst_view_empty(c->out_dtype, shape_of(c->out, rows));
        struct ls_view wide_out = lst_view_empty(c->out_dtype == LS_F32 ? LS_F64 : LS_I64, out.shape);
        struct ls_op_attrs attrs = {.hit = {.threshold = 0.5f}};
        struct ls_op_call call = {
            .op = c->op, .attrs = &attrs, .in = in, .in_count = (int)strlen(c->in), .out = &out, .out_count = 1};

        for (int i = 0; i < call.in_count; i++) {
            in[i] = c->in[i] == 'l' ? some_labels(rows) : lst_view(LS_F32, shape_of(c->in[i], rows), LST_TAME);
            wide[i] = widened(&in[i]);
        }
        cr_assert_eq(ls_device_run(lst_ref(), &call, NULL), LS_OK);
        call.in = wide;
        call.out = &wide_out;
        cr_assert_eq(ls_device_run(lst_ref(), &call, NULL), LS_OK);
        for (int64_t i = 0; i < ls_shape_count(&out.shape); i++) {
            if (c->out_dtype == LS_I64)
                cr_assert_eq(((int64_t *)out.data)[i], ((int64_t *)wide_out.data)[i], "%s", c->name);
            else
                cr_assert_float_eq(((float *)out.data)[i], ((double *)wide_out.data)[i], 2e-4, "%s", c->name);
        }
        for (int i = 0; i < call.in_count; i++) {
            lst_view_free(&in[i]);
            lst_view_free(&wide[i]);
        }
        lst_view_free(&out);
        lst_view_free(&wide_out);
    }
}

/* A label outside the classes is refused on every device, and the sentence names label, position and classes. */
Test(rows, bad_labels_are_named)
{
    static const enum ls_op ops[] = {LS_OP_SPARSE_SOFTMAX_XENT, LS_OP_SPARSE_SOFTMAX_XENT_GRAD, LS_OP_SPARSE_HIT,
                                     LS_OP_GATHER_ROWS};
    struct ls_shape rows = LS_SHAPE(30, 10);
    struct ls_shards shards = ls_shards_of(60, 2, 1, 1);
    struct ls_view dloss = lst_view(LS_F32, LS_SHAPE(30), LST_TAME);
    struct ls_view in[3] = {lst_view(LS_F32, rows, LST_TAME), some_labels(rows), dloss};

    for (int k = 0; k < 8; k++) {
        bool wide = k % 4 == 1;
        struct ls_view out = lst_view_empty(k % 4 == 2 ? LS_I64 : LS_F32, wide ? rows : LS_SHAPE(30));
        struct ls_op_call call = {
            .op = ops[k % 4], .in = in, .in_count = wide ? 3 : 2, .out = &out, .out_count = 1, .shards = &shards};
        struct ls_error err = LS_ERROR_INIT;

        ((int32_t *)in[1].data)[17] = k < 4 ? 10 : -1;
        cr_assert_eq(lst_compare(&call, "bad label"), LS_EINVAL);
        cr_assert_eq(ls_device_run(lst_ref(), &call, &err), LS_EINVAL);
        cr_assert(strstr(err.message, k < 4 ? "label 10" : "label -1"), "%s", err.message);
        cr_assert(strstr(err.message, "position 47") && strstr(err.message, "10 classes"), "%s", err.message);
        lst_view_free(&out);
    }
    for (int k = 0; k < 3; k++)
        lst_view_free(&in[k]);
}

/* The farthest labels of 64 bits are refused before they become an address. */
Test(rows, far_labels)
{
    int64_t labels[2] = {1, 0};
    float scores[6] = {0}, chosen[2];
    struct ls_view in[2] = {{LS_F32, LS_SHAPE(2, 3), scores}, {LS_I64, LS_SHAPE(2), labels}};
    struct ls_view out = {LS_F32, LS_SHAPE(2), chosen};
    struct ls_op_call call = {.op = LS_OP_GATHER_ROWS, .in = in, .in_count = 2, .out = &out, .out_count = 1};

    cr_assert_eq(lst_compare(&call, "labels in range"), LS_OK);
    labels[1] = INT64_MAX;
    cr_assert_eq(lst_compare(&call, "the largest label"), LS_EINVAL);
    labels[1] = INT64_MIN;
    cr_assert_eq(lst_compare(&call, "the smallest label"), LS_EINVAL);
}

/* Softmax of a row is near the f64 softmax and sums to one; its loss is minus the log of the label's share. */
Test(rows, softmax_and_its_loss_are_near_f64)
{
    struct ls_view x = lst_view(LS_F32, LS_SHAPE(1, 50), LST_TAME), y = lst_view_empty(LS_F32, LS_SHAPE(1, 50));
    int32_t label = 7;
    float loss;
    struct ls_view in[2] = {x, {LS_I32, LS_SHAPE(1), &label}}, loss_view = {LS_F32, LS_SHAPE(1), &loss};
    struct ls_op_call call = {.op = LS_OP_SOFTMAX, .in = in, .in_count = 1, .out = &y, .out_count = 1};
    double sum = 0;

    cr_assert_eq(lst_compare(&call, "softmax"), LS_OK);
    for (int i = 0; i < 50; i++)
        sum += exp((double)((float *)x.data)[i]);
    for (int i = 0; i < 50; i++)
        cr_assert_float_eq(((float *)y.data)[i], exp((double)((float *)x.data)[i]) / sum, 1e-7);
    call = (struct ls_op_call){
        .op = LS_OP_SPARSE_SOFTMAX_XENT, .in = in, .in_count = 2, .out = &loss_view, .out_count = 1};
    cr_assert_eq(lst_compare(&call, "loss"), LS_OK);
    cr_assert_float_eq(loss, log(sum) - (double)((float *)x.data)[7], 1e-6);
    lst_view_free(&x);
    lst_view_free(&y);
}

/* The row rule: lane l takes l, l + 32, ..; the lanes are halved. 2^24 at 0 and ones elsewhere tell orders apart. */
Test(rows, the_row_rule_is_the_order)
{
    float x[64], expected[32] = {0}, sum;
    struct ls_view in = {LS_F32, LS_SHAPE(1, 64), x}, out = {LS_F32, LS_SHAPE(1), &sum};
    struct ls_op_call call = {.op = LS_OP_ROW_REDUCE_SUM, .in = &in, .in_count = 1, .out = &out, .out_count = 1};

    for (int i = 0; i < 64; i++)
        x[i] = i == 0 ? 0x1p24f : 1.0f;
    for (int i = 0; i < 32; i++)
        expected[i] = x[i] + x[i + 32];
    for (int half = 16; half; half /= 2) {
        for (int i = 0; i < half; i++)
            expected[i] += expected[i + half];
    }
    cr_assert_eq(lst_compare(&call, "row sum"), LS_OK);
    cr_assert_eq(sum, expected[0]);
    for (int i = 0; i < 64; i++)
        x[i] = -0.0f;
    cr_assert_eq(lst_compare(&call, "row sum of -0"), LS_OK);
    cr_assert(sum == 0.0f && !signbit(sum));
}

/* The first maximum wins a hit, and a NaN counts as the maximum. */
Test(rows, hits_take_the_first_maximum)
{
    float scores[] = {1, 3, 3, 0, NAN, NAN, 5, 5, 1};
    int32_t labels[] = {1, 1, 0};
    int64_t hits[3], expected[] = {1, 1, 1};
    struct ls_view in[2] = {{LS_F32, LS_SHAPE(3, 3), scores}, {LS_I32, LS_SHAPE(3), labels}};
    struct ls_view out = {LS_I64, LS_SHAPE(3), hits};
    struct ls_op_call call = {.op = LS_OP_SPARSE_HIT, .in = in, .in_count = 2, .out = &out, .out_count = 1};

    cr_assert_eq(lst_compare(&call, "hit"), LS_OK);
    cr_assert_arr_eq(hits, expected, sizeof hits);
}
