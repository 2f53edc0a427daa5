/* SPDX-License-Identifier: Apache-2.0 */
/* The IDX format of MNIST (bytes 0, 0, type, rank; big-endian dimensions and elements), plain or gzip'ed. */
#ifndef LOCKSTEP_CORE_FORMATS_IDX_H
#define LOCKSTEP_CORE_FORMATS_IDX_H

#include "core/formats/raw_array.h"

/* An array in memory of its own: view.data (aligned to 64 bytes) lies inside `memory`. */
struct ls_idx_array {
    struct ls_view view;
    void *memory; /* ls_free */
};

/* Decodes a whole file's bytes. At most limit bytes are decompressed, and no more than the header's dimensions need.
 * LS_ECORRUPT names truncation, trailing bytes and damage; *array is written on success only. */
enum ls_status ls_idx_decode(const void *bytes, size_t length, size_t limit, struct ls_idx_array *array,
                             struct ls_error *err);
/* Only type and dimensions; bytes may be the beginning of a file (64 KiB are enough). raw->data is NULL;
 * *data_offset: where elements begin (in the decompressed file). */
enum ls_status ls_idx_parse_header(const void *bytes, size_t length, struct ls_raw_array *raw, size_t *data_offset,
                                   struct ls_error *err);
/* Copies or decompresses exactly element_bytes elements (as stored, still big-endian) of a file whose header is
 * data_offset bytes; as many bytes in front of elements are written too. LS_ECORRUPT as above. */
enum ls_status ls_idx_unpack(const void *bytes, size_t length, size_t data_offset, size_t element_bytes,
                             uint8_t *elements, struct ls_error *err);

#endif
