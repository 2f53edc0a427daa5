/* SPDX-License-Identifier: Apache-2.0 */
/* IDX, plain and gzip'ed: whatever decodes must have the size that the header said. */
#include "core/formats/idx.h"

#include "core/base/alloc.h"
#include "core/formats/inflate.h"
#include "tests/fuzz/fuzz.h"

#define LIMIT ((size_t)1 << 22)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_raw_array raw;
    struct ls_idx_array array;
    size_t offset;
    bool has_header = ls_idx_parse_header(data, size, &raw, &offset, &err) == LS_OK;

    if (ls_idx_decode(data, size, LIMIT, &array, &err) != LS_OK) {
        LST_FUZZ_CHECK(err.message[0] != '\0');
        return 0;
    }
    LST_FUZZ_CHECK(has_header && ls_shape_equal(&raw.shape, &array.view.shape));
    LST_FUZZ_CHECK(ls_view_bytes(&array.view) <= 8 * LIMIT);
    /* Every element is there to be read. */
    (void)ls_inflate_crc32(array.view.data, ls_view_bytes(&array.view));
    ls_free(array.memory);
    return 0;
}
