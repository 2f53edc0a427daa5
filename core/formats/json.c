/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and canonical writing of JSON (RFC 8259, RFC 8785). */
#include "core/formats/json.h"

#include "core/base/alloc.h"
#include "core/base/str.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 512

/* The parser quotes the file, which may hold anything: control characters become \x1b. */
static void escape_controls(const char *text, char *out, size_t size)
{
    size_t length = 0;

    out[0] = '\0';
    for (; *text != '\0' && length + 5 <= size; text++) {
        unsigned char byte = (unsigned char)*text;

        length += (size_t)snprintf(out + length, size - length, byte < 0x20 || byte == 0x7f ? "\\x%02x" : "%c", byte);
    }
}

enum ls_status ls_json_parse(const char *text, size_t length, const char *name, json_t **value, struct ls_error *err)
{
    json_error_t error;
    json_t *parsed = json_loadb(text != NULL ? text : "", length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);

    if (parsed == NULL) {
        char shown[4 * JSON_ERROR_TEXT_LENGTH + 1];

        escape_controls(error.text, shown, sizeof shown);
        return ls_error_set(err, LS_EINVAL, "%s, line %d, column %d: it is not valid JSON: %s", name, error.line,
                            error.column, shown);
    }
    *value = parsed;
    return LS_OK;
}

/* Fewest decimal digits of a positive number that read back as it; value = 0.d1d2... * 10^exponent. */
static int shortest_digits(double number, char digits[24], int *exponent)
{
    for (int precision = 0; precision < 17; precision++) {
        char text[40];
        double back = 0;
        int count = 0;
        char *e;

        (void)snprintf(text, sizeof text, "%.*e", precision, number);
        e = strchr(text, 'e');
        for (char *c = text; c < e; c++) {
            if (*c >= '0' && *c <= '9')
                digits[count++] = *c;
            else
                *c = '.'; /* whatever the locale put there */
        }
        digits[count] = '\0';
        *exponent = (int)strtol(e + 1, NULL, 10) + 1;
        if (precision == 16 || (ls_str_to_f64(text, &back) && back == number))
            return count;
    }
    return 0;
}

/* ECMA-262, Number::toString; n is the exponent of the decimal point behind the first n digits. */
void ls_json_number(double number, char text[32])
{
    char digits[24];
    const char *sign = number < 0 ? "-" : "";
    int count, n;

    if (number == 0) {
        (void)snprintf(text, 32, "0");
        return;
    }
    count = shortest_digits(fabs(number), digits, &n);
    if (count <= n && n <= 21)
        (void)snprintf(text, 32, "%s%s%.*s", sign, digits, n - count, "000000000000000000000");
    else if (0 < n && n <= 21)
        (void)snprintf(text, 32, "%s%.*s.%s", sign, n, digits, digits + n);
    else if (-6 < n && n <= 0)
        (void)snprintf(text, 32, "%s0.%.*s%s", sign, -n, "000000", digits);
    else
        (void)snprintf(text, 32, "%s%.1s%s%se%c%d", sign, digits, count > 1 ? "." : "", digits + 1, n > 0 ? '+' : '-',
                       abs(n - 1));
}

static void append_string(struct ls_buf *buf, const char *string)
{
    (void)ls_buf_append(buf, "\"", 1);
    for (const char *c = string; *c != '\0'; c++) {
        static const char named[] = "btn\0fr";
        unsigned char byte = (unsigned char)*c;

        if (byte == '"' || byte == '\\') {
            (void)ls_buf_append(buf, "\\", 1);
            (void)ls_buf_append(buf, c, 1);
        } else if (byte >= 8 && byte <= 13 && byte != 11) {
            (void)ls_buf_append(buf, "\\", 1);
            (void)ls_buf_append(buf, &named[byte - 8], 1);
        } else if (byte < 0x20) {
            (void)ls_buf_append_format(buf, "\\u%04x", byte);
        } else {
            (void)ls_buf_append(buf, c, 1);
        }
    }
    (void)ls_buf_append(buf, "\"", 1);
}

/* Order by UTF-16 code units: that of the bytes, except that characters beyond U+FFFF (lead byte 0xf0 and up,
 * surrogates in UTF-16) come before U+E000..U+FFFF (lead bytes 0xee, 0xef). */
