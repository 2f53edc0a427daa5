/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a safetensors file: 8 bytes of length, JSON, then the tensors' bytes without holes. Only the header is
 * handled here; whoever has the file reads and writes the bytes behind it.
 */
#ifndef LOCKSTEP_CORE_FORMATS_SAFETENSORS_H
#define LOCKSTEP_CORE_FORMATS_SAFETENSORS_H

#include "core/base/buf.h"
#include "core/tensor/tensor.h"

/* The format's own limit of a header. */
#define LS_SAFETENSORS_MAX_HEADER ((uint64_t)100000000)

struct ls_safetensors_entry {
    const char *name; /* borrowed */
    enum ls_dtype dtype;
    struct ls_shape shape;
    uint64_t begin, end; /* bytes, counted from the end of the header */
};
struct ls_safetensors_pair {
    const char *key, *value; /* borrowed; an entry of __metadata__ */
};

struct ls_safetensors;

/* Bytes of length and JSON together, from the first 8 bytes of a file of file_length bytes. LS_ECORRUPT where that
 * cannot be true; so it is safe to allocate. */
enum ls_status ls_safetensors_header_length(const uint8_t first[8], uint64_t file_length, uint64_t *length,
                                            struct ls_error *err);
/* Reads a header (length and JSON). Entries cover the file exactly, in the order of their bytes. Returned; ends with
 * ls_safetensors_destroy. */
enum ls_status ls_safetensors_parse(const void *header, size_t length, uint64_t file_length,
                                    struct ls_safetensors **tensors, struct ls_error *err);
void ls_safetensors_destroy(struct ls_safetensors *tensors);
int ls_safetensors_count(const struct ls_safetensors *tensors);
const struct ls_safetensors_entry *ls_safetensors_entry(const struct ls_safetensors *tensors, int index);
/* Metadata of a key, NULL where there is none. Borrowed. */
const char *ls_safetensors_metadata(const struct ls_safetensors *tensors, const char *key);

/* Appends a header for entries in the order their bytes will follow; fills their begin and end. Padded so that the
 * bytes begin at a multiple of 64. Names differ, and none is "__metadata__" (LS_EINVAL). */
enum ls_status ls_safetensors_append_header(struct ls_buf *buf, struct ls_safetensors_entry *entries, int count,
                                            const struct ls_safetensors_pair *metadata, int metadata_count,
                                            struct ls_error *err);

#endif
