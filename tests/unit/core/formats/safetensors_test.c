/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors headers: ours come back; every rule of the format is checked. */
#include "core/formats/safetensors.h"

#include <criterion/criterion.h>
#include <string.h>

static enum ls_status parse(const char *json, uint64_t data_bytes, struct ls_safetensors **tensors,
                            struct ls_error *err)
{
    struct ls_buf buf = {0};
    enum ls_status status;

    (void)ls_buf_append_u64(&buf, strlen(json));
    (void)ls_buf_append_string(&buf, json);
    status = ls_safetensors_parse(buf.data, buf.length, buf.length + data_bytes, tensors, err);
    ls_buf_deinit(&buf);
    return status;
}

static void expect_error(const char *json, uint64_t data_bytes, enum ls_status status, const char *part)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_safetensors *tensors;

    cr_assert_eq(parse(json, data_bytes, &tensors, &err), status, "%s: %s", json, err.message);
    cr_assert(strstr(err.message, part) != NULL, "%s: %s", json, err.message);
}

/* What is written is read, the bytes begin at a multiple of 64, and entries come in the order of their bytes. */
Test(safetensors, round_trip)
{
    struct ls_safetensors_entry entries[] = {{.name = "b", .dtype = LS_F32, .shape = LS_SHAPE(2, 3)},
                                             {.name = "a", .dtype = LS_U8, .shape = LS_SHAPE(5)},
                                             {.name = "c", .dtype = LS_I64, .shape = {0}}};
    struct ls_safetensors_pair pairs[] = {{"k", "v"}};
    struct ls_buf buf = {0};
    struct ls_safetensors *tensors;
    struct ls_error err = LS_ERROR_INIT;

    cr_assert_eq(ls_safetensors_append_header(&buf, entries, 3, pairs, 1, &err), LS_OK, "%s", err.message);
    cr_assert_eq(buf.length % 64, 0);
    cr_assert_eq(ls_safetensors_parse(buf.data, buf.length, buf.length + 37, &tensors, &err), LS_OK, "%s", err.message);
    cr_assert_eq(ls_safetensors_count(tensors), 3);
    for (int i = 0; i < 3; i++) {
        const struct ls_safetensors_entry *entry = ls_safetensors_entry(tensors, i);

        cr_assert_str_eq(entry->name, entries[i].name);
        cr_assert(entry->dtype == entries[i].dtype && ls_shape_equal(&entry->shape, &entries[i].shape));
        cr_assert(entry->begin == entries[i].begin && entry->end == entries[i].end);
    }
    cr_assert_str_eq(ls_safetensors_metadata(tensors, "k"), "v");
    cr_assert_null(ls_safetensors_metadata(tensors, "x"));
    ls_safetensors_destroy(tensors);
    ls_buf_deinit(&buf);
}

/* Two entries of one name, or one named like the metadata, are refused. */
Test(safetensors, names_must_differ)
{
    struct ls_safetensors_entry entries[] = {{.name = "a", .dtype = LS_U8, .shape = LS_SHAPE(5)},
                                             {.name = "a", .dtype = LS_U8, .shape = LS_SHAPE(5)}};
    struct ls_buf buf = {0};

    cr_assert_eq(ls_safetensors_append_header(&buf, entries, 2, NULL, 0, NULL), LS_EINVAL);
    entries[1].name = "__metadata__";
    cr_assert_eq(ls_safetensors_append_header(&buf, entries, 2, NULL, 0, NULL), LS_EINVAL);
    ls_buf_deinit(&buf);
}

/* Holes, overlaps, wrong sizes, foreign dtypes and lies about the length are named. */
Test(safetensors, refusals)
{
    expect_error("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[1,5]}}", 5, LS_ECORRUPT, "hole");
    expect_error("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                 "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[3,7]}}",
                 7, LS_ECORRUPT, "overlap");
    expect_error("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,5]}}", 5, LS_ECORRUPT, "fit its shape");
    expect_error("{\"a\":{\"dtype\":\"F8_E5M2\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, LS_EUNSUPPORTED, "F8_E5M2");
    expect_error("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 3, LS_ECORRUPT, "truncated");
    expect_error("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 5, LS_ECORRUPT, "behind");
    expect_error("{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
                 LS_ECORRUPT, "out of range");
    expect_error("{\"a\":{\"dtype\":\"U8\",\"shape\":[-4],\"data_offsets\":[0,4]}}", 4, LS_ECORRUPT, "no size");
    expect_error("{\"a\":{\"dtype\":\"U8\",\"shape\":[4]}}", 4, LS_ECORRUPT, "dtype, shape and data_offsets");
    expect_error("{\"a\":1}", 4, LS_ECORRUPT, "dtype, shape");
    expect_error("[1]", 4, LS_ECORRUPT, "no JSON object");
    expect_error("{\"a\"", 4, LS_ECORRUPT, "not valid JSON");
}

/* A header that claims to be longer than the file or the format allows is refused before memory is taken. */
Test(safetensors, length_is_bounded)
{
    uint64_t length;

    cr_assert_eq(ls_safetensors_header_length((const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff", 1000, &length, NULL),
                 LS_ECORRUPT);
    cr_assert_eq(ls_safetensors_header_length((const uint8_t *)"\xe9\3\0\0\0\0\0\0", 1008, &length, NULL), LS_ECORRUPT);
    cr_assert_eq(ls_safetensors_header_length((const uint8_t *)"\xe8\3\0\0\0\0\0\0", 1008, &length, NULL), LS_OK);
    cr_assert_eq(length, 1008);
    cr_assert_eq(ls_safetensors_header_length((const uint8_t *)"\0\0\0\20\0\0\0\0", UINT64_MAX, &length, NULL),
                 LS_ECORRUPT);
}
