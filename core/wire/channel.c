/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Framing of channel.h. Header, little-endian: magic u32, type u8, flags u8 (0), reserved u16 (0), payload bytes u32,
 * incarnation u32, generation u64, sequence u64, CRC-32C of the 32 bytes before u32, reserved u32 (0). Then the
 * payload, then 16 bytes of tag. The header has its own CRC so that a length is never believed by accident.
 */
#include "core/wire/channel.h"

#include "core/base/hash.h"

#include <string.h>

struct header {
    uint32_t magic, length, incarnation, crc;
    uint8_t type, flags;
    uint64_t generation, sequence;
};

void ls_channel_deinit(struct ls_channel *channel)
{
    ls_buf_deinit(&channel->in);
    explicit_bzero(channel, sizeof *channel);
}

void ls_channel_key(struct ls_channel *channel, const uint8_t secret[LS_WIRE_SECRET], enum ls_wire_role role,
                    const struct ls_wire_transcript *transcript)
{
    enum ls_wire_role other = role == LS_WIRE_WORKER ? LS_WIRE_COORDINATOR : LS_WIRE_WORKER;

    ls_wire_key(secret, role, transcript, channel->send_key);
    ls_wire_key(secret, other, transcript, channel->receive_key);
    channel->keyed = true;
}

/* Longest frame that may come now. */
static size_t longest_allowed(const struct ls_channel *channel)
{
    uint32_t longest = 0;

    for (int type = 1; type < LS_MESSAGE_END; type++) {
        if ((channel->allowed & LS_MESSAGE_BIT(type)) != 0 && ls_message_limit(type) > longest)
            longest = ls_message_limit(type);
    }
    return LS_FRAME_HEADER + (size_t)longest + LS_FRAME_TAG;
}

enum ls_status ls_channel_feed(struct ls_channel *channel, const void *data, size_t length, struct ls_error *err)
{
    size_t kept = channel->in.length - channel->taken;

    if (channel->taken > 0) {
        memmove(channel->in.data, channel->in.data + channel->taken, kept);
        channel->in.length = kept;
        channel->taken = 0;
    }
    /* The caller takes every whole frame after each feed, so what is kept is less than one frame. */
    if (kept > longest_allowed(channel))
        return ls_error_set(err, LS_EINVAL, "more bytes came than a frame may have");
    if (ls_buf_append(&channel->in, data, length) != LS_OK)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for a frame");
    return LS_OK;
}

static struct header read_header(const uint8_t *bytes)
{
    struct ls_reader reader = ls_reader_over(bytes, LS_FRAME_HEADER);
    struct header header;

    header.magic = ls_reader_u32(&reader);
    header.type = ls_reader_u8(&reader);
    header.flags = ls_reader_u8(&reader);
    (void)ls_reader_take(&reader, 2);
    header.length = ls_reader_u32(&reader);
    header.incarnation = ls_reader_u32(&reader);
    header.generation = ls_reader_u64(&reader);
    header.sequence = ls_reader_u64(&reader);
    header.crc = ls_reader_u32(&reader);
    return header;
}

static enum ls_status check_header(const struct ls_channel *channel, const struct header *header, const uint8_t *bytes,
                                   struct ls_error *err)
{
    static const uint8_t zeros[4];

    if (header->crc != ls_crc32c(0, bytes, 32))
        return ls_error_set(err, LS_ECORRUPT, "a frame's header is damaged");
    if (ls_message_limit(header->type) == 0 || header->flags != 0 || memcmp(bytes + 6, zeros, 2) != 0 ||
        memcmp(bytes + 36, zeros, 4) != 0)
        return ls_error_set(err, LS_ECORRUPT, "a frame of an unknown kind (%u) came", header->type);
    if ((channel->allowed & LS_MESSAGE_BIT(header->type)) == 0)
        return ls_error_set(err, LS_ECORRUPT, "a %s message came at the wrong time", ls_message_name(header->type));
    if (header->length > ls_message_limit(header->type))
        return ls_error_set(err, LS_ECORRUPT, "a %s message of %u bytes is longer than the %u allowed",
                            ls_message_name(header->type), header->length, ls_message_limit(header->type));
    if (header->sequence != channel->receive_sequence)
        return ls_error_set(err, LS_ECORRUPT, "a frame was lost, repeated or came out of order");
    return LS_OK;
}

