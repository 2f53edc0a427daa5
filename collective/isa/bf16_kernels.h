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

#define BF16_BLOCK (4 * BF16_LANES)

#if LSI_VECTOR > 16
/* What memory gives next, a page ahead; the page that results go to, two of them. */
static inline void bf16_fetch(const float *in)
{
    for (size_t line = 0; line < (size_t)BF16_BLOCK * sizeof *in; line += 64)
        _mm_prefetch((const char *)in + PAGE_BYTES + line, _MM_HINT_T0);
}

static inline void bf16_find_page(const float *to)
{
    if (((uintptr_t)to & (PAGE_BYTES - 1)) < (size_t)BF16_BLOCK * sizeof *to)
        _mm_prefetch((const char *)to + 2 * PAGE_BYTES, _MM_HINT_T0);
}
#define BF16_PUT(to, x) put((uint8_t *)(to), &(x), sizeof(x))
#define BF16_PUT_END() _mm_sfence()
#else
#define bf16_fetch(in) (void)(in)
#define bf16_find_page(to) (void)(to)
#define BF16_PUT(to, x) memcpy(to, &(x), sizeof(x))
#define BF16_PUT_END() (void)0
#endif

static void bf16_narrow_ahead(uint16_t *out, const float *in, int64_t count)
{
    int64_t i = 0;

    for (; i + BF16_BLOCK <= count; i += BF16_BLOCK) {
        bf16_fetch(in + i);
        _Pragma("GCC unroll 4") for (int64_t k = i; k < i + BF16_BLOCK; k += BF16_LANES)
            narrow_step(out + k, in + k, (size_t)BF16_LANES);
    }
    bf16_narrow_all(out + i, in + i, count - i);
}

/* Elements before the first of `to` that begins a cache line, count at most. */
static inline int64_t bf16_before_line(const float *to, int64_t count)
{
    int64_t before = (int64_t)((64 - ((uintptr_t)to & 63)) & 63) / (int64_t)sizeof *to;

    return before < count ? before : count;
}

static void bf16_widen_past(float *out, const uint16_t *in, int64_t count)
{
    int64_t i = bf16_before_line(out, count);

    bf16_widen_all(out, in, i);
    for (; i + BF16_BLOCK <= count; i += BF16_BLOCK) {
        bf16_find_page(out + i);
        _Pragma("GCC unroll 4") for (int64_t k = i; k < i + BF16_BLOCK; k += BF16_LANES)
        {
            vu16 h;
            memcpy(&h, in + k, sizeof h);
            vf32 x = bf16_widen(h);
            BF16_PUT(out + k, x);
        }
    }
    bf16_widen_all(out + i, in + i, count - i);
    BF16_PUT_END();
}

/* At most a vector of what close takes, from element i on. */
static inline void close_step(const struct lsi_bf16_close *c, int64_t i, size_t count)
{
    vf32 x = {0};
    vu16 h = {0};

    memcpy(&x, c->sum + i, count * sizeof *c->sum);
    memcpy(&h, c->came + i, count * sizeof *c->came);
    h = bf16_narrow(f32_sum_of(x, bf16_widen(h)));
    x = bf16_widen(h);
    memcpy(c->out + i, &h, count * sizeof *c->out);
    memcpy(c->kept + i, &x, count * sizeof *c->kept);
}

static inline void close_some(const struct lsi_bf16_close *c, int64_t i, int64_t end)
{
    for (; i + BF16_LANES <= end; i += BF16_LANES)
        close_step(c, i, (size_t)BF16_LANES);
    if (i < end)
        close_step(c, i, (size_t)(end - i));
}

static void bf16_close_all(const struct lsi_bf16_close *c, int64_t count)
{
    int64_t i = c->past ? bf16_before_line(c->kept, count) : 0;

    close_some(c, 0, i);
    for (; c->past && i + BF16_BLOCK <= count; i += BF16_BLOCK) {
        bf16_fetch(c->sum + i);
        bf16_find_page(c->kept + i);
        _Pragma("GCC unroll 4") for (int64_t k = i; k < i + BF16_BLOCK; k += BF16_LANES)
        {
            vf32 x;
            vu16 h;
            memcpy(&x, c->sum + k, sizeof x);
            memcpy(&h, c->came + k, sizeof h);
            h = bf16_narrow(f32_sum_of(x, bf16_widen(h)));
            x = bf16_widen(h);
            memcpy(c->out + k, &h, sizeof h);
            BF16_PUT(c->kept + k, x);
        }
    }
    close_some(c, i, count);
    if (c->past)
        BF16_PUT_END();
}

#define BF16_KERNELS                                                                                              \
    {                                                                                                             \
        .narrow = bf16_narrow_ahead, .widen = bf16_widen_all, .widen_past = bf16_widen_past, .add = bf16_add_all, \
        .settle = bf16_settle_all, .divide = bf16_divide_all, .close = bf16_close_all                             \
    }

#endif
