/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers grow or stay failed; readers never pass their end. */
#include "core/base/buf.h"

#include "core/base/alloc.h"

#include <criterion/criterion.h>
#include <string.h>

/* What was appended lies there in order, numbers little-endian, formats without their terminator. */
Test(buf, append)
{
    struct ls_buf buf = {0};

    cr_assert_eq(ls_buf_append_u32(&buf, 0x04030201), LS_OK);
    cr_assert_eq(ls_buf_append_u64(&buf, UINT64_C(0x0c0b0a0908070605)), LS_OK);
    cr_assert_eq(ls_buf_append_string(&buf, "ab"), LS_OK);
    cr_assert_eq(ls_buf_append_format(&buf, "%d-%s", 12, "x"), LS_OK);
    cr_assert_eq(buf.length, 18);
    for (uint8_t i = 0; i < 12; i++)
        cr_assert_eq(buf.data[i], i + 1);
    cr_assert_eq(memcmp(buf.data + 12, "ab12-x", 6), 0);
    ls_buf_deinit(&buf);
}

/* Appending nothing to an empty buffer is no failure. */
Test(buf, append_nothing)
{
    struct ls_buf buf = {0};

    cr_assert_eq(ls_buf_append(&buf, NULL, 0), LS_OK);
    cr_assert_eq(ls_buf_append_string(&buf, ""), LS_OK);
    cr_assert_not_null(ls_buf_extend(&buf, 0));
    cr_assert(buf.length == 0 && !buf.failed);
    ls_buf_deinit(&buf);
}

/* A failed growth keeps what is there, and every later append fails too. */
Test(buf, failed_stays_failed)
{
    struct ls_buf buf = {0};
    uint8_t large[1000] = {0};

    cr_assert_eq(ls_buf_append(&buf, "x", 1), LS_OK);
    ls_alloc_fail_after(1);
    cr_assert_eq(ls_buf_append(&buf, large, sizeof large), LS_ENOMEM);
    cr_assert(buf.failed && buf.length == 1 && buf.data[0] == 'x');
    cr_assert_eq(ls_buf_append(&buf, "y", 1), LS_ENOMEM);
    cr_assert_null(ls_buf_extend(&buf, SIZE_MAX));
    ls_buf_deinit(&buf);
}

/* Reads give the numbers, then zeros and `failed` past the end, also for lengths that would overflow. */
Test(buf, reader)
{
    const uint8_t bytes[] = {1, 2, 3, 4, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 7};
    struct ls_reader reader = ls_reader_over(bytes, sizeof bytes);

    cr_assert_eq(ls_reader_u32(&reader), 0x04030201);
    cr_assert_eq(ls_reader_u64(&reader), 5);
    cr_assert_eq(ls_reader_u32_be(&reader), 0x00000100 | 0 << 8);
    cr_assert_eq(ls_reader_left(&reader), 1);
    cr_assert_null(ls_reader_take(&reader, SIZE_MAX));
    cr_assert(reader.failed && ls_reader_left(&reader) == 0);
    cr_assert_eq(ls_reader_u8(&reader), 0);
}

/* The reader's end is exact. */
Test(buf, reader_end)
{
    struct ls_reader reader = ls_reader_over("abc", 3);

    cr_assert_not_null(ls_reader_take(&reader, 3));
    cr_assert_not(reader.failed);
    cr_assert_not_null(ls_reader_take(&reader, 0));
    cr_assert_eq(ls_reader_u8(&reader), 0);
    cr_assert(reader.failed);
}
