/* SPDX-License-Identifier: Apache-2.0 */
/* IDX decoder: the header says how many bytes there must be; memory is taken only after it was believed. */
#include "core/formats/idx.h"

#include "core/base/alloc.h"
#include "core/base/buf.h"
#include "core/formats/inflate.h"

#include <string.h>

#define MAX_HEADER (4 + 4 * LS_MAX_RANK)

static enum ls_status read_type(uint8_t type, struct ls_raw_array *raw, struct ls_error *err)
{
    static const struct {
        uint8_t type;
        char kind;
        size_t size;
    } table[] = {{0x08, 'u', 1}, {0x09, 'i', 1}, {0x0b, 'i', 2}, {0x0c, 'i', 4}, {0x0d, 'f', 4}, {0x0e, 'f', 8}};

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (table[i].type == type) {
            raw->kind = table[i].kind;
            raw->size = table[i].size;
            raw->big_endian = true;
            return LS_OK;
        }
    }
    return ls_error_set(err, LS_ECORRUPT, "its element type 0x%02x is none of IDX", type);
}

static enum ls_status parse_plain(const void *bytes, size_t length, struct ls_raw_array *raw, size_t *data_offset,
                                  struct ls_error *err)
{
    struct ls_reader reader = ls_reader_over(bytes, length);
    uint8_t zero0 = ls_reader_u8(&reader), zero1 = ls_reader_u8(&reader);
    uint8_t type = ls_reader_u8(&reader), rank = ls_reader_u8(&reader);
    struct ls_raw_array found = {0};
    enum ls_status status;

    if (reader.failed)
        return ls_error_set(err, LS_ECORRUPT, "it is truncated inside its header");
    if (zero0 != 0 || zero1 != 0)
        return ls_error_set(err, LS_ECORRUPT, "it is not an IDX file (it does not begin with two zero bytes)");
    status = read_type(type, &found, err);
    if (status != LS_OK)
        return status;
    if (rank < 1 || rank > LS_MAX_RANK)
        return ls_error_set(err, LS_ECORRUPT, "it has %d dimensions; 1 to %d are read", rank, LS_MAX_RANK);
    found.shape.rank = rank;
    for (int i = 0; i < rank; i++)
        found.shape.dim[i] = ls_reader_u32_be(&reader);
    if (reader.failed)
        return ls_error_set(err, LS_ECORRUPT, "it is truncated inside its header");
    *data_offset = reader.position;
    *raw = found;
    return LS_OK;
}

enum ls_status ls_idx_parse_header(const void *bytes, size_t length, struct ls_raw_array *raw, size_t *data_offset,
                                   struct ls_error *err)
{
    uint8_t header[MAX_HEADER];
    size_t got;
    enum ls_status status;

    if (!ls_inflate_is_gzip(bytes, length))
        return parse_plain(bytes, length, raw, data_offset, err);
    status = ls_inflate_gzip_prefix(bytes, length, header, sizeof header, &got, err);
    return status == LS_OK ? parse_plain(header, got, raw, data_offset, err) : status;
}

static enum ls_status check_plain_length(size_t wanted, size_t got, struct ls_error *err)
{
    if (got < wanted)
        return ls_error_set(err, LS_ECORRUPT, "it is truncated: its dimensions need %zu bytes, the file has %zu",
                            wanted, got);
    if (got > wanted)
        return ls_error_set(err, LS_ECORRUPT, "it has trailing bytes: its dimensions need %zu bytes, the file has %zu",
                            wanted, got);
    return LS_OK;
}

static enum ls_status check_length(const void *bytes, size_t length, size_t wanted, struct ls_error *err)
{
    if (!ls_inflate_is_gzip(bytes, length))
        return check_plain_length(wanted, length, err);
    if (wanted / LS_INFLATE_MAX_RATIO > length)
        return ls_error_set(err, LS_ECORRUPT,
                            "it is truncated: its dimensions need %zu bytes, which %zu compressed bytes cannot hold",
                            wanted, length);
    return LS_OK;
}

enum ls_status ls_idx_unpack(const void *bytes, size_t length, size_t data_offset, size_t element_bytes,
                             uint8_t *elements, struct ls_error *err)
{
    size_t wanted = data_offset + element_bytes;
    enum ls_status status = check_length(bytes, length, wanted, err);

    if (status == LS_OK && ls_inflate_is_gzip(bytes, length))
        status = ls_inflate_gzip(bytes, length, elements - data_offset, wanted, err);
    else if (status == LS_OK)
        memcpy(elements - data_offset, bytes, wanted);
    return status;
}

/* Memory for the whole file with elements on an aligned place; *memory is to be freed, *elements points into it. */
static enum ls_status unpack(const void *bytes, size_t length, size_t data_offset, size_t element_bytes, void **memory,
                             uint8_t **elements, struct ls_error *err)
{
    enum ls_status status = check_length(bytes, length, data_offset + element_bytes, err);
    uint8_t *block;

    if (status != LS_OK)
        return status;
    /* Not ls_alloc_aligned, which would touch every page to zero it. */
    block = ls_alloc(2 * LS_ALIGNMENT + element_bytes);
    if (block == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for its %zu bytes", element_bytes);
    /* The header is shorter than the alignment, so it has room in front. */
    *elements = block + 2 * LS_ALIGNMENT - (uintptr_t)block % LS_ALIGNMENT;
    status = ls_idx_unpack(bytes, length, data_offset, element_bytes, *elements, err);
    if (status == LS_OK)
        *memory = block;
    else
        ls_free(block);
    return status;
}

/* Widens (int8, int16) into new memory where elements change their size; swaps bytes in place otherwise. */
static enum ls_status convert(struct ls_raw_array *raw, struct ls_idx_array *array, struct ls_error *err)
{
    void *wide;

    if (ls_dtype_size(array->view.dtype) == raw->size) {
        ls_raw_convert(raw, (void *)(uintptr_t)raw->data);
        array->view.data = (void *)(uintptr_t)raw->data;
        return LS_OK;
    }
    wide = ls_alloc_aligned(ls_view_bytes(&array->view));
    if (wide == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for its elements");
    ls_raw_convert(raw, wide);
    ls_free(array->memory);
    array->memory = wide;
    array->view.data = wide;
    return LS_OK;
}

enum ls_status ls_idx_decode(const void *bytes, size_t length, size_t limit, struct ls_idx_array *array,
                             struct ls_error *err)
{
    struct ls_raw_array raw;
    struct ls_idx_array made = {0};
    size_t data_offset, element_bytes;
    uint8_t *elements = NULL;
    enum ls_status status = ls_idx_parse_header(bytes, length, &raw, &data_offset, err);

    if (status == LS_OK)
        status = ls_raw_bytes(&raw, &element_bytes, err);
    if (status == LS_OK)
        status = ls_raw_dtype(&raw, &made.view.dtype, err);
    if (status == LS_OK && element_bytes > limit)
        status =
            ls_error_set(err, LS_EINVAL, "its dimensions need %zu bytes; at most %zu are read", element_bytes, limit);
    if (status == LS_OK)
        status = unpack(bytes, length, data_offset, element_bytes, &made.memory, &elements, err);
    if (status != LS_OK)
        return status;
    raw.data = elements;
    made.view.shape = raw.shape;
    status = convert(&raw, &made, err);
    if (status != LS_OK) {
        ls_free(made.memory);
        return status;
    }
    *array = made;
    return LS_OK;
}
