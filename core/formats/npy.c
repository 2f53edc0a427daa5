/* SPDX-License-Identifier: Apache-2.0 */
/* .npy reader and writer. The header is a Python dict literal; only the three keys that numpy writes are read. */
#include "core/formats/npy.h"

#include "core/base/alloc.h"

#include <stdio.h>
#include <string.h>

#define MAGIC "\x93NUMPY"
#define MAX_HEADER 65536

/* A cursor over the dict literal. */
struct literal {
    const char *text;
    size_t length;
    size_t at;
};

static void skip_spaces(struct literal *in)
{
    while (in->at < in->length && (in->text[in->at] == ' ' || in->text[in->at] == '\n' || in->text[in->at] == '\t'))
        in->at++;
}

static bool accept(struct literal *in, char wanted)
{
    skip_spaces(in);
    if (in->at >= in->length || in->text[in->at] != wanted)
        return false;
    in->at++;
    return true;
}

static bool accept_word(struct literal *in, const char *word)
{
    size_t length = strlen(word);

    skip_spaces(in);
    if (in->length - in->at < length || memcmp(in->text + in->at, word, length) != 0)
        return false;
    in->at += length;
    return true;
}

static bool read_string(struct literal *in, char *out, size_t size)
{
    size_t used = 0;
    char quote;

    skip_spaces(in);
    if (in->at >= in->length || (in->text[in->at] != '\'' && in->text[in->at] != '"'))
        return false;
    quote = in->text[in->at++];
    while (in->at < in->length && in->text[in->at] != quote) {
        if (used + 1 >= size)
            return false;
        out[used++] = in->text[in->at++];
    }
    out[used] = '\0';
    return accept(in, quote);
}

static bool read_dimension(struct literal *in, int64_t *value)
{
    int64_t number = 0;
    size_t begin;

    skip_spaces(in);
    begin = in->at;
    for (; in->at < in->length && in->text[in->at] >= '0' && in->text[in->at] <= '9'; in->at++) {
        if (__builtin_mul_overflow(number, (int64_t)10, &number) ||
            __builtin_add_overflow(number, (int64_t)(in->text[in->at] - '0'), &number))
            return false;
    }
    *value = number;
    return in->at > begin;
}

static bool read_shape(struct literal *in, struct ls_shape *shape)
{
    *shape = LS_SHAPE_SCALAR;
    if (!accept(in, '('))
        return false;
    while (!accept(in, ')')) {
        if (shape->rank == LS_MAX_RANK || !read_dimension(in, &shape->dim[shape->rank]))
            return false;
        shape->rank++;
        if (!accept(in, ',')) {
            /* (3) is a number in Python, not a tuple, so one dimension needs its comma. */
            return shape->rank > 1 && accept(in, ')');
        }
    }
    return true;
}

static enum ls_status read_descr(const char *descr, struct ls_raw_array *raw, struct ls_error *err)
{
    if (strlen(descr) != 3 || strchr("<>|=", descr[0]) == NULL || strchr("iufb", descr[1]) == NULL ||
        strchr("1248", descr[2]) == NULL)
        return ls_error_set(err, LS_EUNSUPPORTED,
                            "its dtype %.40s is not read; store it as float32, float64, int32, int64, uint8 or bool",
                            descr);
    raw->kind = descr[1];
    raw->size = (size_t)(descr[2] - '0');
    raw->big_endian = descr[0] == '>';
    return LS_OK;
}

static enum ls_status read_dict(struct literal *in, struct ls_raw_array *raw, struct ls_error *err)
{
    bool has_descr = false, has_order = false, has_shape = false;
    char key[32], descr[64] = "";

    if (!accept(in, '{'))
        goto malformed;
    while (!accept(in, '}')) {
        if (!read_string(in, key, sizeof key) || !accept(in, ':'))
            goto malformed;
        if (strcmp(key, "descr") == 0 && !has_descr) {
            if (!read_string(in, descr, sizeof descr))
                return ls_error_set(err, LS_EUNSUPPORTED,
                                    "its dtype is structured, which is not read; store a plain "
                                    "array");
            has_descr = true;
        } else if (strcmp(key, "fortran_order") == 0 && !has_order) {
            if (accept_word(in, "True"))
                return ls_error_set(err, LS_EUNSUPPORTED, "it is in Fortran order; store numpy.ascontiguousarray(...)");
            if (!accept_word(in, "False"))
                goto malformed;
            has_order = true;
        } else if (strcmp(key, "shape") == 0 && !has_shape) {
            if (!read_shape(in, &raw->shape))
                return ls_error_set(err, LS_ECORRUPT, "its header has no shape of at most %d dimensions", LS_MAX_RANK);
            has_shape = true;
        } else {
            goto malformed;
        }
        if (!accept(in, ',')) {
            if (!accept(in, '}'))
                goto malformed;
            break;
        }
    }
    if (has_descr && has_order && has_shape)
        return read_descr(descr, raw, err);
malformed:
    return ls_error_set(err, LS_ECORRUPT, "its header is not that of an .npy file");
}

