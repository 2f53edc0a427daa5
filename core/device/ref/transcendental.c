/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exp, log, tanh correctly rounded in f32, and their f64 forms. Each f32 function is evaluated in f64 with an error
 * of about one f64 ulp and rounded once. tests/bench/check_transcendental.c tries all 2^32 inputs: with exactly these
 * operations that is right for every input of exp and tanh and for all but five of log, which stand in a table.
 */
#include "core/device/transcendental.h"

#include "core/device/device_impl.h"
#include "core/device/transcendental_constants.h"

#include <math.h>
#include <string.h>

static const double expm1_terms[LSI_EXPM1_TERMS] = LSI_EXPM1_COEFFICIENTS;
static const double log_terms[LSI_LOG_TERMS] = LSI_LOG_COEFFICIENTS;

/* The inputs of log whose f64 value rounds to the wrong side, with the right results, as bits. exp and tanh have
 * none. */
static const struct exception {
    uint32_t x, y;
} log_exceptions[] = {
    {0x3c413d3a, 0xc08e158f}, {0x41178feb, 0x400fe5e7}, {0x4c5d65a5, 0x418f034b},
    {0x65d890d3, 0x4254d1f9}, {0x6f31a8ec, 0x42845a89},
};

static uint64_t bits_of(double x)
{
    uint64_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static double from_bits(uint64_t bits)
{
    double x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

/* x = k ln 2 + r: gives e^r - 1 and t, whose low bits are k. */
static double reduce_expm1(double x, double *k, uint64_t *k_bits)
{
    double t = fma(x, LSI_LOG2_E, LSI_ROUND_MAGIC);
    double n = t - LSI_ROUND_MAGIC;
    double r = fma(-n, LSI_LN2_LO, fma(-n, LSI_LN2_HI, x));
    double q = expm1_terms[LSI_EXPM1_TERMS - 1];

    for (int i = LSI_EXPM1_TERMS - 2; i >= 0; i--)
        q = fma(q, r, expm1_terms[i]);
    *k = n;
    *k_bits = bits_of(t);
    return fma(r * r, q, r);
}

float lsi_exp_f32(float x)
{
    double clamped = (double)x, k, y;
    uint64_t k_bits;

    if (x != x)
        return x + x;
    clamped = clamped > LSI_EXP_F32_MAX ? LSI_EXP_F32_MAX : clamped < LSI_EXP_F32_MIN ? LSI_EXP_F32_MIN : clamped;
    y = 1.0 + reduce_expm1(clamped, &k, &k_bits);
    y = from_bits(bits_of(y) + (k_bits << 52));
    return (float)y;
}

double lsi_exp_f64(double x)
{
    double k, y;
    uint64_t k_bits;
    int64_t half;

    if (x != x)
        return x + x;
    x = x > 710.0 ? 710.0 : x < -746.0 ? -746.0 : x;
    y = 1.0 + reduce_expm1(x, &k, &k_bits);
    half = (int64_t)k / 2;
    y *= from_bits((uint64_t)(1023 + half) << 52);
    return y * from_bits((uint64_t)(1023 + ((int64_t)k - half)) << 52);
}

/* tanh of 0 <= a <= 20: (e^2a - 1) / (e^2a + 1) with e^2a - 1 = 2^k (e^r - 1) + (2^k - 1). */
static double tanh_core(double a)
{
    double k, p = 0, scale, m;
    uint64_t k_bits;

    p = reduce_expm1(2.0 * a, &k, &k_bits);
    scale = from_bits((k_bits << 52) + (UINT64_C(1023) << 52));
    m = fma(scale, p, scale - 1.0);
    return m / (m + 2.0);
}

float lsi_tanh_f32(float x)
{
    double a = fabs((double)x);

    if (x != x)
        return x + x;
    a = a > LSI_TANH_F32_MAX ? LSI_TANH_F32_MAX : a;
    return copysignf((float)tanh_core(a), x);
}

double lsi_tanh_f64(double x)
{
    double a = fabs(x);

    if (x != x)
        return x + x;
    return copysign(tanh_core(a > 20.0 ? 20.0 : a), x);
}

/* log of a positive, normal, finite number times 2^exponent. */
static double log_core(double x, int exponent)
{
    uint64_t moved = bits_of(x) - LSI_LOG_CUT + (UINT64_C(1023) << 52);
    double k = (double)((int)(moved >> 52) - 1023 + exponent);
    double f = from_bits((moved & ((UINT64_C(1) << 52) - 1)) + LSI_LOG_CUT) - 1.0;
    double s = f / (2.0 + f), z = s * s, half_square = 0.5 * f * f;
    double l = log_terms[LSI_LOG_TERMS - 1], rest;

    for (int i = LSI_LOG_TERMS - 2; i >= 0; i--)
        l = fma(l, z, log_terms[i]);
    rest = fma(s, fma(z, l, half_square), k * LSI_LN2_LO42);
    return fma(k, LSI_LN2_HI42, f - (half_square - rest));
}

float lsi_log_f32(float x)
{
    uint32_t bits;

    if (!(x > 0.0f))
        return x == 0.0f ? -INFINITY : NAN;
    if (x == INFINITY)
        return x;
    memcpy(&bits, &x, sizeof bits);
    for (size_t i = 0; i < sizeof log_exceptions / sizeof log_exceptions[0]; i++) {
        if (log_exceptions[i].x == bits) {
            float y;

            memcpy(&y, &log_exceptions[i].y, sizeof y);
            return y;
        }
    }
    return (float)log_core((double)x, 0);
}

double lsi_log_f64(double x)
{
    if (!(x > 0.0))
        return x == 0.0 ? -(double)INFINITY : (double)NAN;
    if (x == (double)INFINITY)
        return x;
    return x < 0x1p-1022 ? log_core(x * 0x1p54, -54) : log_core(x, 0);
}

double lsi_cos_f64(double x)
{
    static const double sine[] = {-0x1.5555555555555p-3, 0x1.1111111111110p-7,   -0x1.a01a01a01992fp-13,
                                  0x1.71de3a545f836p-19, -0x1.ae645410e937bp-26, 0x1.61217d9252c03p-33,
                                  -0x1.ab16f5caa198ap-41};
    static const double cosine[] = {0x1.5555555555555p-5,   -0x1.6c16c16c16c16p-10, 0x1.a01a01a019d06p-16,
                                    -0x1.27e4fb77125c5p-22, 0x1.1eed8deac3dfep-29,  -0x1.9394b8bd50ae1p-37,
                                    0x1.ab779550c8d9bp-45};
    double t, n, r, z, p;
    uint64_t quadrant;

    if (!(fabs(x) <= 0x1p20))
        return (double)NAN;
    t = fma(x, 0x1.45f306dc9c883p-1, LSI_ROUND_MAGIC); /* 2 / pi */
    n = t - LSI_ROUND_MAGIC;
    quadrant = bits_of(t) & 3;
    r = fma(-n, 0x1.13198a2e03707p-65, fma(-n, 0x1.0b4611a400000p-34, fma(-n, 0x1.921fb54400000p+0, x)));
    z = r * r;
    p = quadrant & 1 ? sine[6] : cosine[6];
    for (int i = 5; i >= 0; i--)
        p = fma(p, z, quadrant & 1 ? sine[i] : cosine[i]);
    if (quadrant & 1)
        p = fma(r * z, p, r);
    else
        p = fma(z * z, p, fma(-0.5, z, 1.0));
    return quadrant == 1 || quadrant == 2 ? -p : p;
}
