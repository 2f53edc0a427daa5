/* SPDX-License-Identifier: Apache-2.0 */
/* ls_fit: options become a job whose parts are in memory; the replicas are those of a worker. See fit.h. */
#include "worker/fit/fit.h"

#include "core/base/alloc.h"
#include "core/base/log.h"
#include "worker/fit/mirrored_internal.h"

#include <stdatomic.h>
#include <string.h>

struct fit {
    const struct ls_fit_options *options;
    ls_fit_loop_fn loop;
    void *loop_state;
    struct ls_job job;
    struct ls_trainer *trainer;
    struct ls_ckpt_lock *lock;
    struct ls_ckpt *ckpt;
    struct ls_fit_result *result; /* nullable; written by replica 0 */
};

/* Replica 0's side of the callbacks. */
struct listener {
    const struct fit *fit;
    struct ls_replica *replica;
    struct ls_step_report train; /* the newest of a training step */
};

static void ask(struct listener *l, bool goes_on)
{
    if (!goes_on)
        atomic_store(&l->replica->stop, true);
}

static void on_report(void *state, const struct ls_step_report *report)
{
    struct listener *l = state;
    const struct ls_fit_options *o = l->fit->options;
    bool epoch_ends = report->step % (uint64_t)l->fit->trainer->steps_per_epoch == 0;

    if (report->validation) {
        if (o->on_epoch != NULL)
            ask(l, o->on_epoch(o->state, &l->train, report));
        return;
    }
    l->train = *report;
    if (o->on_step != NULL)
        ask(l, o->on_step(o->state, report));
    if (epoch_ends && o->validation == NULL && o->on_epoch != NULL)
        ask(l, o->on_epoch(o->state, report, NULL));
}

static struct ls_fit_scores scores_of(const struct ls_sums *sums)
{
    struct ls_fit_scores scores = {.samples = sums->samples};
    double samples = (double)sums->samples;

    if (sums->samples == 0)
        return scores;
    scores.loss = sums->loss / samples;
    for (int m = 0; m < LS_MAX_METRICS; m++)
        scores.metrics[m] = sums->metrics[m] / samples;
    return scores;
}

static enum ls_status copy_variables(const struct ls_state *state, struct ls_fit_result *result, struct ls_error *err)
{
    enum ls_status status = LS_OK;

    result->variables = ls_alloc_zeroed((size_t)state->variable_count + 1, sizeof(struct ls_tensor *));
    if (result->variables == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for the trained variables");
    result->variable_count = state->variable_count;
    for (int i = 0; i < state->variable_count && status == LS_OK; i++) {
        const struct ls_variable_info *info = state->variables[i].info;

        status = ls_tensor_create(info->dtype, &info->shape, &result->variables[i], err);
        if (status == LS_OK)
            memcpy(result->variables[i]->view.data, ls_state_data(state, i),
                   ls_view_bytes(&result->variables[i]->view));
    }
    return status;
}

static enum ls_status take_result(struct ls_replica *r, struct ls_fit_result *result, struct ls_error *err)
{
    const struct ls_progress *p = &r->progress;
    struct ls_fit_result made = {.steps = p->step, .finished = ls_replica_finished(r)};
    enum ls_status status = ls_state_sha256(r->state, made.params_sha256, made.state_sha256, err);

    made.train = scores_of(p->epoch.samples > 0 ? &p->epoch : &p->last);
    made.validation = scores_of(&p->validation);
    made.samples_per_s = r->busy_s > 0 ? (double)r->busy_samples / r->busy_s : 0;
    if (status == LS_OK)
        status = copy_variables(r->state, &made, err);
    if (status == LS_OK)
        *result = made;
    else
        ls_fit_result_deinit(&made);
    return status;
}

/* One replica from its group to its end. The group is destroyed with the replica, so it is withdrawn before. */
static enum ls_status run_replica(void *state, struct lsi_mirrored_member *member, struct ls_error *err)
{
    struct fit *fit = state;
    struct listener listener = {.fit = fit};
    struct ls_replica_hooks hooks = {.state = &listener};
    struct ls_group *group = lsi_mirrored_group(member);
    bool leads = ls_group_rank(group) == 0;
    enum ls_status status;

