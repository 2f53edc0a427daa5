/* SPDX-License-Identifier: Apache-2.0 */
/* Philox4x32-10 and the Feistel order of an epoch. */
#include "core/base/philox.h"

#include "core/base/hash.h"

void ls_philox(struct ls_philox_key key, const uint32_t counter[4], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key.word[0], k1 = key.word[1];

    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;

        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

struct ls_philox_key ls_philox_key_of(uint64_t seed, uint64_t stream, uint64_t call)
{
    uint64_t words[3] = {seed, stream, call};
    uint8_t bytes[24];
    uint8_t digest[LS_SHA256_BYTES];
    struct ls_philox_key key = {{0, 0}};

    for (int i = 0; i < 24; i++)
        bytes[i] = (uint8_t)(words[i / 8] >> (8 * (i % 8)));
    ls_sha256_of(bytes, sizeof bytes, digest);
    for (int i = 0; i < 8; i++)
        key.word[i / 4] |= (uint32_t)digest[i] << (8 * (i % 4));
    return key;
}

void ls_philox_block(struct ls_philox_key key, uint64_t step, uint64_t sample, uint32_t block, uint32_t out[4])
{
    uint32_t counter[4] = {(uint32_t)step, (uint32_t)(step >> 32 & 0xffff) | (uint32_t)(sample & 0xffff) << 16,
                           (uint32_t)(sample >> 16), block};

    ls_philox(key, counter, out);
}

/* Half the width of the permuted range in bits: 2^(2k) >= n. */
static int half_bits(uint64_t n)
{
    int bits = 0;

    while (bits < 62 && (UINT64_C(1) << bits) < n)
        bits++;
    return bits < 3 ? 1 : (bits + 1) / 2;
}

static uint64_t feistel(struct ls_philox_key key, uint64_t epoch, int k, uint64_t value)
{
    uint64_t mask = (UINT64_C(1) << k) - 1;
    uint64_t left = value >> k, right = value & mask;

    for (uint32_t round = 0; round < 8; round++) {
        uint32_t words[4];
        uint64_t next;

        ls_philox_block(key, epoch, round, (uint32_t)right, words);
        next = left ^ (words[0] & mask);
        left = right;
        right = next;
    }
    return left << k | right;
}

uint64_t ls_shuffle_index(struct ls_philox_key key, uint64_t epoch, uint64_t n, uint64_t position)
{
    int k = half_bits(n);
    uint64_t value = position;

    do
        value = feistel(key, epoch, k, value);
    while (value >= n);
    return value;
}
