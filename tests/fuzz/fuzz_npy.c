/* SPDX-License-Identifier: Apache-2.0 */
/* .npy: what parses converts, and what we write from it parses to the same array. */
#include "core/formats/npy.h"

#include "core/base/alloc.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void write_back(const struct ls_view *view)
{
    struct ls_buf buf = {0};
    struct ls_raw_array raw;

    LST_FUZZ_CHECK(ls_npy_append(&buf, view, NULL) == LS_OK);
    LST_FUZZ_CHECK(ls_npy_parse(buf.data, buf.length, &raw, NULL) == LS_OK);
    LST_FUZZ_CHECK(ls_shape_equal(&raw.shape, &view->shape));
    LST_FUZZ_CHECK(ls_view_bytes(view) == 0 || memcmp(raw.data, view->data, ls_view_bytes(view)) == 0);
    ls_buf_deinit(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_raw_array raw;
    struct ls_view view;
    size_t offset;

    (void)ls_npy_parse_header(data, size, &raw, &offset, &err);
    if (ls_npy_parse(data, size, &raw, &err) != LS_OK) {
        LST_FUZZ_CHECK(err.message[0] != '\0');
        return 0;
    }
    view.shape = raw.shape;
    LST_FUZZ_CHECK(ls_raw_dtype(&raw, &view.dtype, &err) == LS_OK);
    view.data = ls_alloc_aligned(ls_view_bytes(&view));
    ls_raw_convert(&raw, view.data);
    write_back(&view);
    ls_free(view.data);
    return 0;
}
