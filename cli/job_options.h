/* SPDX-License-Identifier: Apache-2.0 */
/* The options that every command with a job shares, and loading the job with them. */
#ifndef LOCKSTEP_CLI_JOB_OPTIONS_H
#define LOCKSTEP_CLI_JOB_OPTIONS_H

#include "cli/command.h"
#include "core/job/job.h"
#include "core/job/transport.h"
#include "worker/session/job.h"

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
        {"transport", "NAME", LS_TRANSPORTS_TEXT " (run.transport)", LS_OPTION_TEXT, &(o).transport},          \
    {                                                                                                          \
        "max-steps", "N", "end after N steps in all", LS_OPTION_COUNT, &(o).max_steps                          \
    }

/* The options as overrides of the job file, in the order in which they count. */
#define LS_JOB_WORDS_MADE 4
struct ls_job_words {
    const char *items[LS_MAX_LIST + LS_JOB_WORDS_MADE]; /* borrowed from the options, or made */
    int count;
    char *made[LS_JOB_WORDS_MADE];
    int made_count;
};
/* Ends with ls_job_words_free, also after a failure. */
enum ls_status ls_job_words_make(const struct ls_job_options *options, struct ls_job_words *words,
                                 struct ls_error *err);
void ls_job_words_free(struct ls_job_words *words);

/* Loads the job with the overrides. Returned; ends with ls_job_destroy. */
enum ls_status ls_job_options_load(const struct ls_job_options *options, const char *path, struct ls_job **job,
                                   struct ls_error *err);
/* Loads the job that a coordinator told, with its words and then these options. */
enum ls_status ls_job_options_load_fetched(const struct ls_job_options *options, const struct ls_fetched_job *fetched,
                                           struct ls_job **job, struct ls_error *err);

#endif
