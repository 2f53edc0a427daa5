/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes: a growable buffer to write into and a bounded reader that never passes its end.
 * Numbers are little-endian on the outside, whatever the processor.
 */
#ifndef LOCKSTEP_CORE_BASE_BUF_H
#define LOCKSTEP_CORE_BASE_BUF_H

#include "core/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Growable bytes. Zero-initialise; ls_buf_deinit ends it. `failed` stays set after a failed growth, so
 * that a writer may check once at the end. */
struct ls_buf {
    uint8_t *data;
    size_t length;
    size_t capacity;
    bool failed;
};

void ls_buf_deinit(struct ls_buf *buf);
/* Appends (copies) length bytes. LS_ENOMEM where it cannot grow. */
enum ls_status ls_buf_append(struct ls_buf *buf, const void *data, size_t length);
enum ls_status ls_buf_append_string(struct ls_buf *buf, const char *string);
enum ls_status ls_buf_append_u32(struct ls_buf *buf, uint32_t value);
enum ls_status ls_buf_append_u64(struct ls_buf *buf, uint64_t value);
enum ls_status ls_buf_append_format(struct ls_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Makes room for length more bytes and returns where they go, or NULL. The bytes count as appended. */
void *ls_buf_extend(struct ls_buf *buf, size_t length);

/* A view that is read from the front. `failed` is set by the first read past the end; reads then give
 * zeros. Borrows the bytes. */
struct ls_reader {
    const uint8_t *data;
    size_t length;
    size_t position;
    bool failed;
};

struct ls_reader ls_reader_over(const void *data, size_t length);
/* The next length bytes (borrowed), or NULL past the end. */
const void *ls_reader_take(struct ls_reader *reader, size_t length);
uint8_t ls_reader_u8(struct ls_reader *reader);
uint32_t ls_reader_u32(struct ls_reader *reader);
uint64_t ls_reader_u64(struct ls_reader *reader);
uint32_t ls_reader_u32_be(struct ls_reader *reader);
size_t ls_reader_left(const struct ls_reader *reader);

#endif
