/* SPDX-License-Identifier: Apache-2.0 */
/* Batch reductions and batch normalisation: the order on few values, then every device against the reference. */
#include "tests/support/kernels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static int64_t some_positions(void)
{
    static const int64_t known[] = {1, 1, 1, 2, 3, 100, 128, 255, 256, 257, 600};

    return known[lst_random(11)];
}

static int64_t some_width(void)
{
    return lst_random(3) ? lst_between(1, 70) : lst_between(100, 600);
}

/* A call's range of a batch that may be shorter than its shards. */
static struct ls_shards some_shards(void)
{
    int total = 1 << lst_random(6), count = 1 << lst_random(4);
    int64_t samples = lst_random(3) ? lst_between(1, 3 * total) : lst_between(1, 300);

    count = count > total ? total : count;
    return ls_shards_of(samples, total, count * (int)lst_random((uint64_t)(total / count)), count);
}

/* (rows, width) of at most about 2^18 elements: enough for two threads, little enough for the reference. */
static struct ls_shape some_rows(int64_t samples, int64_t width)
{
    int64_t positions = some_positions();

    return LS_SHAPE(samples * (samples * positions * width > 1 << 18 ? 1 + positions % 3 : positions), width);
}

/* ROW_SUM and ROW_DOT equal the reference: positions below, at and above a block, several uses, running sums in and
 * out, empty shards. */
Test(batch, row_reductions_equal_the_reference)
{
    for (int round = 0; round < 300; round++) {
        struct ls_shards shards = some_shards();
        struct ls_op_attrs attrs = {.batch = {.accumulate = lst_random(2) != 0, .per_shard = lst_random(2) != 0}};
        int step = round % 2 ? 2 : 1, uses = (int)lst_between(1, 3), count = 0;
        int64_t width = some_width();
        struct ls_view in[8], out;
        struct ls_op_call call = {.op = step == 2 ? LS_OP_ROW_DOT : LS_OP_ROW_SUM,
                                  .attrs = &attrs,
                                  .in = in,
                                  .out = &out,
                                  .out_count = 1,
                                  .shards = &shards};

        if (attrs.batch.accumulate)
            in[count++] = lst_view(LS_F32, LS_SHAPE(shards.count, width), LST_TAME);
        for (int u = 0; u < uses; u++) {
            struct ls_shape shape = some_rows(shards.offset[shards.count], width);

            for (int k = 0; k < step; k++)
                in[count++] = lst_view(LS_F32, shape, (enum lst_values)lst_random(LST_VALUES));
        }
        out = lst_view_empty(LS_F32, attrs.batch.per_shard ? LS_SHAPE(shards.count, width) : LS_SHAPE(width));
        call.in_count = count;
        cr_assert_eq(lst_compare(&call, "row reduction"), LS_OK);
        for (int k = 0; k < count; k++)
            lst_view_free(&in[k]);
        lst_view_free(&out);
    }
}

/* Blocks: 300 positions a sample are summed as 256 + 44, three samples of 100 as 200 + 100. */
Test(batch, blocks_are_cut_where_the_rule_says)
{
    static const int64_t positions[] = {300, 100}, first_block[] = {256, 200};

    for (int k = 0; k < 2; k++) {
        int64_t rows = 300;
        struct ls_shards shards = ls_shards_of(rows / positions[k], 1, 0, 1);
        struct ls_view x = lst_view(LS_F32, LS_SHAPE(rows, 1), LST_TAME), out = lst_view_empty(LS_F32, LS_SHAPE(1));
        struct ls_op_attrs attrs = {0};
        struct ls_op_call call = {.op = LS_OP_ROW_SUM,
                                  .attrs = &attrs,
                                  .in = &x,
                                  .in_count = 1,
                                  .out = &out,
                                  .out_count = 1,
                                  .shards = &shards};
        float block[2] = {0}, expected = 0;

        for (int64_t r = 0; r < rows; r++)
            block[r >= first_block[k]] += ((float *)x.data)[r];
        expected += block[0];
        expected += block[1];
        cr_assert_eq(lst_compare(&call, "blocks"), LS_OK);
        cr_assert_eq(*(float *)out.data, expected);
        lst_view_free(&x);
        lst_view_free(&out);
    }
}

/* A sum is the same in one call, and in two calls that hand their running sums on; and its tree over all shards is
 * the tree of two halves. */
