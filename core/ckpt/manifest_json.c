/* SPDX-License-Identifier: Apache-2.0 */
/*
 * manifest.json: {"crc32c":"<8 digits>",...}. The CRC covers every byte behind its own member, and those before are
 * fixed, so no bit of the file can change unseen. Reading checks each number before it is used.
 */
#include "core/ckpt/ckpt_internal.h"

#include "core/base/alloc.h"
#include "core/base/hash.h"
#include "core/base/str.h"
#include "core/formats/json.h"

#include <stdio.h>
#include <string.h>

#define PREFIX "{\"crc32c\":\""
#define PREFIX_LENGTH (sizeof PREFIX - 1)
/* Digits, closing quote, comma. */
#define COVERED_FROM (PREFIX_LENGTH + 10)

static json_t *tensor_json(const struct lsi_manifest *manifest, int index, int *at)
{
    const struct ls_ckpt_tensor *tensor = &manifest->tensors[index];
    json_t *shape = json_array(), *pieces = json_array();

    for (int i = 0; i < tensor->shape.rank; i++)
        (void)json_array_append_new(shape, json_integer(tensor->shape.dim[i]));
    for (; *at < manifest->piece_count && manifest->pieces[*at].tensor == index; (*at)++) {
        const struct lsi_piece *piece = &manifest->pieces[*at];
        char *crc = lsi_crcs_to_text(piece->crc, lsi_piece_blocks(piece->bytes));

        (void)json_array_append_new(pieces, json_pack("{s:i, s:I, s:I, s:I, s:s}", "part", piece->part, "offset",
                                                      (json_int_t)piece->offset, "begin", (json_int_t)piece->begin,
                                                      "count", (json_int_t)piece->count, "crc32c", crc));
        ls_free(crc);
    }
    return json_pack("{s:s, s:i, s:s, s:o, s:o}", "path", tensor->path, "role", tensor->role, "dtype",
                     ls_dtype_name(tensor->dtype), "shape", shape, "pieces", pieces);
}

static json_t *parts_json(const struct lsi_manifest *manifest)
{
    json_t *parts = json_array();

    for (int i = 0; i < manifest->part_count; i++) {
        char name[64], hex[LS_SHA256_HEX];

        lsi_ckpt_part_name(i, manifest->part_count, name);
        ls_hex(manifest->parts[i].sha256, LS_SHA256_BYTES, hex);
        (void)json_array_append_new(parts, json_pack("{s:s, s:I, s:s}", "file", name, "bytes",
                                                     (json_int_t)manifest->parts[i].bytes, "header_sha256", hex));
    }
    return parts;
}

enum ls_status lsi_manifest_write(const struct lsi_manifest *manifest, char **text, struct ls_error *err)
{
    json_t *meta = NULL, *tensors = json_array(), *root = NULL;
    char *body = NULL, *whole = NULL;
    int at = 0;
    enum ls_status status = ls_json_parse(manifest->meta, strlen(manifest->meta), "the checkpoint's meta", &meta, err);

    if (status == LS_OK && !json_is_object(meta))
        status = ls_error_set(err, LS_EINTERNAL, "the checkpoint's meta is no JSON object");
    for (int i = 0; i < manifest->tensor_count; i++)
        (void)json_array_append_new(tensors, tensor_json(manifest, i, &at));
    if (status == LS_OK)
        root = json_pack("{s:[], s:s, s:I, s:O, s:o, s:I, s:O, s:i}", "features", "format", LSI_CKPT_FORMAT,
                         "generation", (json_int_t)manifest->generation, "meta", meta, "parts", parts_json(manifest),
                         "step", (json_int_t)manifest->step, "tensors", tensors, "version", LSI_CKPT_VERSION);
    if (root != NULL && ls_json_compact_text(root, &body, NULL) == LS_OK) {
        uint32_t crc = ls_crc32c(0, body + 1, strlen(body + 1));

        whole = ls_str_format(PREFIX "%08x\",%s", crc, body + 1);
    }
    ls_free(body);
    json_decref(root);
    json_decref(tensors);
    json_decref(meta);
    if (status == LS_OK && whole == NULL)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to write the manifest");
    if (status == LS_OK)
        *text = whole;
    return status;
}

/* What is being read; the first bad field ends it. */
struct input {
    struct lsi_manifest *manifest;
    struct ls_error *err;
};

static enum ls_status bad(const struct input *in, const char *what)
{
    return ls_error_set(in->err, LS_ECORRUPT, "its manifest is damaged: %s", what);
}

