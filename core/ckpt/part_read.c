/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a part's header: by the rank that commits (to learn the pieces) and on loading (to trust it). */
#include "core/ckpt/ckpt_internal.h"

#include "core/base/alloc.h"
#include "core/base/file.h"
#include "core/base/hash.h"
#include "core/base/str.h"
#include "core/formats/safetensors.h"

#include <string.h>

bool lsi_crcs_from_text(const char *text, uint32_t *crc, size_t blocks)
{
    if (text == NULL || strlen(text) != 8 * blocks)
        return false;
    for (size_t i = 0; i < blocks; i++) {
        char digits[9];
        uint8_t bytes[4];

        memcpy(digits, text + 8 * i, 8);
        digits[8] = '\0';
        if (!ls_unhex(digits, bytes, 4))
            return false;
        crc[i] = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    }
    return true;
}

enum ls_status lsi_part_read_header(const struct ls_file *file, const struct lsi_part *part, uint8_t **header,
                                    uint64_t *length, struct ls_error *err)
{
    uint8_t first[8], digest[LS_SHA256_BYTES];
    uint8_t *bytes;
    uint64_t size = 0;
    enum ls_status status;

    if (ls_file_length(file) != part->bytes)
        return ls_error_set(err, LS_ECORRUPT, "it has %llu bytes instead of %llu",
                            (unsigned long long)ls_file_length(file), (unsigned long long)part->bytes);
    status = part->bytes < 8 ? ls_error_set(err, LS_ECORRUPT, "it is too short") : ls_file_read(file, 0, first, 8, err);
    if (status == LS_OK)
        status = ls_safetensors_header_length(first, part->bytes, &size, err);
    if (status != LS_OK)
        return status;
    bytes = ls_alloc((size_t)size);
    if (bytes == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for its header");
    status = ls_file_read(file, 0, bytes, (size_t)size, err);
    if (status == LS_OK) {
        ls_sha256_of(bytes, (size_t)size, digest);
        if (memcmp(digest, part->sha256, sizeof digest) != 0)
            status = ls_error_set(err, LS_ECORRUPT, "the digest of its header is wrong");
    }
    if (status != LS_OK) {
        ls_free(bytes);
        return status;
    }
    *header = bytes;
    *length = size;
    return LS_OK;
}

static int find_tensor(const struct lsi_manifest *manifest, const char *path, size_t length)
{
    for (int i = 0; i < manifest->tensor_count; i++)
        if (strncmp(manifest->tensors[i].path, path, length) == 0 && manifest->tensors[i].path[length] == '\0')
            return i;
    return -1;
}

/* The tensor and first element that an entry's name stands for; -1 where it stands for none. */
static int resolve(const struct lsi_manifest *manifest, const char *name, int64_t *begin)
{
    const char *at = strrchr(name, '@');
    int tensor = find_tensor(manifest, name, strlen(name));

    *begin = 0;
    if (tensor >= 0 || at == NULL)
        return tensor;
    return ls_str_to_i64(at + 1, begin) ? find_tensor(manifest, name, (size_t)(at - name)) : -1;
}

static enum ls_status add_entry(const struct ls_safetensors *tensors, const struct ls_safetensors_entry *entry,
                                int part, uint64_t data_begin, struct lsi_manifest *manifest, struct ls_error *err)
{
    struct lsi_piece *piece = lsi_manifest_add_piece(manifest, entry->end - entry->begin);
    char *key = ls_str_format("crc32c/%s", entry->name);
    enum ls_status status = LS_OK;

    if (piece == NULL || key == NULL) {
        status = ls_error_set(err, LS_ENOMEM, "not enough memory for its header");
    } else {
        piece->part = part;
        piece->tensor = resolve(manifest, entry->name, &piece->begin);
        piece->count = ls_shape_count(&entry->shape);
        piece->offset = data_begin + entry->begin;
        if (piece->tensor < 0 || manifest->tensors[piece->tensor].dtype != entry->dtype ||
            !lsi_crcs_from_text(ls_safetensors_metadata(tensors, key), piece->crc, lsi_piece_blocks(piece->bytes)))
            status = ls_error_set(err, LS_ECORRUPT, "its entry %.200s is none of this checkpoint", entry->name);
    }
    ls_free(key);
    return status;
}

enum ls_status lsi_part_read_pieces(const struct ls_file *file, int part, struct lsi_manifest *manifest,
                                    struct ls_error *err)
{
    struct ls_safetensors *tensors = NULL;
    uint8_t *header = NULL;
    uint64_t length = 0;
    enum ls_status status = lsi_part_read_header(file, &manifest->parts[part], &header, &length, err);

    if (status == LS_OK)
        status = ls_safetensors_parse(header, (size_t)length, manifest->parts[part].bytes, &tensors, err);
    for (int i = 0; status == LS_OK && i < ls_safetensors_count(tensors); i++)
        status = add_entry(tensors, ls_safetensors_entry(tensors, i), part, length, manifest, err);
    ls_safetensors_destroy(tensors);
    ls_free(header);
    return status;
}
