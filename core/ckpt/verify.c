/* SPDX-License-Identifier: Apache-2.0 */
/* One checkpoint: opening it verifies every byte; reading checks each block once more while it copies. */
#include "core/ckpt/ckpt_open.h"

#include "core/base/alloc.h"
#include "core/base/file.h"
#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/base/str.h"

#include <stdlib.h>
#include <string.h>

#define MAX_MANIFEST ((size_t)1 << 30)

static enum ls_status open_part(struct ls_ckpt *ckpt, int part, uint64_t *data_begin, struct ls_error *err)
{
    char name[64];
    char *path;
    uint8_t *header = NULL;
    enum ls_status status;

    lsi_ckpt_part_name(part, ckpt->manifest.part_count, name);
    path = ls_path_join(ckpt->path, name);
    status = path != NULL ? ls_file_open(path, &ckpt->files[part], err)
                          : ls_error_set(err, LS_ENOMEM, "not enough memory to load a checkpoint");
    if (status == LS_ENOENT)
        status = ls_error_set(err, LS_ECORRUPT, "it is missing");
    if (status == LS_OK)
        status = lsi_part_read_header(ckpt->files[part], &ckpt->manifest.parts[part], &header, data_begin, err);
    if (status != LS_OK)
        (void)ls_error_wrap(err, "its part %s", name);
    ls_free(header);
    ls_free(path);
    return status;
}