static bool get_number(const json_t *object, const char *key, int64_t low, int64_t high, int64_t *number)
{
    const json_t *value = json_object_get(object, key);

    *number = 0;
    if (!json_is_integer(value) || json_integer_value(value) < low || json_integer_value(value) > high)
        return false;
    *number = json_integer_value(value);
    return true;
}

static enum ls_status read_part(const struct input *in, const json_t *value, int index)
{
    struct lsi_part *part = &in->manifest->parts[index];
    const char *file = json_string_value(json_object_get(value, "file"));
    const char *digest = json_string_value(json_object_get(value, "header_sha256"));
    char name[64];
    int64_t bytes;

    /* The name is never used to open anything, so it cannot lead out of the directory; it must still be ours. */
    lsi_ckpt_part_name(index, in->manifest->part_count, name);
    if (file == NULL || strcmp(file, name) != 0)
        return bad(in, "a part has another name than its place gives it");
    if (!get_number(value, "bytes", 0, INT64_MAX, &bytes) || digest == NULL ||
        !ls_unhex(digest, part->sha256, LS_SHA256_BYTES))
        return bad(in, "a part has no size or digest");
    part->bytes = (uint64_t)bytes;
    return LS_OK;
}

static enum ls_status read_piece(const struct input *in, const json_t *value, int tensor)
{
    size_t size = ls_dtype_size(in->manifest->tensors[tensor].dtype);
    int64_t total = ls_shape_count(&in->manifest->tensors[tensor].shape);
    const char *crc = json_string_value(json_object_get(value, "crc32c"));
    int64_t part, offset, begin, count;
    struct lsi_piece *piece;
    uint64_t bytes;

    if (!get_number(value, "part", 0, in->manifest->part_count - 1, &part) ||
        !get_number(value, "offset", 8, INT64_MAX, &offset) || !get_number(value, "begin", 0, total, &begin) ||
        !get_number(value, "count", 0, total - begin, &count) || crc == NULL)
        return bad(in, "a piece is out of range");
    bytes = (uint64_t)count * size;
    if (bytes > in->manifest->parts[part].bytes || (uint64_t)offset > in->manifest->parts[part].bytes - bytes)
        return bad(in, "a piece lies outside its part");
    /* The text is in memory, so its length bounds what is taken here. */
    if (strlen(crc) != 8 * lsi_piece_blocks(bytes))
        return bad(in, "a piece has too few checksums");
    piece = lsi_manifest_add_piece(in->manifest, bytes);
    if (piece == NULL)
        return ls_error_set(in->err, LS_ENOMEM, "not enough memory for the manifest");
    piece->tensor = tensor;
    piece->part = (int)part;
    piece->offset = (uint64_t)offset;
    piece->begin = begin;
    piece->count = count;
    return lsi_crcs_from_text(crc, piece->crc, lsi_piece_blocks(bytes)) ? LS_OK : bad(in, "a checksum is no number");
}

static enum ls_status read_shape(const struct input *in, const json_t *value, struct ls_ckpt_tensor *tensor)
{
    if (!json_is_array(value) || json_array_size(value) > LS_MAX_RANK)
        return bad(in, "a tensor has no shape");
    tensor->shape.rank = (int)json_array_size(value);
    for (int i = 0; i < tensor->shape.rank; i++) {
        const json_t *dim = json_array_get(value, (size_t)i);

        if (!json_is_integer(dim))
            return bad(in, "a tensor has no shape");
        tensor->shape.dim[i] = json_integer_value(dim);
    }
    return ls_shape_check(&tensor->shape, tensor->dtype, NULL) == LS_OK ? LS_OK : bad(in, "a shape is out of range");
}

static enum ls_status read_tensor(const struct input *in, const json_t *value, json_t *seen)
{
    int index = in->manifest->tensor_count;
    struct ls_ckpt_tensor *tensor = &in->manifest->tensors[index];
    const json_t *pieces = json_object_get(value, "pieces");
    const char *path = json_string_value(json_object_get(value, "path"));
    const char *dtype = json_string_value(json_object_get(value, "dtype"));
    int64_t role;
    enum ls_status status;

    if (path == NULL || dtype == NULL || !get_number(value, "role", 0, INT32_MAX, &role) || !json_is_array(pieces) ||
        !ls_dtype_from_name(dtype, &tensor->dtype))
        return bad(in, "a tensor has no path, role, dtype or pieces");
    if (json_object_get(seen, path) != NULL)
        return bad(in, "a path is there twice");
    (void)json_object_set_new(seen, path, json_true());
    tensor->path = ls_str_copy(path);
    if (tensor->path == NULL)
        return ls_error_set(in->err, LS_ENOMEM, "not enough memory for the manifest");
    in->manifest->tensor_count++;
    tensor->role = (int)role;
    status = read_shape(in, json_object_get(value, "shape"), tensor);
    for (size_t i = 0; i < json_array_size(pieces) && status == LS_OK; i++)
        status = read_piece(in, json_array_get(pieces, i), index);
    return status;
}

