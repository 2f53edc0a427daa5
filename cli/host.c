/* SPDX-License-Identifier: Apache-2.0 */
/* Hosting the coordinator, see host.h. */
#include "cli/host.h"

#include "cli/carried.h"
#include "cli/launch.h"
#include "cli/told.h"
#include "collective/group.h"
#include "core/base/alloc.h"
#include "core/base/str.h"
#include "core/data/dataset.h"
#include "core/device/known_answer.h"
#include "worker/step/trainer.h"

#include <jansson.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct ls_host *_Atomic signalled_host;

/* The first signal asks for an orderly end; the second ends at once, workers too. */
static void on_signal(int number, bool again)
{
    struct ls_host *host = atomic_load(&signalled_host);

    if (host == NULL)
        return;
    if (!again) {
        ls_server_stop(host->server);
        return;
    }
    for (int i = 0; i < host->child_count; i++) {
        pid_t pid = atomic_load(&host->children[i]);

        if (pid > 0)
            (void)kill(pid, SIGKILL);
    }
    _exit(128 + number);
}

static void on_ready(void *state, const struct ls_server_ready *ready)
{
    struct ls_host *host = state;
    char line[160];

    (void)snprintf(line, sizeof line, "%d worker%s joined; training", ready->workers, ready->workers == 1 ? "" : "s");
    ls_progress_say(&host->view, line);
    if (host->job->bf16_wire &&
        (ready->members == 1 || !ls_provider_carries_bf16(ready->transport, ready->several_hosts)))
        ls_progress_say(&host->view, ls_carried_in_vain(ready->transport, ready->members, line));
}

static void on_report(void *state, const struct ls_step_report *report)
{
    ls_progress_report(&((struct ls_host *)state)->view, report);
}

static void on_log(void *state, const char *sentence)
{
    ls_progress_say(&((struct ls_host *)state)->view, sentence);
}

static void on_warning(void *state, const char *sentence)
{
    ls_progress_warn(&((struct ls_host *)state)->view, sentence);
}

/* --fresh: *old says whether an earlier run's checkpoints must be removed, which has to be said with --overwrite. */
static enum ls_status find_old(const struct ls_host_options *options, bool *old, struct ls_error *err)
{
    const char *directory = options->job->checkpoint_directory;
    struct ls_ckpt *ckpt = NULL;

    *old = options->fresh && ls_ckpt_open(directory, &ckpt, NULL, NULL) != LS_ENOENT;
    ls_ckpt_close(ckpt);
    if (*old && !options->overwrite)
        return ls_error_set(err, LS_EBUSY,
                            "%s holds checkpoints of an earlier run; --fresh --overwrite removes them, or choose "
                            "another run.checkpoint.directory",
                            directory);
    return LS_OK;
}

/* The last thing before the start, and only for a job that can be trained: nothing is lost to a wrong path or a port
 * that is taken. */
static enum ls_status remove_old(const struct ls_job *job, struct ls_error *err)
{
    struct ls_trainer *trainer = NULL;
    enum ls_status status = ls_trainer_open(job, LS_TRAINER_TRAINING, &trainer, err);

    ls_trainer_close(trainer);
    return status == LS_OK ? ls_ckpt_remove_all(job->checkpoint_directory, err) : status;
}

static enum ls_status prepare_view(struct ls_host *host, struct ls_error *err)
{
    const struct ls_job *job = host->job;
    int64_t count = 0;
    enum ls_status status = LS_OK;

    if (job->train.format == NULL)
        return ls_error_set(err, LS_EINVAL, "%s: data.train is missing; training needs it", job->path);
    status = ls_dataset_file_count(job->train.features, job->train.format, &count, err);
    host->view.metric_names = (const char *const *)job->metrics;
    host->view.metric_count = job->metric_count;
    host->view.epochs = job->epochs;
    host->view.steps_per_epoch = (count + job->batch_size - 1) / job->batch_size;
    host->view.total_steps = host->view.steps_per_epoch * job->epochs;
    if (job->max_steps > 0 && job->max_steps < host->view.total_steps)
        host->view.total_steps = job->max_steps;
    return status;
}

/* Workers resolve the job's paths as this process does. *path: the job file's, absolute; ls_free. */
static enum ls_status hand_out(const struct ls_host_options *options, struct ls_server_options *server, char **path,
                               struct ls_error *err)
{
    char here[4096];

