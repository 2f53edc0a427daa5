/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam for files. No file is ever half-written: ls_fs_write_atomic writes beside the target, syncs,
 * renames and syncs the directory. Tests inject failures (full disk) through ls_fs_fail_after.
 */
#ifndef LOCKSTEP_CORE_BASE_FS_H
#define LOCKSTEP_CORE_BASE_FS_H

#include "core/base/buf.h"
#include "core/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Appends the whole file to buf; LS_ENOENT, LS_EIO, or LS_EINVAL where it is longer than limit bytes. What is no plain
 * file is LS_EIO at once: a pipe is not waited for. The message names the path. */
enum ls_status ls_fs_read(const char *path, size_t limit, struct ls_buf *buf, struct ls_error *err);
/* The same also of a pipe, which is read to its end, once somebody writes to it. */
enum ls_status ls_fs_read_pipe(const char *path, size_t limit, struct ls_buf *buf, struct ls_error *err);
/* Writes a file under a temporary name in the same directory, syncs it, renames it over path, syncs the
 * directory. On failure the old file stays and the temporary one is gone. What is no plain file (a pipe, a device) is
 * not replaced: LS_EIO. A symbolic link stays, and the file it leads to is written so. */
enum ls_status ls_fs_write_atomic(const char *path, const void *data, size_t length, struct ls_error *err);
/* Where writing to path would put a file: path itself, or what its symbolic links lead to, there or not. LS_EIO where
 * that way goes through a name in /dev, /proc or /sys (/dev/shm holds ordinary files), for what such a name opens is
 * not what a rename replaces. Returned memory is the caller's (ls_free). */
enum ls_status ls_fs_target(const char *path, char **target, struct ls_error *err);
/* Writes a new file and syncs it (no rename: for files inside a directory that is committed whole). */
enum ls_status ls_fs_write(const char *path, const void *data, size_t length, struct ls_error *err);
enum ls_status ls_fs_append_sync(int fd, const void *data, size_t length, const char *path, struct ls_error *err);
/* Creates the directory and its missing parents. */
enum ls_status ls_fs_mkdirs(const char *path, struct ls_error *err);
enum ls_status ls_fs_rename(const char *from, const char *to, struct ls_error *err);
enum ls_status ls_fs_sync_directory(const char *path, struct ls_error *err);
/* Removes a file or a directory with all in it; a missing one is fine. */
enum ls_status ls_fs_remove(const char *path, struct ls_error *err);
bool ls_fs_exists(const char *path);
/* Names in a directory, sorted, without . and ..; *names is one block, end it with ls_free. */
enum ls_status ls_fs_list(const char *path, char ***names, size_t *count, struct ls_error *err);
/* Tests: writing fails with "no space left" after this many more bytes; SIZE_MAX turns it off. */
void ls_fs_fail_after(size_t bytes);

#endif