    if (leads)
        hooks.report = on_report;
    status = ls_replica_open(fit->trainer, group, fit->ckpt, &hooks, &listener.replica, err);
    if (status != LS_OK)
        return status;
    status = fit->loop(fit->loop_state, listener.replica, err);
    if (status == LS_EINTERRUPTED && listener.replica->stopping)
        status = LS_OK;
    if (status == LS_OK && leads && fit->result != NULL)
        status = take_result(listener.replica, fit->result, err);
    if (status != LS_OK && err->message[0] == '\0')
        (void)ls_error_set(err, status, "the loop of replica %d ended with: %s", ls_group_rank(group),
                           ls_status_sentence(status));
    err->status = status;
    lsi_mirrored_withdraw(member, status == LS_OK ? NULL : err);
    ls_replica_close(listener.replica);
    return status;
}

static enum ls_status check_run(const struct ls_fit_options *o, struct ls_error *err)
{
    if (o->strategy != LS_ONE_DEVICE && o->strategy != LS_MIRRORED)
        return ls_error_set(err, LS_EINVAL, "there is no strategy number %d", (int)o->strategy);
    if (o->replicas < 1 || o->replicas > LS_MAX_MEMBERS)
        return ls_error_set(err, LS_EINVAL, "replicas is %d; it must be 1 to %d", o->replicas, LS_MAX_MEMBERS);
    if (o->strategy == LS_ONE_DEVICE && o->replicas != 1)
        return ls_error_set(err, LS_EINVAL, "one_device has 1 replica, not %d; choose LS_MIRRORED", o->replicas);
    if (o->threads < 1 || o->threads > 1024)
        return ls_error_set(err, LS_EINVAL, "threads is %d; it must be 1 to 1024", o->threads);
    if (o->micro_shards < 0 || o->max_steps < 0 || o->checkpoint_every_steps < 0)
        return ls_error_set(err, LS_EINVAL, "micro_shards, max_steps and checkpoint_every_steps cannot be negative");
    if (o->checkpoint_directory != NULL && o->checkpoint_keep < 2)
        return ls_error_set(err, LS_EINVAL, "checkpoint_keep is %d; at least 2 are kept", o->checkpoint_keep);
    return LS_OK;
}

static enum ls_status check(const struct ls_fit_options *o, struct ls_error *err)
{
    if (o->model == NULL || o->train == NULL || o->loss == NULL || o->optimizer.name == NULL)
        return ls_error_set(err, LS_EINVAL, "model, train, loss and optimizer.name must be given");
    if (o->epochs < 1 || o->batch_size < 1 || o->batch_size > INT32_MAX)
        return ls_error_set(err, LS_EINVAL, "epochs and batch_size must be at least 1, not %lld and %lld",
                            (long long)o->epochs, (long long)o->batch_size);
    if (o->shards < 0 || o->shards > LS_MAX_SHARDS || (o->shards & (o->shards - 1)) != 0)
        return ls_error_set(err, LS_EINVAL, "shards is %d; it must be a power of two up to %d, or 0", o->shards,
                            LS_MAX_SHARDS);
    if (o->metric_count < 0 || o->metric_count > LS_MAX_METRICS || (o->metric_count > 0 && o->metrics == NULL))
        return ls_error_set(err, LS_EINVAL, "metric_count is %d; it must be 0 to %d, with metrics given",
                            o->metric_count, LS_MAX_METRICS);
    return check_run(o, err);
}

/* The job owns nothing but the compression's name: every other text is the caller's, and nobody writes to one. */
static void fill_job(struct ls_job *job, const struct ls_fit_options *o)
{
    *job = (struct ls_job){.path = (char *)"ls_fit",
                           .directory = (char *)".",
                           .version = 1,
                           .numerics = 1,
                           .seed = o->seed,
                           .fast = o->fast,
                           .batch_size = o->batch_size,
                           .batch_shards = o->shards,
                           .shuffle = !o->no_shuffle,
                           .epochs = o->epochs,
                           .model = (char *)"the model",
                           .initial_weights = (char *)(uintptr_t)o->initial_weights,
                           .loss = (char *)(uintptr_t)o->loss,
                           .from_logits = o->from_logits,
                           .metric_count = o->metric_count,
                           .strategy = (char *)(o->strategy == LS_MIRRORED ? "mirrored" : "one_device"),
                           .workers = 1,
                           .replicas = o->replicas,
                           .threads = o->threads,
                           .transport = (char *)"auto",
                           .device = (char *)(uintptr_t)(o->device != NULL ? o->device : "cpu"),
                           .isa = (char *)(uintptr_t)o->isa,
                           .eager = o->eager,
                           .micro_shards = o->micro_shards,
                           .checkpoint_directory = (char *)(uintptr_t)o->checkpoint_directory,
                           .checkpoint_every_steps = o->checkpoint_every_steps,
                           .checkpoint_keep = o->checkpoint_keep,
                           .max_steps = o->max_steps};
    job->optimizer.name = (char *)(uintptr_t)o->optimizer.name;
    job->optimizer.learning_rate = o->optimizer.learning_rate;
    job->optimizer.momentum = o->optimizer.momentum;
    job->optimizer.nesterov = o->optimizer.nesterov;
    job->optimizer.beta1 = o->optimizer.beta1;
    job->optimizer.beta2 = o->optimizer.beta2;
    job->optimizer.epsilon = o->optimizer.epsilon;
    for (int m = 0; m < o->metric_count; m++)
        job->metrics[m] = (char *)(uintptr_t)o->metrics[m];
}

static enum ls_status open_checkpoints(struct fit *fit, struct ls_error *err)
{
    const char *directory = fit->options->checkpoint_directory;
    char *fell_back = NULL;
    enum ls_status status;

