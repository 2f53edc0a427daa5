/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .npz: a zip of .npy members, stored or deflated (numpy.savez, savez_compressed); zip64 sizes are read. Arrays are
 * decoded into memory of their own, so they are aligned. Writing gives stored members and fixed times: the same arrays
 * give the same bytes.
 */
#ifndef LOCKSTEP_CORE_FORMATS_NPZ_H
#define LOCKSTEP_CORE_FORMATS_NPZ_H

#include "core/base/buf.h"
#include "core/tensor/tensor.h"

struct ls_npz;

/* Reads a whole file. Messages name the path and the member. Returned; ends with ls_npz_close. */
enum ls_status ls_npz_open(const char *path, struct ls_npz **npz, struct ls_error *err);
/* The same from bytes in memory (copied); name is for messages. */
enum ls_status ls_npz_parse(const void *bytes, size_t length, const char *name, struct ls_npz **npz,
                            struct ls_error *err);
void ls_npz_close(struct ls_npz *npz);
int ls_npz_count(const struct ls_npz *npz);
/* Name without ".npy" and array of member `index`, in file order. Borrowed from npz. */
const char *ls_npz_name(const struct ls_npz *npz, int index);
const struct ls_view *ls_npz_view(const struct ls_npz *npz, int index);
/* The array of a name, or NULL where there is none. Borrowed from npz. */
const struct ls_view *ls_npz_find(const struct ls_npz *npz, const char *name);

/* Writes one; zero-initialise, append arrays, then save (or take `bytes`); deinit ends it either way. */
struct ls_npz_writer {
    struct ls_buf bytes;
    struct ls_buf directory;
    int count;
};
/* name without ".npy". Names must differ (not checked). */
enum ls_status ls_npz_append(struct ls_npz_writer *writer, const char *name, const struct ls_view *view,
                             struct ls_error *err);
/* Appends the zip directory: writer->bytes then holds the file. */
enum ls_status ls_npz_finish(struct ls_npz_writer *writer, struct ls_error *err);
/* ls_npz_finish and ls_fs_write_atomic. */
enum ls_status ls_npz_save(struct ls_npz_writer *writer, const char *path, struct ls_error *err);
void ls_npz_writer_deinit(struct ls_npz_writer *writer);

#endif
