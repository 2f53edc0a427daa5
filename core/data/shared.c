/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A decoded file that the processes of a host share. The lock of the data file itself lets one process decode while the
 * others wait, so it needs no file of its own; the memory is found by a digest of the file's path-independent identity
 * and begins with a description of the array. Every failure here only costs the sharing.
 */
#include "core/data/array.h"

#include "core/base/alloc.h"
#include "core/base/file.h"
#include "core/base/fs.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Smaller arrays are decoded faster than they are found. */
#define MIN_BYTES ((size_t)1 << 20)
#define MAX_BYTES ((size_t)1 << 40)
#define HEADER_BYTES 65536
#define PAGE 4096
/* Longer than any decoding of a file that is worth waiting for; afterwards everyone decodes for themselves. */
#define WAIT_MS 10000
#define MAGIC UINT64_C(0x31657261687373ff)

/* The first page of the memory. */
struct description {
    uint64_t magic, identity;
    int64_t dtype, rank, dim[LS_MAX_RANK];
};

static void describe(struct ls_share *share, uint64_t identity, const struct ls_view *view)
{
    struct description *first = ls_share_memory(share);

    first->magic = MAGIC;
    first->identity = identity;
    first->dtype = view->dtype;
    first->rank = view->shape.rank;
    memcpy(first->dim, view->shape.dim, sizeof first->dim);
}

/* The view that a share describes; LS_EINVAL where it is not one of this file. */
static enum ls_status view_of(const struct ls_share *share, uint64_t identity, struct ls_view *view)
{
    const struct description *first = ls_share_memory(share);

    if (ls_share_bytes(share) < PAGE || first->magic != MAGIC || first->identity != identity || first->rank < 1 ||
        first->rank > LS_MAX_RANK || ls_dtype_size((enum ls_dtype)first->dtype) == 0)
        return LS_EINVAL;
    view->dtype = (enum ls_dtype)first->dtype;
    view->shape.rank = (int)first->rank;
    memcpy(view->shape.dim, first->dim, sizeof first->dim);
    if (ls_shape_check(&view->shape, view->dtype, NULL) != LS_OK ||
        ls_view_bytes(view) != ls_share_bytes(share) - PAGE || ls_shape_count(&view->shape) == 0)
        return LS_EINVAL;
    view->data = (uint8_t *)ls_share_memory(share) + PAGE;
    return LS_OK;
}

/* The array that a share describes. share: taken, also where it describes none. */
static enum ls_status use(struct ls_share *share, uint64_t identity, struct lsi_array *array)
{
    enum ls_status status = view_of(share, identity, &array->view);

    if (status == LS_OK)
        array->share = share;
    else
        ls_share_close(share);
    return status;
}

/* dtype and shape by the header of the file in memory. */
static enum ls_status plan(const struct lsi_format *format, const struct ls_buf *file, struct ls_raw_array *raw,
                           size_t *data_offset, struct ls_view *view)
{
    size_t length = file->length < HEADER_BYTES ? file->length : HEADER_BYTES, bytes;

    if (format->parse_header(file->data, length, raw, data_offset, NULL) != LS_OK ||
        ls_raw_bytes(raw, &bytes, NULL) != LS_OK || ls_raw_dtype(raw, &view->dtype, NULL) != LS_OK)
        return LS_EINVAL;
    view->shape = raw->shape;
    if (view->shape.rank < 1 || ls_view_bytes(view) < MIN_BYTES || ls_view_bytes(view) / 2000 > file->length)
        return LS_EINVAL;
    return LS_OK;
}

static enum ls_status decode_shared(const char *path, const struct lsi_format *format, const char *name,
                                    uint64_t identity, struct lsi_array *array)
{
    struct ls_buf file = {0};
    struct ls_raw_array raw = {0};
    struct ls_view view = {0};
    size_t data_offset = 0;
    struct ls_share *share = NULL;
    enum ls_status status = ls_fs_read(path, MAX_BYTES, &file, NULL);

    if (status == LS_OK)
        status = plan(format, &file, &raw, &data_offset, &view);
    if (status == LS_OK)
        status = ls_share_create(name, PAGE + ls_view_bytes(&view), &share, NULL);
    if (status == LS_OK)
        status = format->decode_into(&file, &raw, data_offset, (uint8_t *)ls_share_memory(share) + PAGE, NULL);
    if (status == LS_OK) {
        describe(share, identity, &view);
        status = ls_share_publish(share, NULL);
    }
    ls_buf_deinit(&file);
    if (status == LS_OK)
        return use(share, identity, array);
    ls_share_close(share);
    return status;
}

static enum ls_status find_shared(const char *name, uint64_t identity, struct lsi_array *array)
{
    struct ls_share *share = NULL;
    enum ls_status status = ls_share_find(name, &share, NULL);

    return status == LS_OK ? use(share, identity, array) : status;
}

enum ls_status lsi_array_read_shared(const char *path, const char *format, struct lsi_array *array)
{
    const struct lsi_format *known = lsi_format_find(format, NULL);
    struct lsi_array made = {0};
    struct ls_file_lock *lock = NULL;
    struct ls_file *file = NULL;
    char name[LS_SHARE_NAME + 1];
    uint64_t identity;
    enum ls_status status;

    if (known == NULL)
        return LS_EINVAL;
    status = ls_file_open(path, &file, NULL);
    if (status != LS_OK)
        return status;
    identity = ls_file_identity(file);
    ls_file_close(file);
    (void)snprintf(name, sizeof name, "%016" PRIx64 "-%.20s", identity, format);
    status = find_shared(name, identity, &made);
    if (status != LS_OK) {
        status = ls_file_lock_wait(path, WAIT_MS, &lock, NULL);
        /* Whoever held the lock has published by now. */
        if (status == LS_OK && find_shared(name, identity, &made) != LS_OK)
            status = decode_shared(path, known, name, identity, &made);
        ls_file_lock_close(lock);
    }
    if (status == LS_OK)
        *array = made;
    return status;
}
