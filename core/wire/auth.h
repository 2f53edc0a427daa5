/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proof of the job's secret, both ways, and the keys of a connection: HMAC-SHA-256 over a label and both sides' nonces.
 * A proof of one role is no proof of the other, and neither can be used on another connection.
 */
#ifndef LOCKSTEP_CORE_WIRE_AUTH_H
#define LOCKSTEP_CORE_WIRE_AUTH_H

#include "core/wire/message.h"

#define LS_WIRE_SECRET 32
#define LS_WIRE_KEY 32

enum ls_wire_role { LS_WIRE_WORKER, LS_WIRE_COORDINATOR };

/* What both sides know of a handshake: the nonces, and the versions so that nobody can talk them down. */
struct ls_wire_transcript {
    struct ls_wire_hello hello;         /* the worker's */
    struct ls_wire_challenge challenge; /* the coordinator's; its proof is not part of the transcript */
};

void ls_wire_prove(const uint8_t secret[LS_WIRE_SECRET], enum ls_wire_role role,
                   const struct ls_wire_transcript *transcript, uint8_t proof[LS_WIRE_PROOF]);
/* In constant time. */
bool ls_wire_verify(const uint8_t secret[LS_WIRE_SECRET], enum ls_wire_role role,
                    const struct ls_wire_transcript *transcript, const uint8_t proof[LS_WIRE_PROOF]);
/* Key of the frames that `sender` sends on this connection. */
void ls_wire_key(const uint8_t secret[LS_WIRE_SECRET], enum ls_wire_role sender,
                 const struct ls_wire_transcript *transcript, uint8_t key[LS_WIRE_KEY]);

#endif
