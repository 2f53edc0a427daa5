/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files, for what is too large to hold in memory at once: reading at offsets, writing piece by piece. Part of
 * the seam of fs.h (ls_fs_fail_after counts here too). Also advisory locks, which end with their holder.
 */
#ifndef LOCKSTEP_CORE_BASE_FILE_H
#define LOCKSTEP_CORE_BASE_FILE_H

#include "core/base/status.h"

#include <stddef.h>
#include <stdint.h>

struct ls_file;

/* Opens a regular file for reading. Returned; ends with ls_file_close. */
enum ls_status ls_file_open(const char *path, struct ls_file **file, struct ls_error *err);
/* Bytes of the file when it was opened. */
uint64_t ls_file_length(const struct ls_file *file);
/* A number that changes whenever the file is replaced or changed (device, inode, size, times). */
uint64_t ls_file_identity(const struct ls_file *file);
/* Exactly length bytes from offset; LS_ECORRUPT where the file ends before. Thread-safe. */
enum ls_status ls_file_read(const struct ls_file *file, uint64_t offset, void *data, size_t length,
                            struct ls_error *err);

/* Creates (or empties) a file for writing. Returned; ends with ls_file_close. */
enum ls_status ls_file_create(const char *path, struct ls_file **file, struct ls_error *err);
enum ls_status ls_file_append(struct ls_file *file, const void *data, size_t length, struct ls_error *err);
/* Everything appended is on the disk when this gives LS_OK. After a failure the file must be given up. */
enum ls_status ls_file_sync(struct ls_file *file, struct ls_error *err);
/* Accepts NULL. Errors of closing a written file were seen by ls_file_sync. */
void ls_file_close(struct ls_file *file);

struct ls_file_lock;
/* Takes the exclusive lock of a file (created where missing, never removed) and writes this process's id into it.
 * LS_EBUSY names the process that holds it. The lock ends with ls_file_lock_close or the process. */
enum ls_status ls_file_lock_open(const char *path, struct ls_file_lock **lock, struct ls_error *err);
/* Takes the exclusive lock of an existing file as it is (nothing is written to it), waiting timeout_ms at most;
 * LS_ETIMEOUT, or LS_EIO where the file system has no locks. */
enum ls_status ls_file_lock_wait(const char *path, int timeout_ms, struct ls_file_lock **lock, struct ls_error *err);
void ls_file_lock_close(struct ls_file_lock *lock);

#endif
