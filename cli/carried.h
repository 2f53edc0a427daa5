/* SPDX-License-Identifier: Apache-2.0 */
/* What a job's `wire: bf16` comes to over a transport, and how that is said. */
#ifndef LOCKSTEP_CLI_CARRIED_H
#define LOCKSTEP_CLI_CARRIED_H

#include "core/job/job.h"

enum ls_carried {
    LS_CARRIED_F32,
    LS_CARRIED_BF16,
    LS_CARRIED_BF16_BETWEEN_HOSTS /* inside a host f32 */
};

/* Before the workers' hosts are known; of the job's own transport, which may be auto. */
enum ls_carried ls_carried_planned(const struct ls_job *job);
/* "f32", "bf16", "bf16 between hosts". */
const char *ls_carried_name(enum ls_carried carried);
/* One sentence for a job whose `wire: bf16` comes to nothing; returns text. */
const char *ls_carried_in_vain(const char *transport, int replicas, char text[160]);

#endif
