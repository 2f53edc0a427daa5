/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashes of hash.h over libcrypto and xxHash; CRC-32C by the processor's instruction (SSE 4.2) or by eight tables
 * (slicing-by-8, Kounavis 2005). SHA-256 by libcrypto's functions on caller's memory: unlike those of EVP, which
 * OpenSSL 3 would rather have one use, they need no memory of their own and cannot fail. Whoever draws a random number
 * or checks a proof has nobody to tell of a failure.
 */
#define XXH_INLINE_ALL
#define OPENSSL_SUPPRESS_DEPRECATED
#include "core/base/hash.h"

#include "core/base/alloc.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

#define HMAC_BLOCK SHA256_CBLOCK

struct ls_sha256 {
    SHA256_CTX context;
};

struct ls_sha256 *ls_sha256_create(void)
{
    struct ls_sha256 *hash = ls_alloc_zeroed(1, sizeof *hash);

    if (hash != NULL)
        (void)SHA256_Init(&hash->context);
    return hash;
}

void ls_sha256_destroy(struct ls_sha256 *hash)
{
    if (hash != NULL)
        OPENSSL_cleanse(hash, sizeof *hash);
    ls_free(hash);
}

void ls_sha256_update(struct ls_sha256 *hash, const void *data, size_t length)
{
    (void)SHA256_Update(&hash->context, data, length);
}

void ls_sha256_finish(struct ls_sha256 *hash, uint8_t digest[LS_SHA256_BYTES])
{
    (void)SHA256_Final(digest, &hash->context);
}

void ls_sha256_of(const void *data, size_t length, uint8_t digest[LS_SHA256_BYTES])
{
    SHA256_CTX context;

    (void)SHA256_Init(&context);
    (void)SHA256_Update(&context, data, length);
    (void)SHA256_Final(digest, &context);
    OPENSSL_cleanse(&context, sizeof context);
}

/* One of the two sums of an HMAC, over the key under a mask and then the data. */
static void masked_sum(const uint8_t key[HMAC_BLOCK], uint8_t mask, const void *data, size_t length,
                       uint8_t digest[LS_SHA256_BYTES])
{
    uint8_t block[HMAC_BLOCK];
    SHA256_CTX context;

    for (int i = 0; i < HMAC_BLOCK; i++)
        block[i] = key[i] ^ mask;
    (void)SHA256_Init(&context);
    (void)SHA256_Update(&context, block, sizeof block);
    (void)SHA256_Update(&context, data, length);
    (void)SHA256_Final(digest, &context);
    OPENSSL_cleanse(block, sizeof block);
    OPENSSL_cleanse(&context, sizeof context);
}

void ls_hmac_sha256(const void *key, size_t key_length, const void *data, size_t length,
                    uint8_t digest[LS_SHA256_BYTES])
{
    uint8_t padded[HMAC_BLOCK] = {0}, inner[LS_SHA256_BYTES];

    if (key_length > sizeof padded)
        ls_sha256_of(key, key_length, padded);
    else if (key_length > 0)
        memcpy(padded, key, key_length);
    masked_sum(padded, 0x36, data, length, inner);
    masked_sum(padded, 0x5c, inner, sizeof inner, digest);
    OPENSSL_cleanse(inner, sizeof inner);
    OPENSSL_cleanse(padded, sizeof padded);
}

void ls_hex(const uint8_t *bytes, size_t length, char *text)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < length; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * length] = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool ls_unhex(const char *text, uint8_t *bytes, size_t length)
{
    if (strlen(text) != 2 * length)
        return false;
    for (size_t i = 0; i < length; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        bytes[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

bool ls_equal_secret(const void *a, const void *b, size_t length)
{
    return CRYPTO_memcmp(a, b, length) == 0;
}

uint64_t ls_xxh3(const void *data, size_t length, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, length, seed);
}

static uint32_t crc_table[8][256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static void make_crc_table(void)
{
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t crc = n;

        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 1) != 0 ? (crc >> 1) ^ 0x82f63b78u : crc >> 1;
        crc_table[0][n] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (uint32_t n = 0; n < 256; n++)
            crc_table[k][n] = (crc_table[k - 1][n] >> 8) ^ crc_table[0][crc_table[k - 1][n] & 0xff];
}

#if defined(__x86_64__)
/* The processor's own instruction, eight bytes in three cycles. */
__attribute__((target("sse4.2"))) static uint32_t crc_of_processor(uint32_t crc, const uint8_t *bytes, size_t length)
{
    uint64_t wide = crc;

    for (; length >= 8; length -= 8, bytes += 8) {
        uint64_t word;

        memcpy(&word, bytes, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; length > 0; length--, bytes++)
        crc = __builtin_ia32_crc32qi(crc, *bytes);
    return crc;
}
#endif

uint32_t ls_crc32c(uint32_t crc, const void *data, size_t length)
{
    const uint8_t *bytes = data;

    crc = ~crc;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~crc_of_processor(crc, bytes, length);
#endif
    (void)pthread_once(&crc_once, make_crc_table);
    for (; length >= 8; length -= 8, bytes += 8) {
        uint32_t low =
            crc ^ ((uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24);

        crc = crc_table[7][low & 0xff] ^ crc_table[6][(low >> 8) & 0xff] ^ crc_table[5][(low >> 16) & 0xff] ^
              crc_table[4][low >> 24] ^ crc_table[3][bytes[4]] ^ crc_table[2][bytes[5]] ^ crc_table[1][bytes[6]] ^
              crc_table[0][bytes[7]];
    }
    for (; length > 0; length--, bytes++)
        crc = (crc >> 8) ^ crc_table[0][(crc ^ *bytes) & 0xff];
    return ~crc;
}

enum ls_status ls_random_bytes(void *bytes, size_t length)
{
    uint8_t *place = bytes;

    while (length > 0) {
        ssize_t got = getrandom(place, length, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return LS_EIO;
        place += got;
        length -= (size_t)got;
    }
    return LS_OK;
}
