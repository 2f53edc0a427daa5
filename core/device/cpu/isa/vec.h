/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers of floats and of doubles with the same names on AVX2 and AVX-512, for every family of kernels.
 * + - * / are the compiler's. `count` is how many lanes are meant.
 */
#ifndef LOCKSTEP_CORE_DEVICE_CPU_ISA_VEC_H
#define LOCKSTEP_CORE_DEVICE_CPU_ISA_VEC_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

#if defined(LS_ISA_avx512)

#define VEC_LANES 16
typedef __m512 vec;
typedef __mmask16 vec_mask; /* result of a comparison */

static inline vec_mask vec_first(int64_t count)
{
    return count >= VEC_LANES ? (vec_mask)0xffff : (vec_mask)((1u << count) - 1);
}

static inline vec vec_load(const float *from)
{
    return _mm512_loadu_ps(from);
}

static inline void vec_store(float *to, vec v)
{
    _mm512_storeu_ps(to, v);
}

/* The first `count` lanes; the others are 0 and not touched in memory. */
static inline vec vec_load_some(const float *from, int64_t count)
{
    return _mm512_maskz_loadu_ps(vec_first(count), from);
}

static inline void vec_store_some(float *to, vec v, int64_t count)
{
    _mm512_mask_storeu_ps(to, vec_first(count), v);
}

static inline vec vec_set(float x)
{
    return _mm512_set1_ps(x);
}

static inline vec vec_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}

static inline vec vec_divide(vec a, vec b)
{
    return _mm512_div_ps(a, b);
}

static inline vec vec_multiply_add(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline vec_mask vec_greater(vec a, vec b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
}

static inline vec_mask vec_is_nan(vec a)
{
    return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
}

static inline vec_mask vec_equal(vec a, vec b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}

/* Where b, which comes later, takes the place of a as the maximum: greater, or the first NaN. */
static inline vec_mask vec_wins_over(vec b, vec a)
{
    return _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(a, a, _CMP_ORD_Q), b, a, _CMP_NLE_UQ);
}

static inline vec_mask mask_or(vec_mask a, vec_mask b)
{
    return a | b;
}

/* a and not b */
static inline vec_mask mask_without(vec_mask a, vec_mask b)
{
    return a & (vec_mask)~b;
}

/* b where the mask says so, else a. */
static inline vec vec_choose(vec a, vec b, vec_mask where)
{
    return _mm512_mask_mov_ps(a, where, b);
}

static inline int mask_any(vec_mask m)
{
    return m != 0;
}

/* Sum of the lanes by halving. */
static inline float vec_fold(vec a)
{
    __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));

    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

typedef __m512d wide;

static inline wide wide_low(vec x)
{
    return _mm512_cvtps_pd(_mm512_castps512_ps256(x));
}

static inline wide wide_high(vec x)
{
    return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));
}

static inline vec wide_join(wide low, wide high)
{
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high), 1);
}

static inline wide wide_set(double x)
{
    return _mm512_set1_pd(x);
}

static inline wide wide_fma(wide a, wide b, wide c)
{
    return _mm512_fmadd_pd(a, b, c);
}

/* b where either is NaN. */
static inline vec vec_min(vec a, vec b)
{
    return _mm512_min_ps(a, b);
}

static inline vec vec_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}

static inline vec_mask vec_not_less(vec a, vec b) /* a >= b */
{
    return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ);
}

static inline vec vec_sqrt(vec a)
{
    return _mm512_sqrt_ps(a);
}

static inline vec vec_and(vec a, vec b)
{
    return _mm512_and_ps(a, b);
}

static inline vec vec_or(vec a, vec b)
{
    return _mm512_or_ps(a, b);
}

static inline vec vec_flip(vec a, vec b)
{
    return _mm512_xor_ps(a, b);
}

static inline int mask_all(vec_mask m)
{
    return m == (vec_mask)0xffff;
}

static inline vec_mask mask_first(int64_t count)
{
    return vec_first(count);
}

static inline vec_mask mask_and(vec_mask a, vec_mask b)
{
    return a & b;
}

#else

#define VEC_LANES 8
typedef __m256 vec;
typedef __m256 vec_mask;

