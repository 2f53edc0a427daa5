/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evaluating a batch: the samples of this rank's leaves are gathered once, then every segment of the program runs
 * over all calls before the next. Partials go straight into the leaves' memory; buckets start as they fill.
 */
#include "worker/step/replica.h"

static const struct ls_dataset *dataset_of(const struct ls_replica *replica, enum ls_step_mode mode)
{
    return mode == LS_STEP_TRAIN ? replica->trainer->train : replica->trainer->validation;
}

static void gather(struct ls_replica *replica, const struct ls_schedule *schedule, uint64_t epoch, int64_t first)
{
    const struct ls_dataset *dataset = dataset_of(replica, schedule->mode);
    struct ls_epoch_order order = {.seed = replica->trainer->job->seed,
                                   .shuffle = schedule->mode == LS_STEP_TRAIN && replica->trainer->job->shuffle,
                                   .count = ls_dataset_count(dataset)};

    for (int c = 0; c < schedule->call_count; c++) {
        const struct ls_scheduled_call *call = &schedule->calls[c];

        ls_epoch_indices(&order, epoch, first + call->shards.first_sample, call->shards.offset[call->shards.count],
                         replica->indices + call->first_sample);
    }
    ls_dataset_gather(dataset, replica->indices, schedule->samples, ls_dataset_feature_dtype(dataset),
                      replica->features, replica->labels);
}

struct ready {
    struct ls_exchange *exchange;
    enum ls_status status;
    struct ls_error *err;
};

static void on_partial(void *state, int reduce)
{
    struct ready *ready = state;

    if (ready->status == LS_OK)
        ready->status = ls_exchange_ready(ready->exchange, reduce, ready->err);
}

/* Memory of the program's outputs: new state, gradients that are no reduce's value. */
static void bind_outputs(struct ls_replica *replica, const struct ls_step_program *program)
{
    for (int i = 0; program->mode == LS_STEP_TRAIN && i < replica->state->variable_count; i++) {
        if (program->gradient_output[i] >= 0)
            replica->outputs[program->gradient_output[i]] = replica->gradients[i];
        if (program->update_output[i] >= 0)
            replica->outputs[program->update_output[i]] = ls_state_next(replica->state, i);
    }
}

static enum ls_status run_call(struct ls_replica *replica, const struct ls_scheduled_call *call, int segment,
                               const float *loss_seed, const struct ls_step_info *info, struct ls_error *err)
{
    size_t feature = ls_trainer_feature_bytes(replica->trainer->train);
    size_t label = ls_trainer_label_bytes(replica->trainer->train);
    struct ls_exchange *exchange = replica->exchange[call->program->mode];
    struct ready ready = {.exchange = exchange, .status = LS_OK, .err = err};
    const void *inputs[3] = {replica->features + (size_t)call->first_sample * feature,
                             replica->labels + (size_t)call->first_sample * label, loss_seed};
    struct ls_program_buffers buffers = {.inputs = inputs,
                                         .variables = replica->variables,
                                         .partials = ls_exchange_partials(exchange, call->leaf, call->depth),
                                         .reduced = ls_exchange_reduced(exchange),
                                         .outputs = replica->outputs,
                                         .arena = replica->arenas[call->arena],
                                         .shards = &call->shards,
                                         .step = info,
                                         .on_partial = call->final ? on_partial : NULL,
                                         .on_partial_state = &ready};
    enum ls_status status;

    bind_outputs(replica, call->program);
    status = ls_program_run(call->program->program, segment, &buffers, err);
    if (status != LS_OK)
        return status;
    for (int m = 1; m <= call->merges; m++)
        ls_exchange_merge(exchange, call->leaf, call->depth - m, segment);
    return ready.status;
}

static enum ls_status run_segments(struct ls_replica *replica, const struct ls_schedule *schedule,
                                   const float *loss_seed, const struct ls_step_info *info, struct ls_error *err)
{
    struct ls_exchange *exchange = replica->exchange[schedule->mode];
    enum ls_status status = LS_OK;

    for (int s = 0; s < schedule->segment_count && status == LS_OK; s++) {
        for (int c = 0; c < schedule->call_count && status == LS_OK; c++)
            status = run_call(replica, &schedule->calls[c], s, loss_seed, info, err);
        if (status == LS_OK)
            status = ls_exchange_end_segment(exchange, s, s + 1 < schedule->segment_count, err);
    }
    return status;
}

enum ls_status ls_replica_evaluate(struct ls_replica *replica, enum ls_step_mode mode, uint64_t epoch,
                                   int64_t step_in_epoch, const struct ls_schedule **schedule, struct ls_error *err)
{
    int64_t n = ls_trainer_batch_samples(replica->trainer, ls_dataset_count(dataset_of(replica, mode)), step_in_epoch);
    struct ls_schedule *whole = replica->schedules[mode][0];
    const struct ls_schedule *chosen = n == whole->batch_samples ? whole : replica->schedules[mode][1];
    struct ls_step_info info = {
        .seed = replica->trainer->job->seed, .step = replica->progress.step, .training = mode == LS_STEP_TRAIN};
    float loss_seed = 1.0f / (float)(n * ls_train_loss_values(&replica->trainer->spec));

    ls_replica_tell_phase(replica, LS_PHASE_LOADING);
    gather(replica, chosen, epoch, step_in_epoch * replica->trainer->job->batch_size);
    ls_replica_tell_phase(replica, LS_PHASE_COMPUTING);
    for (int i = 0; i < replica->state->variable_count; i++)
        replica->variables[i] = ls_state_data(replica->state, i);
    ls_exchange_begin(replica->exchange[mode], &chosen->plan.layout);
    *schedule = chosen;
    if (replica->trainer->job->eager)
        return ls_replica_run_eagerly(replica, chosen, loss_seed, &info, err);
    return run_segments(replica, chosen, &loss_seed, &info, err);
}
