/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors headers (github.com/huggingface/safetensors, format description). The JSON is written canonically. */
#include "core/formats/safetensors.h"

#include "core/base/alloc.h"
#include "core/formats/json.h"

#include <stdlib.h>
#include <string.h>

#define METADATA "__metadata__"

struct ls_safetensors {
    json_t *root;
    struct ls_safetensors_entry *entries;
    int count;
};

static const struct {
    const char *name;
    enum ls_dtype dtype;
} dtypes[] = {{"F32", LS_F32}, {"F64", LS_F64}, {"BF16", LS_BF16}, {"F16", LS_F16},
              {"I32", LS_I32}, {"I64", LS_I64}, {"U8", LS_U8},     {"BOOL", LS_BOOL}};

static const char *dtype_name(enum ls_dtype dtype)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (dtypes[i].dtype == dtype)
            return dtypes[i].name;
    return "?";
}

static bool dtype_of(const char *name, enum ls_dtype *dtype)
{
    for (size_t i = 0; name != NULL && i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(dtypes[i].name, name) == 0) {
            *dtype = dtypes[i].dtype;
            return true;
        }
    }
    return false;
}

enum ls_status ls_safetensors_header_length(const uint8_t first[8], uint64_t file_length, uint64_t *length,
                                            struct ls_error *err)
{
    struct ls_reader reader = ls_reader_over(first, 8);
    uint64_t json = ls_reader_u64(&reader);

    if (file_length < 8 || json > file_length - 8)
        return ls_error_set(err, LS_ECORRUPT, "its header is longer than the file; it is truncated or damaged");
    if (json < 2 || json > LS_SAFETENSORS_MAX_HEADER)
        return ls_error_set(err, LS_ECORRUPT, "its header of %llu bytes is out of range", (unsigned long long)json);
    *length = 8 + json;
    return LS_OK;
}

static enum ls_status bad_entry(const char *name, const char *what, struct ls_error *err)
{
    return ls_error_set(err, LS_ECORRUPT, "tensor %.200s: %s", name, what);
}

static bool read_unsigned(const json_t *value, uint64_t *number)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *number = (uint64_t)json_integer_value(value);
    return true;
}

static enum ls_status read_entry(const char *name, const json_t *value, struct ls_safetensors_entry *entry,
                                 struct ls_error *err)
{
    const json_t *shape = json_object_get(value, "shape"), *offsets = json_object_get(value, "data_offsets");
    const char *dtype = json_string_value(json_object_get(value, "dtype"));
    enum ls_status status;

    entry->name = name;
    if (json_object_size(value) != 3 || dtype == NULL || !json_is_array(shape) || json_array_size(offsets) != 2)
        return bad_entry(name, "its entry is not dtype, shape and data_offsets", err);
    if (!dtype_of(dtype, &entry->dtype))
        return ls_error_set(err, LS_EUNSUPPORTED, "tensor %.200s: its dtype %.20s is not read", name, dtype);
    if (json_array_size(shape) > LS_MAX_RANK)
        return bad_entry(name, "it has too many dimensions", err);
    entry->shape.rank = (int)json_array_size(shape);
    for (int i = 0; i < entry->shape.rank; i++) {
        uint64_t dim;

        if (!read_unsigned(json_array_get(shape, (size_t)i), &dim))
            return bad_entry(name, "a dimension is no size", err);
        entry->shape.dim[i] = (int64_t)dim;
    }
    status = ls_shape_check(&entry->shape, entry->dtype, err);
    if (status != LS_OK)
        return bad_entry(name, "its shape is out of range", err);
    if (!read_unsigned(json_array_get(offsets, 0), &entry->begin) ||
        !read_unsigned(json_array_get(offsets, 1), &entry->end) || entry->end < entry->begin ||
        entry->end - entry->begin != (uint64_t)ls_shape_count(&entry->shape) * ls_dtype_size(entry->dtype))
        return bad_entry(name, "its offsets do not fit its shape", err);
    return LS_OK;
}

static int compare_entries(const void *a, const void *b)
{
    const struct ls_safetensors_entry *x = a, *y = b;

    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end)
        return x->end < y->end ? -1 : 1;
    return strcmp(x->name, y->name);
}

static enum ls_status check_cover(const struct ls_safetensors *tensors, uint64_t data_length, struct ls_error *err)
{
    uint64_t at = 0;

    for (int i = 0; i < tensors->count; i++) {
        if (tensors->entries[i].begin != at)
            return bad_entry(tensors->entries[i].name, "its bytes overlap another's or leave a hole", err);
        at = tensors->entries[i].end;
    }
    if (at < data_length)
        return ls_error_set(err, LS_ECORRUPT, "it has %llu bytes behind its tensors",
                            (unsigned long long)(data_length - at));
    if (at > data_length)
        return ls_error_set(err, LS_ECORRUPT, "it is truncated: %llu bytes of tensors are missing",
                            (unsigned long long)(at - data_length));
    return LS_OK;
}

static enum ls_status read_entries(struct ls_safetensors *tensors, uint64_t data_length, struct ls_error *err)
{
    enum ls_status status = LS_OK;

