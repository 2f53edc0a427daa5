/* SPDX-License-Identifier: Apache-2.0 */
/* f32 as bf16: nearest even against a scalar reference, special values, every length around a vector's. */
#include "collective/bf16.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define MOST 70

static uint32_t bits_of(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The nearer neighbour; of two equally near ones the even one. */
static uint16_t nearest(float x)
{
    uint32_t low = bits_of(x) >> 16;
    double below = x - (double)float_of(low << 16), above = (double)float_of((low + 1) << 16) - x;

    if (isinf(x))
        return (uint16_t)low;
    /* Behind the largest finite number stands what would follow it. */
    if (isinf(float_of((low + 1) << 16)))
        above = copysign(0x1p128, x) - x;
    if (fabs(below) == fabs(above))
        return (uint16_t)(low + (low & 1));
    return (uint16_t)(fabs(below) < fabs(above) ? low : low + 1);
}

/* Element i: every kind of number within a few hundred. */
static float value_of(uint32_t i)
{
    static const uint32_t special[] = {0,          0x80000000, 1,          0x7f7fffff, 0xff7fffff, 0x7f800000,
                                       0xff800000, 0x3f808000, 0x3f818000, 0x7f7f8000, 0x00008000, 0x3f807fff};
    uint32_t bits = i * 2654435761u;

    if (i % 7 == 0)
        return float_of(special[i / 7 % (sizeof special / sizeof special[0])]);
    return (bits >> 23 & 255) == 255 ? float_of(bits & 0xbfffffff) : float_of(bits);
}

/* Every length, so that the rest behind whole vectors is taken care of; nothing is written behind the end. */
Test(bf16, narrows_to_nearest)
{
    float in[MOST];
    uint16_t out[MOST + 1];

    for (int n = 0; n <= MOST; n++)
        for (uint32_t seed = 0; seed < 40; seed++) {
            for (int i = 0; i < n; i++)
                in[i] = value_of(seed * 1000 + (uint32_t)(i + n));
            out[n] = 0x1234;
            lsi_bf16_narrow(out, in, n);
            for (int i = 0; i < n; i++)
                cr_assert_eq(out[i], nearest(in[i]), "%a: %x, not %x", (double)in[i], out[i], nearest(in[i]));
            cr_assert_eq(out[n], 0x1234);
        }
}

/* A NaN stays one, also where all its digits are in the lower half. */
Test(bf16, keeps_nan)
{
    float in[3] = {float_of(0x7f800001), float_of(0xff800001), NAN}, back[3];
    uint16_t out[3];

    lsi_bf16_narrow(out, in, 3);
    lsi_bf16_widen(back, out, 3);
    for (int i = 0; i < 3; i++)
        cr_assert(isnan(back[i]));
}

/* What is kept is what travels; what is added is added in f32. */
Test(bf16, settles_and_adds)
{
    float values[MOST], sum[MOST], back[MOST];
    uint16_t out[MOST];

    for (int i = 0; i < MOST; i++)
        values[i] = sum[i] = (float)i * 1.001f;
    lsi_bf16_settle(out, values, MOST);
    lsi_bf16_widen(back, out, MOST);
    cr_assert_eq(memcmp(values, back, sizeof back), 0);
    lsi_bf16_add(sum, out, MOST);
    for (int i = 0; i < MOST; i++) {
        volatile float both = (float)i * 1.001f;
        both += back[i];
        cr_assert_eq(sum[i], both);
    }
    lsi_bf16_divide(sum, 4, MOST);
    for (int i = 0; i < MOST; i++) {
        volatile float quarter = (float)i * 1.001f;
        quarter += back[i];
        cr_assert_eq(sum[i], quarter / 4);
    }
}
