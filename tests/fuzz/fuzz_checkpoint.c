/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manifest of a checkpoint. Its checksum is put right first, or no mutation would get past it; one that is accepted
 * must cover its tensors and be written back to an equal one.
 */
#include "core/ckpt/manifest.h"

#include "core/base/alloc.h"
#include "core/base/hash.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>

#define PREFIX "{\"crc32c\":\""
#define COVERED (sizeof PREFIX - 1 + 10)

static void write_back(const struct lsi_manifest *manifest)
{
    struct lsi_manifest back = {0};
    char *text = NULL;

    LST_FUZZ_CHECK(lsi_manifest_write(manifest, &text, NULL) == LS_OK);
    LST_FUZZ_CHECK(lsi_manifest_parse(text, strlen(text), &back, NULL) == LS_OK);
    LST_FUZZ_CHECK(back.step == manifest->step && back.generation == manifest->generation &&
                   back.tensor_count == manifest->tensor_count && back.piece_count == manifest->piece_count &&
                   back.part_count == manifest->part_count && strcmp(back.meta, manifest->meta) == 0);
    lsi_manifest_deinit(&back);
    ls_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ls_error err = LS_ERROR_INIT;
    struct lsi_manifest manifest = {0};
    char *text = ls_alloc(size + 1);

    if (size > 0)
        memcpy(text, data, size);
    if (size > COVERED) {
        char crc[16];

        (void)snprintf(crc, sizeof crc, "%08x\",", ls_crc32c(0, text + COVERED, size - COVERED));
        memcpy(text, PREFIX, sizeof PREFIX - 1);
        memcpy(text + sizeof PREFIX - 1, crc, 10);
    }
    if (lsi_manifest_parse(text, size, &manifest, &err) == LS_OK) {
        write_back(&manifest);
        lsi_manifest_deinit(&manifest);
    } else {
        LST_FUZZ_CHECK(err.message[0] != '\0');
    }
    ls_free(text);
    return 0;
}