Test(batch, calls_can_be_split)
{
    int64_t width = 33, n = 50;
    struct ls_shards all = ls_shards_of(n, 8, 0, 8);
    struct ls_view x = lst_view(LS_F32, LS_SHAPE(n, width), LST_TAME), halves[2], sums, whole, tree;
    struct ls_op_attrs attrs = {0}, per_shard = {.batch = {.per_shard = true}};
    struct ls_op_call call = {
        .op = LS_OP_ROW_SUM, .attrs = &attrs, .in = &x, .in_count = 1, .out = &whole, .out_count = 1, .shards = &all};

    whole = lst_view_empty(LS_F32, LS_SHAPE(width));
    tree = lst_view_empty(LS_F32, LS_SHAPE(width));
    sums = lst_view_empty(LS_F32, LS_SHAPE(8, width));
    cr_assert_eq(lst_compare(&call, "whole"), LS_OK);
    call.attrs = &per_shard;
    call.out = &sums;
    cr_assert_eq(lst_compare(&call, "per shard"), LS_OK);
    call = (struct ls_op_call){.op = LS_OP_SHARD_TREE,
                               .attrs = &attrs,
                               .in = &sums,
                               .in_count = 1,
                               .out = &tree,
                               .out_count = 1,
                               .shards = &all};
    cr_assert_eq(lst_compare(&call, "tree"), LS_OK);
    cr_assert(lst_view_same(&tree, &whole));
    for (int h = 0; h < 2; h++) {
        struct ls_shards part = ls_shards_of(n, 8, 4 * h, 4);
        struct ls_view cut = {LS_F32, LS_SHAPE(part.offset[4], width), (float *)x.data + part.first_sample * width};

        halves[h] = lst_view_empty(LS_F32, LS_SHAPE(width));
        call = (struct ls_op_call){.op = LS_OP_ROW_SUM,
                                   .attrs = &attrs,
                                   .in = &cut,
                                   .in_count = 1,
                                   .out = &halves[h],
                                   .out_count = 1,
                                   .shards = &part};
        cr_assert_eq(lst_compare(&call, "half"), LS_OK);
    }
    for (int64_t c = 0; c < width; c++)
        cr_assert_eq(((float *)halves[0].data)[c] + ((float *)halves[1].data)[c], ((float *)whole.data)[c]);
    lst_view_free(&x);
    lst_view_free(&sums);
    lst_view_free(&whole);
    lst_view_free(&tree);
    lst_view_free(&halves[0]);
    lst_view_free(&halves[1]);
}

/* Trees over shards and scalar sums equal the reference; integers are exact. */
Test(batch, shard_trees_and_scalar_sums_equal_the_reference)
{
    static const enum ls_dtype dtypes[] = {LS_F32, LS_F64, LS_I64};

    for (int round = 0; round < 200; round++) {
        struct ls_shards shards = some_shards();
        enum ls_dtype dtype = dtypes[round % 3];
        int64_t width = some_width(), n = shards.offset[shards.count], per_sample = lst_between(1, 5);
        struct ls_view sums = lst_view(dtype, LS_SHAPE(shards.count, width), LST_ZEROS);
        struct ls_view values = lst_view(dtype, LS_SHAPE(n * per_sample), LST_ZEROS);
        struct ls_view tree = lst_view_empty(dtype, LS_SHAPE(width));
        struct ls_view scalar = lst_view_empty(dtype == LS_I64 ? LS_I64 : LS_F64, LS_SHAPE_SCALAR);
        struct ls_op_call call = {
            .op = LS_OP_SHARD_TREE, .in = &sums, .in_count = 1, .out = &tree, .out_count = 1, .shards = &shards};

        cr_assert_eq(lst_compare(&call, "shard tree"), LS_OK);
        call.op = dtype == LS_I64 ? LS_OP_SUM_I64 : LS_OP_SUM_F64;
        call.in = &values;
        call.out = &scalar;
        cr_assert_eq(lst_compare(&call, "scalar sum"), LS_OK);
        if (dtype == LS_I64) {
            int64_t sum = 0;

            for (int64_t i = 0; i < n * per_sample; i++)
                sum += ((int64_t *)values.data)[i];
            cr_assert_eq(*(int64_t *)scalar.data, sum);
        }
        lst_view_free(&sums);
        lst_view_free(&values);
        lst_view_free(&tree);
        lst_view_free(&scalar);
    }
}

