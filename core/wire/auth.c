/* SPDX-License-Identifier: Apache-2.0 */
/* Proofs and keys of auth.h. The label separates what one secret is used for. */
#include "core/wire/auth.h"

#include "core/base/hash.h"

#include <string.h>

#define LABEL_BYTES 32
#define INPUT_BYTES (LABEL_BYTES + 2 * (4 + 4 + 8 + LS_WIRE_NONCE))

static uint8_t *put(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *at++ = (uint8_t)(value >> (8 * i));
    return at;
}

static uint8_t *put_side(uint8_t *at, uint32_t major, uint32_t minor, uint64_t features, const uint8_t *nonce)
{
    at = put(at, major, 4);
    at = put(at, minor, 4);
    at = put(at, features, 8);
    memcpy(at, nonce, LS_WIRE_NONCE);
    return at + LS_WIRE_NONCE;
}

static void derive(const uint8_t *secret, const char *label, const struct ls_wire_transcript *t, uint8_t *digest)
{
    uint8_t input[INPUT_BYTES] = {0};
    uint8_t *at = input + LABEL_BYTES;

    memcpy(input, label, strlen(label));
    at = put_side(at, t->hello.major, t->hello.minor, t->hello.features, t->hello.nonce);
    (void)put_side(at, t->challenge.major, t->challenge.minor, t->challenge.features, t->challenge.nonce);
    ls_hmac_sha256(secret, LS_WIRE_SECRET, input, sizeof input, digest);
}

void ls_wire_prove(const uint8_t secret[LS_WIRE_SECRET], enum ls_wire_role role,
                   const struct ls_wire_transcript *transcript, uint8_t proof[LS_WIRE_PROOF])
{
    derive(secret, role == LS_WIRE_WORKER ? "lockstep proof worker" : "lockstep proof coordinator", transcript, proof);
}

bool ls_wire_verify(const uint8_t secret[LS_WIRE_SECRET], enum ls_wire_role role,
                    const struct ls_wire_transcript *transcript, const uint8_t proof[LS_WIRE_PROOF])
{
    uint8_t expected[LS_WIRE_PROOF];

    ls_wire_prove(secret, role, transcript, expected);
    return ls_equal_secret(expected, proof, sizeof expected);
}

void ls_wire_key(const uint8_t secret[LS_WIRE_SECRET], enum ls_wire_role sender,
                 const struct ls_wire_transcript *transcript, uint8_t key[LS_WIRE_KEY])
{
    derive(secret, sender == LS_WIRE_WORKER ? "lockstep frames worker" : "lockstep frames coordinator", transcript,
           key);
}
