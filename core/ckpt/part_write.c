/* SPDX-License-Identifier: Apache-2.0 */
/* One rank's part: a safetensors file whose metadata hold a CRC-32C for each MiB of each piece. */
#include "core/ckpt/ckpt_internal.h"

#include "core/base/alloc.h"
#include "core/base/file.h"
#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/base/str.h"
#include "core/formats/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FIXED_PAIRS 5

size_t lsi_piece_blocks(uint64_t bytes)
{
    return (size_t)((bytes + LSI_CKPT_BLOCK - 1) / LSI_CKPT_BLOCK);
}

char *lsi_crcs_to_text(const uint32_t *crc, size_t blocks)
{
    char *text = ls_alloc(8 * blocks + 1);

    if (text == NULL)
        return NULL;
    text[0] = '\0';
    for (size_t i = 0; i < blocks; i++) {
        uint8_t bytes[4] = {(uint8_t)(crc[i] >> 24), (uint8_t)(crc[i] >> 16), (uint8_t)(crc[i] >> 8), (uint8_t)crc[i]};

        ls_hex(bytes, 4, text + 8 * i);
    }
    return text;
}

/* Names and metadata of a header, while it is built. */
struct header {
    struct ls_safetensors_entry *entries;
    struct ls_safetensors_pair *pairs;
    char **strings; /* what the two borrow: name, key, value of each piece */
    int count;
};

static uint64_t piece_bytes(const struct ls_ckpt_tensor *tensors, const struct ls_ckpt_piece *piece)
{
    return (uint64_t)piece->count * ls_dtype_size(tensors[piece->tensor].dtype);
}

static char *crc_text(const struct ls_ckpt_piece *piece, uint64_t bytes)
{
    size_t blocks = lsi_piece_blocks(bytes);
    uint32_t *crc = ls_alloc_zeroed(blocks, sizeof *crc);
    char *text;

    if (crc == NULL)
        return NULL;
    for (size_t i = 0; i < blocks; i++) {
        uint64_t begin = (uint64_t)i * LSI_CKPT_BLOCK, left = bytes - begin;

        crc[i] =
            ls_crc32c(0, (const uint8_t *)piece->data + begin, (size_t)(left < LSI_CKPT_BLOCK ? left : LSI_CKPT_BLOCK));
    }
    text = lsi_crcs_to_text(crc, blocks);
    ls_free(crc);
    return text;
}

/* A whole tensor has its path as name and its shape, so that any reader of safetensors can use it; a run of elements
 * is "<path>@<begin>" of one dimension. */
