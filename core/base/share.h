/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read-only memory that processes of one user on one host share: filled once by whoever comes first, found by name by
 * those who come later. It has no name in any file system and ends with its last process, however that dies (Linux:
 * a sealed memfd, announced by an abstract socket). Where the system does not allow it, finding and making fail and
 * the caller keeps memory of its own.
 */
#ifndef LOCKSTEP_CORE_BASE_SHARE_H
#define LOCKSTEP_CORE_BASE_SHARE_H

#include "core/base/status.h"

#include <stddef.h>

struct ls_share;

/* Longest name; letters, digits and '-'. */
#define LS_SHARE_NAME 48

/* Maps what a living process of this user published under the name; LS_ENOENT where there is none. Its bytes can
 * no longer change. Returned; ends with ls_share_close. */
enum ls_status ls_share_find(const char *name, struct ls_share **share, struct ls_error *err);
/* Zeroed memory to fill, which nobody sees before ls_share_publish. Returned; ends with ls_share_close. */
enum ls_status ls_share_create(const char *name, size_t bytes, struct ls_share **share, struct ls_error *err);
/* Ends the filling: the memory becomes read-only (and may move: ask ls_share_memory again) and can be found while this
 * process keeps it open. After a failure only ls_share_close is allowed. */
enum ls_status ls_share_publish(struct ls_share *share, struct ls_error *err);
/* Page-aligned. Writable only between create and publish. */
void *ls_share_memory(const struct ls_share *share);
size_t ls_share_bytes(const struct ls_share *share);
/* Accepts NULL. */
void ls_share_close(struct ls_share *share);

#endif
