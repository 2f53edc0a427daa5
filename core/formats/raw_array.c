/* SPDX-License-Identifier: Apache-2.0 */
/* Conversion of stored elements: byte swap and widening, one element at a time (big arrays are native). */
#include "core/formats/raw_array.h"

#include <string.h>

enum ls_status ls_raw_dtype(const struct ls_raw_array *raw, enum ls_dtype *dtype, struct ls_error *err)
{
    static const struct {
        char kind;
        size_t size;
        enum ls_dtype dtype;
    } table[] = {{'f', 4, LS_F32}, {'f', 8, LS_F64}, {'i', 1, LS_I32}, {'i', 2, LS_I32}, {'i', 4, LS_I32},
                 {'i', 8, LS_I64}, {'u', 1, LS_U8},  {'u', 2, LS_I32}, {'u', 4, LS_I64}, {'b', 1, LS_BOOL}};

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (table[i].kind == raw->kind && table[i].size == raw->size) {
            *dtype = table[i].dtype;
            return LS_OK;
        }
    }
    if (raw->kind == 'f' && raw->size == 2)
        return ls_error_set(err, LS_EUNSUPPORTED, "float16 elements are not read; store them as float32");
    return ls_error_set(err, LS_EUNSUPPORTED,
                        "elements of kind '%c' and %zu bytes are not read; store them as float32, float64, int32, "
                        "int64, uint8 or bool",
                        raw->kind, raw->size);
}

enum ls_status ls_raw_bytes(const struct ls_raw_array *raw, size_t *bytes, struct ls_error *err)
{
    /* f64 is the widest dtype that elements may become, so a shape that fits there fits everywhere. */
    enum ls_status status = ls_shape_check(&raw->shape, LS_F64, err);

    if (status == LS_OK)
        *bytes = (size_t)ls_shape_count(&raw->shape) * raw->size;
    return status;
}

bool ls_raw_is_native(const struct ls_raw_array *raw)
{
    enum ls_dtype dtype;

    return ls_raw_dtype(raw, &dtype, NULL) == LS_OK && ls_dtype_size(dtype) == raw->size &&
           (!raw->big_endian || raw->size == 1) && raw->kind != 'b';
}

static uint64_t load(const struct ls_raw_array *raw, int64_t index)
{
    const uint8_t *bytes = raw->data + (size_t)index * raw->size;
    uint64_t value = 0;

    for (size_t i = 0; i < raw->size; i++)
        value |= (uint64_t)bytes[i] << (8 * (raw->big_endian ? raw->size - 1 - i : i));
    return value;
}

static uint64_t extend_sign(uint64_t value, size_t size)
{
    unsigned shift = 64 - 8 * (unsigned)size;

    return (uint64_t)((int64_t)(value << shift) >> shift);
}

void ls_raw_convert(const struct ls_raw_array *raw, void *out)
{
    int64_t count = ls_shape_count(&raw->shape);
    enum ls_dtype dtype;
    size_t size;

    if (ls_raw_dtype(raw, &dtype, NULL) != LS_OK)
        return;
    size = ls_dtype_size(dtype);
    if (ls_raw_is_native(raw)) {
        if (count > 0 && out != raw->data)
            memmove(out, raw->data, (size_t)count * size);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        uint64_t value = load(raw, i);
        uint8_t *place = (uint8_t *)out + (size_t)i * size;

        if (raw->kind == 'i')
            value = extend_sign(value, raw->size);
        else if (raw->kind == 'b')
            value = value != 0;
        for (size_t b = 0; b < size; b++)
            place[b] = (uint8_t)(value >> (8 * b));
    }
}
