/* SPDX-License-Identifier: Apache-2.0 */
/* f32 as bf16: nearest even against a scalar reference, special values, every length around a vector's, all sets. */
#include "collective/bf16.h"
#include "collective/kernels.h"
#include "core/tensor/bf16.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define MOST 70
#define LONGEST 200 /* more than three blocks of the widest kernels */

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

/* Lower halves: nothing, the neighbours of a tie, a tie, and the ends. */
static const uint32_t lows[] = {0, 1, 0x3fff, 0x7fff, 0x8000, 0x8001, 0xc000, 0xffff};
#define LOWS (sizeof lows / sizeof lows[0])
#define UPPERS 65536

/* Upper half u with each lower half: what bf16 must be. NaN keep their sign and upper digits. */
static void expect(uint32_t upper, float in[LOWS], uint16_t want[LOWS])
{
    for (size_t k = 0; k < LOWS; k++) {
        in[k] = float_of(upper << 16 | lows[k]);
        want[k] = isnan(in[k]) ? (uint16_t)(upper | 0x40) : nearest(in[k]);
    }
}

/* The scalar rounding of casts: to the nearest for all upper halves, every NaN to the one quiet NaN; widened, the
 * number is exact. */
Test(bf16, scalar_is_nearest)
{
    float in[LOWS];
    uint16_t want[LOWS];

    for (uint32_t upper = 0; upper < UPPERS; upper++) {
        uint32_t back = bits_of(lsi_f32_of_bf16((uint16_t)upper));

        expect(upper, in, want);
        if (back != upper << 16)
            cr_assert_fail("%x widens to %x", upper, back);
        for (size_t k = 0; k < LOWS; k++)
            if (lsi_bf16_of_f32(in[k]) != (isnan(in[k]) ? 0x7fc0 : want[k]))
                cr_assert_fail("%x: %x, not %x", bits_of(in[k]), lsi_bf16_of_f32(in[k]), want[k]);
    }
}

/* The kernels of one set on all upper halves: rounded as the reference says, widened, settled, added to and divided to
 * the bit. A length that is no whole number of vectors. */
static void check_set(const struct lsi_bf16_kernels *set)
{
    static float in[UPPERS * LOWS], back[UPPERS * LOWS], sum[UPPERS * LOWS];
    static uint16_t want[UPPERS * LOWS], out[UPPERS * LOWS];
    const int64_t count = UPPERS * LOWS - 3;
    const float divisor = 3;

    for (uint32_t upper = 0; upper < UPPERS; upper++)
        expect(upper, in + upper * LOWS, want + upper * LOWS);
    set->narrow(out, in, count);
    cr_assert_eq(memcmp(out, want, (size_t)count * sizeof out[0]), 0);
    set->widen(back, out, count);
    for (int64_t i = 0; i < count; i++)
        if (bits_of(back[i]) != (uint32_t)want[i] << 16)
            cr_assert_fail("%x widens to %x", want[i], bits_of(back[i]));
    memcpy(sum, in, sizeof in);
    memset(out, 0, sizeof out);
    set->settle(out, sum, count);
    cr_assert_eq(memcmp(out, want, (size_t)count * sizeof out[0]), 0);
    cr_assert_eq(memcmp(sum, back, (size_t)count * sizeof sum[0]), 0);
    memcpy(sum, in, sizeof in);
    set->add(sum, want, count);
    for (int64_t i = 0; i < count; i++) {
        volatile float both = in[i];
        both += back[i];
        if (bits_of(sum[i]) != bits_of(both) && !(isnan(sum[i]) && isnan(both)))
            cr_assert_fail("%x + %x is %x", bits_of(in[i]), bits_of(back[i]), bits_of(sum[i]));
    }
    memcpy(sum, in, sizeof in);
    set->divide(sum, &divisor, count);
    for (int64_t i = 0; i < count; i++) {
        volatile float third = in[i];
        third /= divisor;
        if (bits_of(sum[i]) != bits_of(third) && !(isnan(sum[i]) && isnan(third)))
            cr_assert_fail("%x / 3 is %x", bits_of(in[i]), bits_of(sum[i]));
    }
}

/* The last addition with what settles it is add, then settle, at every length and place of a line, through the caches
 * and past them; so is what is widened past them. Nothing beside the range is written. */
static void check_close(const struct lsi_bf16_kernels *set, int64_t count, size_t skip, bool past)
{
    static float sum[LONGEST], both[LONGEST], room[LONGEST + 64] __attribute__((aligned(64)));
    static uint16_t came[LONGEST], want[LONGEST], out[LONGEST + 1];
    float *kept = room + 1 + skip;
    struct lsi_bf16_close close = {sum, came, out, kept, past};

    for (int64_t i = 0; i < count; i++) {
        sum[i] = both[i] = value_of((uint32_t)i + 77);
        came[i] = nearest((float)(i - 40) * 1.01f);
    }
    set->add(both, came, count);
    set->settle(want, both, count);
    kept[-1] = kept[count] = 7;
    out[count] = 0x1234;
    set->close(&close, count);
    cr_assert_eq(memcmp(out, want, (size_t)count * sizeof out[0]), 0, "%lld from %zu", (long long)count, skip);
    cr_assert_eq(memcmp(kept, both, (size_t)count * sizeof kept[0]), 0, "%lld from %zu", (long long)count, skip);
    cr_assert(kept[-1] == 7 && kept[count] == 7 && out[count] == 0x1234);
    memset(kept, 0, (size_t)count * sizeof kept[0]);
    set->widen_past(kept, want, count);
    cr_assert_eq(memcmp(kept, both, (size_t)count * sizeof kept[0]), 0, "%lld from %zu", (long long)count, skip);
    cr_assert(kept[-1] == 7 && kept[count] == 7);
}

static void check_closes(const struct lsi_bf16_kernels *set)
{
    for (int64_t count = 0; count <= LONGEST; count++)
        for (size_t skip = 0; skip < 32; skip++)
            check_close(set, count, skip, skip % 2 == 0 || count % 3 == 0);
}

/* Every instruction set that this processor has. */
Test(bf16, all_sets_are_nearest)
{
    check_set(&lsi_kernels_base.bf16);
    check_set(&lsi_kernels_best()->bf16);
    check_closes(&lsi_kernels_base.bf16);
    check_closes(&lsi_kernels_best()->bf16);
#if defined(__x86_64__)
    if (lsi_kernels_best() == &lsi_kernels_avx512) {
        check_set(&lsi_kernels_avx2.bf16);
        check_closes(&lsi_kernels_avx2.bf16);
    }
#endif
}
