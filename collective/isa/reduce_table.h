/* SPDX-License-Identifier: Apache-2.0 */
/* Defines the table of the instruction set that the including file is compiled for, from the operations of
 * kernels.h. */
#ifndef LOCKSTEP_COLLECTIVE_ISA_REDUCE_TABLE_H
#define LOCKSTEP_COLLECTIVE_ISA_REDUCE_TABLE_H

#include "collective/isa/bf16_kernels.h"
#include "collective/isa/kernels.h"

#if defined(LS_ISA_avx512)
#define TABLE lsi_kernels_avx512
#elif defined(LS_ISA_avx2)
#define TABLE lsi_kernels_avx2
#else
#define TABLE lsi_kernels_base
#endif

/* Whole vectors, then one padded vector. */
#define COMBINE(name, V, type)                                               \
    static void name(void *out, const void *a, const void *b, int64_t count) \
    {                                                                        \
        const int64_t lanes = (int64_t)(sizeof(V) / sizeof(type));           \
        type *o = out;                                                       \
        const type *pa = a;                                                  \
        const type *pb = b;                                                  \
        V x, y;                                                              \
        int64_t i = 0;                                                       \
        for (; i + lanes <= count; i += lanes) {                             \
            memcpy(&x, pa + i, sizeof x);                                    \
            memcpy(&y, pb + i, sizeof y);                                    \
            x = name##_of(x, y);                                             \
            memcpy(o + i, &x, sizeof x);                                     \
        }                                                                    \
        if (i == count)                                                      \
            return;                                                          \
        memset(&x, 0, sizeof x);                                             \
        memset(&y, 0, sizeof y);                                             \
        memcpy(&x, pa + i, (size_t)(count - i) * sizeof(type));              \
        memcpy(&y, pb + i, (size_t)(count - i) * sizeof(type));              \
        x = name##_of(x, y);                                                 \
        memcpy(o + i, &x, (size_t)(count - i) * sizeof(type));               \
    }

#if LSI_VECTOR > 16
static inline void fetch_block(const uint8_t *a, const uint8_t *b)
{
    for (size_t line = 0; line < LSI_BLOCK_BYTES; line += 64) {
        _mm_prefetch((const char *)a + PAGE_BYTES + line, _MM_HINT_T0);
        _mm_prefetch((const char *)b + PAGE_BYTES + line, _MM_HINT_T0);
    }
}

/* A store past the cache waits for the address of its page: found by one fetch, two pages before. */
static inline void find_pages(const struct lsi_places *places, size_t at)
{
    for (int o = places->cached; o < places->count; o++) {
        const char *to = (const char *)places->outs[o] + at;
        if (((uintptr_t)to & (PAGE_BYTES - 1)) < LSI_BLOCK_BYTES)
            _mm_prefetch(to + 2 * PAGE_BYTES, _MM_HINT_T0);
    }
}

/* A block is computed into registers, then goes to each result in whole lines. */
#define SPREAD(name, V, type)                                                                                         \
    static void name##_spread(const struct lsi_places *places, size_t at, const void *a, const void *b, size_t bytes) \
    {                                                                                                                 \
        const uint8_t *pa = a;                                                                                        \
        const uint8_t *pb = b;                                                                                        \
        for (size_t i = 0; i < bytes; i += LSI_BLOCK_BYTES) {                                                         \
            V r[LSI_BLOCK_BYTES / sizeof(V)];                                                                         \
            fetch_block(pa + i, pb + i);                                                                              \
            find_pages(places, at + i);                                                                               \
            _Pragma("GCC unroll 16") for (size_t k = 0; k < LSI_BLOCK_BYTES / sizeof(V); k++)                         \
            {                                                                                                         \
                V x, y;                                                                                               \
                memcpy(&x, pa + i + k * sizeof x, sizeof x);                                                          \
                memcpy(&y, pb + i + k * sizeof y, sizeof y);                                                          \
                r[k] = name##_of(x, y);                                                                               \
            }                                                                                                         \
            for (int o = 0; o < places->cached; o++)                                                                  \
                memcpy((uint8_t *)places->outs[o] + at + i, r, sizeof r);                                             \
            for (int o = places->cached; o < places->count; o++) {                                                    \
                uint8_t *to = (uint8_t *)places->outs[o] + at + i;                                                    \
                _Pragma("GCC unroll 16") for (size_t k = 0; k < LSI_BLOCK_BYTES / sizeof(V); k++)                     \
                    put(to + k * sizeof(V), &r[k], sizeof(V));                                                        \
            }                                                                                                         \
        }                                                                                                             \
    }
#define SPREAD_OF(name) name##_spread

static void stream_lines(uint8_t *dst, const uint8_t *src, size_t lines)
{
    for (size_t i = 0; i < 64 * lines; i += 64) {
        if (((uintptr_t)(dst + i) & (PAGE_BYTES - 1)) == 0)
            _mm_prefetch((const char *)dst + i + 2 * PAGE_BYTES, _MM_HINT_T0);
        for (size_t k = 0; k < 64; k += LSI_VECTOR)
            put(dst + i + k, src + i + k, LSI_VECTOR);
    }
}
#define STREAM stream_lines
#else
#define SPREAD(name, V, type)
#define SPREAD_OF(name) NULL
#define STREAM NULL
#endif

#define KERNEL(name, V, type) COMBINE(name, V, type) SPREAD(name, V, type)
#define FOUR(name, type)              \
    KERNEL(name##_sum, v##name, type) \
    KERNEL(name##_min, v##name, type) \
    KERNEL(name##_max, v##name, type) \
    KERNEL(name##_product, v##name, type)
#define FIVE(name, type) FOUR(name, type) KERNEL(name##_divide, v##name, type)

FIVE(f32, float)
FIVE(f64, double)
FIVE(bf16, uint16_t)
FIVE(f16, uint16_t)
FOUR(i32, int32_t)
FOUR(i64, int64_t)

/* In the order of enum ls_reduction. */
#define ROW_4(name) name##_sum, name##_min, name##_max, name##_product
#define ROW_5(name) ROW_4(name), name##_divide
#define SPREADS_4(name) SPREAD_OF(name##_sum), SPREAD_OF(name##_min), SPREAD_OF(name##_max), SPREAD_OF(name##_product)
#define SPREADS_5(name) SPREADS_4(name), SPREAD_OF(name##_divide)

const struct lsi_kernels TABLE = {
    .combine = {[LS_F32] = {ROW_5(f32)},
                [LS_F64] = {ROW_5(f64)},
                [LS_BF16] = {ROW_5(bf16)},
                [LS_F16] = {ROW_5(f16)},
                [LS_I32] = {ROW_4(i32)},
                [LS_I64] = {ROW_4(i64)}},
    .spread = {[LS_F32] = {SPREADS_5(f32)},
               [LS_F64] = {SPREADS_5(f64)},
               [LS_BF16] = {SPREADS_5(bf16)},
               [LS_F16] = {SPREADS_5(f16)},
               [LS_I32] = {SPREADS_4(i32)},
               [LS_I64] = {SPREADS_4(i64)}},
    .stream = STREAM,
    .bf16 = BF16_KERNELS,
};

#endif
