/* SPDX-License-Identifier: Apache-2.0 */
/* f32 that travels as bf16 (collective/bf16.h), vector by vector, with the rounding of kernels.h. */
#ifndef LOCKSTEP_COLLECTIVE_ISA_BF16_KERNELS_H
#define LOCKSTEP_COLLECTIVE_ISA_BF16_KERNELS_H

#include "collective/isa/kernels.h"

#define BF16_LANES ((int64_t)(LSI_VECTOR / sizeof(float)))

/* In the order of memory; BF16_PACK alone would interleave the halves of a register. */
static inline vu16 bf16_narrow(vf32 x)
{
#if defined(LS_ISA_avx2) && !defined(LS_ISA_avx512)
    vu32 round = bf16_round(x);

    return (vu16)_mm256_castsi256_si128(_mm256_permute4x64_epi64((__m256i)BF16_PACK(round, round), 0x08));
#else
    return __builtin_convertvector(bf16_round(x), vu16);
#endif
}

static inline vf32 bf16_widen(vu16 h)
{
    return (vf32)(__builtin_convertvector(h, vu32) << 16);
}

/* Each step takes count elements, at most a vector: the rest of it is zero, and nothing behind them is touched. */
static inline void narrow_step(uint16_t *out, const float *in, size_t count)
{
    vf32 x = {0};
    vu16 h;

    memcpy(&x, in, count * sizeof *in);
    h = bf16_narrow(x);
    memcpy(out, &h, count * sizeof *out);
}

static inline void widen_step(float *out, const uint16_t *in, size_t count)
{
    vu16 h = {0};
    vf32 x;

    memcpy(&h, in, count * sizeof *in);
    x = bf16_widen(h);
    memcpy(out, &x, count * sizeof *out);
}

static inline void add_step(float *sum, const uint16_t *in, size_t count)
{
    vf32 x = {0};
    vu16 h = {0};

    memcpy(&x, sum, count * sizeof *sum);
    memcpy(&h, in, count * sizeof *in);
    x = f32_sum_of(x, bf16_widen(h));
    memcpy(sum, &x, count * sizeof *sum);
}

static inline void settle_step(uint16_t *out, float *values, size_t count)
{
    vf32 x = {0};
    vu16 h;

    memcpy(&x, values, count * sizeof *values);
    h = bf16_narrow(x);
    x = bf16_widen(h);
    memcpy(out, &h, count * sizeof *out);
    memcpy(values, &x, count * sizeof *values);
}

static inline void divide_step(float *values, const float *divisor, size_t count)
{
    vf32 x = {0};

    memcpy(&x, values, count * sizeof *values);
    x = f32_divide_of(x, (vf32){0} + *divisor);
    memcpy(values, &x, count * sizeof *values);
}

/* Whole vectors, then the rest; `at` is what the second argument moves on with i. */
#define SWEEP(name, first, second, at)                                           \
    static void bf16_##name##_all(first *a, second *b, int64_t count)            \
    {                                                                            \
        int64_t i = 0;                                                           \
        _Pragma("GCC unroll 4") for (; i + BF16_LANES <= count; i += BF16_LANES) \
            name##_step(a + i, b + (at), (size_t)BF16_LANES);                    \
        if (i < count)                                                           \
            name##_step(a + i, b + (at), (size_t)(count - i));                   \
    }

SWEEP(narrow, uint16_t, const float, i)
SWEEP(widen, float, const uint16_t, i)
SWEEP(add, float, const uint16_t, i)
SWEEP(settle, uint16_t, float, i)
SWEEP(divide, float, const float, 0)

#define BF16_KERNELS                                                                                        \
    {                                                                                                       \
        .narrow = bf16_narrow_all, .widen = bf16_widen_all, .add = bf16_add_all, .settle = bf16_settle_all, \
        .divide = bf16_divide_all                                                                           \
    }

#endif
