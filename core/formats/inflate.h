/* SPDX-License-Identifier: Apache-2.0 */
/* Decompression (libdeflate) of a known size, and of the first bytes of a gzip file where the size is not known yet. */
#ifndef LOCKSTEP_CORE_FORMATS_INFLATE_H
#define LOCKSTEP_CORE_FORMATS_INFLATE_H

#include "core/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* DEFLATE cannot expand more than this. */
#define LS_INFLATE_MAX_RATIO 1032

bool ls_inflate_is_gzip(const void *bytes, size_t length);
/* Decompresses one gzip member that must give exactly out_length bytes and be all of the input. LS_ECORRUPT names
 * what is wrong (too short, too long, checksum, bytes behind it). */
enum ls_status ls_inflate_gzip(const void *bytes, size_t length, void *out, size_t out_length, struct ls_error *err);
/* The same for a raw DEFLATE stream. */
enum ls_status ls_inflate_raw(const void *bytes, size_t length, void *out, size_t out_length, struct ls_error *err);
/* At most out_length first bytes of a gzip file, nothing checked beyond them; *got says how many there were. */
enum ls_status ls_inflate_gzip_prefix(const void *bytes, size_t length, void *out, size_t out_length, size_t *got,
                                      struct ls_error *err);
/* CRC-32 (ISO 3309, as zip and gzip use it). */
uint32_t ls_inflate_crc32(const void *bytes, size_t length);

#endif
