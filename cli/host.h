/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hosting a job's coordinator in this process: what `train` and `coordinator` have in common. Lock on the checkpoint
 * directory, server, progress, signals (the first orders a stop, the second leaves at once).
 */
#ifndef LOCKSTEP_CLI_HOST_H
#define LOCKSTEP_CLI_HOST_H

#include "cli/job_options.h"
#include "cli/progress.h"
#include "core/ckpt/ckpt.h"
#include "core/job/job.h"
#include "coordinator/server/server.h"

struct ls_host_options {
    const struct ls_job *job; /* borrowed */
    const char *listen;       /* NULL: loopback, any port */
    uint8_t secret[32];
    bool quiet;
    bool fresh, overwrite;
    /* Words of this command that a worker without a job file is told; NULL: it is told nothing. Borrowed. */
    const struct ls_job_words *words;
    int64_t max_steps;
    int64_t join_deadline_ms; /* 0: the server's own, for workers that this machine starts */
};

struct ls_host {
    const struct ls_job *job;
    struct ls_server *server;
    struct ls_ckpt_lock *lock;
    struct ls_progress_view view;
    _Atomic pid_t children[256]; /* 0: has ended */
    int child_count;
};

/* Checks the job as far as that goes without its data, locks, listens, installs the signal handlers. Ends with
 * ls_host_close, also after a failure. */
enum ls_status ls_host_open(const struct ls_host_options *options, struct ls_host *host, struct ls_error *err);
/* Starts a worker of this machine: arguments as of ls_launch. */
enum ls_status ls_host_start_worker(struct ls_host *host, char *const *arguments, const uint8_t secret[32],
                                    struct ls_error *err);
/* Runs the job to its end. *summary: ls_free, may be NULL. */
enum ls_status ls_host_run(struct ls_host *host, char **summary, struct ls_error *err);
void ls_host_close(struct ls_host *host);

/* How a job's summary is shown: as one JSON line, or for people, who read what to do next. Borrowed. */
struct ls_summary_view {
    bool json;
    const char *path;          /* of the job file */
    const struct ls_list *set; /* its overrides; may be NULL */
    const char *data;          /* what to evaluate on, NULL: the validation set */
};
/* Of a job, for ls_summary_view.data. NULL: it has a validation set. */
const char *ls_summary_data(const struct ls_job *job);
/* summary: NULL where there is none. status, err: how the job ended. */
void ls_summary_print(const char *summary, const struct ls_summary_view *view, enum ls_status status,
                      const struct ls_error *err);

#endif
