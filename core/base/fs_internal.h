/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by fs.c and file.c: the one place where bytes are written, what a plain file is, a failed call's sentence. */
#ifndef LOCKSTEP_CORE_BASE_FS_INTERNAL_H
#define LOCKSTEP_CORE_BASE_FS_INTERNAL_H

#include "core/base/status.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* "cannot <what> <path>: <errno's text>"; LS_ENOENT or LS_EIO. */
enum ls_status lsi_fs_fail(struct ls_error *err, const char *what, const char *path);
/* LS_EIO "cannot <what> <path>: it is a pipe; ..." where an open file is no plain one; *info is filled in. */
enum ls_status lsi_fs_check_plain(int fd, const char *what, const char *path, struct stat *info, struct ls_error *err);
/* Writes all bytes to fd, or fails as ls_fs_fail_after asks. */
enum ls_status lsi_fs_write_all(int fd, const char *path, const uint8_t *data, size_t length, struct ls_error *err);

#endif
