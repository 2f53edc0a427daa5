/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels of reductions, written once over vectors of LSI_VECTOR bytes: wider ones than the registers are compared and
 * converted an element at a time by the compiler. IEEE operations only, so that every instruction set gives the same
 * bits. The including file names the set by LS_ISA; LS_ISA_avx2 and LS_ISA_avx512 are set by cmake/layer.cmake.
 */
#ifndef LOCKSTEP_COLLECTIVE_ISA_KERNELS_H
#define LOCKSTEP_COLLECTIVE_ISA_KERNELS_H

#include "collective/kernels.h"

#include <string.h>

#if defined(LS_ISA_avx512)
#define LSI_VECTOR 64
#elif defined(LS_ISA_avx2)
#define LSI_VECTOR 32
#else
#define LSI_VECTOR 16
#endif
#if defined(LS_ISA_avx512) || defined(LS_ISA_avx2)
#include <immintrin.h>
#endif

typedef float vf32 __attribute__((vector_size(LSI_VECTOR)));
typedef double vf64 __attribute__((vector_size(LSI_VECTOR)));
typedef int32_t vi32 __attribute__((vector_size(LSI_VECTOR)));
typedef int64_t vi64 __attribute__((vector_size(LSI_VECTOR)));
typedef uint32_t vu32 __attribute__((vector_size(LSI_VECTOR)));
typedef uint64_t vu64 __attribute__((vector_size(LSI_VECTOR)));
typedef uint16_t vu16 __attribute__((vector_size(LSI_VECTOR / 2)));
typedef vu16 vbf16;
typedef vu16 vf16;

#define PICK(V, I, mask, a, b) ((V)(((I)(a) & (mask)) | ((I)(b) & ~(mask))))

/* Minimum and maximum give the left operand where it is NaN. Integers wrap: added and multiplied without sign. */
#define FLOAT_OPERATIONS(name, V, I)                       \
    static inline V name##_sum_of(V a, V b)                \
    {                                                      \
        return a + b;                                      \
    }                                                      \
    static inline V name##_product_of(V a, V b)            \
    {                                                      \
        return a * b;                                      \
    }                                                      \
    static inline V name##_divide_of(V a, V b)             \
    {                                                      \
        return a / b;                                      \
    }                                                      \
    static inline V name##_min_of(V a, V b)                \
    {                                                      \
        return PICK(V, I, (I)(a < b) | (I)(a != a), a, b); \
    }                                                      \
    static inline V name##_max_of(V a, V b)                \
    {                                                      \
        return PICK(V, I, (I)(a > b) | (I)(a != a), a, b); \
    }
#define INTEGER_OPERATIONS(name, V, U)          \
    static inline V name##_sum_of(V a, V b)     \
    {                                           \
        return (V)((U)a + (U)b);                \
    }                                           \
    static inline V name##_product_of(V a, V b) \
    {                                           \
        return (V)((U)a * (U)b);                \
    }                                           \
    static inline V name##_min_of(V a, V b)     \
    {                                           \
        return PICK(V, V, a < b, a, b);         \
    }                                           \
    static inline V name##_max_of(V a, V b)     \
    {                                           \
        return PICK(V, V, a > b, a, b);         \
    }

FLOAT_OPERATIONS(f32, vf32, vi32)
FLOAT_OPERATIONS(f64, vf64, vi64)
INTEGER_OPERATIONS(i32, vi32, vu32)
INTEGER_OPERATIONS(i64, vi64, vu64)

static inline vf32 bf16_widen(vu16 h)
{
    return (vf32)(__builtin_convertvector(h, vu32) << 16);
}

/* Rounded to nearest even, NaN kept quiet. Not the processor's own conversion, which takes subnormal numbers for zero. */
static inline vu16 bf16_narrow(vf32 r)
{
    vu32 bits = (vu32)r;
    vu32 nan = (bits >> 16) | 0x40;
    vu32 rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;

    return __builtin_convertvector(PICK(vu32, vi32, (vi32)(r != r), nan, rounded), vu16);
}

/* A NaN becomes the quiet one of its sign. */
static inline vu32 f16_clean(vf32 r, vu32 narrow)
{
    return PICK(vu32, vi32, (vi32)(r != r), (((vu32)r >> 16) & 0x8000u) | 0x7e00u, narrow);
}

#if defined(LS_ISA_avx512)
static inline vf32 f16_widen(vu16 h)
{
    return (vf32)_mm512_cvtph_ps((__m256i)h);
}

static inline vu16 f16_narrow(vf32 r)
{
    vu16 narrow = (vu16)_mm512_cvtps_ph((__m512)r, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);

    return __builtin_convertvector(f16_clean(r, __builtin_convertvector(narrow, vu32)), vu16);
}
#elif defined(LS_ISA_avx2)
static inline vf32 f16_widen(vu16 h)
{
    return (vf32)_mm256_cvtph_ps((__m128i)h);
}

static inline vu16 f16_narrow(vf32 r)
{
    vu16 narrow = (vu16)_mm256_cvtps_ph((__m256)r, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);

    return __builtin_convertvector(f16_clean(r, __builtin_convertvector(narrow, vu32)), vu16);
}
#else
/* By integer arithmetic and exact multiplications. The exponent is moved by a factor of 2^112, which also makes normal
 * numbers of the subnormal ones; infinities and NaN get theirs by hand. */
static inline vf32 f16_widen(vu16 h)
{
    vu32 bits = __builtin_convertvector(h, vu32);
    vu32 magnitude = (bits & 0x7fff) << 13;
    vu32 moved = (vu32)((vf32)magnitude * 0x1p112f);

    return (vf32)(moved | ((vu32)(magnitude >= 0x0f800000u) & 0x7f800000u) | ((bits & 0x8000) << 16));
}

/* Below 2^-14 the addition of 0.5 rounds to units of 2^-24; above, the exponent is moved and the rest rounded to even. */
static inline vu16 f16_narrow(vf32 r)
{
    vu32 magnitude = (vu32)r & 0x7fffffffu;
    vu32 small = (vu32)((vf32)magnitude + 0.5f) - 0x3f000000u;
    vu32 normal = (magnitude - 0x38000000u + 0xfff + ((magnitude >> 13) & 1)) >> 13;
    vu32 large = PICK(vu32, vi32, (vi32)(magnitude < 0x47800000u), normal, (vu32){0} + 0x7c00u);
    vu32 finite = PICK(vu32, vi32, (vi32)(magnitude < 0x38800000u), small, large) | (((vu32)r >> 16) & 0x8000u);

    return __builtin_convertvector(f16_clean(r, finite), vu16);
}
#endif

/* 16-bit floats: one operation of f32, rounded once. A sum, product or quotient of two bf16 or f16 that is rounded to
 * f32 first rounds to the same number: f32 has more than twice their digits and two. */
#define SHORT_OPERATION(name, operation)                                              \
    static inline vu16 name##_##operation##_of(vu16 a, vu16 b)                        \
    {                                                                                 \
        return name##_narrow(f32_##operation##_of(name##_widen(a), name##_widen(b))); \
    }
#define SHORT_OPERATIONS(name)     \
    SHORT_OPERATION(name, sum)     \
    SHORT_OPERATION(name, product) \
    SHORT_OPERATION(name, divide)  \
    SHORT_OPERATION(name, min)     \
    SHORT_OPERATION(name, max)

SHORT_OPERATIONS(bf16)
SHORT_OPERATIONS(f16)

#endif
