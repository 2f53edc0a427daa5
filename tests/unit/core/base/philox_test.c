/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers: Random123's vectors, the layout of keys and counters, and that an epoch's order is a permutation. */
#include "core/base/philox.h"

#include "core/base/alloc.h"
#include "core/base/hash.h"

#include <criterion/criterion.h>
#include <string.h>

/* The known answers of Random123 for philox4x32-10. */
Test(philox, random123)
{
    static const struct {
        uint32_t counter[4];
        struct ls_philox_key key;
        uint32_t out[4];
    } cases[] = {
        {{0, 0, 0, 0}, {{0, 0}}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {{0xffffffff, 0xffffffff}},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {{0xa4093822, 0x299f31d0}},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t out[4];

        ls_philox(cases[i].key, cases[i].counter, out);
        cr_assert_eq(memcmp(out, cases[i].out, sizeof out), 0, "case %zu", i);
    }
}

/* A key is the first 8 bytes of SHA-256 over three little-endian numbers. */
Test(philox, key)
{
    uint8_t bytes[24] = {1, 0, 0, 0, 0, 0, 0, 0, 2, 1}, digest[32];
    struct ls_philox_key key = ls_philox_key_of(1, 0x102, 0);

    ls_sha256_of(bytes, sizeof bytes, digest);
    cr_assert_eq(memcmp(key.word, digest, 8), 0);
}

/* Step, sample and block take 48, 48 and 32 bits of the counter from the lowest bit on. */
Test(philox, block)
{
    struct ls_philox_key key = {{3, 4}};
    uint32_t counter[4] = {0x44332211, 0xbbaa6655, 0xffeeddcc, 9}, wanted[4], out[4];

    ls_philox(key, counter, wanted);
    ls_philox_block(key, UINT64_C(0x665544332211), UINT64_C(0xffeeddccbbaa), 9, out);
    cr_assert_eq(memcmp(out, wanted, sizeof out), 0);
}

/* Unit numbers lie in [0, 1) and reach both ends of their 24 bits. */
Test(philox, unit)
{
    cr_assert_eq(ls_philox_unit(0), 0.0f);
    cr_assert_eq(ls_philox_unit(0xff), 0.0f);
    cr_assert_eq(ls_philox_unit(0xffffffff), 1.0f - 0x1p-24f);
}

/* For every n from 1 to 300 and some larger, the order of an epoch is a permutation of 0..n-1. */
Test(philox, shuffle_is_a_permutation)
{
    struct ls_philox_key key = ls_philox_key_of(1, 2, 3);

    for (uint64_t n = 1; n <= 70000; n = n < 300 ? n + 1 : n * 2 + 1) {
        uint8_t *seen = ls_alloc_zeroed(n, 1);

        for (uint64_t position = 0; position < n; position++) {
            uint64_t index = ls_shuffle_index(key, n % 5, n, position);

            cr_assert(index < n && !seen[index], "n %d, position %d", (int)n, (int)position);
            seen[index] = 1;
        }
        ls_free(seen);
    }
}

/* Of a range too large to walk, images differ and stay in the range. */
Test(philox, shuffle_of_a_huge_range)
{
    struct ls_philox_key key = ls_philox_key_of(9, 9, 9);
    uint64_t n = (UINT64_C(1) << 47) + 12345, before = n;

    for (uint64_t position = 0; position < 1000; position++) {
        uint64_t index = ls_shuffle_index(key, 0, n, position);

        cr_assert(index < n && index != before);
        before = index;
    }
}