static int compare_keys(const void *a, const void *b)
{
    const unsigned char *x = *(const unsigned char *const *)a, *y = *(const unsigned char *const *)b;

    while (*x != '\0' && *x == *y) {
        x++;
        y++;
    }
    if (*x >= 0xee && *y >= 0xee && (*x >= 0xf0) != (*y >= 0xf0))
        return *x >= 0xf0 ? -1 : 1;
    return (int)*x - (int)*y;
}

/* What is written and how. */
struct writer {
    struct ls_buf *buf;
    bool whole_integers; /* instead of RFC 8785's rounding to a double */
    struct ls_error *err;
};

static enum ls_status append_value(const json_t *value, int depth, const struct writer *out);

static enum ls_status append_object(const json_t *value, int depth, const struct writer *out)
{
    json_t *object = (json_t *)(uintptr_t)value;
    const char **keys = ls_alloc_zeroed(json_object_size(value), sizeof *keys);
    enum ls_status status = LS_OK;
    size_t count = 0;

    if (keys == NULL)
        return ls_error_set(out->err, LS_ENOMEM, "not enough memory to write JSON");
    for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at))
        keys[count++] = json_object_iter_key(at);
    qsort(keys, count, sizeof *keys, compare_keys);
    (void)ls_buf_append(out->buf, "{", 1);
    for (size_t i = 0; i < count && status == LS_OK; i++) {
        if (i > 0)
            (void)ls_buf_append(out->buf, ",", 1);
        append_string(out->buf, keys[i]);
        (void)ls_buf_append(out->buf, ":", 1);
        status = append_value(json_object_get(value, keys[i]), depth, out);
    }
    (void)ls_buf_append(out->buf, "}", 1);
    ls_free(keys);
    return status;
}

static enum ls_status append_array(const json_t *value, int depth, const struct writer *out)
{
    enum ls_status status = LS_OK;

    (void)ls_buf_append(out->buf, "[", 1);
    for (size_t i = 0; i < json_array_size(value) && status == LS_OK; i++) {
        if (i > 0)
            (void)ls_buf_append(out->buf, ",", 1);
        status = append_value(json_array_get(value, i), depth, out);
    }
    (void)ls_buf_append(out->buf, "]", 1);
    return status;
}

static enum ls_status append_value(const json_t *value, int depth, const struct writer *out)
{
    char number[32];

    if (depth >= MAX_DEPTH)
        return ls_error_set(out->err, LS_EINVAL, "the JSON is nested deeper than %d levels", MAX_DEPTH);
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return append_object(value, depth + 1, out);
    case JSON_ARRAY:
        return append_array(value, depth + 1, out);
    case JSON_STRING:
        append_string(out->buf, json_string_value(value));
        return LS_OK;
    case JSON_INTEGER:
        if (out->whole_integers) {
            (void)ls_buf_append_format(out->buf, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
            return LS_OK;
        }
        /* A number like any other. */
        /* fall through */
    case JSON_REAL:
        ls_json_number(json_number_value(value), number);
        (void)ls_buf_append_string(out->buf, number);
        return LS_OK;
    case JSON_TRUE:
        (void)ls_buf_append_string(out->buf, "true");
        return LS_OK;
    case JSON_FALSE:
        (void)ls_buf_append_string(out->buf, "false");
        return LS_OK;
    case JSON_NULL:
        break;
    }
    (void)ls_buf_append_string(out->buf, "null");
    return LS_OK;
}

static enum ls_status write_text(const json_t *value, bool whole_integers, char **text, struct ls_error *err)
{
    struct ls_buf buf = {0};
    struct writer out = {.buf = &buf, .whole_integers = whole_integers, .err = err};
    enum ls_status status = append_value(value, 0, &out);

    if (status == LS_OK && ls_buf_append(&buf, "", 1) != LS_OK)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to write JSON");
    if (status == LS_OK)
        *text = (char *)buf.data;
    else
        ls_buf_deinit(&buf);
    return status;
}

enum ls_status ls_json_canonical(const json_t *value, struct ls_buf *buf, struct ls_error *err)
{
    struct writer out = {.buf = buf, .err = err};
    enum ls_status status = append_value(value, 0, &out);

    if (status == LS_OK && buf->failed)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to write JSON");
    return status;
}

enum ls_status ls_json_canonical_text(const json_t *value, char **text, struct ls_error *err)
{
    return write_text(value, false, text, err);
}

enum ls_status ls_json_compact_text(const json_t *value, char **text, struct ls_error *err)
{
    return write_text(value, true, text, err);
}
