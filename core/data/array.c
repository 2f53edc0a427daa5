/* SPDX-License-Identifier: Apache-2.0 */
/* One data file of any format as a decoded array. */
#include "core/data/array.h"

#include "core/base/alloc.h"
#include "core/base/file.h"
#include "core/base/fs.h"
#include "core/base/str.h"
#include "core/formats/idx.h"
#include "core/formats/npy.h"

#include <string.h>

#define MAX_BYTES ((size_t)1 << 40)
#define HEADER_BYTES 65536

static enum ls_status decode_idx(const struct ls_buf *file, struct lsi_array *array, struct ls_error *err)
{
    struct ls_idx_array decoded;
    enum ls_status status = ls_idx_decode(file->data, file->length, MAX_BYTES, &decoded, err);

    if (status == LS_OK) {
        array->view = decoded.view;
        array->memory = decoded.memory;
    }
    return status;
}

static enum ls_status decode_npy(const struct ls_buf *file, struct lsi_array *array, struct ls_error *err)
{
    enum ls_status status = ls_npy_decode(file->data, file->length, &array->view, err);

    if (status == LS_OK)
        array->memory = array->view.data;
    return status;
}

static enum ls_status idx_into(const struct ls_buf *file, struct ls_raw_array *raw, size_t data_offset, void *out,
                               struct ls_error *err)
{
    size_t bytes = 0;
    enum ls_dtype dtype = LS_U8;
    enum ls_status status = ls_raw_bytes(raw, &bytes, err);

    if (status == LS_OK)
        status = ls_raw_dtype(raw, &dtype, err);
    if (status == LS_OK && ls_dtype_size(dtype) != raw->size)
        return ls_error_set(err, LS_EUNSUPPORTED, "its elements are widened");
    if (status == LS_OK)
        status = ls_idx_unpack(file->data, file->length, data_offset, bytes, out, err);
    if (status != LS_OK)
        return status;
    raw->data = out;
    ls_raw_convert(raw, out);
    return LS_OK;
}

static enum ls_status npy_into(const struct ls_buf *file, struct ls_raw_array *raw, size_t data_offset, void *out,
                               struct ls_error *err)
{
    enum ls_status status = ls_npy_parse(file->data, file->length, raw, err);

    (void)data_offset;
    if (status == LS_OK)
        ls_raw_convert(raw, out);
    return status;
}

static const struct lsi_format formats[] = {{"idx", decode_idx, ls_idx_parse_header, idx_into},
                                            {"npy", decode_npy, ls_npy_parse_header, npy_into}};

const struct lsi_format *lsi_format_find(const char *name, struct ls_error *err)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, name) == 0)
            return &formats[i];
    (void)ls_error_set(err, LS_EINVAL, "the data format %.60s is not known; idx and npy are", name);
    return NULL;
}

static enum ls_status check_samples(const struct ls_shape *shape, struct ls_error *err)
{
    if (shape->rank < 1)
        return ls_error_set(err, LS_EINVAL, "it holds a single number; the first dimension must count samples");
    if (ls_shape_count(shape) == 0)
        return ls_error_set(err, LS_EINVAL, "it holds no samples");
    return LS_OK;
}

enum ls_status lsi_array_read(const char *path, const char *format, struct lsi_array *array, struct ls_error *err)
{
    const struct lsi_format *known = lsi_format_find(format, err);
    struct lsi_array made = {0};
    struct ls_buf file = {0};
    enum ls_status status;

    if (known == NULL)
        return LS_EINVAL;
    status = ls_fs_read(path, MAX_BYTES, &file, err);
    if (status == LS_OK) {
        status = known->decode(&file, &made, err);
        if (status == LS_OK)
            status = check_samples(&made.view.shape, err);
        if (status != LS_OK)
            (void)ls_error_wrap(err, "cannot use %s", path);
    }
    ls_buf_deinit(&file);
    if (status == LS_OK)
        *array = made;
    else
        lsi_array_deinit(&made);
    return status;
}

void lsi_array_deinit(struct lsi_array *array)
{
    ls_free(array->memory);
    ls_share_close(array->share);
    *array = (struct lsi_array){0};
}

enum ls_status ls_dataset_file_count(const char *path, const char *format, int64_t *count, struct ls_error *err)
{
    const struct lsi_format *known = lsi_format_find(format, err);
    struct ls_file *file = NULL;
    struct ls_raw_array raw = {0};
    uint8_t *bytes = NULL;
    size_t length, data_offset;
    enum ls_status status;

    if (known == NULL)
        return LS_EINVAL;
    status = ls_file_open(path, &file, err);
    if (status != LS_OK)
        return status;
    length = ls_file_length(file) < HEADER_BYTES ? (size_t)ls_file_length(file) : HEADER_BYTES;
    bytes = ls_alloc(length);
    status = bytes != NULL ? ls_file_read(file, 0, bytes, length, err)
                           : ls_error_set(err, LS_ENOMEM, "not enough memory to read %s", path);
    if (status == LS_OK) {
        status = known->parse_header(bytes, length, &raw, &data_offset, err);
        if (status == LS_OK)
            status = ls_raw_bytes(&raw, &length, err);
        if (status == LS_OK)
            status = check_samples(&raw.shape, err);
        if (status != LS_OK)
            (void)ls_error_wrap(err, "cannot use %s", path);
    }
    ls_free(bytes);
    ls_file_close(file);
    if (status == LS_OK)
        *count = raw.shape.dim[0];
    return status;
}