static int compare_places(const void *a, const void *b)
{
    const struct lsi_piece *x = *(const struct lsi_piece *const *)a, *y = *(const struct lsi_piece *const *)b;

    if (x->part != y->part)
        return x->part < y->part ? -1 : 1;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

/* Pieces must be all of a part behind its header, so that every byte is under a checksum. */
static enum ls_status check_places(struct lsi_piece *const *pieces, const struct lsi_manifest *manifest,
                                   const uint64_t *data_begin, struct ls_error *err)
{
    int at = 0;

    for (int part = 0; part < manifest->part_count; part++) {
        uint64_t end = data_begin[part];

        for (; at < manifest->piece_count && pieces[at]->part == part; at++) {
            if (pieces[at]->offset != end)
                return ls_error_set(err, LS_ECORRUPT, "its manifest does not fit part %d", part);
            end += pieces[at]->bytes;
        }
        if (end != manifest->parts[part].bytes)
            return ls_error_set(err, LS_ECORRUPT, "its manifest does not fit part %d", part);
    }
    return LS_OK;
}

/* Reads a piece block by block into out, or into one scratch block where out is NULL. */
static enum ls_status read_piece(const struct ls_ckpt *ckpt, const struct lsi_piece *piece, uint8_t *out,
                                 uint8_t *scratch, struct ls_error *err)
{
    for (size_t block = 0; block < lsi_piece_blocks(piece->bytes); block++) {
        uint64_t begin = (uint64_t)block * LSI_CKPT_BLOCK, left = piece->bytes - begin;
        size_t length = (size_t)(left < LSI_CKPT_BLOCK ? left : LSI_CKPT_BLOCK);
        uint8_t *place = out != NULL ? out + begin : scratch;
        enum ls_status status = ls_file_read(ckpt->files[piece->part], piece->offset + begin, place, length, err);

        if (status != LS_OK)
            return status;
        if (ls_crc32c(0, place, length) != piece->crc[block])
            return ls_error_set(err, LS_ECORRUPT, "part %d is damaged at byte %llu (tensor %.200s)", piece->part,
                                (unsigned long long)(piece->offset + begin),
                                ckpt->manifest.tensors[piece->tensor].path);
    }
    return LS_OK;
}

static enum ls_status verify_pieces(struct ls_ckpt *ckpt, const uint64_t *data_begin, struct ls_error *err)
{
    const struct lsi_manifest *manifest = &ckpt->manifest;
    struct lsi_piece **order = ls_alloc_zeroed((size_t)manifest->piece_count, sizeof *order);
    uint8_t *scratch = ls_alloc((size_t)LSI_CKPT_BLOCK);
    enum ls_status status;

    if (order == NULL || scratch == NULL) {
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to load a checkpoint");
        goto free_memory;
    }
    for (int i = 0; i < manifest->piece_count; i++)
        order[i] = &manifest->pieces[i];
    qsort(order, (size_t)manifest->piece_count, sizeof *order, compare_places);
    status = check_places(order, manifest, data_begin, err);
    for (int i = 0; i < manifest->piece_count && status == LS_OK; i++)
        status = read_piece(ckpt, order[i], NULL, scratch, err);
free_memory:
    ls_free(scratch);
    ls_free(order);
    return status;
}

static enum ls_status read_manifest(struct ls_ckpt *ckpt, struct ls_error *err)
{
    struct ls_buf text = {0};
    char *path = ls_path_join(ckpt->path, LSI_CKPT_MANIFEST);
    enum ls_status status = path != NULL ? ls_fs_read(path, MAX_MANIFEST, &text, err)
                                         : ls_error_set(err, LS_ENOMEM, "not enough memory to load a checkpoint");

    if (status == LS_ENOENT)
        status = ls_error_set(err, LS_ECORRUPT, "its " LSI_CKPT_MANIFEST " is missing");
    if (status == LS_OK)
        status = lsi_manifest_parse((const char *)text.data, text.length, &ckpt->manifest, err);
    ls_buf_deinit(&text);
    ls_free(path);
    return status;
}

static enum ls_status open_all(struct ls_ckpt *ckpt, struct ls_error *err)
{
    uint64_t *data_begin;
    enum ls_status status = read_manifest(ckpt, err);

    if (status != LS_OK)
        return status;
    ckpt->files = ls_alloc_zeroed((size_t)ckpt->manifest.part_count, sizeof *ckpt->files);
    data_begin = ls_alloc_zeroed((size_t)ckpt->manifest.part_count, sizeof *data_begin);
    if (ckpt->files == NULL || data_begin == NULL)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to load a checkpoint");
    for (int i = 0; i < ckpt->manifest.part_count && status == LS_OK; i++)
        status = open_part(ckpt, i, &data_begin[i], err);
    if (status == LS_OK)
        status = verify_pieces(ckpt, data_begin, err);
    ls_free(data_begin);
    return status;
}

enum ls_status lsi_ckpt_open_one(const char *path, struct ls_ckpt **ckpt, struct ls_error *err)
{
    struct ls_ckpt *made = ls_alloc_zeroed(1, sizeof *made);
    enum ls_status status;

    if (made != NULL)
        made->path = ls_str_copy(path);
    if (made == NULL || made->path == NULL)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to load a checkpoint");
    else
        status = open_all(made, err);
    if (status != LS_OK) {
        (void)ls_error_wrap(err, "the checkpoint %s", path);
        ls_ckpt_close(made);
        return status;
    }
    *ckpt = made;
    return LS_OK;
}

void ls_ckpt_close(struct ls_ckpt *ckpt)
{
    if (ckpt == NULL)
        return;
    for (int i = 0; ckpt->files != NULL && i < ckpt->manifest.part_count; i++)
        ls_file_close(ckpt->files[i]);
    ls_free(ckpt->files);
    lsi_manifest_deinit(&ckpt->manifest);
    ls_free(ckpt->path);
    ls_free(ckpt);
}

enum ls_status ls_ckpt_read(const struct ls_ckpt *ckpt, int index, void *data, struct ls_error *err)
{
    const struct lsi_manifest *manifest = &ckpt->manifest;
    size_t size = ls_dtype_size(manifest->tensors[index].dtype);

    for (int i = 0; i < manifest->piece_count; i++) {
        const struct lsi_piece *piece = &manifest->pieces[i];
        enum ls_status status;

        if (piece->tensor != index)
            continue;
        status = read_piece(ckpt, piece, (uint8_t *)data + (size_t)piece->begin * size, NULL, err);
        if (status != LS_OK) {
            (void)ls_error_wrap(err, "the checkpoint %s", ckpt->path);
            return status;
        }
    }
    return LS_OK;
}
