/* SPDX-License-Identifier: Apache-2.0 */
/* Writing .npz: stored members, no zip64 (a file is limited to 4 GiB, which weights of one model rarely pass). */
#include "core/formats/npz.h"

#include "core/base/fs.h"
#include "core/formats/inflate.h"
#include "core/formats/npy.h"

#include <string.h>

#define ZIP_LIMIT 0xfffffffeu
/* 1 January 1980, midnight: the zero of zip's clock, so that files do not depend on when they were written. */
#define DOS_DATE 0x0021

static void append_u16(struct ls_buf *buf, unsigned value)
{
    uint8_t bytes[2] = {(uint8_t)value, (uint8_t)(value >> 8)};

    (void)ls_buf_append(buf, bytes, 2);
}

/* The fields that the local header and the directory share. */
static void append_fields(struct ls_buf *buf, uint32_t crc, size_t size, size_t name_length)
{
    append_u16(buf, 20);    /* version needed */
    append_u16(buf, 0x800); /* names are UTF-8 */
    append_u16(buf, 0);     /* stored */
    append_u16(buf, 0);
    append_u16(buf, DOS_DATE);
    (void)ls_buf_append_u32(buf, crc);
    (void)ls_buf_append_u32(buf, (uint32_t)size);
    (void)ls_buf_append_u32(buf, (uint32_t)size);
    append_u16(buf, (unsigned)name_length);
    append_u16(buf, 0);
}

enum ls_status ls_npz_append(struct ls_npz_writer *writer, const char *name, const struct ls_view *view,
                             struct ls_error *err)
{
    struct ls_buf npy = {0};
    enum ls_status status = ls_npy_append(&npy, view, err);
    size_t name_length = strlen(name) + 4;
    size_t offset = writer->bytes.length;
    uint32_t crc;

    if (status != LS_OK)
        goto free_npy;
    if (name_length > 0xffff || writer->count == 0xfffe || offset + npy.length + 0x10000 > ZIP_LIMIT) {
        status = ls_error_set(err, LS_EUNSUPPORTED,
                              "array %.200s does not fit: an .npz written here holds 4 GiB and "
                              "65534 arrays at most",
                              name);
        goto free_npy;
    }
    crc = ls_inflate_crc32(npy.data, npy.length);
    (void)ls_buf_append(&writer->bytes, "PK\3\4", 4);
    append_fields(&writer->bytes, crc, npy.length, name_length);
    (void)ls_buf_append(&writer->bytes, name, name_length - 4);
    (void)ls_buf_append(&writer->bytes, ".npy", 4);
    (void)ls_buf_append(&writer->bytes, npy.data, npy.length);
    (void)ls_buf_append(&writer->directory, "PK\1\2", 4);
    append_u16(&writer->directory, 20);
    append_fields(&writer->directory, crc, npy.length, name_length);
    append_u16(&writer->directory, 0);
    append_u16(&writer->directory, 0);
    append_u16(&writer->directory, 0);
    (void)ls_buf_append_u32(&writer->directory, 0);
    (void)ls_buf_append_u32(&writer->directory, (uint32_t)offset);
    (void)ls_buf_append(&writer->directory, name, name_length - 4);
    (void)ls_buf_append(&writer->directory, ".npy", 4);
    writer->count++;
    if (writer->bytes.failed || writer->directory.failed)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to write array %.200s", name);
free_npy:
    ls_buf_deinit(&npy);
    return status;
}

enum ls_status ls_npz_finish(struct ls_npz_writer *writer, struct ls_error *err)
{
    size_t offset = writer->bytes.length;

    if (writer->directory.length > 0)
        (void)ls_buf_append(&writer->bytes, writer->directory.data, writer->directory.length);
    (void)ls_buf_append(&writer->bytes, "PK\5\6\0\0\0\0", 8);
    append_u16(&writer->bytes, (unsigned)writer->count);
    append_u16(&writer->bytes, (unsigned)writer->count);
    (void)ls_buf_append_u32(&writer->bytes, (uint32_t)writer->directory.length);
    (void)ls_buf_append_u32(&writer->bytes, (uint32_t)offset);
    append_u16(&writer->bytes, 0);
    if (writer->bytes.failed)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to write the arrays");
    return LS_OK;
}

enum ls_status ls_npz_save(struct ls_npz_writer *writer, const char *path, struct ls_error *err)
{
    enum ls_status status = ls_npz_finish(writer, err);

    if (status == LS_OK)
        status = ls_fs_write_atomic(path, writer->bytes.data, writer->bytes.length, err);
    return status;
}

void ls_npz_writer_deinit(struct ls_npz_writer *writer)
{
    ls_buf_deinit(&writer->bytes);
    ls_buf_deinit(&writer->directory);
}
