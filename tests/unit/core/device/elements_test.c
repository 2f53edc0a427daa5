/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise operations, conversions and dropout: hand-made values, then every device against the reference. */
#include "core/base/philox.h"
#include "tests/support/kernels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* A count that is often no multiple of a vector and sometimes long enough for two threads. */
static int64_t some_count(void)
{
    return lst_random(8) ? lst_between(1, 200) : lst_between(20000, 70000);
}

static void run_binary(enum ls_op op, enum ls_dtype dtype, struct ls_shape a, struct ls_shape b)
{
    enum lst_values values = (enum lst_values)lst_random(LST_VALUES);
    struct ls_view in[2] = {lst_view(dtype, a, values), lst_view(dtype, b, values)};
    struct ls_view out = lst_view_empty(dtype, ls_shape_count(&a) > 1 ? a : b);
    struct ls_op_call call = {.op = op, .in = in, .in_count = 2, .out = &out, .out_count = 1};
    char what[64];

    snprintf(what, sizeof what, "op %d of %s", op, ls_dtype_name(dtype));
    cr_assert_eq(lst_compare(&call, what), LS_OK);
    lst_view_free(&in[0]);
    lst_view_free(&in[1]);
    lst_view_free(&out);
}

static const enum ls_op binaries[] = {LS_OP_ADD, LS_OP_SUB, LS_OP_MUL, LS_OP_MAXIMUM, LS_OP_MINIMUM, LS_OP_DIV};

/* Binary operations of every dtype give the reference's bits for equal shapes, suffixes and scalars. */
Test(elements, binary_operations_equal_the_reference)
{
    static const enum ls_dtype dtypes[] = {LS_F32, LS_F32, LS_F32, LS_F64, LS_I32, LS_I64};

    for (int round = 0; round < 400; round++) {
        enum ls_dtype dtype = dtypes[lst_random(6)];
        enum ls_op op = binaries[lst_random(dtype == LS_F32 || dtype == LS_F64 ? 6 : 5)];
        int64_t width = some_count();

        run_binary(op, dtype, LS_SHAPE(width), LS_SHAPE(width));
        run_binary(op, dtype, LS_SHAPE(3, 2, width), LS_SHAPE(2, width));
        run_binary(op, dtype, LS_SHAPE(1 + width % 37, 1 + width % 5), LS_SHAPE(1 + width % 5));
        run_binary(op, dtype, LS_SHAPE(width), LS_SHAPE_SCALAR);
        run_binary(op, dtype, LS_SHAPE_SCALAR, LS_SHAPE(width));
    }
}

/* Unary operations give the reference's bits on all kinds of values. */
Test(elements, unary_operations_equal_the_reference)
{
    static const enum ls_op unaries[] = {LS_OP_NEG,  LS_OP_EXP,  LS_OP_LOG,    LS_OP_TANH,
                                         LS_OP_SQRT, LS_OP_RELU, LS_OP_SIGMOID};

    for (int round = 0; round < 700; round++) {
        struct ls_shape shape = LS_SHAPE(some_count());
        enum ls_dtype dtype = lst_random(8) ? LS_F32 : LS_F64;
        struct ls_view in = lst_view(dtype, shape, (enum lst_values)lst_random(LST_VALUES));
        struct ls_view out = lst_view_empty(dtype, shape);
        struct ls_op_call call = {.op = unaries[round % 7], .in = &in, .in_count = 1, .out = &out, .out_count = 1};

        cr_assert_eq(lst_compare(&call, "unary"), LS_OK);
        lst_view_free(&in);
        lst_view_free(&out);
    }
}

/* Operations of two to four equal shapes (gradients, selection, binary cross-entropy) equal the reference. */
Test(elements, pairwise_operations_equal_the_reference)
{
    static const enum ls_op ops[] = {LS_OP_RELU_GRAD, LS_OP_SIGMOID_XENT, LS_OP_SIGMOID_XENT_GRAD, LS_OP_SELECT_GE};
    static const int counts[] = {2, 2, 3, 4};

    for (int round = 0; round < 400; round++) {
        struct ls_shape shape = LS_SHAPE(some_count());
        struct ls_view in[4], out = lst_view_empty(LS_F32, shape);
        struct ls_op_call call = {
            .op = ops[round % 4], .in = in, .in_count = counts[round % 4], .out = &out, .out_count = 1};

        for (int k = 0; k < 4; k++)
            in[k] = lst_view(LS_F32, shape, (enum lst_values)lst_random(LST_VALUES));
        cr_assert_eq(lst_compare(&call, "pairwise"), LS_OK);
        for (int k = 0; k < 4; k++)
            lst_view_free(&in[k]);
        lst_view_free(&out);
    }
}

