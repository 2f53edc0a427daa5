/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of the journal: length u32, CRC-32C u32 of what follows, kind u8, payload. The CRC is continued from the
 * length, so that a record of zeros is never a record.
 */
#include "coordinator/store/journal.h"

#include "core/base/hash.h"
#include "core/base/str.h"

#include <string.h>

#define HEAD 8

static void put_text(struct ls_buf *out, const char *text)
{
    size_t length = text == NULL ? 0 : strlen(text);

    (void)ls_buf_append_u32(out, (uint32_t)length);
    if (length > 0)
        (void)ls_buf_append(out, text, length);
}

static void put_payload(const struct ls_record *record, struct ls_buf *out)
{
    switch (record->kind) {
    case LS_RECORD_JOB:
        put_text(out, record->fingerprint);
        break;
    case LS_RECORD_GENERATION:
        (void)ls_buf_append_u64(out, record->generation);
        put_text(out, record->provider);
        (void)ls_buf_append_u32(out, record->member_count);
        for (uint32_t i = 0; i < record->member_count; i++) {
            (void)ls_buf_append_u64(out, record->members[i].worker);
            (void)ls_buf_append_u32(out, record->members[i].incarnation);
            (void)ls_buf_append_u32(out, record->members[i].replica);
            put_text(out, record->members[i].host);
        }
        break;
    case LS_RECORD_STEPS:
        (void)ls_buf_append_u64(out, record->generation);
        (void)ls_buf_append_u64(out, record->first);
        (void)ls_buf_append_u64(out, record->last);
        (void)ls_buf_append_u64(out, record->epoch);
        (void)ls_buf_append_u64(out, record->digest);
        break;
    case LS_RECORD_CHECKPOINT:
        (void)ls_buf_append_u64(out, record->generation);
        (void)ls_buf_append_u64(out, record->last);
        put_text(out, record->text);
        break;
    case LS_RECORD_END:
        (void)ls_buf_append_u32(out, (uint32_t)record->status);
        put_text(out, record->text);
        break;
    }
}

static uint32_t sum(uint32_t length, const uint8_t *body)
{
    uint8_t head[4] = {(uint8_t)length, (uint8_t)(length >> 8), (uint8_t)(length >> 16), (uint8_t)(length >> 24)};

    return ls_crc32c(ls_crc32c(0, head, sizeof head), body, length);
}

enum ls_status ls_record_encode(const struct ls_record *record, struct ls_buf *out)
{
    struct ls_buf body = {0};
    uint8_t kind = (uint8_t)record->kind;
    enum ls_status status = LS_OK;

    (void)ls_buf_append(&body, &kind, 1);
    put_payload(record, &body);
    if (body.failed) {
        status = LS_ENOMEM;
    } else if (body.length > LS_JOURNAL_MAX_RECORD) {
        status = LS_EINVAL;
    } else {
        (void)ls_buf_append_u32(out, (uint32_t)body.length);
        (void)ls_buf_append_u32(out, sum((uint32_t)body.length, body.data));
        status = ls_buf_append(out, body.data, body.length);
    }
    ls_buf_deinit(&body);
    return status;
}

/* A text of at most size - 1 bytes without a zero in it. */
static bool take_text(struct ls_reader *reader, char *text, size_t size)
{
    uint32_t length = ls_reader_u32(reader);
    const char *bytes = length < size ? ls_reader_take(reader, length) : NULL;

    if (bytes == NULL || memchr(bytes, '\0', length) != NULL)
        return false;
    memcpy(text, bytes, length);
    text[length] = '\0';
    return true;
}

static bool take_generation(struct ls_record_reader *reader, struct ls_reader *body, struct ls_record *record)
{
    record->generation = ls_reader_u64(body);
    if (!take_text(body, record->provider, sizeof record->provider))
        return false;
    record->member_count = ls_reader_u32(body);
    if (record->member_count > LS_JOURNAL_MAX_MEMBERS)
        return false;
    for (uint32_t i = 0; i < record->member_count; i++) {
        struct ls_record_member *member = &reader->members[i];

        member->worker = ls_reader_u64(body);
        member->incarnation = ls_reader_u32(body);
        member->replica = ls_reader_u32(body);
        if (!take_text(body, member->host, sizeof member->host))
            return false;
    }
    record->members = reader->members;
    return true;
}

static bool take_payload(struct ls_record_reader *reader, struct ls_reader *body, struct ls_record *record)
{
    bool good = true;

    record->text = reader->text;
    reader->text[0] = '\0';
    switch (record->kind) {
    case LS_RECORD_JOB:
        good = take_text(body, record->fingerprint, sizeof record->fingerprint);
        break;
    case LS_RECORD_GENERATION:
        good = take_generation(reader, body, record);
        break;
    case LS_RECORD_STEPS:
        record->generation = ls_reader_u64(body);
        record->first = ls_reader_u64(body);
        record->last = ls_reader_u64(body);
        record->epoch = ls_reader_u64(body);
        record->digest = ls_reader_u64(body);
        good = record->first <= record->last;
        break;
    case LS_RECORD_CHECKPOINT:
        record->generation = ls_reader_u64(body);
        record->last = ls_reader_u64(body);
        good = take_text(body, reader->text, sizeof reader->text);
        break;
    case LS_RECORD_END:
        record->status = (int32_t)ls_reader_u32(body);
        good = take_text(body, reader->text, sizeof reader->text);
        break;
    default:
        good = false;
        break;
    }
    return good && !body->failed && ls_reader_left(body) == 0;
}

enum ls_status ls_record_next(struct ls_record_reader *reader, struct ls_record *record)
{
    size_t begin = reader->bytes.position;
    struct ls_reader body;
    const uint8_t *bytes;
    uint32_t length, crc;

    if (ls_reader_left(&reader->bytes) < HEAD)
        return LS_EAGAIN;
    length = ls_reader_u32(&reader->bytes);
    crc = ls_reader_u32(&reader->bytes);
    if (length == 0 || length > LS_JOURNAL_MAX_RECORD) {
        reader->bytes.position = begin;
        return LS_ECORRUPT;
    }
    if (ls_reader_left(&reader->bytes) < length) {
        reader->bytes.position = begin;
        return LS_EAGAIN;
    }
    bytes = ls_reader_take(&reader->bytes, length);
    body = ls_reader_over(bytes, length);
    memset(record, 0, sizeof *record);
    record->kind = (enum ls_record_kind)ls_reader_u8(&body);
    if (crc != sum(length, bytes) || !take_payload(reader, &body, record)) {
        reader->bytes.position = begin;
        return LS_ECORRUPT;
    }
    return LS_OK;
}