    if (directory == NULL)
        return LS_OK;
    status = ls_ckpt_lock_open(directory, &fit->lock, err);
    if (status == LS_OK)
        status = ls_ckpt_open(directory, &fit->ckpt, &fell_back, err);
    if (fell_back != NULL)
        ls_log(LS_LOG_WARN, "checkpoint.fallback", "%s", fell_back);
    ls_free(fell_back);
    return status == LS_ENOENT ? LS_OK : status;
}

enum ls_status ls_fit_loop(const struct ls_fit_options *options, ls_fit_loop_fn loop, void *loop_state,
                           struct ls_fit_result *result, struct ls_error *err)
{
    struct ls_fit_result made = {.steps = 0};
    struct fit fit = {.options = options, .loop = loop, .loop_state = loop_state};
    struct ls_trainer_parts parts = {
        .model = options->model, .train = options->train, .validation = options->validation};
    enum ls_status status = check(options, err);

    if (status != LS_OK)
        return status;
    fit.result = result != NULL ? &made : NULL;
    fill_job(&fit.job, options);
    status = ls_job_set_compression(&fit.job, &options->compression, err);
    if (status == LS_OK)
        status = ls_trainer_open_with(&fit.job, &parts, &fit.trainer, err);
    if (status == LS_OK)
        status = open_checkpoints(&fit, err);
    if (status == LS_OK)
        status = lsi_mirrored_run(options->replicas, run_replica, &fit, err);
    ls_ckpt_close(fit.ckpt);
    ls_ckpt_lock_close(fit.lock);
    ls_trainer_close(fit.trainer);
    ls_free(fit.job.compression.name);
    if (status != LS_OK)
        ls_fit_result_deinit(&made);
    else if (result != NULL)
        *result = made;
    return status;
}

static enum ls_status run_to_the_end(void *state, struct ls_replica *replica, struct ls_error *err)
{
    (void)state;
    return ls_replica_run(replica, err);
}

enum ls_status ls_fit(const struct ls_fit_options *options, struct ls_fit_result *result, struct ls_error *err)
{
    return ls_fit_loop(options, run_to_the_end, NULL, result, err);
}

void ls_fit_result_deinit(struct ls_fit_result *result)
{
    for (int i = 0; i < result->variable_count && result->variables != NULL; i++)
        ls_tensor_release(result->variables[i]);
    ls_free(result->variables);
    *result = (struct ls_fit_result){.steps = 0};
}
