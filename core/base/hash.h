/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes: SHA-256 (OpenSSL's libcrypto), XXH3-64 (xxHash), CRC-32C. The only home of both libraries. */
#ifndef LOCKSTEP_CORE_BASE_HASH_H
#define LOCKSTEP_CORE_BASE_HASH_H

#include "core/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LS_SHA256_BYTES 32
#define LS_SHA256_HEX (2 * LS_SHA256_BYTES + 1)

struct ls_sha256;

/* A running SHA-256; NULL when memory is short. Nothing after that can fail. */
struct ls_sha256 *ls_sha256_create(void);
void ls_sha256_destroy(struct ls_sha256 *hash);
void ls_sha256_update(struct ls_sha256 *hash, const void *data, size_t length);
/* Ends the sum into digest; the hash can then only be destroyed. */
void ls_sha256_finish(struct ls_sha256 *hash, uint8_t digest[LS_SHA256_BYTES]);
/* One piece at once; cannot fail. */
void ls_sha256_of(const void *data, size_t length, uint8_t digest[LS_SHA256_BYTES]);
/* HMAC-SHA-256 (RFC 2104); cannot fail. */
void ls_hmac_sha256(const void *key, size_t key_length, const void *data, size_t length,
                    uint8_t digest[LS_SHA256_BYTES]);
/* Lower-case hexadecimal of length bytes, terminated; text holds 2 * length + 1. */
void ls_hex(const uint8_t *bytes, size_t length, char *text);
/* Bytes of a hexadecimal text of exactly 2 * length characters; false where it is none. */
bool ls_unhex(const char *text, uint8_t *bytes, size_t length);
/* Equal, in time that does not depend on where they differ. */
bool ls_equal_secret(const void *a, const void *b, size_t length);

/* XXH3, 64 bits, with a seed. */
uint64_t ls_xxh3(const void *data, size_t length, uint64_t seed);

/* CRC-32C (Castagnoli; RFC 3720, appendix B.4) continued from crc (0 to begin). */
uint32_t ls_crc32c(uint32_t crc, const void *data, size_t length);

/* Fills bytes from the system's random source; LS_EIO where there is none. */
enum ls_status ls_random_bytes(void *bytes, size_t length);

#endif
