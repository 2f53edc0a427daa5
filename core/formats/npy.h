/* SPDX-License-Identifier: Apache-2.0 */
/* The .npy format (numpy.lib.format, versions 1 to 3) over bytes in memory: C order, no pickled objects. */
#ifndef LOCKSTEP_CORE_FORMATS_NPY_H
#define LOCKSTEP_CORE_FORMATS_NPY_H

#include "core/base/buf.h"
#include "core/formats/raw_array.h"

/* Reads the header and checks it against length. raw->data borrows bytes. LS_ECORRUPT names truncation and trailing
 * bytes; LS_EUNSUPPORTED Fortran order, objects, structured types. */
enum ls_status ls_npy_parse(const void *bytes, size_t length, struct ls_raw_array *raw, struct ls_error *err);
/* The array itself: view->data is new memory, ls_free. */
enum ls_status ls_npy_decode(const void *bytes, size_t length, struct ls_view *view, struct ls_error *err);
/* The header alone from the first bytes of a longer file: element bytes are not checked, raw->data is NULL;
 * *data_offset says where they begin. 4 KiB are enough for a header of ours; LS_ECORRUPT where the header is not all
 * there. */
enum ls_status ls_npy_parse_header(const void *bytes, size_t length, struct ls_raw_array *raw, size_t *data_offset,
                                   struct ls_error *err);
/* Appends a version 1.0 file: header (padded to 64 bytes), then the elements. bf16 has no npy type: LS_EUNSUPPORTED. */
enum ls_status ls_npy_append(struct ls_buf *buf, const struct ls_view *view, struct ls_error *err);

#endif
