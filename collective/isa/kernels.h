/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels of reductions, written once over vectors of LSI_VECTOR bytes: wider ones than the registers are compared and
 * converted an element at a time by the compiler. IEEE operations only, so that every instruction set gives the same
 * bits. The including file names the set by LS_ISA; LS_ISA_avx2 and LS_ISA_avx512 are set by cmake/layer.cmake.
 */
#ifndef LOCKSTEP_COLLECTIVE_ISA_KERNELS_H
#define LOCKSTEP_COLLECTIVE_ISA_KERNELS_H

#include "collective/kernels.h"
#include "core/tensor/bf16.h"

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
/* Hardware stops fetching ahead at the end of a page; kernels go on into the next. */
#define PAGE_BYTES 4096
#endif

typedef float vf32 __attribute__((vector_size(LSI_VECTOR)));
typedef double vf64 __attribute__((vector_size(LSI_VECTOR)));
typedef int32_t vi32 __attribute__((vector_size(LSI_VECTOR)));
typedef int64_t vi64 __attribute__((vector_size(LSI_VECTOR)));
typedef uint32_t vu32 __attribute__((vector_size(LSI_VECTOR)));
typedef uint64_t vu64 __attribute__((vector_size(LSI_VECTOR)));
typedef uint16_t vu16 __attribute__((vector_size(LSI_VECTOR / 2)));
typedef uint16_t vw16 __attribute__((vector_size(LSI_VECTOR)));
typedef int16_t vi16 __attribute__((vector_size(LSI_VECTOR / 2)));
typedef vu16 vf16;

#if LSI_VECTOR > 16
/* The vector that stands at `from`, past the cache. */
static inline void put(uint8_t *to, const void *from, size_t bytes)
{
#if defined(LS_ISA_avx512)
    if (bytes == 64) {
        _mm512_stream_si512((void *)to, _mm512_loadu_si512(from));
        return;
    }
#endif
    if (bytes == 32)
        _mm256_stream_si256((void *)to, _mm256_loadu_si256(from));
    else
        _mm_stream_si128((void *)to, _mm_loadu_si128(from));
}
#endif

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

/* Rounded in the lower half of each number, NaN kept and quiet. Not by the processor's own conversion, which takes
 * subnormal numbers for zero. */
static inline vu32 bf16_round(vf32 r)
{
    vu32 bits = (vu32)r;

    return PICK(vu32, vi32, (vi32)(r != r), LSI_BF16_QUIET(bits), LSI_BF16_NEAREST(bits));
}

#if defined(LS_ISA_avx512) || defined(LS_ISA_avx2)
/* A whole vector at a time: interleaving with zeros widens each half of every 128 bits, packing puts them back. */
typedef vw16 vbf16;
#if defined(LS_ISA_avx512)
#define BF16_LOW(h) ((vf32)_mm512_unpacklo_epi16(_mm512_setzero_si512(), (__m512i)(h)))
#define BF16_HIGH(h) ((vf32)_mm512_unpackhi_epi16(_mm512_setzero_si512(), (__m512i)(h)))
#define BF16_PACK(low, high) ((vw16)_mm512_packus_epi32((__m512i)(low), (__m512i)(high)))
#else
#define BF16_LOW(h) ((vf32)_mm256_unpacklo_epi16(_mm256_setzero_si256(), (__m256i)(h)))
#define BF16_HIGH(h) ((vf32)_mm256_unpackhi_epi16(_mm256_setzero_si256(), (__m256i)(h)))
#define BF16_PACK(low, high) ((vw16)_mm256_packus_epi32((__m256i)(low), (__m256i)(high)))
#endif
#define BF16_OPERATION(operation)                                                       \
    static inline vw16 bf16_##operation##_of(vw16 a, vw16 b)                            \
    {                                                                                   \
        return BF16_PACK(bf16_round(f32_##operation##_of(BF16_LOW(a), BF16_LOW(b))),    \
                         bf16_round(f32_##operation##_of(BF16_HIGH(a), BF16_HIGH(b)))); \
    }
#else
typedef vu16 vbf16;
#define BF16_WIDEN(h) ((vf32)(__builtin_convertvector(h, vu32) << 16))
#define BF16_OPERATION(operation)                                    \
    static inline vu16 bf16_##operation##_of(vu16 a, vu16 b)         \
    {                                                                \
        vf32 r = f32_##operation##_of(BF16_WIDEN(a), BF16_WIDEN(b)); \
        return __builtin_convertvector(bf16_round(r), vu16);         \
    }
#endif

#if defined(LS_ISA_avx512) || defined(LS_ISA_avx2)
#if defined(LS_ISA_avx512)
#define F16_WIDEN(h) ((vf32)_mm512_cvtph_ps((__m256i)(h)))
#define F16_NARROW(r) ((vu16)_mm512_cvtps_ph((__m512)(r), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC))
#else
#define F16_WIDEN(h) ((vf32)_mm256_cvtph_ps((__m128i)(h)))
#define F16_NARROW(r) ((vu16)_mm256_cvtps_ph((__m256)(r), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC))
#endif

static inline vf32 f16_widen(vu16 h)
{
    return F16_WIDEN(h);
}

/* The processor keeps digits of a NaN; here it becomes the quiet one of its sign. */
static inline vu16 f16_narrow(vf32 r)
{
    vu16 h = F16_NARROW(r);

    return PICK(vu16, vi16, (vi16)(h & 0x7fff) > 0x7c00, (h & 0x8000) | 0x7e00, h);
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

/* Below 2^-14 the addition of 0.5 rounds to units of 2^-24; above, the exponent is moved and the rest rounded to
 * even. */
static inline vu16 f16_narrow(vf32 r)
{
    vu32 magnitude = (vu32)r & 0x7fffffffu;
    vu32 sign = ((vu32)r >> 16) & 0x8000u;
    vu32 small = (vu32)((vf32)magnitude + 0.5f) - 0x3f000000u;
    vu32 normal = (magnitude - 0x38000000u + 0xfff + ((magnitude >> 13) & 1)) >> 13;
    vu32 large = PICK(vu32, vi32, (vi32)(magnitude < 0x47800000u), normal, (vu32){0} + 0x7c00u);
    vu32 finite = PICK(vu32, vi32, (vi32)(magnitude < 0x38800000u), small, large);

    return __builtin_convertvector(PICK(vu32, vi32, (vi32)(r != r), sign | 0x7e00u, finite | sign), vu16);
}
#endif

/* 16-bit floats: one operation of f32, rounded once. A sum, product or quotient of two bf16 or f16 that is rounded to
 * f32 first rounds to the same number: f32 has more than twice their digits and two. */
#define F16_OPERATION(operation)                                             \
    static inline vu16 f16_##operation##_of(vu16 a, vu16 b)                  \
    {                                                                        \
        return f16_narrow(f32_##operation##_of(f16_widen(a), f16_widen(b))); \
    }
#define SHORT_OPERATIONS(OPERATION) OPERATION(sum) OPERATION(product) OPERATION(divide) OPERATION(min) OPERATION(max)

SHORT_OPERATIONS(BF16_OPERATION)
SHORT_OPERATIONS(F16_OPERATION)

#endif
