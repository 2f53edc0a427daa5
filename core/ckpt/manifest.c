/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest as a structure: pieces, and the check that they are every tensor exactly once. */
#include "core/ckpt/ckpt_internal.h"

#include "core/base/alloc.h"

#include <stdlib.h>
#include <string.h>

void lsi_manifest_deinit(struct lsi_manifest *manifest)
{
    for (int i = 0; i < manifest->piece_count; i++)
        ls_free(manifest->pieces[i].crc);
    ls_free(manifest->pieces);
    for (int i = 0; i < manifest->tensor_count; i++)
        ls_free((void *)(uintptr_t)manifest->tensors[i].path);
    ls_free(manifest->tensors);
    ls_free(manifest->parts);
    ls_free(manifest->meta);
    *manifest = (struct lsi_manifest){0};
}

struct lsi_piece *lsi_manifest_add_piece(struct lsi_manifest *manifest, uint64_t bytes)
{
    struct lsi_piece *piece;

    if (manifest->piece_count == manifest->piece_capacity) {
        int capacity = manifest->piece_capacity < 16 ? 16 : 2 * manifest->piece_capacity;
        struct lsi_piece *grown = ls_realloc(manifest->pieces, (size_t)capacity, sizeof *grown);

        if (grown == NULL)
            return NULL;
        manifest->pieces = grown;
        manifest->piece_capacity = capacity;
    }
    piece = &manifest->pieces[manifest->piece_count];
    *piece = (struct lsi_piece){.bytes = bytes, .crc = ls_alloc_zeroed(lsi_piece_blocks(bytes), sizeof *piece->crc)};
    if (piece->crc == NULL)
        return NULL;
    manifest->piece_count++;
    return piece;
}

static int compare_pieces(const void *a, const void *b)
{
    const struct lsi_piece *x = a, *y = b;

    if (x->tensor != y->tensor)
        return x->tensor < y->tensor ? -1 : 1;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->count < y->count ? -1 : x->count > y->count;
}

enum ls_status lsi_manifest_check_tensors(struct lsi_manifest *manifest, struct ls_error *err)
{
    int at = 0;

    if (manifest->piece_count > 0)
        qsort(manifest->pieces, (size_t)manifest->piece_count, sizeof *manifest->pieces, compare_pieces);
    for (int t = 0; t < manifest->tensor_count; t++) {
        const struct ls_ckpt_tensor *tensor = &manifest->tensors[t];
        size_t size = ls_dtype_size(tensor->dtype);
        int64_t covered = 0, total = ls_shape_count(&tensor->shape);

        for (; at < manifest->piece_count && manifest->pieces[at].tensor == t; at++) {
            const struct lsi_piece *piece = &manifest->pieces[at];

            if (piece->begin != covered || piece->count < 0 || piece->count > total - covered ||
                piece->bytes != (uint64_t)piece->count * size)
                return ls_error_set(err, LS_ECORRUPT, "tensor %.200s: its pieces overlap, leave a hole or do not fit",
                                    tensor->path);
            covered += piece->count;
        }
        if (covered != total)
            return ls_error_set(err, LS_ECORRUPT, "tensor %.200s: only %lld of its %lld elements are there",
                                tensor->path, (long long)covered, (long long)total);
    }
    if (at != manifest->piece_count)
        return ls_error_set(err, LS_ECORRUPT, "a piece belongs to no tensor");
    return LS_OK;
}
