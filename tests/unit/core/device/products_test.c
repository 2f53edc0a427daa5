/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/kernels.h"

#include <criterion/criterion.h>
#include <stdio.h>

/* A dense product of random operands on every device. */
static void check_dense(int64_t rows, int64_t depth, int64_t columns, enum lst_values values, int options)
{
    bool transposed = options & 1, bias = options & 2, relu = options & 4, deep = options & 8;
    struct ls_op_attrs attrs = {
        .dense = {.transposed_w = transposed, .activation = relu ? LS_ACTIVATION_RELU : LS_ACTIVATION_NONE}};
    int64_t inner = deep && rows % 2 == 0 ? 2 : 1;
    struct ls_view in[3] = {
        lst_view(LS_F32, LS_SHAPE(rows / inner, inner, depth), values),
        lst_view(LS_F32, transposed ? LS_SHAPE(columns, depth) : LS_SHAPE(depth, columns), values),
        lst_view(LS_F32, LS_SHAPE(columns), values),
    };
    struct ls_view out = lst_view_empty(LS_F32, LS_SHAPE(rows / inner, inner, columns));
    struct ls_op_call call = {
        .op = LS_OP_DENSE, .attrs = &attrs, .in = in, .in_count = bias ? 3 : 2, .out = &out, .out_count = 1};
    char what[128];

    snprintf(what, sizeof what, "dense %d x %d x %d, values %d, options %d", (int)rows, (int)depth, (int)columns,
             (int)values, options);
    cr_assert_eq(lst_compare(&call, what), LS_OK);
    lst_view_free(&in[0]);
    lst_view_free(&in[1]);
    lst_view_free(&in[2]);
    lst_view_free(&out);
}

/* Products of random shapes and values have the reference's bits, in every transposition. */
Test(products, dense_random)
{
    for (int i = 0; i < 160; i++) {
        int64_t rows = lst_between(1, i % 3 == 0 ? 80 : 20);

        check_dense(rows, lst_between(1, i % 4 == 0 ? 700 : 60), lst_between(1, i % 5 == 0 ? 150 : 50),
                    (enum lst_values)(i % 3), i % 16);
    }
}

/* Sizes at the edges of blocks, registers, tiles and packed chunks. */
Test(products, dense_edges)
{
    static const int64_t rows[] = {1, 6, 14, 15, 42, 43, 85};
    static const int64_t depths[] = {1, 255, 256, 257, 512};
    static const int64_t columns[] = {1, 8, 10, 16, 17, 32, 33};

    for (int i = 0; i < 7; i++) {
        for (int j = 0; j < 5; j++)
            check_dense(rows[i], depths[j], columns[(i + j) % 7], LST_ZEROS, 2 * i + j);
        check_dense(rows[i], 3, columns[i] + 1024, LST_WILD, i);
    }
}

/* One to three rows over many columns, and depths at which rows of x share a set of the cache. */
Test(products, dense_few_rows)
{
    for (int rows = 1; rows <= 4; rows++) {
        check_dense(rows, 300, 8 * 16 * 2 + 16 * rows + rows, LST_WILD, rows);
        check_dense(rows, 300, 5, LST_ZEROS, 2);
        check_dense(16 + rows, 1024, 10, LST_ZEROS, 2 + rows);
        check_dense(16 + rows, 513, 10, LST_WILD, 4 + rows);
        check_dense(16 + rows, 64 + rows - 2, 70, LST_ZEROS, rows);
    }
}

/* Products without rows, columns or terms: a sum of nothing is +0 and bias still counts. */
Test(products, dense_empty)
{
    check_dense(0, 5, 4, LST_TAME, 2);
    check_dense(3, 0, 4, LST_TAME, 2);
    check_dense(3, 5, 0, LST_TAME, 0);
}

/* A weight gradient of random operands on every device. options: 1 accumulate, 2 per shard. */
static void check_wgrad(const struct ls_shards *shards, int64_t k, int64_t n, const int64_t *positions, int pairs,
                        enum lst_values values, int options)
{
    struct ls_op_attrs attrs = {.batch = {.accumulate = options & 1, .per_shard = options & 2}};
    int64_t samples = shards->offset[shards->count];
    struct ls_view in[9];
    struct ls_view out;
    int count = 0;
    char what[160];

    if (attrs.batch.accumulate)
        in[count++] = lst_view(LS_F32, LS_SHAPE(shards->count, k, n), values);
    for (int i = 0; i < pairs; i++) {
        in[count++] = lst_view(LS_F32, LS_SHAPE(samples, positions[i], k), values);
        in[count++] = lst_view(LS_F32, LS_SHAPE(samples, positions[i], n), values);
    }
    out = lst_view_empty(LS_F32, attrs.batch.per_shard ? LS_SHAPE(shards->count, k, n) : LS_SHAPE(k, n));
    struct ls_op_call call = {.op = LS_OP_DENSE_WGRAD,
                              .attrs = &attrs,
                              .in = in,
                              .in_count = count,
                              .out = &out,
                              .out_count = 1,
                              .shards = shards};