static void make_tag(bool keyed, const uint8_t *key, const uint8_t *frame, size_t length, uint8_t tag[LS_FRAME_TAG])
{
    uint8_t digest[LS_SHA256_BYTES] = {0};

    if (keyed) {
        ls_hmac_sha256(key, LS_WIRE_KEY, frame, length, digest);
    } else {
        uint32_t crc = ls_crc32c(0, frame, length);

        for (int i = 0; i < 4; i++)
            digest[i] = (uint8_t)(crc >> (8 * i));
    }
    memcpy(tag, digest, LS_FRAME_TAG);
}

/* Whether the bytes may begin a frame, however few they are: who speaks another protocol may say no more. */
static bool may_begin_frame(const uint8_t *bytes, size_t left)
{
    static const uint8_t magic[4] = {'L', 'S', 'T', '1'};

    return left == 0 || memcmp(bytes, magic, left < sizeof magic ? left : sizeof magic) == 0;
}

enum ls_status ls_channel_next(struct ls_channel *channel, struct ls_message *message, struct ls_frame_info *info,
                               struct ls_error *err)
{
    const uint8_t *bytes = channel->in.data + channel->taken;
    size_t left = channel->in.length - channel->taken;
    uint8_t tag[LS_FRAME_TAG];
    struct header header;
    size_t body;
    enum ls_status status;

    if (!may_begin_frame(bytes, left))
        return ls_error_set(err, LS_ECORRUPT, "this is not the Lockstep protocol");
    if (left < LS_FRAME_HEADER)
        return LS_EAGAIN;
    header = read_header(bytes);
    status = check_header(channel, &header, bytes, err);
    if (status != LS_OK)
        return status;
    body = LS_FRAME_HEADER + (size_t)header.length;
    if (left < body + LS_FRAME_TAG)
        return LS_EAGAIN;
    make_tag(channel->keyed, channel->receive_key, bytes, body, tag);
    if (!ls_equal_secret(tag, bytes + body, sizeof tag))
        return ls_error_set(err, channel->keyed ? LS_EAUTH : LS_ECORRUPT, "a %s message was damaged or forged",
                            ls_message_name(header.type));
    status = ls_message_decode((enum ls_message_type)header.type, bytes + LS_FRAME_HEADER, header.length, message, err);
    if (status != LS_OK)
        return status;
    channel->taken += body + LS_FRAME_TAG;
    channel->receive_sequence++;
    *info = (struct ls_frame_info){header.generation, header.sequence, header.incarnation};
    return LS_OK;
}

static void write_header(struct ls_buf *out, const struct header *header)
{
    size_t begin = out->length;
    const uint8_t kind[4] = {header->type};

    (void)ls_buf_append_u32(out, LS_FRAME_MAGIC);
    (void)ls_buf_append(out, kind, sizeof kind);
    (void)ls_buf_append_u32(out, header->length);
    (void)ls_buf_append_u32(out, header->incarnation);
    (void)ls_buf_append_u64(out, header->generation);
    (void)ls_buf_append_u64(out, header->sequence);
    if (!out->failed)
        (void)ls_buf_append_u32(out, ls_crc32c(0, out->data + begin, 32));
    (void)ls_buf_append_u32(out, 0);
}

enum ls_status ls_channel_pack(struct ls_channel *channel, const struct ls_message *message, uint64_t generation,
                               uint32_t incarnation, struct ls_buf *out, struct ls_error *err)
{
    size_t begin = out->length;
    struct ls_buf payload = {0};
    enum ls_status status = ls_message_encode(message, &payload, err);
    struct header header = {.type = (uint8_t)message->type,
                            .length = (uint32_t)payload.length,
                            .incarnation = incarnation,
                            .generation = generation,
                            .sequence = channel->send_sequence};
    uint8_t tag[LS_FRAME_TAG];

    if (status != LS_OK)
        goto free_payload;
    write_header(out, &header);
    if (payload.length > 0)
        (void)ls_buf_append(out, payload.data, payload.length);
    if (!out->failed) {
        make_tag(channel->keyed, channel->send_key, out->data + begin, out->length - begin, tag);
        (void)ls_buf_append(out, tag, sizeof tag);
    }
    if (out->failed)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory for a frame");
    else
        channel->send_sequence++;
free_payload:
    ls_buf_deinit(&payload);
    return status;
}
