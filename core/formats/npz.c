/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading .npz (PKWARE's APPNOTE 6.3, the parts that zip files of numpy use). The central directory is believed only
 * where it agrees with the file's length; members must not overlap, so that a small file cannot unpack without end.
 */
#include "core/formats/npz.h"

#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/base/str.h"
#include "core/formats/inflate.h"
#include "core/formats/npy.h"

#include <stdlib.h>
#include <string.h>

#define MAX_MEMBERS 100000
#define MAX_FILE_BYTES ((size_t)1 << 40)
#define MAX_ARRAY_BYTES ((uint64_t)1 << 40)

struct member {
    char *name;
    struct ls_view view;
};

struct ls_npz {
    struct member *members;
    int count;
};

/* One entry of the central directory. */
struct entry {
    uint16_t flags, method;
    uint32_t crc;
    uint64_t packed, unpacked, offset;
    const char *name;
    size_t name_length;
};

static uint16_t read_u16(struct ls_reader *reader)
{
    uint16_t low = ls_reader_u8(reader);

    return (uint16_t)(low | ls_reader_u8(reader) << 8);
}

/* Finds the end-of-directory record: where the directory begins, its bytes, how many entries. */
static enum ls_status find_directory(const uint8_t *bytes, size_t length, uint64_t *offset, uint64_t *count,
                                     struct ls_error *err)
{
    size_t at, lowest = length > 22 + 65535 ? length - 22 - 65535 : 0;
    struct ls_reader reader;

    if (length < 22)
        return ls_error_set(err, LS_ECORRUPT, "it is too short to be a zip file");
    for (at = length - 22; memcmp(bytes + at, "PK\5\6", 4) != 0; at--)
        if (at == lowest)
            return ls_error_set(err, LS_ECORRUPT, "it has no zip directory; it is truncated or no .npz file");
    reader = ls_reader_over(bytes + at + 10, length - at - 10);
    *count = read_u16(&reader);
    (void)ls_reader_u32(&reader);
    *offset = ls_reader_u32(&reader);
    if ((*count == 0xffff || *offset == 0xffffffff) && at >= 20 && memcmp(bytes + at - 20, "PK\6\7", 4) == 0) {
        uint64_t end;

        reader = ls_reader_over(bytes + at - 12, 8);
        end = ls_reader_u64(&reader);
        if (end > at || at - end < 56 || memcmp(bytes + end, "PK\6\6", 4) != 0)
            return ls_error_set(err, LS_ECORRUPT, "its zip64 directory is damaged");
        reader = ls_reader_over(bytes + end + 32, 24);
        *count = ls_reader_u64(&reader);
        (void)ls_reader_u64(&reader);
        *offset = ls_reader_u64(&reader);
    }
    if (*offset > at || *count > MAX_MEMBERS)
        return ls_error_set(err, LS_ECORRUPT, "its zip directory is damaged");
    return LS_OK;
}

static void read_zip64(struct ls_reader extra, struct entry *entry)
{
    while (ls_reader_left(&extra) >= 4) {
        uint16_t id = read_u16(&extra);
        uint16_t size = read_u16(&extra);
        const void *field = ls_reader_take(&extra, size);
        struct ls_reader reader;

        if (field == NULL || id != 1)
            continue;
        reader = ls_reader_over(field, size);
        if (entry->unpacked == 0xffffffff)
            entry->unpacked = ls_reader_u64(&reader);
        if (entry->packed == 0xffffffff)
            entry->packed = ls_reader_u64(&reader);
        if (entry->offset == 0xffffffff)
            entry->offset = ls_reader_u64(&reader);
        return;
    }
}

static enum ls_status read_entry(struct ls_reader *reader, struct entry *entry, struct ls_error *err)
{
    const char *magic = ls_reader_take(reader, 4);
    uint16_t extra_length, comment_length;
    const void *extra;

    if (magic == NULL || memcmp(magic, "PK\1\2", 4) != 0)
        return ls_error_set(err, LS_ECORRUPT, "its zip directory is damaged");
    (void)ls_reader_u32(reader);
    entry->flags = read_u16(reader);
    entry->method = read_u16(reader);
    (void)ls_reader_u32(reader);
    entry->crc = ls_reader_u32(reader);
    entry->packed = ls_reader_u32(reader);
    entry->unpacked = ls_reader_u32(reader);
    entry->name_length = read_u16(reader);
    extra_length = read_u16(reader);
    comment_length = read_u16(reader);
    (void)ls_reader_u64(reader);
    entry->offset = ls_reader_u32(reader);
    entry->name = ls_reader_take(reader, entry->name_length);
    extra = ls_reader_take(reader, extra_length);
    (void)ls_reader_take(reader, comment_length);
    if (reader->failed)
        return ls_error_set(err, LS_ECORRUPT, "its zip directory is truncated");
    read_zip64(ls_reader_over(extra, extra_length), entry);
    return LS_OK;
}

/* Where the member's bytes begin, checked against the file. */
static enum ls_status locate(const uint8_t *bytes, size_t length, const struct entry *entry, const uint8_t **data,
                             struct ls_error *err)
{
    struct ls_reader reader;
    uint64_t begin;

    if (entry->offset > length || length - entry->offset < 30 || memcmp(bytes + entry->offset, "PK\3\4", 4) != 0)
        return ls_error_set(err, LS_ECORRUPT, "the zip directory points to no member");
    reader = ls_reader_over(bytes + entry->offset + 26, 4);
    begin = entry->offset + 30 + read_u16(&reader);
    begin += read_u16(&reader);
    if (begin > length || entry->packed > length - begin)
        return ls_error_set(err, LS_ECORRUPT, "it is truncated");
    if (entry->unpacked > MAX_ARRAY_BYTES ||
        (entry->method == 0 ? entry->unpacked != entry->packed
                            : entry->unpacked / LS_INFLATE_MAX_RATIO > entry->packed + 64))
        return ls_error_set(err, LS_ECORRUPT, "its size of %llu bytes cannot be true",
                            (unsigned long long)entry->unpacked);
    *data = bytes + begin;
    return LS_OK;
}

static enum ls_status decode_entry(const uint8_t *data, const struct entry *entry, struct member *member,
                                   struct ls_error *err)
{
    uint8_t *unpacked = NULL;
    enum ls_status status = LS_OK;

    if ((entry->flags & 1) != 0 || (entry->method != 0 && entry->method != 8))
        return ls_error_set(err, LS_EUNSUPPORTED,
                            "it is encrypted or packed by another method than deflate; store it with numpy.savez");
    if (entry->method == 8) {
        unpacked = ls_alloc((size_t)entry->unpacked);
        if (unpacked == NULL)
            return ls_error_set(err, LS_ENOMEM, "not enough memory for %llu bytes",
                                (unsigned long long)entry->unpacked);
        status = ls_inflate_raw(data, (size_t)entry->packed, unpacked, (size_t)entry->unpacked, err);
        data = unpacked;
    }
    if (status == LS_OK && ls_inflate_crc32(data, (size_t)entry->unpacked) != entry->crc)
        status = ls_error_set(err, LS_ECORRUPT, "its checksum is wrong");
    if (status == LS_OK)
        status = ls_npy_decode(data, (size_t)entry->unpacked, &member->view, err);
    ls_free(unpacked);
    return status;
}

static enum ls_status name_member(const struct entry *entry, struct member *member, struct ls_error *err)
{
    size_t length = entry->name_length;

    if (length > 4 && memcmp(entry->name + length - 4, ".npy", 4) == 0)
        length -= 4;
    if (length == 0 || memchr(entry->name, '\0', length) != NULL)
        return ls_error_set(err, LS_ECORRUPT, "a member has no proper name");
    member->name = ls_str_format("%.*s", (int)length, entry->name);
    return member->name != NULL ? LS_OK : ls_error_set(err, LS_ENOMEM, "not enough memory for a name");
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum ls_status check_names(const struct ls_npz *npz, struct ls_error *err)
{
    char **names = ls_alloc_zeroed((size_t)npz->count, sizeof *names);
    enum ls_status status = LS_OK;

    if (names == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for the names of the arrays");
    for (int i = 0; i < npz->count; i++)
        names[i] = npz->members[i].name;
    qsort(names, (size_t)npz->count, sizeof *names, compare_names);
    for (int i = 1; i < npz->count && status == LS_OK; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            status = ls_error_set(err, LS_ECORRUPT, "the array %.200s is there twice", names[i]);
    ls_free(names);
    return status;
}

/* One member; *packed adds up the bytes that members claim. */
static enum ls_status read_member(const uint8_t *bytes, size_t length, struct ls_reader *reader, struct ls_npz *npz,
                                  uint64_t *packed, struct ls_error *err)
{
    struct member *member = &npz->members[npz->count];
    const uint8_t *data = NULL;
    struct entry entry = {0};
    enum ls_status status = read_entry(reader, &entry, err);

    if (status == LS_OK)
        status = name_member(&entry, member, err);
    if (status != LS_OK)
        return status;
    npz->count++;
    status = locate(bytes, length, &entry, &data, err);
    *packed += entry.packed;
    /* Members that share bytes add up to more than the file: how zip bombs are made. */
    if (status == LS_OK && *packed > length)
        status = ls_error_set(err, LS_ECORRUPT, "it overlaps another array");
    if (status == LS_OK)
        status = decode_entry(data, &entry, member, err);
    if (status != LS_OK)
        (void)ls_error_wrap(err, "array %.200s", member->name);
    return status;
}

static enum ls_status read_members(const uint8_t *bytes, size_t length, struct ls_npz *npz, struct ls_error *err)
{
    uint64_t offset = 0, count = 0, packed = 0;
    enum ls_status status = find_directory(bytes, length, &offset, &count, err);
    struct ls_reader reader;

    if (status != LS_OK)
        return status;
    reader = ls_reader_over(bytes + offset, length - (size_t)offset);
    if (count > ls_reader_left(&reader) / 46)
        return ls_error_set(err, LS_ECORRUPT, "its zip directory is truncated");
    npz->members = ls_alloc_zeroed((size_t)count, sizeof *npz->members);
    if (npz->members == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for %llu arrays", (unsigned long long)count);
    for (uint64_t i = 0; i < count && status == LS_OK; i++)
        status = read_member(bytes, length, &reader, npz, &packed, err);
    return status == LS_OK ? check_names(npz, err) : status;
}

enum ls_status ls_npz_parse(const void *bytes, size_t length, const char *name, struct ls_npz **npz,
                            struct ls_error *err)
{
    struct ls_npz *made = ls_alloc_zeroed(1, sizeof *made);
    enum ls_status status;

    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to read %s", name);
    status = read_members(bytes, length, made, err);
    if (status != LS_OK) {
        ls_npz_close(made);
        (void)ls_error_wrap(err, "cannot read %s", name);
        return status;
    }
    *npz = made;
    return LS_OK;
}

enum ls_status ls_npz_open(const char *path, struct ls_npz **npz, struct ls_error *err)
{
    struct ls_buf file = {0};
    enum ls_status status = ls_fs_read(path, MAX_FILE_BYTES, &file, err);

    if (status == LS_OK)
        status = ls_npz_parse(file.data, file.length, path, npz, err);
    ls_buf_deinit(&file);
    return status;
}

void ls_npz_close(struct ls_npz *npz)
{
    if (npz == NULL)
        return;
    for (int i = 0; i < npz->count; i++) {
        ls_free(npz->members[i].name);
        ls_free(npz->members[i].view.data);
    }
    ls_free(npz->members);
    ls_free(npz);
}

int ls_npz_count(const struct ls_npz *npz)
{
    return npz->count;
}

const char *ls_npz_name(const struct ls_npz *npz, int index)
{
    return npz->members[index].name;
}

const struct ls_view *ls_npz_view(const struct ls_npz *npz, int index)
{
    return &npz->members[index].view;
}

const struct ls_view *ls_npz_find(const struct ls_npz *npz, const char *name)
{
    for (int i = 0; i < npz->count; i++)
        if (strcmp(npz->members[i].name, name) == 0)
            return &npz->members[i].view;
    return NULL;
}
