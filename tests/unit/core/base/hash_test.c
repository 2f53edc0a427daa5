/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes by published vectors, in one piece and in several. */
#include "core/base/hash.h"

#include "core/base/alloc.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

static void expect_hex(const uint8_t *bytes, size_t length, const char *wanted)
{
    char text[65];

    ls_hex(bytes, length, text);
    cr_assert_str_eq(text, wanted);
}

/* FIPS 180-2's "abc", and the same fed byte by byte. */
Test(hash, sha256)
{
    static const char wanted[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    struct ls_sha256 *hash = ls_sha256_create();
    uint8_t digest[LS_SHA256_BYTES];

    ls_sha256_of("abc", 3, digest);
    expect_hex(digest, sizeof digest, wanted);
    for (int i = 0; i < 3; i++)
        ls_sha256_update(hash, &"abc"[i], 1);
    ls_sha256_finish(hash, digest);
    expect_hex(digest, sizeof digest, wanted);
    ls_sha256_destroy(hash);
}

/* RFC 4231, test cases 2, 1 and 6 (a key longer than a block). */
Test(hash, hmac)
{
    uint8_t digest[LS_SHA256_BYTES], key[131];

    ls_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, digest);
    expect_hex(digest, sizeof digest, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0x0b, 20);
    ls_hmac_sha256(key, 20, "Hi There", 8, digest);
    expect_hex(digest, sizeof digest, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    memset(key, 0xaa, sizeof key);
    ls_hmac_sha256(key, sizeof key, "Test Using Larger Than Block-Size Key - Hash Key First", 54, digest);
    expect_hex(digest, sizeof digest, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

#define STACK_BYTES ((size_t)1 << 20)
#define LONG_KEY 131 /* bytes; more than a block, so it is hashed first */

static uint8_t proof[LS_SHA256_BYTES], long_key[LONG_KEY];

static void *sign(void *key_length)
{
    ls_hmac_sha256(long_key, *(size_t *)key_length, "challenge", 9, proof);
    return NULL;
}

static bool stack_has(const uint8_t *stack, const uint8_t *bytes, size_t length)
{
    return memmem(stack, STACK_BYTES, bytes, length) != NULL;
}

/* What would let others sign is gone from the stack afterwards: the key, its block, its hash, the inner sum. The stack
 * is the test's own, of a thread that has ended. */
Test(hash, hmac_leaves_no_key_behind)
{
    static uint8_t block[64 + 9], hashed[64], sum[LS_SHA256_BYTES];
    uint8_t *stack = ls_alloc_aligned(STACK_BYTES);
    const size_t lengths[] = {32, LONG_KEY};

    for (int i = 0; i < LONG_KEY; i++)
        long_key[i] = (uint8_t)(7 * i + 3);
    memcpy(block + 64, "challenge", 9);
    for (size_t k = 0; k < 2; k++) {
        size_t length = lengths[k];
        pthread_attr_t attributes;
        pthread_t thread;

        memset(hashed, 0, sizeof hashed);
        if (length > sizeof hashed)
            ls_sha256_of(long_key, length, hashed);
        else
            memcpy(hashed, long_key, length);
        for (int i = 0; i < 64; i++)
            block[i] = hashed[i] ^ 0x36;
        ls_sha256_of(block, sizeof block, sum);
        cr_assert_eq(pthread_attr_init(&attributes), 0);
        cr_assert_eq(pthread_attr_setstack(&attributes, stack, STACK_BYTES), 0);
        cr_assert_eq(pthread_create(&thread, &attributes, sign, &length), 0);
        (void)pthread_join(thread, NULL);
        (void)pthread_attr_destroy(&attributes);
        cr_expect(!stack_has(stack, hashed, LS_SHA256_BYTES), "the key of %zu bytes", length);
        cr_expect(!stack_has(stack, block, LS_SHA256_BYTES), "the block of a key of %zu bytes", length);
        cr_expect(!stack_has(stack, sum, sizeof sum), "the inner sum of a key of %zu bytes", length);
        memset(stack, 0, STACK_BYTES);
    }
    ls_free(stack);
}

/* RFC 3720, B.4: 32 zeros, 32 ones, rising, falling; and "123456789". */
Test(hash, crc32c)
{
    uint8_t zeros[32] = {0}, ones[32], rising[32], falling[32];

    for (int i = 0; i < 32; i++) {
        ones[i] = 0xff;
        rising[i] = (uint8_t)i;
        falling[i] = (uint8_t)(31 - i);
    }
    cr_assert_eq(ls_crc32c(0, zeros, 32), 0x8a9136aa);
    cr_assert_eq(ls_crc32c(0, ones, 32), 0x62a8ab43);
    cr_assert_eq(ls_crc32c(0, rising, 32), 0x46dd794e);
    cr_assert_eq(ls_crc32c(0, falling, 32), 0x113fdb5c);
    cr_assert_eq(ls_crc32c(0, "123456789", 9), 0xe3069283);
    cr_assert_eq(ls_crc32c(0, "", 0), 0);
}

/* Any length from any alignment, and any cut in two, gives what a loop over bits gives. */
Test(hash, crc32c_of_any_piece)
{
    uint8_t bytes[80];

    for (int i = 0; i < 80; i++)
        bytes[i] = (uint8_t)(i * 37 + 11);
    for (size_t begin = 0; begin < 9; begin++) {
        uint32_t crc = 0xffffffff;

        for (size_t length = 0; begin + length < 80; length++) {
            cr_assert_eq(ls_crc32c(0, bytes + begin, length), ~crc);
            cr_assert_eq(
                ls_crc32c(ls_crc32c(0, bytes + begin, length / 3), bytes + begin + length / 3, length - length / 3),
                ~crc);
            crc ^= bytes[begin + length];
            for (int bit = 0; bit < 8; bit++)
                crc = (crc & 1) != 0 ? (crc >> 1) ^ 0x82f63b78u : crc >> 1;
        }
    }
}

/* XXH3's published value of the empty input, and that the seed counts. */
Test(hash, xxh3)
{
    cr_assert_eq(ls_xxh3("", 0, 0), UINT64_C(0x2d06800538d394c2));
    cr_assert_neq(ls_xxh3("a", 1, 0), ls_xxh3("a", 1, 1));
}

/* Hexadecimal of exactly the asked length is read; anything else is refused. */
Test(hash, unhex)
{
    uint8_t bytes[2];

    cr_assert(ls_unhex("0aFf", bytes, 2) && bytes[0] == 10 && bytes[1] == 255);
    cr_assert_not(ls_unhex("0aF", bytes, 2));
    cr_assert_not(ls_unhex("0aFf0", bytes, 2));
    cr_assert_not(ls_unhex("0xFf", bytes, 2));
}
