/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exp, log, tanh on one register of floats: both halves widened to f64, the operations of
 * core/device/ref/transcendental.c in their order, rounded once. Bits equal lsi_exp_f32 and its kind.
 */
#ifndef LOCKSTEP_CORE_DEVICE_CPU_ISA_MATH_VEC_H
#define LOCKSTEP_CORE_DEVICE_CPU_ISA_MATH_VEC_H

#include "core/device/cpu/isa/vec.h"
#include "core/device/device_impl.h"
#include "core/device/transcendental_constants.h"

typedef uint64_t wide_bits __attribute__((vector_size(sizeof(wide))));

/* e^r - 1 where x = k ln 2 + r; the low bits of *t are k. */
static inline wide wide_expm1(wide x, wide *t)
{
    static const double terms[LSI_EXPM1_TERMS] = LSI_EXPM1_COEFFICIENTS;
    wide magic = wide_set(LSI_ROUND_MAGIC), n, r, q = wide_set(terms[LSI_EXPM1_TERMS - 1]);

    *t = wide_fma(x, wide_set(LSI_LOG2_E), magic);
    n = *t - magic;
    r = wide_fma(-n, wide_set(LSI_LN2_HI), x);
    r = wide_fma(-n, wide_set(LSI_LN2_LO), r);
#pragma GCC unroll 16
    for (int i = LSI_EXPM1_TERMS - 2; i >= 0; i--)
        q = wide_fma(q, r, wide_set(terms[i]));
    return wide_fma(r * r, q, r);
}

/* A NaN leaves t's low bits 0, so it comes through. */
static inline wide wide_exp(wide x)
{
    wide t, y = wide_set(1.0) + wide_expm1(x, &t);

    return (wide)((wide_bits)y + ((wide_bits)t << 52));
}

static inline vec vec_exp(vec x)
{
    x = vec_max(vec_set((float)LSI_EXP_F32_MIN), x);
    x = vec_min(vec_set((float)LSI_EXP_F32_MAX), x);
    return wide_join(wide_exp(wide_low(x)), wide_exp(wide_high(x)));
}

static inline wide wide_tanh(wide a)
{
    wide one = wide_set(1.0), t, p = wide_expm1(a + a, &t);
    wide scale = (wide)(((wide_bits)t << 52) + (wide_bits)one);
    wide m = wide_fma(scale, p, scale - one);

    return m / (m + wide_set(2.0));
}

static inline vec vec_tanh(vec x)
{
    vec a = vec_min(vec_set((float)LSI_TANH_F32_MAX), vec_abs(x));

    return vec_or(wide_join(wide_tanh(wide_low(a)), wide_tanh(wide_high(a))), vec_and(x, vec_set(-0.0f)));
}

static inline wide wide_log(wide x)
{
    static const double terms[LSI_LOG_TERMS] = LSI_LOG_COEFFICIENTS;
    const wide_bits one = (wide_bits)wide_set(1.0), cut = LSI_LOG_CUT - (wide_bits){0};
    const wide_bits mantissa = ((UINT64_C(1) << 52) - 1) - (wide_bits){0};
    wide_bits moved = (wide_bits)x - cut + one;
    wide k = (wide)((moved >> 52) | (wide_bits)wide_set(0x1p52)) - wide_set(0x1p52 + 1023.0);
    wide f = (wide)((moved & mantissa) + cut) - wide_set(1.0);
    wide s = f / (wide_set(2.0) + f), z = s * s, half_square = wide_set(0.5) * f * f;
    wide l = wide_set(terms[LSI_LOG_TERMS - 1]), rest;

#pragma GCC unroll 16
    for (int i = LSI_LOG_TERMS - 2; i >= 0; i--)
        l = wide_fma(l, z, wide_set(terms[i]));
    rest = wide_fma(s, wide_fma(z, l, half_square), k * wide_set(LSI_LN2_LO42));
    return wide_fma(k, wide_set(LSI_LN2_HI42), f - (half_square - rest));
}

/* Whether a lane is so near the middle of two floats that it may be one of log's exceptions. */
static inline int wide_near_middle(wide y)
{
    wide_bits distance = ((wide_bits)y + (LSI_LOG_WINDOW - 0x10000000u)) & (0x1fffffffu - (wide_bits){0});
    wide_bits near = (wide_bits)(distance <= 2 * LSI_LOG_WINDOW - (wide_bits){0});
    uint64_t any = 0;

    for (unsigned i = 0; i < sizeof(wide) / 8; i++)
        any |= near[i];
    return any != 0;
}

/* Zero, negative, infinite, NaN and near a middle: the whole register goes the scalar way. */
static __attribute__((noinline)) vec vec_log_scalar(vec x)
{
    float lane[VEC_LANES];

    vec_store(lane, x);
    for (int i = 0; i < VEC_LANES; i++)
        lane[i] = lsi_log_f32(lane[i]);
    return vec_load(lane);
}

static inline vec vec_log(vec x)
{
    vec infinity = vec_set(__builtin_inff());
    wide low = wide_log(wide_low(x)), high = wide_log(wide_high(x));

    if (!mask_all(mask_and(vec_greater(x, vec_set(0.0f)), vec_greater(infinity, x))) || wide_near_middle(low) ||
        wide_near_middle(high))
        return vec_log_scalar(x);
    return wide_join(low, high);
}

static inline vec vec_sigmoid(vec x)
{
    vec one = vec_set(1.0f);

    return one / (one + vec_exp(vec_negate(x)));
}

#endif
