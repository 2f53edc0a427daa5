/* SPDX-License-Identifier: Apache-2.0 */
/* Files that a command writes at its end: what would go wrong then is found before its work begins. */
#ifndef LOCKSTEP_CLI_PLACE_H
#define LOCKSTEP_CLI_PLACE_H

#include "core/job/job.h"

/* Whether the path (NULL: there is none) that was given with `option` can become a file: its directory can be written,
 * it is no directory or device, and not one of the files that the job is read from, nor `input` (nullable). LS_EIO,
 * LS_EUSAGE. */
enum ls_status ls_place_check(const char *option, const char *path, const struct ls_job *job, const char *input,
                              struct ls_error *err);

#endif
