/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels of reductions against scalar arithmetic, at every length around a vector and every misalignment. */
#include "collective/reduce.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define MOST 200

/* Sums of f32 and f64 are single IEEE additions at every length and place, and nothing beside them is written. */
Test(reduce, floats)
{
    lsi_combine f32 = lsi_combine_get(LS_F32, LS_SUM);
    lsi_combine f64 = lsi_combine_get(LS_F64, LS_PRODUCT);
    float a[MOST + 8], b[MOST + 8], out[MOST + 16];
    double c[MOST + 8], d[MOST + 8], product[MOST + 16];

    for (int i = 0; i < MOST + 8; i++) {
        a[i] = (float)i * 1.1f;
        b[i] = 1e-3f / (float)(i + 1);
        c[i] = i * 1.7;
        d[i] = 1.0 / (i + 3);
    }
    for (int n = 0; n < MOST; n++)
        for (int shift = 0; shift < 4; shift++) {
            memset(out, 0x7f, sizeof out);
            memset(product, 0x7f, sizeof product);
            f32(out + shift, a + shift, b, n);
            f64(product + shift, c, d + shift, n);
            for (int i = 0; i < n; i++) {
                cr_assert_eq(out[shift + i], a[shift + i] + b[i]);
                cr_assert_eq(product[shift + i], c[i] * d[shift + i]);
            }
            cr_assert_eq(((uint8_t *)&out[shift + n])[0], 0x7f);
            cr_assert_eq(((uint8_t *)&product[shift + n])[0], 0x7f);
        }
}

/* Minimum and maximum give NaN where either operand is one, the right one of equal zeros. */
Test(reduce, minimum_and_nan)
{
    float a[] = {1.0f, NAN, 2.0f, -INFINITY, 0.0f};
    float b[] = {2.0f, 1.0f, NAN, 1.0f, -0.0f};
    float low[5], high[5];

    lsi_combine_get(LS_F32, LS_MIN)(low, a, b, 5);
    lsi_combine_get(LS_F32, LS_MAX)(high, a, b, 5);
    cr_assert(low[0] == 1.0f && high[0] == 2.0f);
    cr_assert(isnan(low[1]) && isnan(low[2]) && isnan(high[1]) && isnan(high[2]));
    cr_assert(low[3] == -INFINITY && high[3] == 1.0f);
    cr_assert(signbit(low[4]) && signbit(high[4]));
}

/* bf16 is added in f32 and rounded to nearest even once; NaN stays quiet NaN. */
Test(reduce, bf16)
{
    uint16_t a[] = {0x3f80, 0x3f80, 0x3f80, 0x7f80, 0x7fff};
    uint16_t b[] = {0x3b80, 0x3c00, 0x3c40, 0xff80, 0x3f80}; /* 2^-8, 2^-7, 3 * 2^-8, -inf, 1 */
    uint16_t out[5];

    lsi_combine_get(LS_BF16, LS_SUM)(out, a, b, 5);
    cr_assert_eq(out[0], 0x3f80); /* half way: to even */
    cr_assert_eq(out[1], 0x3f81);
    cr_assert_eq(out[2], 0x3f82); /* half way between 1 and 2 units: to even */
    cr_assert_eq(out[3] & 0x7fc0, 0x7fc0);
    cr_assert_eq(out[4] & 0x7fc0, 0x7fc0);
}

/* Integers wrap. */
Test(reduce, integers)
{
    int64_t a[] = {INT64_MAX, -5}, b[] = {1, 7}, out[2];
    int32_t c[] = {INT32_MIN, 1 << 20}, d[] = {-1, 1 << 20}, small[2];

    lsi_combine_get(LS_I64, LS_SUM)(out, a, b, 2);
    cr_assert(out[0] == INT64_MIN && out[1] == 2);
    lsi_combine_get(LS_I64, LS_MAX)(out, a, b, 2);
    cr_assert(out[0] == INT64_MAX && out[1] == 7);
    lsi_combine_get(LS_I32, LS_PRODUCT)(small, c, d, 2);
    cr_assert(small[0] == INT32_MIN && small[1] == 0);
}

/* What has no arithmetic has no kernel. */
Test(reduce, unsupported)
{
    cr_assert_null(lsi_combine_get(LS_BOOL, LS_SUM));
    cr_assert_null(lsi_combine_get(LS_U8, LS_SUM));
    cr_assert_null(lsi_combine_get((enum ls_dtype)99, LS_SUM));
    cr_assert_null(lsi_combine_get(LS_F32, (enum ls_reduction)9));
}

/* A tree over more elements than a chunk, into several results at odd places, past the cache or not: the same bits. */
Test(reduce, several_results)
{
    enum { COUNT = 5003 };
    static float leaves[3][COUNT];
    static float outs[2][2][COUNT + 20];
    struct lsi_steps steps = {.count = 2, .step = {{-1, 0, 1}, {-1, -1, 2}}};
    const void *inputs[] = {leaves[0], leaves[1], leaves[2]};

    for (int i = 0; i < COUNT; i++)
        for (int k = 0; k < 3; k++)
            leaves[k][i] = (float)(i * (k + 1)) * 0.37f;
    for (int stream = 0; stream < 2; stream++) {
        void *to[] = {outs[stream][0] + 1, outs[stream][1] + 6};
        struct lsi_reduce reduce = {.combine = lsi_combine_get(LS_F32, LS_SUM),
                                    .element_bytes = 4,
                                    .steps = &steps,
                                    .inputs = inputs,
                                    .outs = to,
                                    .out_count = 2,
                                    .stream = stream != 0};
        lsi_reduce_run(&reduce, COUNT);
        for (int i = 0; i < COUNT; i++) {
            float want = (leaves[0][i] + leaves[1][i]) + leaves[2][i];
            cr_assert_eq(outs[stream][0][1 + i], want);
            cr_assert_eq(outs[stream][1][6 + i], want);
        }
        cr_assert(outs[stream][0][0] == 0 && outs[stream][0][COUNT + 1] == 0);
        cr_assert(outs[stream][1][5] == 0 && outs[stream][1][COUNT + 6] == 0);
    }
}
