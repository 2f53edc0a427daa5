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

/* The value of an f16, by its definition. */
static double of_f16(uint16_t h)
{
    int e = h >> 10 & 31, m = h & 1023;
    double magnitude = e == 31  ? (m == 0 ? (double)INFINITY : (double)NAN)
                       : e == 0 ? ldexp(m, -24)
                                : ldexp(1024 + m, e - 25);

    return (h & 0x8000) != 0 ? -magnitude : magnitude;
}

/* x is nearest to what h means, of equally near ones the even; 65520 and above is infinity. */
static bool rounds_to(double x, uint16_t h)
{
    double value = of_f16(h), below, above;

    if (isnan(x) || isnan(value))
        return isnan(x) && isnan(value);
    if (isinf(value))
        return fabs(x) >= 65520 && (x > 0) == (value > 0);
    if (fabs(x) >= 65520)
        return false;
    below = (h & 0x7fff) > 0 ? fabs(of_f16((uint16_t)((h & 0x7fff) - 1))) : 0;
    above = (h & 0x7fff) == 0x7bff ? 65536 : fabs(of_f16((uint16_t)((h & 0x7fff) + 1)));
    if (x != 0 && value != 0 && (x > 0) != (value > 0))
        return false;
    double up = above - fabs(x), down = fabs(x) - below, off = fabs(fabs(x) - fabs(value));
    bool even = (h & 1) == 0;
    return (off < up || (off == up && even)) && ((h & 0x7fff) == 0 || off < down || (off == down && even));
}

/* Every f16 survives a product with one, and sums and products of f16 are rounded to nearest even once, subnormal ones,
 * infinities and NaN included. */
Test(reduce, f16)
{
    static uint16_t a[65536], b[65536], out[65536];
    lsi_combine sum = lsi_combine_get(LS_F16, LS_SUM), product = lsi_combine_get(LS_F16, LS_PRODUCT);

    for (int i = 0; i < 65536; i++) {
        a[i] = (uint16_t)i;
        b[i] = 0x3c00;
    }
    product(out, a, b, 65536);
    for (int i = 0; i < 65536; i++)
        cr_assert(out[i] == a[i] || (isnan(of_f16(a[i])) && isnan(of_f16(out[i]))), "%04x became %04x", a[i], out[i]);
    for (unsigned round = 0; round < 40; round++) {
        for (unsigned i = 0; i < 65536; i++)
            b[i] = (uint16_t)((i * 40503u + round * 9973u) ^ (i >> 3));
        sum(out, a, b, 65536);
        for (int i = 0; i < 65536; i++)
            cr_assert(rounds_to(of_f16(a[i]) + of_f16(b[i]), out[i]), "%04x + %04x is not %04x", a[i], b[i], out[i]);
        product(out, a, b, 65536);
        for (int i = 0; i < 65536; i++)
            cr_assert(rounds_to(of_f16(a[i]) * of_f16(b[i]), out[i]), "%04x * %04x is not %04x", a[i], b[i], out[i]);
    }
}

/* A mean is the sum divided once, also where one leaf stands for all; integers have none. */
Test(reduce, mean)
{
    struct lsi_steps steps = {.count = 1, .step = {{0, 0, 1}}};
    float a[1500], b[1500], out[1500];
    const void *inputs[] = {a, b};
    void *outs[] = {out};
    struct lsi_reduce reduce = {.combine = lsi_combine_get(LS_F32, LS_MEAN),
                                .element_bytes = 4,
                                .steps = &steps,
                                .inputs = inputs,
                                .outs = outs,
                                .out_count = 1,
                                .divisor = 3,
                                .dtype = LS_F32};

    cr_assert_null(lsi_combine_get(LS_I32, LS_MEAN));
    for (int i = 0; i < 1500; i++) {
        a[i] = (float)i * 1.1f;
        b[i] = 7.0f / (float)(i + 1);
    }
    for (int stream = 0; stream < 2; stream++) {
        reduce.stream = stream == 1;
        steps.count = 1;
        steps.step[0].dst = -1;
        lsi_reduce_run(&reduce, 1500);
        for (int i = 0; i < 1500; i++)
            cr_assert_eq(out[i], (a[i] + b[i]) / 3.0f);
        steps.count = 0;
        steps.only = 1;
        lsi_reduce_run(&reduce, 1500);
        for (int i = 0; i < 1500; i++)
            cr_assert_eq(out[i], b[i] / 3.0f);
    }
}