static enum ls_status add_piece(struct header *header, const struct ls_ckpt_tensor *tensors,
                                const struct ls_ckpt_piece *piece, struct ls_error *err)
{
    const struct ls_ckpt_tensor *tensor = &tensors[piece->tensor];
    struct ls_safetensors_entry *entry = &header->entries[header->count];
    struct ls_safetensors_pair *pair = &header->pairs[FIXED_PAIRS + header->count];
    char **strings = &header->strings[3 * header->count];
    int64_t total = ls_shape_count(&tensor->shape);
    bool whole = piece->begin == 0 && piece->count == total;

    header->count++;
    if (piece->begin < 0 || piece->begin % LS_CKPT_CHUNK != 0 || piece->count < 0 || piece->count > total ||
        piece->begin > total - piece->count)
        return ls_error_set(err, LS_EINTERNAL, "a piece of %s is outside the tensor", tensor->path);
    strings[0] = whole ? ls_str_copy(tensor->path) : ls_str_format("%s@%" PRId64, tensor->path, piece->begin);
    strings[1] = strings[0] != NULL ? ls_str_format("crc32c/%s", strings[0]) : NULL;
    strings[2] = crc_text(piece, piece_bytes(tensors, piece));
    if (strings[0] == NULL || strings[1] == NULL || strings[2] == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to write a checkpoint");
    *entry = (struct ls_safetensors_entry){
        .name = strings[0], .dtype = tensor->dtype, .shape = whole ? tensor->shape : LS_SHAPE(piece->count)};
    *pair = (struct ls_safetensors_pair){strings[1], strings[2]};
    return LS_OK;
}

static void free_header(struct header *header)
{
    for (int i = 0; header->strings != NULL && i < 3 * header->count; i++)
        ls_free(header->strings[i]);
    ls_free(header->strings);
    ls_free(header->pairs);
    ls_free(header->entries);
}

struct numbers {
    char part[16], parts[16], step[24], generation[24];
};

static enum ls_status build_header(const struct numbers *numbers, const struct ls_ckpt_tensor *tensors,
                                   const struct ls_ckpt_piece *pieces, int piece_count, struct ls_buf *out,
                                   struct ls_error *err)
{
    struct header header = {0};
    enum ls_status status = LS_OK;

    header.entries = ls_alloc_zeroed((size_t)piece_count, sizeof *header.entries);
    header.pairs = ls_alloc_zeroed((size_t)piece_count + FIXED_PAIRS, sizeof *header.pairs);
    header.strings = ls_alloc_zeroed((size_t)piece_count, 3 * sizeof *header.strings);
    if (header.entries == NULL || header.pairs == NULL || header.strings == NULL) {
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to write a checkpoint");
        goto free_names;
    }
    header.pairs[0] = (struct ls_safetensors_pair){"format", "lockstep"};
    header.pairs[1] = (struct ls_safetensors_pair){"part", numbers->part};
    header.pairs[2] = (struct ls_safetensors_pair){"parts", numbers->parts};
    header.pairs[3] = (struct ls_safetensors_pair){"step", numbers->step};
    header.pairs[4] = (struct ls_safetensors_pair){"generation", numbers->generation};
    for (int i = 0; i < piece_count && status == LS_OK; i++)
        status = add_piece(&header, tensors, &pieces[i], err);
    if (status == LS_OK)
        status = ls_safetensors_append_header(out, header.entries, piece_count, header.pairs, FIXED_PAIRS + piece_count,
                                              err);
free_names:
    free_header(&header);
    return status;
}

static enum ls_status write_file(const char *path, const struct ls_buf *header, const struct ls_ckpt_tensor *tensors,
                                 const struct ls_ckpt_piece *pieces, int piece_count, struct ls_error *err)
{
    struct ls_file *file = NULL;
    enum ls_status status = ls_file_create(path, &file, err);

    if (status != LS_OK)
        return status;
    status = ls_file_append(file, header->data, header->length, err);
    for (int i = 0; i < piece_count && status == LS_OK; i++)
        if (pieces[i].count > 0)
            status = ls_file_append(file, pieces[i].data, (size_t)piece_bytes(tensors, &pieces[i]), err);
    if (status == LS_OK)
        status = ls_file_sync(file, err);
    ls_file_close(file);
    /* After a failed write or sync this part can never be trusted; its room may be what others need. */
    if (status != LS_OK)
        (void)ls_fs_remove(path, NULL);
    return status;
}

static enum ls_status write_into(const char *partial, const struct ls_buf *header, const struct ls_ckpt_tensor *tensors,
                                 const struct ls_ckpt_piece *pieces, int piece_count, const char *name,
                                 struct ls_error *err)
{
    char *path = ls_path_join(partial, name);
    enum ls_status status = path != NULL ? ls_fs_mkdirs(partial, err)
                                         : ls_error_set(err, LS_ENOMEM, "not enough memory to write a checkpoint");

    if (status == LS_OK)
        status = write_file(path, header, tensors, pieces, piece_count, err);
    if (status == LS_OK)
        status = ls_fs_sync_directory(partial, err);
    ls_free(path);
    return status;
}

enum ls_status ls_ckpt_write_part(const char *directory, const struct ls_ckpt_meta *meta,
                                  const struct ls_ckpt_tensor *tensors, int tensor_count,
                                  const struct ls_ckpt_piece *pieces, int piece_count, int part, int parts,
                                  struct ls_ckpt_part *result, struct ls_error *err)
{
    struct numbers numbers;
    struct ls_buf header = {0};
    char *partial = lsi_ckpt_step_path(directory, meta->step, ".partial");
    char name[64];
    enum ls_status status = LS_OK;
    uint64_t bytes = 0;

    if (partial == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to write a checkpoint");
    if (meta->step > LSI_CKPT_MAX_STEP || meta->generation > LSI_CKPT_MAX_STEP || part < 0 || part >= parts ||
        parts > LSI_CKPT_MAX_PARTS)
        status = ls_error_set(err, LS_EINTERNAL, "a checkpoint's step or part is out of range");
    for (int i = 0; i < piece_count && status == LS_OK; i++)
        if (pieces[i].tensor < 0 || pieces[i].tensor >= tensor_count)
            status = ls_error_set(err, LS_EINTERNAL, "a checkpoint's piece has no tensor");
    (void)snprintf(numbers.part, sizeof numbers.part, "%d", part);
    (void)snprintf(numbers.parts, sizeof numbers.parts, "%d", parts);
    (void)snprintf(numbers.step, sizeof numbers.step, "%" PRIu64, meta->step);
    (void)snprintf(numbers.generation, sizeof numbers.generation, "%" PRIu64, meta->generation);
    lsi_ckpt_part_name(part, parts, name);
    if (status == LS_OK)
        status = build_header(&numbers, tensors, pieces, piece_count, &header, err);
    if (status == LS_OK)
        status = write_into(partial, &header, tensors, pieces, piece_count, name, err);
    if (status == LS_OK) {
        bytes = header.length;
        for (int i = 0; i < piece_count; i++)
            bytes += piece_bytes(tensors, &pieces[i]);
        result->bytes = bytes;
        ls_sha256_of(header.data, header.length, result->sha256);
    } else {
        (void)ls_error_wrap(err, "the checkpoint of step %" PRIu64 " could not be written", meta->step);
    }
    ls_buf_deinit(&header);
    ls_free(partial);
    return status;
}
