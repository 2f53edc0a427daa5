/* SPDX-License-Identifier: Apache-2.0 */
/* lockstep coordinator: hosts a job for workers that are started by hand or by a scheduler. */
#include "cli/host.h"
#include "cli/job_options.h"
#include "cli/launch.h"
#include "core/base/alloc.h"

#include <stdio.h>
#include <string.h>

#define MAX_JOIN_TIMEOUT_S 10000000 /* a third of a year */

static enum ls_status run(const struct ls_command *command, int argc, char **argv, struct ls_error *err)
{
    struct ls_job_options o = {.max_steps = 0};
    const char *listen = NULL, *secret_file = NULL, *path;
    int64_t join_timeout_s = 600;
    bool json = false, quiet = false, fresh = false, overwrite = false;
    const struct ls_option options[] = {
        LS_JOB_OPTION_ROWS(o),
        {"listen", "HOST:PORT", "where to listen (127.0.0.1 and any port)", LS_OPTION_ADDRESS, &listen},
        {"secret-file", "FILE", "64 hexadecimal digits, mode 0600 (else LOCKSTEP_SECRET)", LS_OPTION_TEXT,
         &secret_file},
        {"join-timeout", "SECONDS", "give up where not all workers have joined by then (600)", LS_OPTION_COUNT,
         &join_timeout_s},
        {"fresh", NULL, "begin anew instead of resuming", LS_OPTION_FLAG, &fresh},
        {"overwrite", NULL, "with --fresh: remove the checkpoints of an earlier run", LS_OPTION_FLAG, &overwrite},
        {"json", NULL, "end with one line of JSON on standard output", LS_OPTION_FLAG, &json},
        {"quiet", NULL, "show no progress", LS_OPTION_FLAG, &quiet},
        {NULL, NULL, NULL, LS_OPTION_FLAG, NULL}};
    struct ls_job_words words = {.count = 0};
    struct ls_job *job = NULL;
    struct ls_host host = {.server = NULL};
    struct ls_summary_view view = {.json = false};
    char *summary = NULL;
    enum ls_status status = ls_options_parse(command, options, argc, argv, 1, 1, &path, err);

    if (status == LS_OK && overwrite && !fresh)
        status = ls_error_set(err, LS_EUSAGE, "--overwrite only goes with --fresh");
    if (status == LS_OK && (join_timeout_s == 0 || join_timeout_s > MAX_JOIN_TIMEOUT_S))
        status = ls_error_set(err, LS_EUSAGE, "--join-timeout needs a whole number of seconds from 1 to %d, not %lld",
                              MAX_JOIN_TIMEOUT_S, (long long)join_timeout_s);
    if (status != LS_OK)
        return status;
    status = ls_job_options_load(&o, path, &job, err);
    if (status == LS_OK)
        status = ls_job_words_make(&o, &words, err);
    if (status == LS_OK) {
        struct ls_host_options hosting = {.job = job,
                                          .listen = listen,
                                          .quiet = quiet,
                                          .fresh = fresh,
                                          .overwrite = overwrite,
                                          .words = &words,
                                          .join_deadline_ms = join_timeout_s * 1000,
                                          .max_steps = o.max_steps};

        status = ls_secret_read(secret_file, hosting.secret, err);
        if (status == LS_OK)
            status = ls_host_open(&hosting, &host, err);
        explicit_bzero(hosting.secret, sizeof hosting.secret);
    }
    if (status == LS_OK) {
        printf("listening on port %u for %d workers: lockstep worker --coordinator HOST:%u\n",
               (unsigned)ls_server_port(host.server), job->workers, (unsigned)ls_server_port(host.server));
        (void)fflush(stdout);
        status = ls_host_run(&host, &summary, err);
    }
    ls_host_close(&host);
    ls_job_words_free(&words);
    view = (struct ls_summary_view){.json = json, .path = path, .set = &o.set, .data = ls_summary_data(job)};
    ls_summary_print(summary, &view, status, err);
    ls_free(summary);
    ls_job_destroy(job);
    return status;
}

const struct ls_command ls_cmd_coordinator = {
    .name = "coordinator",
    .arguments = "JOB [options]",
    .summary = "Host a job for workers that others start",
    .about =
        "Waits until run.workers workers have joined (--join-timeout), then leads the job to its end. Workers prove\n"
        "that they know the job's secret: make one with `openssl rand -hex 32 > secret; chmod 600 secret`.",
    .run = run,
    .ends_in_order = true};
