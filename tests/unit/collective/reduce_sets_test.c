/* SPDX-License-Identifier: Apache-2.0 */
/* Every instruction set that this processor has gives the bits of the base set, alone and spread into several
 * results. */
#include "collective/kernels.h"

#include <criterion/criterion.h>
#include <string.h>

#define BYTES 8192
#define MOST_OUTS 3

static const enum ls_dtype dtypes[] = {LS_F32, LS_F64, LS_BF16, LS_F16, LS_I32, LS_I64};

static uint64_t next(uint64_t *random)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return *random >> 11;
}

/* Any bits; of floats one in four is a special value: zeros, subnormal numbers, infinities, NaN. */
static void fill(uint8_t *to, size_t size, uint64_t *random)
{
    for (size_t i = 0; i < BYTES; i += size) {
        uint64_t bits = next(random) ^ next(random) << 32;
        uint64_t kind = next(random) % 16;
        if (kind < 2)
            bits &= ~(UINT64_C(0x7ff) << (size * 8 - 12));
        if (kind == 2)
            bits |= UINT64_C(0x7ff) << (size * 8 - 12);
        if (kind == 3)
            bits = kind << (size * 8 - 1);
        memcpy(to + i, &bits, size);
    }
}

static bool is_nan(enum ls_dtype dtype, const uint8_t *at)
{
    uint16_t half;
    uint32_t single;
    float f32;
    double f64;

    memcpy(&half, at, sizeof half);
    switch (dtype) {
    case LS_F16:
        return (half & 0x7fff) > 0x7c00;
    case LS_BF16:
        return (half & 0x7fff) > 0x7f80;
    case LS_F32:
        memcpy(&single, at, sizeof single);
        memcpy(&f32, &single, sizeof f32);
        return f32 != f32;
    case LS_F64:
        memcpy(&f64, at, sizeof f64);
        return f64 != f64;
    default:
        return false;
    }
}

/* Which of two NaN survives is the processor's choice; all other bits are equal. */
static void same(enum ls_dtype dtype, const uint8_t *want, const uint8_t *got, size_t bytes)
{
    size_t size = ls_dtype_size(dtype);

    for (size_t i = 0; i < bytes; i += size)
        cr_assert(memcmp(want + i, got + i, size) == 0 || (is_nan(dtype, want + i) && is_nan(dtype, got + i)),
                  "%s number %zu", ls_dtype_name(dtype), i / size);
}

static void compare(const struct lsi_kernels *set, enum ls_dtype dtype, int operation, uint64_t *random)
{
    static uint8_t a[BYTES] __attribute__((aligned(64))), b[BYTES] __attribute__((aligned(64)));
    static uint8_t want[BYTES], out[MOST_OUTS][BYTES + 64] __attribute__((aligned(64)));
    void *outs[MOST_OUTS] = {out[0], out[1], out[2]};
    int64_t count = (int64_t)(BYTES / ls_dtype_size(dtype));

    fill(a, ls_dtype_size(dtype), random);
    fill(b, ls_dtype_size(dtype), random);
    lsi_kernels_base.combine[dtype][operation](want, a, b, count);
    set->combine[dtype][operation](out[0], a, b, count);
    same(dtype, want, out[0], BYTES);
    if (set->spread[dtype][operation] == NULL)
        return;
    memset(out, 0, sizeof out);
    set->spread[dtype][operation](&(struct lsi_places){outs, MOST_OUTS, 1}, 64, a, b, BYTES - LSI_BLOCK_BYTES);
    for (int k = 0; k < MOST_OUTS; k++) {
        same(dtype, want, out[k] + 64, BYTES - LSI_BLOCK_BYTES);
        cr_assert_eq(out[k][63], 0);
        cr_assert_eq(out[k][64 + BYTES - LSI_BLOCK_BYTES], 0);
    }
}

Test(reduce_sets, same_bits)
{
    const struct lsi_kernels *sets[] = {&lsi_kernels_base, lsi_kernels_best(), NULL};
    uint64_t random = 7;

#if defined(__x86_64__)
    if (lsi_kernels_best() == &lsi_kernels_avx512)
        sets[2] = &lsi_kernels_avx2;
#endif
    for (int s = 0; s < 3 && sets[s] != NULL; s++)
        for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++)
            for (int operation = 0; operation < LSI_OPERATIONS; operation++)
                for (int round = 0; round < 20; round++)
                    if (lsi_kernels_base.combine[dtypes[d]][operation] != NULL)
                        compare(sets[s], dtypes[d], operation, &random);
}

/* Past the cache and with the last operation spread: the bits of the plain way, at every place and length, for trees of
 * one, two and three operations and for a mean. */
Test(reduce_sets, spread_is_plain)
{
    static float leaves[4][3000], plain[3000], outs[2][3100] __attribute__((aligned(64)));
    static const struct lsi_steps trees[] = {{.count = 1, .step = {{-1, 0, 1}}},
                                             {.count = 2, .step = {{-1, 0, 1}, {-1, -1, 2}}},
                                             {.count = 3, .step = {{-1, 0, 1}, {-2, 2, 3}, {-1, -1, -2}}}};

    for (int i = 0; i < 4 * 3000; i++)
        leaves[i / 3000][i % 3000] = (float)(i % 1013) * 0.37f + 1.0f / (float)(i + 1);
    for (int round = 0; round < 3 * 2 * 17 * 12; round++) {
        int t = round % 3, shift = round / 6 % 17, count = 1 + round / 102 * 271 % 3000;
        const void *inputs[] = {leaves[0], leaves[1], leaves[2], leaves[3]};
        void *to[] = {outs[0] + shift, outs[1] + (shift % 3 == 0 ? shift : 16)}, *one[] = {plain};
        struct lsi_reduce reduce = {.combine = lsi_combine_get(LS_F32, LS_SUM),
                                    .element_bytes = 4,
                                    .steps = &trees[t],
                                    .inputs = inputs,
                                    .outs = one,
                                    .out_count = 1,
                                    .divisor = round / 3 % 2 == 0 ? 1 : 3,
                                    .dtype = LS_F32};
        lsi_reduce_run(&reduce, count);
        memset(outs, 0, sizeof outs);
        reduce.outs = to;
        reduce.out_count = 2;
        reduce.stream = true;
        reduce.cached = round % 2;
        reduce.spread = lsi_spread_get(LS_F32, LS_SUM);
        lsi_reduce_run(&reduce, count);
        for (int k = 0; k < 2; k++) {
            cr_assert_eq(memcmp(to[k], plain, (size_t)count * sizeof plain[0]), 0);
            cr_assert_eq(((float *)to[k])[count], 0);
        }
    }
}
