/* SPDX-License-Identifier: Apache-2.0 */
/* Inside core/data: decoded arrays. */
#ifndef LOCKSTEP_CORE_DATA_DATASET_INTERNAL_H
#define LOCKSTEP_CORE_DATA_DATASET_INTERNAL_H

#include "core/data/dataset.h"

/* One decoded file. */
struct lsi_array {
    struct ls_view view; /* whole array; dim[0] counts samples */
    void *memory;        /* ls_free */
};

/* Reads and decodes a file of a format into private memory. Messages begin with the path. */
enum ls_status lsi_array_read(const char *path, const char *format, struct lsi_array *array, struct ls_error *err);
void lsi_array_deinit(struct lsi_array *array);

#endif