/* Every pair of dtypes can be cast, and AFFINE reads every dtype, with the reference's bits. */
Test(elements, cast_and_affine_equal_the_reference)
{
    static const enum ls_dtype dtypes[] = {LS_F32, LS_F64, LS_BF16, LS_I32, LS_I64, LS_U8, LS_BOOL};

    for (int round = 0; round < 490; round++) {
        enum ls_dtype from = dtypes[round % 7], to = dtypes[round / 7 % 7];
        struct ls_shape shape = LS_SHAPE(some_count());
        struct ls_view in = lst_view(from, shape, (enum lst_values)lst_random(LST_VALUES));
        struct ls_view out = lst_view_empty(to, shape), real = lst_view_empty(LS_F32, shape);
        struct ls_op_attrs cast = {.cast = {.dtype = to}}, affine = {.affine = {.scale = 1.0f / 255, .offset = -0.3f}};
        struct ls_op_call call = {
            .op = LS_OP_CAST, .attrs = &cast, .in = &in, .in_count = 1, .out = &out, .out_count = 1};

        cr_assert_eq(lst_compare(&call, ls_dtype_name(from)), LS_OK);
        call.op = LS_OP_AFFINE;
        call.attrs = &affine;
        call.out = &real;
        cr_assert_eq(lst_compare(&call, ls_dtype_name(from)), LS_OK);
        lst_view_free(&in);
        lst_view_free(&out);
        lst_view_free(&real);
    }
}

/* Conversions follow their rules: nearest even, towards zero, held at the ends, NaN to 0. */
Test(elements, cast_follows_its_rules)
{
    float real[] = {1.5f, -1.5f, 300.0f, -3.0f, NAN, 3e9f, 0x1.01p0f, 0x1.03p0f};
    static const uint8_t u8[] = {1, 0, 255, 0, 0, 255, 1, 1};
    static const int32_t i32[] = {1, -1, 300, -3, 0, INT32_MAX, 1, 1};
    static const uint16_t bf16[] = {0x3fc0, 0xbfc0, 0x4396, 0xc040, 0x7fc0, 0x4f33, 0x3f80, 0x3f82};
    static const void *const expected[] = {u8, i32, bf16};
    static const enum ls_dtype dtypes[] = {LS_U8, LS_I32, LS_BF16};
    struct ls_view in = {LS_F32, LS_SHAPE(8), real};

    for (int k = 0; k < 3; k++) {
        struct ls_view out = lst_view_empty(dtypes[k], LS_SHAPE(8));
        struct ls_op_attrs attrs = {.cast = {.dtype = dtypes[k]}};
        struct ls_op_call call = {
            .op = LS_OP_CAST, .attrs = &attrs, .in = &in, .in_count = 1, .out = &out, .out_count = 1};

        cr_assert_eq(lst_compare(&call, "cast"), LS_OK);
        cr_assert_arr_eq(out.data, expected[k], ls_view_bytes(&out));
        lst_view_free(&out);
    }
}

/* A maximum takes the first NaN, else the larger, and a zero result is +0; so do the minimum and ReLU. */
Test(elements, maximum_follows_its_rules)
{
    float a[] = {-0.0f, -0.0f, NAN, 1.0f, -2.0f, -INFINITY}, b[] = {-0.0f, 0.0f, 1.0f, NAN, 3.0f, INFINITY};
    static const float most[] = {0.0f, 0.0f, NAN, NAN, 3.0f, INFINITY};
    static const float least[] = {0.0f, 0.0f, NAN, NAN, -2.0f, -INFINITY};
    static const float relu[] = {0.0f, 0.0f, NAN, 1.0f, 0.0f, 0.0f};
    static const enum ls_op ops[] = {LS_OP_MAXIMUM, LS_OP_MINIMUM, LS_OP_RELU};
    const float *const expected[] = {most, least, relu};
    struct ls_view in[2] = {{LS_F32, LS_SHAPE(6), a}, {LS_F32, LS_SHAPE(6), b}};

    for (int k = 0; k < 3; k++) {
        struct ls_view out = lst_view_empty(LS_F32, LS_SHAPE(6));
        struct ls_view want = {LS_F32, LS_SHAPE(6), (void *)expected[k]};
        struct ls_op_call call = {.op = ops[k], .in = in, .in_count = k < 2 ? 2 : 1, .out = &out, .out_count = 1};

        cr_assert_eq(lst_compare(&call, "maximum"), LS_OK);
        cr_assert(lst_view_same(&out, &want), "operation %d", k);
        lst_view_free(&out);
    }
}