    if (getcwd(here, sizeof here) == NULL)
        return ls_error_set(err, LS_EIO, "the current directory cannot be read");
    *path = ls_path_join(here, options->job->path);
    if (*path == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for %s", options->job->path);
    server->job_path = *path;
    server->job_overrides = options->words->items;
    server->job_override_count = options->words->count;
    server->job_max_steps = options->max_steps;
    server->job_model_text = options->job->model_text;
    server->job_model_length = options->job->model_length;
    return LS_OK;
}

static enum ls_status open_server(const struct ls_host_options *options, struct ls_host *host, struct ls_error *err)
{
    struct ls_server_options server = LS_SERVER_OPTIONS_DEFAULT;
    char *path = NULL;
    enum ls_status status = ls_job_fingerprint(options->job, server.fingerprint, err);

    if (status != LS_OK)
        return status;
    if (options->listen != NULL)
        server.listen = options->listen;
    if (options->join_deadline_ms > 0)
        server.join_deadline_ms = options->join_deadline_ms;
    memcpy(server.secret, options->secret, sizeof server.secret);
    server.workers = options->job->workers;
    server.transport = options->job->transport;
    server.directory = options->job->checkpoint_directory;
    server.on_ready = on_ready;
    server.on_report = on_report;
    server.on_log = on_log;
    server.on_warning = on_warning;
    server.state = host;
    server.known_answers = ls_known_answers_digest(options->job->fast);
    if (options->words != NULL)
        status = hand_out(options, &server, &path, err);
    if (status == LS_OK)
        status = ls_server_open(&server, &host->server, err);
    explicit_bzero(server.secret, sizeof server.secret);
    ls_free(path);
    return status;
}

enum ls_status ls_host_open(const struct ls_host_options *options, struct ls_host *host, struct ls_error *err)
{
    struct ls_trainer *trainer = NULL;
    bool old = false;
    enum ls_status status;

    memset(host, 0, sizeof *host);
    host->job = options->job;
    host->view.quiet = options->quiet;
    status = ls_trainer_open(options->job, LS_TRAINER_MODEL_ONLY, &trainer, err);
    ls_trainer_close(trainer);
    if (status == LS_OK)
        status = prepare_view(host, err);
    if (status == LS_OK && options->job->checkpoint_directory != NULL) {
        status = ls_ckpt_lock_open(options->job->checkpoint_directory, &host->lock, err);
        if (status == LS_OK)
            status = find_old(options, &old, err);
    }
    if (status == LS_OK)
        status = open_server(options, host, err);
    if (status == LS_OK && ls_told())
        status = ls_error_set(err, LS_EINTERRUPTED, "stopped before training began; the same command goes on");
    if (status == LS_OK && old)
        status = remove_old(options->job, err);
    if (status != LS_OK)
        return status;
    ls_progress_begin(&host->view);
    atomic_store(&signalled_host, host);
    ls_told_attach(on_signal);
    return LS_OK;
}

enum ls_status ls_host_start_worker(struct ls_host *host, char *const *arguments, const uint8_t secret[32],
                                    struct ls_error *err)
{
    enum ls_status status;
    pid_t pid;

    if (host->child_count == (int)(sizeof host->children / sizeof host->children[0]))
        return ls_error_set(err, LS_EINVAL, "at most %d workers can be started on one machine", host->child_count);
    status = ls_launch(arguments, secret, &pid, err);
    if (status == LS_OK)
        host->children[host->child_count++] = pid;
    return status;
}

/* A signal may come when all is done already. */
static bool was_finished(const char *summary)
{
    json_t *o = summary != NULL ? json_loads(summary, 0, NULL) : NULL;
    bool finished = json_is_true(json_object_get(o, "finished"));

    json_decref(o);
    return finished;
}

enum ls_status ls_host_run(struct ls_host *host, char **summary, struct ls_error *err)
{
    enum ls_status status;

    if (host->child_count > 0)
        ls_server_set_children(host->server, host->children, host->child_count);
    status = ls_server_run(host->server, summary, err);
    ls_progress_end(&host->view);
    if (status == LS_OK && ls_told() && !was_finished(*summary))
        return ls_error_set(err, LS_EINTERRUPTED, "stopped in order%s; the same command goes on",
                            host->job->checkpoint_directory != NULL ? " and saved" : "");
    return status;
}

void ls_host_close(struct ls_host *host)
{
    atomic_store(&signalled_host, (struct ls_host *)NULL);
    ls_server_close(host->server);
    ls_ckpt_lock_close(host->lock);
}