static enum ls_status read_lists(const struct input *in, const json_t *root)
{
    const json_t *parts = json_object_get(root, "parts"), *tensors = json_object_get(root, "tensors");
    json_t *seen;
    enum ls_status status = LS_OK;

    if (json_array_size(parts) == 0 || json_array_size(parts) > LSI_CKPT_MAX_PARTS || !json_is_array(tensors) ||
        json_array_size(tensors) > LSI_CKPT_MAX_TENSORS)
        return bad(in, "it has no parts or tensors");
    in->manifest->parts = ls_alloc_zeroed(json_array_size(parts), sizeof *in->manifest->parts);
    in->manifest->tensors = ls_alloc_zeroed(json_array_size(tensors), sizeof *in->manifest->tensors);
    if (in->manifest->parts == NULL || in->manifest->tensors == NULL)
        return ls_error_set(in->err, LS_ENOMEM, "not enough memory for the manifest");
    in->manifest->part_count = (int)json_array_size(parts);
    for (int i = 0; i < in->manifest->part_count && status == LS_OK; i++)
        status = read_part(in, json_array_get(parts, (size_t)i), i);
    seen = json_object();
    for (size_t i = 0; i < json_array_size(tensors) && status == LS_OK; i++)
        status = read_tensor(in, json_array_get(tensors, i), seen);
    json_decref(seen);
    return status;
}

static enum ls_status check_version(const struct input *in, const json_t *root)
{
    const char *format = json_string_value(json_object_get(root, "format"));
    const json_t *features = json_object_get(root, "features");
    int64_t version;

    if (format == NULL || strcmp(format, LSI_CKPT_FORMAT) != 0 ||
        !get_number(root, "version", 1, INT32_MAX, &version) || !json_is_array(features))
        return bad(in, "it is not that of a checkpoint");
    if (version > LSI_CKPT_VERSION)
        return ls_error_set(in->err, LS_EUNSUPPORTED, "it has format version %lld; this Lockstep reads up to %d",
                            (long long)version, LSI_CKPT_VERSION);
    if (json_array_size(features) > 0) {
        const char *name = json_string_value(json_array_get(features, 0));

        return ls_error_set(in->err, LS_EUNSUPPORTED, "it needs the feature %.60s, which this Lockstep does not have",
                            name != NULL ? name : "?");
    }
    return LS_OK;
}

static enum ls_status read_root(const struct input *in, const json_t *root)
{
    const json_t *meta = json_object_get(root, "meta");
    int64_t step, generation;
    enum ls_status status = check_version(in, root);

    if (status != LS_OK)
        return status;
    if (!get_number(root, "step", 0, (int64_t)LSI_CKPT_MAX_STEP, &step) ||
        !get_number(root, "generation", 0, (int64_t)LSI_CKPT_MAX_STEP, &generation) || !json_is_object(meta))
        return bad(in, "it has no step, generation or meta");
    in->manifest->step = (uint64_t)step;
    in->manifest->generation = (uint64_t)generation;
    status = ls_json_compact_text(meta, &in->manifest->meta, in->err);
    return status == LS_OK ? read_lists(in, root) : status;
}

enum ls_status lsi_manifest_parse(const char *text, size_t length, struct lsi_manifest *manifest, struct ls_error *err)
{
    struct lsi_manifest made = {0};
    struct input in = {.manifest = &made, .err = err};
    json_t *root = NULL;
    char wanted[16];
    enum ls_status status;

    if (length < COVERED_FROM + 2 || memcmp(text, PREFIX, PREFIX_LENGTH) != 0)
        return bad(&in, "it does not begin with its checksum");
    (void)snprintf(wanted, sizeof wanted, "%08x\",", ls_crc32c(0, text + COVERED_FROM, length - COVERED_FROM));
    if (memcmp(text + PREFIX_LENGTH, wanted, 10) != 0)
        return bad(&in, "its checksum is wrong");
    if (ls_json_parse(text, length, "manifest", &root, err) != LS_OK)
        return bad(&in, "it is not valid JSON");
    status = read_root(&in, root);
    if (status == LS_OK)
        status = lsi_manifest_check_tensors(&made, err);
    json_decref(root);
    if (status == LS_OK)
        *manifest = made;
    else
        lsi_manifest_deinit(&made);
    return status;
}