static struct ls_shards shards_of(int64_t samples)
{
    return ls_shards_of(samples * 3, 4, 1, 1);
}

/* Dropout equals the reference for short and long samples, any first sample and rate. */
Test(elements, dropout_equals_the_reference)
{
    for (int round = 0; round < 200; round++) {
        int64_t per_sample = lst_random(4) ? lst_between(1, 70) : lst_between(900, 1100), samples = lst_between(4, 24);
        struct ls_shards shards = shards_of(samples);
        struct ls_shape shape = LS_SHAPE(shards.offset[1], per_sample);
        struct ls_op_attrs attrs = {.dropout = {.rate = (float)lst_random(4) * 0.25f, .stream = 3, .call = 1}};
        struct ls_step_info step = {.seed = 7, .step = UINT64_C(0x123456789ab), .training = round % 10 != 0};
        struct ls_view in = lst_view(LS_F32, shape, (enum lst_values)lst_random(LST_VALUES));
        struct ls_view out = lst_view_empty(LS_F32, shape);
        struct ls_op_call call = {.op = LS_OP_DROPOUT,
                                  .attrs = &attrs,
                                  .in = &in,
                                  .in_count = 1,
                                  .out = &out,
                                  .out_count = 1,
                                  .shards = round % 7 ? &shards : NULL,
                                  .step = &step};

        cr_assert_eq(lst_compare(&call, "dropout"), LS_OK);
        lst_view_free(&in);
        lst_view_free(&out);
    }
}

/* Dropout uses word e % 4 of block e / 4 of the sample's place in the global batch, keeps about 1 - rate of the
 * elements and scales them; a second call gives the same mask; evaluation copies. */
Test(elements, dropout_follows_the_counter)
{
    struct ls_shards shards = shards_of(40);
    struct ls_shape shape = LS_SHAPE(shards.offset[1], 101);
    struct ls_op_attrs attrs = {.dropout = {.rate = 0.25f, .stream = 5, .call = 2}};
    struct ls_step_info step = {.seed = 11, .step = 9, .training = true};
    struct ls_view in = lst_view(LS_F32, shape, LST_TAME), out = lst_view_empty(LS_F32, shape);
    struct ls_op_call call = {.op = LS_OP_DROPOUT,
                              .attrs = &attrs,
                              .in = &in,
                              .in_count = 1,
                              .out = &out,
                              .out_count = 1,
                              .shards = &shards,
                              .step = &step};
    struct ls_philox_key key = ls_philox_key_of(11, 5, 2);
    int64_t kept = 0, count = ls_shape_count(&shape);
    float *x = in.data, *y = out.data;

    cr_assert_eq(lst_compare(&call, "dropout"), LS_OK);
    for (int64_t i = 0; i < count; i++) {
        uint32_t words[4];
        bool keep;

        ls_philox_block(key, 9, (uint64_t)(shards.first_sample + i / 101), (uint32_t)(i % 101 / 4), words);
        keep = ls_philox_unit(words[i % 101 % 4]) >= 0.25f;
        kept += keep;
        cr_assert_eq(y[i], keep ? x[i] * (1.0f / 0.75f) : 0.0f);
    }
    cr_assert_float_eq((double)kept / (double)count, 0.75, 0.03);
    step.training = false;
    cr_assert_eq(lst_compare(&call, "dropout"), LS_OK);
    cr_assert_arr_eq(out.data, in.data, ls_view_bytes(&in));
    lst_view_free(&in);
    lst_view_free(&out);
}
