/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job from where it stands to its end: steps, a validation pass after every epoch, checkpoints. Every decision is
 * a function of the step and of the votes, so that all ranks take it alike.
 */
#include "worker/step/replica.h"

#include "core/base/clock.h"

#include <string.h>
#include <unistd.h>

static uint64_t epoch_of(const struct ls_replica *r, uint64_t step)
{
    return step / (uint64_t)r->trainer->steps_per_epoch;
}

static bool at_epoch_end(const struct ls_replica *r)
{
    return r->progress.step > 0 && r->progress.step % (uint64_t)r->trainer->steps_per_epoch == 0;
}

static void report(const struct ls_replica *r, const struct ls_sums *sums, bool validation)
{
    struct ls_step_report said = {.generation = r->generation,
                                  .step = r->progress.step,
                                  .epoch = epoch_of(r, r->progress.step == 0 ? 0 : r->progress.step - 1),
                                  .fingerprint = r->fingerprint,
                                  .metric_count = r->trainer->spec.metric_count,
                                  .validation = validation};
    double samples = sums->samples > 0 ? (double)sums->samples : 1;

    if (r->hooks.report == NULL)
        return;
    said.loss = sums->loss / samples;
    for (int m = 0; m < said.metric_count; m++)
        said.metrics[m] = sums->metrics[m] / samples;
    if (r->busy_s > 0)
        said.samples_per_s = (double)r->busy_samples / r->busy_s;
    r->hooks.report(r->hooks.state, &said);
}

void ls_replica_tell_phase(const struct ls_replica *r, enum ls_phase phase)
{
    if (r->hooks.phase != NULL)
        r->hooks.phase(r->hooks.state, r->progress.step, phase);
}

static enum ls_status save(struct ls_replica *r, struct ls_error *err)
{
    uint64_t began = ls_tracing_now(&r->tracing);
    enum ls_status status;

    ls_replica_tell_phase(r, LS_PHASE_CHECKPOINT);
    status = ls_replica_save(r, err);
    (void)ls_tracing_add(&r->tracing, LS_TRACE_CHECKPOINT, began, r->progress.step);
    if (status == LS_OK && r->hooks.checkpoint != NULL)
        r->hooks.checkpoint(r->hooks.state, r->progress.step, r->trainer->job->checkpoint_directory);
    if (status == LS_OK)
        r->saved_step = r->progress.step;
    r->saved_epochs = r->progress.validated_epochs;
    r->saved_ns = ls_clock_now_ns();
    return status;
}

void ls_replica_position(const struct ls_replica *r, uint64_t *epoch, int64_t *step_in_epoch)
{
    *epoch = epoch_of(r, r->progress.step);
    *step_in_epoch = (int64_t)(r->progress.step - *epoch * (uint64_t)r->trainer->steps_per_epoch);
}

enum ls_status ls_replica_step(struct ls_replica *r, struct ls_error *err)
{
    uint64_t epoch, began = ls_clock_now_ns();
    int64_t step_in_epoch;
    const struct ls_schedule *schedule;
    enum ls_status status;

    ls_replica_position(r, &epoch, &step_in_epoch);
    status = ls_replica_evaluate(r, LS_STEP_TRAIN, epoch, step_in_epoch, &schedule, err);
    if (status != LS_OK)
        return status;
    ls_replica_tell_phase(r, LS_PHASE_REDUCING);
    status = ls_replica_vote(r, schedule, &r->progress.epoch, err);
    if (status != LS_OK)
        return status;
    ls_replica_commit(r, schedule);
    (void)ls_tracing_add(&r->tracing, LS_TRACE_STEP, began, r->progress.step - 1);
    if (r->first_step_s > 0) {
        r->busy_s += (double)(ls_clock_now_ns() - began) * 1e-9;
        r->busy_samples += schedule->batch_samples;
        r->busy_steps++;
    } else {
        r->first_step_s = (double)ls_clock_since_start_of_ns(r->hooks.started_pid) * 1e-9;
    }
    report(r, &r->progress.epoch, false);
    return LS_OK;
}

enum ls_status ls_replica_validate(struct ls_replica *r, struct ls_sums *sums, struct ls_error *err)
{
    const struct ls_trainer *t = r->trainer;
    int64_t count = ls_dataset_count(t->validation);
    int64_t batches = (count + t->job->batch_size - 1) / t->job->batch_size;
    struct ls_sums made = {0};
    enum ls_status status = LS_OK;

