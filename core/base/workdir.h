/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory for one process's time: fresh, 0700, gone at its end. A process that is killed cannot remove its own; a
 * lock in it tells the next one of the same user that nobody holds it any more, and that one removes it.
 */
#ifndef LOCKSTEP_CORE_BASE_WORKDIR_H
#define LOCKSTEP_CORE_BASE_WORKDIR_H

#include "core/base/status.h"

#include <stddef.h>

struct ls_workdir;

/* "<parent>/lockstep-XXXXXX" under the first of the parents (NULL entries and relative paths are passed over) where one
 * can be made and its path has `longest` bytes at most. Removes those that were left in the parents it looks at.
 * Returned; ends with ls_workdir_remove. */
enum ls_status ls_workdir_make(const char *const *parents, int count, size_t longest, struct ls_workdir **workdir,
                               struct ls_error *err);
/* Borrowed. */
const char *ls_workdir_path(const struct ls_workdir *workdir);
/* With all in it. Accepts NULL. */
void ls_workdir_remove(struct ls_workdir *workdir);

#endif