static inline __m256i vec_first(int64_t count)
{
    int lanes = count >= VEC_LANES ? VEC_LANES : (int)count;
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline vec vec_load(const float *from)
{
    return _mm256_loadu_ps(from);
}

static inline void vec_store(float *to, vec v)
{
    _mm256_storeu_ps(to, v);
}

static inline vec vec_load_some(const float *from, int64_t count)
{
    return count >= VEC_LANES ? vec_load(from) : _mm256_maskload_ps(from, vec_first(count));
}

static inline void vec_store_some(float *to, vec v, int64_t count)
{
    if (count >= VEC_LANES) {
        vec_store(to, v);
    } else {
        _mm256_maskstore_ps(to, vec_first(count), v);
    }
}

static inline vec vec_set(float x)
{
    return _mm256_set1_ps(x);
}

static inline vec vec_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}

static inline vec vec_divide(vec a, vec b)
{
    return _mm256_div_ps(a, b);
}

static inline vec vec_multiply_add(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

static inline vec_mask vec_greater(vec a, vec b)
{
    return _mm256_cmp_ps(a, b, _CMP_GT_OQ);
}

static inline vec_mask vec_is_nan(vec a)
{
    return _mm256_cmp_ps(a, a, _CMP_UNORD_Q);
}

static inline vec_mask vec_equal(vec a, vec b)
{
    return _mm256_cmp_ps(a, b, _CMP_EQ_OQ);
}

static inline vec_mask vec_wins_over(vec b, vec a)
{
    return _mm256_and_ps(_mm256_cmp_ps(a, a, _CMP_ORD_Q), _mm256_cmp_ps(b, a, _CMP_NLE_UQ));
}

static inline vec_mask mask_or(vec_mask a, vec_mask b)
{
    return _mm256_or_ps(a, b);
}

static inline vec_mask mask_without(vec_mask a, vec_mask b)
{
    return _mm256_andnot_ps(b, a);
}

static inline vec vec_choose(vec a, vec b, vec_mask where)
{
    return _mm256_blendv_ps(a, b, where);
}

static inline int mask_any(vec_mask m)
{
    return _mm256_movemask_ps(m) != 0;
}

static inline float vec_fold(vec a)
{
    __m128 c = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));

    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

typedef __m256d wide;

static inline wide wide_low(vec x)
{
    return _mm256_cvtps_pd(_mm256_castps256_ps128(x));
}

static inline wide wide_high(vec x)
{
    return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
}

static inline vec wide_join(wide low, wide high)
{
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(low)), _mm256_cvtpd_ps(high), 1);
}

static inline wide wide_set(double x)
{
    return _mm256_set1_pd(x);
}

static inline wide wide_fma(wide a, wide b, wide c)
{
    return _mm256_fmadd_pd(a, b, c);
}

static inline vec vec_min(vec a, vec b)
{
    return _mm256_min_ps(a, b);
}

static inline vec vec_max(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}

static inline vec_mask vec_not_less(vec a, vec b)
{
    return _mm256_cmp_ps(a, b, _CMP_GE_OQ);
}

static inline vec vec_sqrt(vec a)
{
    return _mm256_sqrt_ps(a);
}

static inline vec vec_and(vec a, vec b)
{
    return _mm256_and_ps(a, b);
}

static inline vec vec_or(vec a, vec b)
{
    return _mm256_or_ps(a, b);
}

static inline vec vec_flip(vec a, vec b)
{
    return _mm256_xor_ps(a, b);
}

static inline int mask_all(vec_mask m)
{
    return _mm256_movemask_ps(m) == 0xff;
}

static inline vec_mask mask_first(int64_t count)
{
    return _mm256_castsi256_ps(vec_first(count));
}

static inline vec_mask mask_and(vec_mask a, vec_mask b)
{
    return _mm256_and_ps(a, b);
}

#endif

static inline vec vec_abs(vec x)
{
    return vec_flip(x, vec_and(x, vec_set(-0.0f)));
}

static inline vec vec_negate(vec x)
{
    return vec_flip(x, vec_set(-0.0f));
}

/* The larger, NaN where one is; a zero has either sign. */
static inline vec vec_larger(vec a, vec b)
{
    return vec_choose(vec_max(b, a), b, vec_is_nan(b));
}

/* NaN where one is, else the larger; a zero is +0. */
static inline vec vec_maximum(vec a, vec b)
{
    return vec_larger(a, b) + vec_set(0.0f);
}

static inline vec vec_minimum(vec a, vec b)
{
    return vec_choose(vec_min(b, a), b, vec_is_nan(b)) + vec_set(0.0f);
}

/* y > 0 ? y : +0, NaN kept. */
static inline vec vec_relu(vec y)
{
    vec zero = vec_set(0.0f);
    return vec_choose(zero, y, mask_or(vec_greater(y, zero), vec_is_nan(y)));
}

#endif
