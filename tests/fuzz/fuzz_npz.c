/* SPDX-License-Identifier: Apache-2.0 */
/* .npz: zip directory, members, inflation. */
#include "core/formats/npz.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_npz *npz;

    if (ls_npz_parse(data, size, "input", &npz, &err) != LS_OK) {
        LST_FUZZ_CHECK(err.message[0] != '\0');
        return 0;
    }
    for (int i = 0; i < ls_npz_count(npz); i++) {
        LST_FUZZ_CHECK(ls_npz_find(npz, ls_npz_name(npz, i)) == ls_npz_view(npz, i));
        LST_FUZZ_CHECK(ls_view_bytes(ls_npz_view(npz, i)) <= 16 * 1032 * size + 64);
    }
    ls_npz_close(npz);
    return 0;
}
