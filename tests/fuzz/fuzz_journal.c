/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The coordinator's journal. First byte 0: the rest is a file. Otherwise the rest is one record's body (kind, payload),
 * given the length and CRC that belong to it: what decodes must encode to the same bytes.
 */
#include "coordinator/store/journal.h"
#include "core/base/alloc.h"
#include "core/base/hash.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void read_file(const uint8_t *data, size_t size)
{
    struct ls_journal_state state;

    if (ls_journal_replay(data, size, &state) == LS_OK)
        LST_FUZZ_CHECK(state.good_bytes <= size);
}

static void read_body(const uint8_t *data, size_t size)
{
    struct ls_record_reader *reader = ls_alloc_zeroed(1, sizeof *reader);
    struct ls_buf bytes = {0}, again = {0};
    struct ls_record record;
    uint32_t crc;

    if (reader == NULL)
        return;
    (void)ls_buf_append_u32(&bytes, (uint32_t)size);
    crc = ls_crc32c(ls_crc32c(0, bytes.data, 4), data, size);
    (void)ls_buf_append_u32(&bytes, crc);
    (void)ls_buf_append(&bytes, data, size);
    reader->bytes = ls_reader_over(bytes.data, bytes.length);
    if (ls_record_next(reader, &record) == LS_OK) {
        LST_FUZZ_CHECK(ls_record_encode(&record, &again) == LS_OK);
        LST_FUZZ_CHECK(again.length == bytes.length && memcmp(again.data, bytes.data, bytes.length) == 0);
    } else {
        LST_FUZZ_CHECK(reader->bytes.position == 0);
    }
    ls_buf_deinit(&bytes);
    ls_buf_deinit(&again);
    ls_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    if (data[0] == 0)
        read_file(data + 1, size - 1);
    else
        read_body(data + 1, size - 1);
    return 0;
}
