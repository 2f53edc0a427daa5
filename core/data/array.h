/* SPDX-License-Identifier: Apache-2.0 */
/* One data file as a decoded array, private or shared by the processes of a host. For core/data and its tests. */
#ifndef LOCKSTEP_CORE_DATA_ARRAY_H
#define LOCKSTEP_CORE_DATA_ARRAY_H

#include "core/base/buf.h"
#include "core/base/share.h"
#include "core/data/dataset.h"
#include "core/formats/raw_array.h"

/* One decoded file. */
struct lsi_array {
    struct ls_view view;    /* whole array; dim[0] counts samples */
    void *memory;           /* ls_free; NULL where shared */
    struct ls_share *share; /* ls_share_close; NULL where private */
};

/* A file format. A new one is its functions and one line in array.c's table. */
struct lsi_format {
    const char *name;
    enum ls_status (*decode)(const struct ls_buf *file, struct lsi_array *array, struct ls_error *err);
    /* From the first 64 KiB. */
    enum ls_status (*parse_header)(const void *bytes, size_t length, struct ls_raw_array *raw, size_t *data_offset,
                                   struct ls_error *err);
    /* Decodes into memory of the dtype's size; 64 bytes in front of out may be written too. */
    enum ls_status (*decode_into)(const struct ls_buf *file, struct ls_raw_array *raw, size_t data_offset, void *out,
                                  struct ls_error *err);
};
/* NULL (and *err set) where the name is not known. */
const struct lsi_format *lsi_format_find(const char *name, struct ls_error *err);

/* Reads and decodes a file of a format into private memory. Messages begin with the path. */
enum ls_status lsi_array_read(const char *path, const char *format, struct lsi_array *array, struct ls_error *err);
/* The same into memory that the processes of this host share, decoded by whoever comes first. Fails wherever anything
 * about that does not work (and sets no error): the caller then reads privately, which gives the sentence. */
enum ls_status lsi_array_read_shared(const char *path, const char *format, struct lsi_array *array);
void lsi_array_deinit(struct lsi_array *array);

#endif
