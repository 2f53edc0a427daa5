/* SPDX-License-Identifier: Apache-2.0 */
/* Files that a command writes at its end: what would go wrong then is found before its work begins. */
#ifndef LOCKSTEP_CLI_PLACE_H
#define LOCKSTEP_CLI_PLACE_H

#include "core/job/job.h"

/* What the command reads, and a result must not replace: the files of the job, what its checkpoint directory keeps, and
 * what else the command line named. */
struct ls_place_reads {
    const struct ls_job *job;
    const char *file;       /* a further file; NULL: none */
    const char *checkpoint; /* a further checkpoint, or directory of them; NULL: none */
};

/* Whether the path (NULL: there is none) that was given with `option`, or what it leads to as a symbolic link, can
 * become a file: its directory can be written, it is no directory, device or name of the system's, and nothing of
 * `reads`. LS_EIO, LS_EUSAGE. */
enum ls_status ls_place_check(const char *option, const char *path, const struct ls_place_reads *reads,
                              struct ls_error *err);

/* Both results of a run, of which either may be NULL: each as above, and that they are two files. */
enum ls_status ls_place_check_run(const char *trace, const char *save_weights, const struct ls_place_reads *reads,
                                  struct ls_error *err);

#endif