    snprintf(what, sizeof what, "wgrad %d x %d, %d samples, %d of %d shards, %d pairs, P %d, values %d, options %d",
             (int)k, (int)n, (int)samples, shards->count, shards->total, pairs, pairs ? (int)positions[0] : 0,
             (int)values, options);
    cr_assert_eq(lst_compare(&call, what), LS_OK);
    while (count > 0)
        lst_view_free(&in[--count]);
    lst_view_free(&out);
}

/* An aligned range of the shards of a batch. */
static struct ls_shards random_shards(int64_t samples)
{
    int total = 1 << lst_between(0, 6);
    int count = 1 << lst_between(0, 6);

    if (count > total)
        count = total;
    return ls_shards_of(samples, total, count * (int)lst_between(0, total / count - 1), count);
}

/* Weight gradients have the reference's bits for any shards, uses and positions, continued sums or not. */
Test(products, wgrad_random)
{
    for (int i = 0; i < 160; i++) {
        struct ls_shards shards = random_shards(lst_between(1, i % 4 == 0 ? 300 : 40));
        int64_t positions[4];

        for (int p = 0; p < 4; p++)
            positions[p] = i % 3 == 0 ? lst_between(1, 20) : 1;
        check_wgrad(&shards, lst_between(1, 45), lst_between(1, 70), positions, (int)lst_between(1, i % 5 ? 1 : 4),
                    (enum lst_values)(i % 3), i % 4);
    }
}

/* Few columns: the result's tiles may be turned; with whole registers of rows and without, one use and several. */
Test(products, wgrad_few_columns)
{
    for (int i = 0; i < 120; i++) {
        struct ls_shards shards = random_shards(lst_between(1, i % 4 == 0 ? 300 : 40));
        int64_t positions[3], k = 8 * lst_between(1, 17) + (i % 7 == 0);

        for (int p = 0; p < 3; p++)
            positions[p] = i % 3 == 0 ? lst_between(1, 300) : 1;
        check_wgrad(&shards, k, 1 + i % 16, positions, 1 + i % 3, (enum lst_values)(i / 3 % 3), i % 5 == 0 ? i % 4 : 0);
    }
}

/* Samples longer than a block are cut inside, shorter ones are never cut. */
Test(products, wgrad_positions)
{
    static const int64_t positions[] = {255, 256, 257, 600, 100, 129};

    for (int i = 0; i < 6; i++) {
        struct ls_shards shards = ls_shards_of(9, 4, 0, 4);

        check_wgrad(&shards, 15, 20, &positions[i], 1, LST_ZEROS, i % 4);
    }
}

/* Empty shards are absent from the tree; a call without samples gives zeros or the sums it was given. */
Test(products, wgrad_empty)
{
    static const int64_t one[] = {1, 1};

    for (int options = 0; options < 4; options++) {
        struct ls_shards some = ls_shards_of(5, 64, 0, 64), none = ls_shards_of(2, 64, 0, 4);

        check_wgrad(&some, 20, 40, one, 2, LST_ZEROS, options);
        check_wgrad(&none, 20, 40, one, 1, LST_ZEROS, options);
        check_wgrad(&some, 20, 40, one, 0 + (options & 1), LST_TAME, options);
    }
}

/* One small product by hand: blocks, bias and relu as the formula says. */
Test(products, dense_by_hand)
{
    float x[2] = {0x1p127f, 3.0f}, w[4] = {2.0f, -1.0f, 0.0f, 0x1p127f}, bias[2] = {1.0f, -0.0f}, y[2];
    struct ls_op_attrs attrs = {.dense = {.activation = LS_ACTIVATION_RELU}};
    struct ls_view in[3] = {{LS_F32, LS_SHAPE(1, 2), x}, {LS_F32, LS_SHAPE(2, 2), w}, {LS_F32, LS_SHAPE(2), bias}};
    struct ls_view out = {LS_F32, LS_SHAPE(1, 2), y};
    struct ls_op_call call = {.op = LS_OP_DENSE, .attrs = &attrs, .in = in, .in_count = 3, .out = &out, .out_count = 1};

    cr_assert_eq(ls_device_run(lst_ref(), &call, NULL), LS_OK);
    cr_assert_eq(y[0], 0x1p127f * 2.0f);
    cr_assert_eq(y[1], 0x1p127f * 2.0f);
}

/* f64 runs on the reference (for tests of gradients); other dtypes are refused by name. */
Test(products, dtypes)
{
    struct ls_op_attrs attrs = {0};
    double x[2] = {1.0, 0x1p-40}, w[2] = {1.0, 0x1p-40}, y = 0;
    struct ls_view in[2] = {{LS_F64, LS_SHAPE(1, 2), x}, {LS_F64, LS_SHAPE(2, 1), w}};
    struct ls_view out = {LS_F64, LS_SHAPE(1, 1), &y};
    struct ls_op_call call = {.op = LS_OP_DENSE, .attrs = &attrs, .in = in, .in_count = 2, .out = &out, .out_count = 1};
    struct ls_error err = LS_ERROR_INIT;

    cr_assert_eq(ls_device_run(lst_ref(), &call, &err), LS_OK);
    cr_assert_eq(y, 1.0); /* 2^-80 is lost, 2^-40 would not be */
    in[0].dtype = in[1].dtype = out.dtype = LS_I32;
    cr_assert_eq(ls_device_run(lst_ref(), &call, &err), LS_EUNSUPPORTED);
    cr_assert(err.message[0] != '\0');
}
