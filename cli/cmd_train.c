/* SPDX-License-Identifier: Apache-2.0 */
/* lockstep train: coordinator here, workers as processes of this machine; under mpirun the ranks are the workers. */
#include "cli/host.h"
#include "cli/job_options.h"
#include "cli/launch.h"
#include "cli/place.h"
#include "cli/under_mpi.h"
#include "core/base/alloc.h"
#include "core/base/hash.h"
#include "core/base/str.h"
#include "core/base/trace.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct train_options {
    struct ls_job_options job;
    const char *save_weights, *trace;
    bool json, quiet, fresh, overwrite;
};

/* Words of a worker's command line: the job as this command got it. */
struct worker_words {
    char *words[LS_LAUNCH_MAX_ARGUMENTS];
    int count;
    bool failed;
};

static void add_word(struct worker_words *w, char *word)
{
    if (word == NULL || w->count + 1 >= LS_LAUNCH_MAX_ARGUMENTS) {
        w->failed = true;
        ls_free(word);
        return;
    }
    w->words[w->count++] = word;
}

static void make_words(struct worker_words *w, const struct train_options *o, const struct ls_job_words *job,
                       const char *path, uint16_t port, int index)
{
    add_word(w, ls_str_copy("worker"));
    add_word(w, ls_str_copy(path));
    add_word(w, ls_str_format("--coordinator=127.0.0.1:%u", (unsigned)port));
    add_word(w, ls_str_format("--index=%d", index));
    add_word(w, ls_str_format("--parent=%ld", (long)getpid()));
    if (o->job.max_steps > 0)
        add_word(w, ls_str_format("--max-steps=%lld", (long long)o->job.max_steps));
    if (o->save_weights != NULL)
        add_word(w, ls_str_format("--save-weights=%s", o->save_weights));
    if (o->trace != NULL)
        add_word(w, ls_str_format("--trace=%s", o->trace));
    for (int i = 0; i < job->count; i++)
        add_word(w, ls_str_format("--set=%s", job->items[i]));
}

static enum ls_status start_workers(struct ls_host *host, const struct train_options *o, const char *path,
                                    const uint8_t secret[32], struct ls_error *err)
{
    struct ls_job_words job;
    enum ls_status status = ls_job_words_make(&o->job, &job, err);

    for (int i = 0; i < host->job->workers && status == LS_OK; i++) {
        struct worker_words w = {.count = 0};

        make_words(&w, o, &job, path, ls_server_port(host->server), i);
        status = w.failed ? ls_error_set(err, LS_EUSAGE, "the command line is too long to start workers with")
                          : ls_host_start_worker(host, w.words, secret, err);
        for (int k = 0; k < w.count; k++)
            ls_free(w.words[k]);
    }
    ls_job_words_free(&job);
    return status;
}

static enum ls_status train_here(const struct ls_job *job, const struct train_options *o, const char *path,
                                 struct ls_error *err)
{
    struct ls_host_options options = {.job = job, .quiet = o->quiet, .fresh = o->fresh, .overwrite = o->overwrite};
    struct ls_summary_view view = {.json = o->json, .path = path, .set = &o->job.set, .data = ls_summary_data(job)};
    struct ls_host host;
    char *summary = NULL;
    enum ls_status status = ls_random_bytes(options.secret, sizeof options.secret);

    if (status != LS_OK)
        return ls_error_set(err, status, "the system gives no random numbers for the job's secret");
    status = ls_host_open(&options, &host, err);
    if (status == LS_OK)
        status = start_workers(&host, o, path, options.secret, err);
    explicit_bzero(options.secret, sizeof options.secret);
    if (status == LS_OK)
        status = ls_host_run(&host, &summary, err);
    ls_host_close(&host);
    if (o->trace != NULL && status != LS_OK)
        (void)ls_trace_join(o->trace, job->workers * job->replicas, NULL);
    ls_summary_print(summary, &view, status, err);
    ls_free(summary);
    return status;
}

static enum ls_status run(const struct ls_command *command, int argc, char **argv, struct ls_error *err)
{
    struct train_options o = {.json = false};
    const struct ls_option options[] = {
        LS_JOB_OPTION_ROWS(o.job),
        {"fresh", NULL, "begin anew instead of resuming", LS_OPTION_FLAG, &o.fresh},
        {"overwrite", NULL, "with --fresh: remove the checkpoints of an earlier run", LS_OPTION_FLAG, &o.overwrite},
        {"save-weights", "FILE", "write the trained variables to an .npz file", LS_OPTION_TEXT, &o.save_weights},
        {"trace", "FILE", "write a trace of all ranks for chrome://tracing or Perfetto", LS_OPTION_TEXT, &o.trace},
        {"json", NULL, "end with one line of JSON on standard output", LS_OPTION_FLAG, &o.json},
        {"quiet", NULL, "show no progress", LS_OPTION_FLAG, &o.quiet},
        {NULL, NULL, NULL, LS_OPTION_FLAG, NULL}};
    const char *path;
    struct ls_job *job = NULL;
    enum ls_status status = ls_options_parse(command, options, argc, argv, 1, 1, &path, err);

    if (status == LS_OK && o.overwrite && !o.fresh)
        status = ls_error_set(err, LS_EUSAGE, "--overwrite only goes with --fresh");
    if (status == LS_OK)
        status = ls_job_options_load(&o.job, path, &job, err);
    if (status == LS_OK)
        status = ls_place_check_run(o.trace, o.save_weights, &(struct ls_place_reads){.job = job}, err);
    if (status == LS_OK) {
        struct ls_mpi_run mpi = {
            .job = job,
            .view = {.json = o.json, .path = path, .set = &o.job.set, .data = ls_summary_data(job)},
            .workers_typed = o.job.workers != NULL,
            .save_weights = o.save_weights,
            .trace = o.trace,
            .quiet = o.quiet,
            .fresh = o.fresh,
            .overwrite = o.overwrite};

        status = ls_under_mpi() ? ls_mpi_train(&mpi, err) : train_here(job, &o, path, err);
    }
    ls_job_destroy(job);
    if (status != LS_OK && status != LS_EAGAIN && ls_under_mpi())
        ls_mpi_let_first_speak(status);
    return status;
}

const struct ls_command ls_cmd_train = {
    .name = "train",
    .arguments = "JOB [options]",
    .summary = "Train a job on this machine, or as a rank under mpirun",
    .about =
        "Starts the coordinator and the workers, shows progress, and resumes from the newest checkpoint where there\n"
        "is one. Ctrl-C or SIGTERM saves and leaves (exit status 130); the same command goes on. A second Ctrl-C\n"
        "leaves at once.",
    .run = run,
    .ends_in_order = true};