    tensors->entries = ls_alloc_zeroed(json_object_size(tensors->root), sizeof *tensors->entries);
    if (tensors->entries == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for its header");
    for (void *at = json_object_iter(tensors->root); at != NULL && status == LS_OK;
         at = json_object_iter_next(tensors->root, at)) {
        const char *name = json_object_iter_key(at);

        if (strcmp(name, METADATA) == 0)
            continue;
        status = read_entry(name, json_object_iter_value(at), &tensors->entries[tensors->count], err);
        tensors->count++;
    }
    if (status != LS_OK)
        return status;
    qsort(tensors->entries, (size_t)tensors->count, sizeof *tensors->entries, compare_entries);
    return check_cover(tensors, data_length, err);
}

enum ls_status ls_safetensors_parse(const void *header, size_t length, uint64_t file_length,
                                    struct ls_safetensors **tensors, struct ls_error *err)
{
    struct ls_safetensors *made;
    const char *text = (const char *)header + 8;
    uint64_t claimed = 0;
    enum ls_status status;

    if (length < 8)
        return ls_error_set(err, LS_ECORRUPT, "it is truncated inside its header");
    status = ls_safetensors_header_length(header, file_length, &claimed, err);
    if (status != LS_OK)
        return status;
    if (claimed != length || text[0] != '{')
        return ls_error_set(err, LS_ECORRUPT, "its header is no JSON object");
    made = ls_alloc_zeroed(1, sizeof *made);
    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for its header");
    status = ls_json_parse(text, length - 8, "its header", &made->root, err);
    if (status != LS_OK)
        status = ls_error_set(err, LS_ECORRUPT, "its header is not valid JSON");
    else
        status = read_entries(made, file_length - length, err);
    if (status != LS_OK) {
        ls_safetensors_destroy(made);
        return status;
    }
    *tensors = made;
    return LS_OK;
}

void ls_safetensors_destroy(struct ls_safetensors *tensors)
{
    if (tensors == NULL)
        return;
    json_decref(tensors->root);
    ls_free(tensors->entries);
    ls_free(tensors);
}

int ls_safetensors_count(const struct ls_safetensors *tensors)
{
    return tensors->count;
}

const struct ls_safetensors_entry *ls_safetensors_entry(const struct ls_safetensors *tensors, int index)
{
    return &tensors->entries[index];
}

const char *ls_safetensors_metadata(const struct ls_safetensors *tensors, const char *key)
{
    return json_string_value(json_object_get(json_object_get(tensors->root, METADATA), key));
}

static json_t *entry_json(const struct ls_safetensors_entry *entry)
{
    json_t *shape = json_array();

    for (int i = 0; i < entry->shape.rank; i++)
        (void)json_array_append_new(shape, json_integer(entry->shape.dim[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype_name(entry->dtype), "shape", shape, "data_offsets",
                     (json_int_t)entry->begin, (json_int_t)entry->end);
}

static enum ls_status build_json(struct ls_safetensors_entry *entries, int count,
                                 const struct ls_safetensors_pair *metadata, int metadata_count, json_t *root,
                                 struct ls_error *err)
{
    json_t *extra = json_object();
    uint64_t at = 0;

    for (int i = 0; i < metadata_count; i++)
        (void)json_object_set_new(extra, metadata[i].key, json_string(metadata[i].value));
    if (json_object_size(extra) != (size_t)metadata_count || json_object_set_new(root, METADATA, extra) != 0)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for a header");
    for (int i = 0; i < count; i++) {
        entries[i].begin = at;
        at += (uint64_t)ls_shape_count(&entries[i].shape) * ls_dtype_size(entries[i].dtype);
        entries[i].end = at;
        if (json_object_get(root, entries[i].name) != NULL)
            return ls_error_set(err, LS_EINVAL, "the name %.200s is taken", entries[i].name);
        if (json_object_set_new(root, entries[i].name, entry_json(&entries[i])) != 0)
            return ls_error_set(err, LS_EINVAL, "the name %.200s is not UTF-8, or memory is short", entries[i].name);
    }
    return LS_OK;
}

enum ls_status ls_safetensors_append_header(struct ls_buf *buf, struct ls_safetensors_entry *entries, int count,
                                            const struct ls_safetensors_pair *metadata, int metadata_count,
                                            struct ls_error *err)
{
    json_t *root = json_object();
    struct ls_buf text = {0};
    enum ls_status status = root != NULL ? build_json(entries, count, metadata, metadata_count, root, err)
                                         : ls_error_set(err, LS_ENOMEM, "not enough memory for a header");

    if (status == LS_OK)
        status = ls_json_canonical(root, &text, err);
    while (status == LS_OK && !text.failed && (text.length + 8) % 64 != 0)
        (void)ls_buf_append(&text, " ", 1);
    if (status == LS_OK && text.length > LS_SAFETENSORS_MAX_HEADER)
        status =
            ls_error_set(err, LS_EUNSUPPORTED, "a header of %zu bytes is more than safetensors allows", text.length);
    if (status == LS_OK) {
        (void)ls_buf_append_u64(buf, text.length);
        (void)ls_buf_append(buf, text.data, text.length);
        if (buf->failed || text.failed)
            status = ls_error_set(err, LS_ENOMEM, "not enough memory for a header");
    }
    json_decref(root);
    ls_buf_deinit(&text);
    return status;
}
