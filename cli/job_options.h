/* SPDX-License-Identifier: Apache-2.0 */
/* The options that every command with a job shares, and loading the job with them. */
#ifndef LOCKSTEP_CLI_JOB_OPTIONS_H
#define LOCKSTEP_CLI_JOB_OPTIONS_H

#include "cli/command.h"
#include "core/job/job.h"

struct ls_job_options {
    struct ls_list set;
    const char *workers, *replicas, *threads, *transport;
    int64_t max_steps;
};

/* Rows for a command's table of options. */
#define LS_JOB_OPTION_ROWS(o)                                                                                  \
    {"set", "KEY=VALUE", "override a key of the job, e.g. --set optimizer.learning_rate=0.01", LS_OPTION_LIST, \
     &(o).set},                                                                                                \
        {"workers", "N", "worker processes (run.workers)", LS_OPTION_TEXT, &(o).workers},                      \
        {"replicas", "N", "replicas in each worker (run.replicas)", LS_OPTION_TEXT, &(o).replicas},            \
        {"threads", "N", "threads in each replica (run.threads)", LS_OPTION_TEXT, &(o).threads},               \
        {"transport", "NAME", "auto, shm, tcp or mpi (run.transport)", LS_OPTION_TEXT, &(o).transport},        \
    {                                                                                                          \
        "max-steps", "N", "end after N steps in all", LS_OPTION_COUNT, &(o).max_steps                          \
    }

/* Loads the job with the overrides. Returned; ends with ls_job_destroy. */
enum ls_status ls_job_options_load(const struct ls_job_options *options, const char *path, struct ls_job **job,
                                   struct ls_error *err);

#endif
