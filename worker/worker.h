/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker process: joins the coordinator, forms the group it is told, runs its replicas (a thread each), and says how
 * it ended.
 */
#ifndef LOCKSTEP_WORKER_WORKER_H
#define LOCKSTEP_WORKER_WORKER_H

#include "core/job/job.h"

#include <sys/types.h>

struct ls_worker_options {
    const struct ls_job *job; /* borrowed */
    const char *coordinator;  /* "HOST:PORT", borrowed */
    uint8_t secret[32];
    int index;                /* place that the launcher gave, -1: any */
    pid_t started_pid;        /* process whose start counts as the command's, 0: this one */
    const char *save_weights; /* .npz to write the trained variables to, NULL: none; rank 0. Borrowed. */
    const char *trace; /* Chrome trace to write, NULL: none; rank 0, after a failure every rank a part. Borrowed. */
};

/* Runs to the end of the job. *told: the coordinator knows the outcome or the error, and says it. LS_EINTERRUPTED:
 * stopped in order and saved. *summary: rank 0's JSON, NULL for others; ls_free. */
enum ls_status ls_worker_run(const struct ls_worker_options *options, char **summary, bool *told, struct ls_error *err);
/* Asks for an orderly stop of the whole job (all ranks agree by vote). False: this worker is of no running job yet, so
 * that nothing is lost where the process ends at once. Safe in a signal handler. */
bool ls_worker_stop(void);

#endif