enum ls_status ls_npy_parse_header(const void *bytes, size_t length, struct ls_raw_array *raw, size_t *data_offset,
                                   struct ls_error *err)
{
    struct ls_reader reader = ls_reader_over(bytes, length);
    const char *magic = ls_reader_take(&reader, 6);
    uint8_t major = ls_reader_u8(&reader);
    struct literal in = {0};
    struct ls_raw_array found = {0};
    enum ls_status status;

    (void)ls_reader_u8(&reader);
    if (magic == NULL || memcmp(magic, MAGIC, 6) != 0)
        return ls_error_set(err, LS_ECORRUPT, "it is not an .npy file (it does not begin with \\x93NUMPY)");
    if (major < 1 || major > 3)
        return ls_error_set(err, LS_EUNSUPPORTED, "it is an .npy file of version %u; versions 1 to 3 are read", major);
    in.length = ls_reader_u8(&reader);
    in.length |= (size_t)ls_reader_u8(&reader) << 8;
    if (major > 1) {
        in.length |= (size_t)ls_reader_u8(&reader) << 16;
        in.length |= (size_t)ls_reader_u8(&reader) << 24;
    }
    if (in.length > MAX_HEADER)
        return ls_error_set(err, LS_ECORRUPT, "its header claims %zu bytes; at most %d are read", in.length,
                            MAX_HEADER);
    in.text = ls_reader_take(&reader, in.length);
    if (in.text == NULL)
        return ls_error_set(err, LS_ECORRUPT, "it is truncated inside its header");
    status = read_dict(&in, &found, err);
    if (status != LS_OK)
        return status;
    *data_offset = reader.position;
    *raw = found;
    return LS_OK;
}

enum ls_status ls_npy_parse(const void *bytes, size_t length, struct ls_raw_array *raw, struct ls_error *err)
{
    struct ls_raw_array found;
    size_t offset, wanted;
    enum ls_dtype dtype;
    enum ls_status status = ls_npy_parse_header(bytes, length, &found, &offset, err);

    if (status == LS_OK)
        status = ls_raw_dtype(&found, &dtype, err);
    if (status == LS_OK)
        status = ls_raw_bytes(&found, &wanted, err);
    if (status != LS_OK)
        return status;
    if (wanted > length - offset)
        return ls_error_set(err, LS_ECORRUPT,
                            "it is truncated: its header promises %zu bytes of elements, %zu are there", wanted,
                            length - offset);
    if (wanted < length - offset)
        return ls_error_set(err, LS_ECORRUPT, "it has %zu bytes behind the elements that its header promises",
                            length - offset - wanted);
    found.data = (const uint8_t *)bytes + offset;
    *raw = found;
    return LS_OK;
}

enum ls_status ls_npy_decode(const void *bytes, size_t length, struct ls_view *view, struct ls_error *err)
{
    struct ls_raw_array raw;
    struct ls_view made = {0};
    enum ls_status status = ls_npy_parse(bytes, length, &raw, err);

    if (status == LS_OK)
        status = ls_raw_dtype(&raw, &made.dtype, err);
    if (status != LS_OK)
        return status;
    made.shape = raw.shape;
    made.data = ls_alloc_aligned(ls_view_bytes(&made));
    if (made.data == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for its %zu bytes", ls_view_bytes(&made));
    ls_raw_convert(&raw, made.data);
    *view = made;
    return LS_OK;
}

static const char *descr_of(enum ls_dtype dtype)
{
    switch (dtype) {
    case LS_F32:
        return "<f4";
    case LS_F64:
        return "<f8";
    case LS_I32:
        return "<i4";
    case LS_I64:
        return "<i8";
    case LS_U8:
        return "|u1";
    case LS_BOOL:
        return "|b1";
    case LS_BF16:
    case LS_F16:
        break;
    }
    return NULL;
}

enum ls_status ls_npy_append(struct ls_buf *buf, const struct ls_view *view, struct ls_error *err)
{
    const char *descr = descr_of(view->dtype);
    char header[384];
    size_t used, padded;

    if (descr == NULL)
        return ls_error_set(err, LS_EUNSUPPORTED, "an .npy file cannot hold %s", ls_dtype_name(view->dtype));
    used = (size_t)snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int i = 0; i < view->shape.rank; i++)
        used += (size_t)snprintf(header + used, sizeof header - used, "%s%lld%s", i > 0 ? " " : "",
                                 (long long)view->shape.dim[i],
                                 i + 1 < view->shape.rank || view->shape.rank == 1 ? "," : "");
    used += (size_t)snprintf(header + used, sizeof header - used, "), }");
    padded = (10 + used + 1 + 63) / 64 * 64 - 10;
    memset(header + used, ' ', padded - used);
    header[padded - 1] = '\n';
    (void)ls_buf_append(buf, MAGIC "\x01\x00", 8);
    (void)ls_buf_append(buf, (uint8_t[]){(uint8_t)padded, (uint8_t)(padded >> 8)}, 2);
    (void)ls_buf_append(buf, header, padded);
    if (ls_view_bytes(view) > 0)
        (void)ls_buf_append(buf, view->data, ls_view_bytes(view));
    return buf->failed ? ls_error_set(err, LS_ENOMEM, "not enough memory to write an array") : LS_OK;
}
