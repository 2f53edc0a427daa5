/* SPDX-License-Identifier: Apache-2.0 */
/* Growable bytes and the bounded reader of buf.h. */
#include "core/base/buf.h"

#include "core/base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void ls_buf_deinit(struct ls_buf *buf)
{
    if (buf == NULL)
        return;
    ls_free(buf->data);
    *buf = (struct ls_buf){0};
}

void *ls_buf_extend(struct ls_buf *buf, size_t length)
{
    size_t needed;

    if (buf->failed || __builtin_add_overflow(buf->length, length, &needed)) {
        buf->failed = true;
        return NULL;
    }
    /* Also for nothing in an empty buffer: NULL means failure. */
    if (needed > buf->capacity || buf->data == NULL) {
        size_t capacity = buf->capacity < 64 ? 64 : buf->capacity;
        uint8_t *grown;

        while (capacity < needed)
            capacity = capacity > SIZE_MAX / 2 ? needed : capacity * 2;
        grown = ls_realloc(buf->data, capacity, 1);
        if (grown == NULL) {
            buf->failed = true;
            return NULL;
        }
        buf->data = grown;
        buf->capacity = capacity;
    }
    buf->length = needed;
    return buf->data + (needed - length);
}

enum ls_status ls_buf_append(struct ls_buf *buf, const void *data, size_t length)
{
    void *place = ls_buf_extend(buf, length);

    if (place == NULL)
        return LS_ENOMEM;
    if (length > 0)
        memcpy(place, data, length);
    return LS_OK;
}

enum ls_status ls_buf_append_string(struct ls_buf *buf, const char *string)
{
    return ls_buf_append(buf, string, strlen(string));
}

/* The lowest `count` bytes of value, the lowest first. */
static enum ls_status append_little(struct ls_buf *buf, uint64_t value, size_t count)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    return ls_buf_append(buf, bytes, count);
}

enum ls_status ls_buf_append_u32(struct ls_buf *buf, uint32_t value)
{
    return append_little(buf, value, 4);
}

enum ls_status ls_buf_append_u64(struct ls_buf *buf, uint64_t value)
{
    return append_little(buf, value, 8);
}

enum ls_status ls_buf_append_format(struct ls_buf *buf, const char *format, ...)
{
    va_list args;
    int length;
    char *place;

    va_start(args, format);
    length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0)
        return LS_EINTERNAL;
    place = ls_buf_extend(buf, (size_t)length + 1);
    if (place == NULL)
        return LS_ENOMEM;
    va_start(args, format);
    (void)vsnprintf(place, (size_t)length + 1, format, args);
    va_end(args);
    buf->length--;
    return LS_OK;
}

struct ls_reader ls_reader_over(const void *data, size_t length)
{
    return (struct ls_reader){.data = data, .length = length};
}

const void *ls_reader_take(struct ls_reader *reader, size_t length)
{
    const uint8_t *place;

    if (reader->failed || length > reader->length - reader->position) {
        reader->failed = true;
        return NULL;
    }
    place = reader->data + reader->position;
    reader->position += length;
    return place;
}

/* `count` bytes as a number, the lowest first; 0 where they are not there. */
static uint64_t read_little(struct ls_reader *reader, size_t count)
{
    const uint8_t *bytes = ls_reader_take(reader, count);
    uint64_t value = 0;

    for (size_t i = 0; bytes != NULL && i < count; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

uint8_t ls_reader_u8(struct ls_reader *reader)
{
    return (uint8_t)read_little(reader, 1);
}

uint32_t ls_reader_u32(struct ls_reader *reader)
{
    return (uint32_t)read_little(reader, 4);
}

uint64_t ls_reader_u64(struct ls_reader *reader)
{
    return read_little(reader, 8);
}

uint32_t ls_reader_u32_be(struct ls_reader *reader)
{
    const uint8_t *bytes = ls_reader_take(reader, 4);
    uint32_t value = 0;

    for (int i = 0; bytes != NULL && i < 4; i++)
        value = (value << 8) | bytes[i];
    return value;
}

size_t ls_reader_left(const struct ls_reader *reader)
{
    return reader->failed ? 0 : reader->length - reader->position;
}
