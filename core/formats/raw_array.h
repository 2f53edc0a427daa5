/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elements as a file stores them (IDX, .npy): kind, width, byte order. Turned into a dtype of ours; integers that we
 * have no dtype for are widened (int8, int16, uint16 to int32, uint32 to int64). Not a file format itself.
 */
#ifndef LOCKSTEP_CORE_FORMATS_RAW_ARRAY_H
#define LOCKSTEP_CORE_FORMATS_RAW_ARRAY_H

#include "core/tensor/tensor.h"

struct ls_raw_array {
    char kind;   /* 'i', 'u', 'f' or 'b' (bool) */
    size_t size; /* bytes of an element */
    bool big_endian;
    struct ls_shape shape;
    const uint8_t *data; /* borrowed; any alignment */
};

/* The dtype that elements become; LS_EUNSUPPORTED (float16, uint64, complex ...) says what to do. */
enum ls_status ls_raw_dtype(const struct ls_raw_array *raw, enum ls_dtype *dtype, struct ls_error *err);
/* Bytes in the file; LS_EINVAL where shape and size pass what memory can hold. */
enum ls_status ls_raw_bytes(const struct ls_raw_array *raw, size_t *bytes, struct ls_error *err);
/* True where the stored bytes are the dtype's own, so that the file's memory can be used as it is (if aligned). */
bool ls_raw_is_native(const struct ls_raw_array *raw);
/* Converts all elements; out holds ls_raw_dtype's bytes and may be the file's memory where sizes are equal. */
void ls_raw_convert(const struct ls_raw_array *raw, void *out);

#endif
