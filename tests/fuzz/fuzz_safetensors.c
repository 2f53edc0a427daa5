/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors: the input is a whole file; entries that were accepted must cover it exactly. */
#include "core/formats/safetensors.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_safetensors *tensors;
    uint64_t length = 0, at = 0;

    if (size < 8 || ls_safetensors_header_length(data, size, &length, &err) != LS_OK)
        return 0;
    LST_FUZZ_CHECK(length <= size);
    if (ls_safetensors_parse(data, (size_t)length, size, &tensors, &err) != LS_OK) {
        LST_FUZZ_CHECK(err.message[0] != '\0');
        return 0;
    }
    for (int i = 0; i < ls_safetensors_count(tensors); i++) {
        const struct ls_safetensors_entry *entry = ls_safetensors_entry(tensors, i);

        LST_FUZZ_CHECK(entry->begin == at && entry->end >= at);
        at = entry->end;
        (void)ls_safetensors_metadata(tensors, entry->name);
    }
    LST_FUZZ_CHECK(at == size - length);
    ls_safetensors_destroy(tensors);
    return 0;
}