    for (int64_t b = 0; b < batches && status == LS_OK; b++) {
        const struct ls_schedule *schedule;
        uint64_t began = ls_tracing_now(&r->tracing);

        if (r->stopping)
            return ls_error_set(err, LS_EINTERRUPTED, "stopped in order during validation");
        status = ls_replica_evaluate(r, LS_STEP_EVALUATE, 0, b, &schedule, err);
        if (status == LS_OK)
            status = ls_replica_vote(r, schedule, &made, err);
        (void)ls_tracing_add(&r->tracing, LS_TRACE_VALIDATION, began, r->progress.step);
    }
    if (status == LS_OK)
        *sums = made;
    return status;
}

enum ls_status ls_replica_end_epoch(struct ls_replica *r, struct ls_error *err)
{
    uint64_t done = epoch_of(r, r->progress.step);
    enum ls_status status = LS_OK;

    if (!at_epoch_end(r) || r->progress.validated_epochs >= done)
        return LS_OK;
    if (r->trainer->validation != NULL) {
        status = ls_replica_validate(r, &r->progress.validation, err);
        if (status == LS_EINTERRUPTED && r->stopping)
            return LS_OK; /* the pass is begun again by whoever goes on */
        if (status != LS_OK)
            return status;
        report(r, &r->progress.validation, true);
    }
    r->progress.validated_epochs = done;
    r->progress.last = r->progress.epoch;
    memset(&r->progress.epoch, 0, sizeof r->progress.epoch);
    return LS_OK;
}

bool ls_replica_finished(const struct ls_replica *r)
{
    if (r->progress.step < (uint64_t)r->trainer->total_steps)
        return false;
    return r->trainer->validation == NULL || !at_epoch_end(r) ||
           r->progress.validated_epochs >= epoch_of(r, r->progress.step);
}

static bool is_due(const struct ls_replica *r)
{
    const struct ls_job *job = r->trainer->job;

    return job->checkpoint_every_steps > 0 && r->progress.step % (uint64_t)job->checkpoint_every_steps == 0;
}

/* Steps, validations and checkpoints until the end or an agreed stop. */
static enum ls_status run_steps(struct ls_replica *r, struct ls_error *err)
{
    uint64_t total = (uint64_t)r->trainer->total_steps;
    bool saves = r->trainer->job->checkpoint_directory != NULL;
    enum ls_status status = ls_replica_end_epoch(r, err);

    r->saved_ns = ls_clock_now_ns();
    while (status == LS_OK && r->progress.step < total && !r->stopping) {
        status = ls_replica_step(r, err);
        if (status == LS_OK)
            status = ls_replica_end_epoch(r, err);
        if (status == LS_OK && saves && !r->stopping && (is_due(r) || r->save_asked))
            status = save(r, err);
        r->save_asked = false;
    }
    return status;
}

enum ls_status ls_replica_run(struct ls_replica *r, struct ls_error *err)
{
    bool saves = r->trainer->job->checkpoint_directory != NULL;
    enum ls_status status;

    r->saved_step = r->progress.step;
    r->saved_epochs = r->progress.validated_epochs;
    status = run_steps(r, err);
    if (status == LS_OK && saves &&
        (r->saved_step != r->progress.step || r->saved_epochs != r->progress.validated_epochs))
        status = save(r, err);
    else if (status == LS_OK)
        status = ls_replica_agree(r, err);
    if (status == LS_OK && r->compress != NULL)
        status = ls_compress_digest(r->compress, &r->state->beside, &r->state->beside_bytes, err);
    ls_replica_tell_phase(r, LS_PHASE_IDLE);
    if (status == LS_EINTERRUPTED) { /* the group's word for an abort; here it would say that all is saved */
        status = LS_EPEER;
        if (err != NULL)
            err->status = status;
    }
    if (status == LS_OK && !ls_replica_finished(r))
        return ls_error_set(
            err, LS_EINTERRUPTED, "stopped in order after step %llu of %lld%s; the same command goes on",
            (unsigned long long)r->progress.step, (long long)r->trainer->total_steps, saves ? " and saved" : "");
    return status;
}