/* Moments equal the reference, and are near the mean and variance of f64. */
Test(batch, moments_equal_the_reference)
{
    for (int round = 0; round < 120; round++) {
        struct ls_shards shards = some_shards();
        int64_t width = some_width();
        struct ls_shape shape = some_rows(shards.offset[shards.count], width);
        int64_t rows = shape.dim[0];
        struct ls_view x = lst_view(LS_F32, shape, round % 2 ? LST_TAME : LST_WILD);
        struct ls_view out = lst_view_empty(LS_F32, LS_SHAPE(3, width));
        struct ls_op_call call = {
            .op = LS_OP_MOMENTS, .in = &x, .in_count = 1, .out = &out, .out_count = 1, .shards = &shards};
        float *triple = out.data;

        cr_assert_eq(lst_compare(&call, "moments"), LS_OK);
        for (int64_t c = 0; round % 2 && rows && c < width; c++) {
            double mean = 0, m2 = 0;

            for (int64_t r = 0; r < rows; r++)
                mean += (double)((float *)x.data)[r * width + c] / (double)rows;
            for (int64_t r = 0; r < rows; r++)
                m2 += pow((double)((float *)x.data)[r * width + c] - mean, 2);
            cr_assert_eq(triple[c], (float)rows);
            cr_assert_float_eq(triple[width + c], mean, 1e-5);
            cr_assert_float_eq(triple[2 * width + c], m2, 1e-4 * m2 + 1e-6);
        }
        lst_view_free(&x);
        lst_view_free(&out);
    }
}

/* Batch normalisation and its gradient equal the reference. */
Test(batch, normalisation_equals_the_reference)
{
    static const enum ls_op ops[] = {LS_OP_BN_APPLY, LS_OP_BN_XHAT, LS_OP_BN_XGRAD};
    static const int counts[] = {5, 3, 7};

    for (int round = 0; round < 150; round++) {
        struct ls_shape rows = LS_SHAPE(lst_random(5) ? lst_between(1, 50) : lst_between(300, 500), some_width());
        int wide = round % 3 == 2 ? 2 : 1;
        struct ls_op_attrs attrs = {.bn = {.epsilon = 1e-3f}};
        struct ls_view in[7], out = lst_view_empty(LS_F32, rows);
        struct ls_op_call call = {.op = ops[round % 3],
                                  .attrs = &attrs,
                                  .in = in,
                                  .in_count = counts[round % 3],
                                  .out = &out,
                                  .out_count = 1};

        for (int k = 0; k < call.in_count; k++) {
            in[k] = lst_view(LS_F32, k < wide ? rows : LS_SHAPE(rows.dim[1]), (enum lst_values)(round / 3 % 3));
            for (int64_t i = 0; k == 2 && i < rows.dim[1]; i++) /* a variance */
                ((float *)in[k].data)[i] = fabsf(((float *)in[k].data)[i]);
        }
        cr_assert_eq(lst_compare(&call, "normalisation"), LS_OK);
        for (int k = 0; k < call.in_count; k++)
            lst_view_free(&in[k]);
        lst_view_free(&out);
    }
}

/* Normalised values and the gradient follow their formulas on one channel. */
Test(batch, normalisation_formula)
{
    float x[] = {1, 3}, mean = 2, var = 0.75f, gamma = 2, beta = 1, dy[] = {1, 2}, sum = 3, dot = 1, n = 2, y[2];
    struct ls_shape one = LS_SHAPE(1), two = LS_SHAPE(2, 1);
    struct ls_view apply[5] = {
        {LS_F32, two, x}, {LS_F32, one, &mean}, {LS_F32, one, &var}, {LS_F32, one, &gamma}, {LS_F32, one, &beta}};
    struct ls_view grad[7] = {{LS_F32, two, x},    {LS_F32, two, dy},   {LS_F32, one, &var}, {LS_F32, one, &gamma},
                              {LS_F32, one, &sum}, {LS_F32, one, &dot}, {LS_F32, one, &n}};
    struct ls_view out = {LS_F32, two, y};
    struct ls_op_attrs attrs = {.bn = {.epsilon = 0.25f}};
    struct ls_op_call call = {
        .op = LS_OP_BN_APPLY, .attrs = &attrs, .in = apply, .in_count = 5, .out = &out, .out_count = 1};

    cr_assert_eq(lst_compare(&call, "apply"), LS_OK);
    cr_assert(y[0] == -1.0f && y[1] == 3.0f);
    call.op = LS_OP_BN_XGRAD;
    call.in = grad;
    call.in_count = 7;
    cr_assert_eq(lst_compare(&call, "gradient"), LS_OK);
    cr_assert(y[0] == 2.0f * (1.0f - 2.0f) && y[1] == 2.0f * (2.0f - 3.0f));
}
