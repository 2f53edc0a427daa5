/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control protocol. First byte 0: the rest is a stream of frames in pieces. Otherwise it is a message type, and the
 * rest its payload without a frame, since no fuzzer guesses a CRC: what decodes must encode and decode again.
 */
#include "core/base/buf.h"
#include "core/wire/channel.h"
#include "tests/fuzz/fuzz.h"

#define PIECE 61

static void read_stream(const uint8_t *data, size_t size)
{
    struct ls_channel channel = {.allowed = UINT32_MAX};
    struct ls_error err = LS_ERROR_INIT;
    enum ls_status status = LS_OK;

    for (size_t at = 0; at < size && (status == LS_OK || status == LS_EAGAIN); at += PIECE) {
        status = ls_channel_feed(&channel, data + at, size - at < PIECE ? size - at : PIECE, &err);
        while (status == LS_OK) {
            struct ls_message message;
            struct ls_frame_info info;

            status = ls_channel_next(&channel, &message, &info, &err);
            if (status == LS_OK)
                ls_message_deinit(&message);
        }
    }
    LST_FUZZ_CHECK(status == LS_OK || status == LS_EAGAIN || err.message[0] != '\0');
    LST_FUZZ_CHECK(channel.in.length <= (size_t)LS_FRAME_HEADER + LS_FRAME_TAG + LS_WIRE_JOB_BYTES + PIECE);
    ls_channel_deinit(&channel);
}

static void read_payload(enum ls_message_type type, const uint8_t *data, size_t size)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_message message, again;
    struct ls_buf payload = {0};

    if (ls_message_decode(type, data, size, &message, &err) != LS_OK) {
        LST_FUZZ_CHECK(err.message[0] != '\0');
        return;
    }
    LST_FUZZ_CHECK(ls_message_encode(&message, &payload, &err) == LS_OK);
    LST_FUZZ_CHECK(ls_message_decode(type, payload.data, payload.length, &again, &err) == LS_OK);
    ls_message_deinit(&message);
    ls_message_deinit(&again);
    ls_buf_deinit(&payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    if (data[0] == 0)
        read_stream(data + 1, size - 1);
    else
        read_payload((enum ls_message_type)data[0], data + 1, size - 1);
    return 0;
}
