/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of one connection, without a socket: bytes in, messages out, and back. Every frame carries generation,
 * incarnation and sequence; it ends in a tag, CRC-32C before the secret is proved and a keyed HMAC after. A frame that
 * is out of sequence, too long for its type, of a type not allowed now, or wrongly tagged ends the connection.
 */
#ifndef LOCKSTEP_CORE_WIRE_CHANNEL_H
#define LOCKSTEP_CORE_WIRE_CHANNEL_H

#include "core/wire/auth.h"
#include "core/wire/message.h"

#define LS_FRAME_MAGIC UINT32_C(0x3154534c) /* "LST1", little-endian */
#define LS_FRAME_HEADER 40
#define LS_FRAME_TAG 16

/* Bit of a type in a set of types. */
#define LS_MESSAGE_BIT(type) (UINT32_C(1) << (type))

struct ls_channel {
    struct ls_buf in;
    size_t taken;     /* bytes of `in` already used */
    uint32_t allowed; /* set of types that may come now */
    uint64_t send_sequence, receive_sequence;
    bool keyed;
    uint8_t send_key[LS_WIRE_KEY], receive_key[LS_WIRE_KEY];
};

/* What rode with a message. */
struct ls_frame_info {
    uint64_t generation;
    uint64_t sequence;
    uint32_t incarnation;
};

/* Zero-initialised memory is a channel that allows nothing yet. Wipes keys. */
void ls_channel_deinit(struct ls_channel *channel);
/* From the next frame on, both ways, tags are keyed. role: of this side. */
void ls_channel_key(struct ls_channel *channel, const uint8_t secret[LS_WIRE_SECRET], enum ls_wire_role role,
                    const struct ls_wire_transcript *transcript);
/* Appends bytes that came. LS_EINVAL where more piles up than any allowed frame needs. */
enum ls_status ls_channel_feed(struct ls_channel *channel, const void *data, size_t length, struct ls_error *err);
/* The next message: LS_OK (*message ends with ls_message_deinit), LS_EAGAIN: more bytes are needed, LS_ECORRUPT or
 * LS_EAUTH (tag): the connection cannot go on. */
enum ls_status ls_channel_next(struct ls_channel *channel, struct ls_message *message, struct ls_frame_info *info,
                               struct ls_error *err);
/* Appends the frame of a message to out. Uses up a sequence number only on success. */
enum ls_status ls_channel_pack(struct ls_channel *channel, const struct ls_message *message, uint64_t generation,
                               uint32_t incarnation, struct ls_buf *out, struct ls_error *err);

#endif
