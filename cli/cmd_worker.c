/* SPDX-License-Identifier: Apache-2.0 */
/* lockstep worker: one worker process of a job that a coordinator leads. */
#include "cli/job_options.h"
#include "cli/launch.h"
#include "cli/place.h"
#include "cli/told.h"
#include "core/base/alloc.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "worker/worker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONNECT_MS 10000

static bool launched; /* by `lockstep train`, which says how the job ended, once for all workers */

/* One that still waits for the coordinator, or for other workers, has nothing to save. */
static void on_signal(int number, bool again)
{
    static const char said[] = "lockstep: the worker was stopped before its job began\n";

    (void)number;
    (void)again;
    if (ls_worker_stop())
        return;
    if (!launched)
        (void)!write(STDERR_FILENO, said, sizeof said - 1);
    _exit(ls_status_exit(LS_EINTERRUPTED));
}

struct worker_arguments {
    struct ls_job_options job;
    const char *coordinator, *secret_file, *save_weights, *trace;
    int64_t index, parent;
    bool has_index;
};

/* A coordinator may listen on "any port", which is 0; nobody can be reached there. */
static bool names_port(const char *address)
{
    const char *colon = strrchr(address, ':');

    return colon == NULL || colon[1 + strspn(colon + 1, "0")] != '\0';
}

/* The job file's, or without one the coordinator's. */
static enum ls_status load(const struct worker_arguments *a, const char *path, const uint8_t secret[32],
                           struct ls_job **job, struct ls_error *err)
{
    struct ls_fetched_job *fetched = NULL;
    enum ls_status status;

    if (path != NULL)
        return ls_job_options_load(&a->job, path, job, err);
    status = ls_session_fetch_job(a->coordinator, secret, CONNECT_MS, &fetched, err);
    if (status == LS_OK)
        status = ls_job_options_load_fetched(&a->job, fetched, job, err);
    ls_fetched_job_destroy(fetched);
    return status;
}

static enum ls_status work(const struct worker_arguments *a, const char *path, struct ls_error *err)
{
    struct ls_worker_options options = {.coordinator = a->coordinator,
                                        .index = (int)a->index,
                                        .started_pid = (pid_t)a->parent,
                                        .save_weights = a->save_weights,
                                        .trace = a->trace};
    struct ls_job *job = NULL;
    char *summary = NULL, name[32];
    bool told = false;
    enum ls_status status = ls_secret_read(a->secret_file, options.secret, err);

    (void)snprintf(name, sizeof name, "worker %lld", (long long)a->index);
    if (a->index >= 0)
        ls_log_set_name(name);
    if (status == LS_OK)
        status = load(a, path, options.secret, &job, err);
    if (status == LS_OK && !launched)
        status = ls_place_check_run(a->trace, a->save_weights,
                                    &(struct ls_place_reads){.job = job, .file = a->secret_file}, err);
    options.job = job;
    if (status == LS_OK)
        status = ls_worker_run(&options, &summary, &told, err);
    explicit_bzero(options.secret, sizeof options.secret);
    ls_free(summary);
    ls_job_destroy(job);
    if (launched && status != LS_OK && (told || status == LS_EINTERRUPTED))
        exit(ls_status_exit(status));
    return status;
}

static enum ls_status run(const struct ls_command *command, int argc, char **argv, struct ls_error *err)
{
    struct worker_arguments a = {.parent = 0};
    const char *index = NULL, *path;
    const struct ls_option options[] = {
        LS_JOB_OPTION_ROWS(a.job),
        {"coordinator", "HOST:PORT", "where the coordinator listens", LS_OPTION_ADDRESS, &a.coordinator},
        {"secret-file", "FILE", "64 hexadecimal digits, mode 0600 (else LOCKSTEP_SECRET)", LS_OPTION_TEXT,
         &a.secret_file},
        {"index", "N", "place among the workers (any free one)", LS_OPTION_TEXT, &index},
        {"save-weights", "FILE", "rank 0 writes the trained variables to an .npz file", LS_OPTION_TEXT,
         &a.save_weights},
        {"trace", "FILE", "rank 0 writes a Chrome trace of all ranks that have the option", LS_OPTION_TEXT, &a.trace},
        {"parent", "PID", "end when this process ends (set by `lockstep train`)", LS_OPTION_COUNT, &a.parent},
        {NULL, NULL, NULL, LS_OPTION_FLAG, NULL}};
    enum ls_status status = ls_options_parse(command, options, argc, argv, 0, 1, &path, err);

    if (status != LS_OK)
        return status;
    a.index = -1;
    if (index != NULL && (!ls_str_to_i64(index, &a.index) || a.index < 0 || a.index > 65535))
        return ls_error_set(err, LS_EUSAGE, "--index needs a whole number from 0 to 65535, not \"%s\"", index);
    if (a.coordinator == NULL)
        return ls_error_set(err, LS_EUSAGE, "--coordinator HOST:PORT is needed");
    if (!names_port(a.coordinator))
        return ls_error_set(err, LS_EUSAGE, "--coordinator %s: port 0 is none; the coordinator prints its own",
                            a.coordinator);
    launched = a.parent > 0;
    if (launched) {
        /* The launcher gets the terminal's Ctrl-C too and tells everyone in order. */
        (void)signal(SIGINT, SIG_IGN);
        status = ls_launch_tie_to_parent((pid_t)a.parent, err);
    }
    ls_told_attach(on_signal);
    if (launched)
        ls_told_let_in();
    return status == LS_OK ? work(&a, path, err) : status;
}

const struct ls_command ls_cmd_worker = {
    .name = "worker",
    .arguments = "[JOB] --coordinator HOST:PORT [options]",
    .summary = "Join a coordinator as one worker",
    .about =
        "Without JOB the coordinator tells it the job and its overrides; data and checkpoint are then expected at the\n"
        "coordinator's paths. Options of the job given here apply on top, e.g. --threads. With JOB it must be the\n"
        "coordinator's. SIGTERM makes the whole job save and stop in order.",
    .run = run,
    .ends_in_order = true};
