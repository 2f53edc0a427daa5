/* SPDX-License-Identifier: Apache-2.0 */
/* libdeflate behind inflate.h. It only does whole buffers, which is why the size must be known. */
#include "core/formats/inflate.h"

#include <libdeflate.h>

bool ls_inflate_is_gzip(const void *bytes, size_t length)
{
    const uint8_t *magic = bytes;

    return length >= 2 && magic[0] == 0x1f && magic[1] == 0x8b;
}

static enum ls_status explain(enum libdeflate_result result, size_t used, size_t length, size_t out_length,
                              struct ls_error *err)
{
    switch (result) {
    case LIBDEFLATE_SUCCESS:
        if (used != length)
            return ls_error_set(err, LS_ECORRUPT, "%zu bytes follow the compressed data", length - used);
        return LS_OK;
    case LIBDEFLATE_SHORT_OUTPUT:
        return ls_error_set(err, LS_ECORRUPT, "it is truncated: it decompresses to fewer than the %zu bytes promised",
                            out_length);
    case LIBDEFLATE_INSUFFICIENT_SPACE:
        return ls_error_set(err, LS_ECORRUPT, "it decompresses to more than the %zu bytes promised", out_length);
    case LIBDEFLATE_BAD_DATA:
        break;
    }
    return ls_error_set(err, LS_ECORRUPT, "its compressed data are damaged or truncated");
}

typedef enum libdeflate_result (*decompress_fn)(struct libdeflate_decompressor *, const void *, size_t, void *, size_t,
                                                size_t *, size_t *);

static enum ls_status inflate(decompress_fn decompress, const void *bytes, size_t length, void *out, size_t out_length,
                              struct ls_error *err)
{
    struct libdeflate_decompressor *decompressor = libdeflate_alloc_decompressor();
    enum libdeflate_result result;
    size_t used = 0;

    if (decompressor == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to decompress");
    result = decompress(decompressor, bytes, length, out, out_length, &used, NULL);
    libdeflate_free_decompressor(decompressor);
    return explain(result, used, length, out_length, err);
}

enum ls_status ls_inflate_gzip(const void *bytes, size_t length, void *out, size_t out_length, struct ls_error *err)
{
    return inflate(libdeflate_gzip_decompress_ex, bytes, length, out, out_length, err);
}

enum ls_status ls_inflate_raw(const void *bytes, size_t length, void *out, size_t out_length, struct ls_error *err)
{
    return inflate(libdeflate_deflate_decompress_ex, bytes, length, out, out_length, err);
}

uint32_t ls_inflate_crc32(const void *bytes, size_t length)
{
    return libdeflate_crc32(0, bytes, length);
}
