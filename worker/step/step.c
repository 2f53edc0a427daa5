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

static const struct ls_schedule *schedule_of(const struct ls_replica *replica, enum ls_step_mode mode, int64_t first)
{
    const struct ls_schedule *whole = replica->schedules[mode][0];
    int64_t left = ls_dataset_count(dataset_of(replica, mode)) - first;

    return left >= whole->batch_samples ? whole : replica->schedules[mode][1];
}

/* The batch that will be evaluated after this one, unless a caller's own loop goes another way; false: none. */
static bool next_batch(const struct ls_replica *replica, const struct ls_batch_place *now, struct ls_batch_place *next)
{
    const struct ls_trainer *trainer = replica->trainer;
    enum ls_step_mode mode = now->schedule->mode;
    int64_t count = ls_dataset_count(dataset_of(replica, mode)), first = now->first + trainer->job->batch_size;
    uint64_t step = replica->progress.step + (mode == LS_STEP_TRAIN ? 1 : 0);

    *next = (struct ls_batch_place){.epoch = now->epoch, .first = first};
    if (first >= count) {
        mode = mode == LS_STEP_TRAIN && trainer->validation != NULL ? LS_STEP_EVALUATE : LS_STEP_TRAIN;
        *next = (struct ls_batch_place){.epoch = mode == LS_STEP_TRAIN ? step / (uint64_t)trainer->steps_per_epoch : 0};
    }
    next->schedule = schedule_of(replica, mode, next->first);
    return mode == LS_STEP_EVALUATE || step < (uint64_t)trainer->total_steps;
}

static enum ls_status load(struct ls_replica *replica, const struct ls_batch_place *place, struct ls_error *err)
{
    struct ls_batch_place next;
    enum ls_status status = ls_loader_take(replica->loader, place, &replica->features, &replica->labels, err);

    if (status == LS_OK && next_batch(replica, place, &next))
        ls_loader_ahead(replica->loader, &next);
    return status;
}

struct ready {
    struct ls_exchange *exchange; /* NULL: nothing is started, the call is only watched */
    int loss;                     /* the reduce with which the forward pass ends */
    uint64_t loss_ns;             /* when it was there; 0: not yet, or not traced */
    const struct ls_tracing *tracing;
    enum ls_status status;
    struct ls_error *err;
};

static void on_partial(void *state, int reduce)
{
    struct ready *ready = state;

    if (reduce == ready->loss)
        ready->loss_ns = ls_tracing_now(ready->tracing);
    if (ready->status == LS_OK && ready->exchange != NULL)
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

static int loss_reduce(const struct ls_step_program *program)
{
    return program->loss_output >= 0 ? ls_program_output_at(program->program, program->loss_output)->reduce : -1;
}

/* A segment of a call: forward up to the loss, backward behind it. */
static void trace_call(const struct ls_replica *replica, const struct ls_scheduled_call *call, int segment,
                       uint64_t began, uint64_t loss_ns)
{
    struct ls_trace *ring = replica->tracing.ring;
    int loss = loss_reduce(call->program);
    int loss_segment = loss >= 0 ? ls_program_reduce_at(call->program->program, loss)->segment : segment + 1;
    uint64_t now = ls_tracing_now(&replica->tracing), split;

    if (ring == NULL)
        return;
    split = segment < loss_segment ? now : segment > loss_segment ? began : loss_ns > 0 ? loss_ns : now;
    if (split > began)
        ls_trace_add(ring, LS_TRACE_FORWARD, began, split, replica->progress.step)->number = call->leaf;
    if (now > split)
        ls_trace_add(ring, LS_TRACE_BACKWARD, split, now, replica->progress.step)->number = call->leaf;
}

static enum ls_status run_call(struct ls_replica *replica, const struct ls_scheduled_call *call, int segment,
                               const float *loss_seed, const struct ls_step_info *info, struct ls_error *err)
{
    size_t feature = ls_trainer_feature_bytes(replica->trainer->train);
    size_t label = ls_trainer_label_bytes(replica->trainer->train);
    struct ls_exchange *exchange = replica->exchange[call->program->mode];
    struct ready ready = {.exchange = call->final ? exchange : NULL,
                          .loss = loss_reduce(call->program),
                          .tracing = &replica->tracing,
                          .err = err};
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
                                         .on_partial = call->final || replica->tracing.ring != NULL ? on_partial : NULL,
                                         .on_partial_state = &ready};
    uint64_t began = ls_tracing_now(&replica->tracing);
    enum ls_status status;

    bind_outputs(replica, call->program);
    status = ls_program_run(call->program->program, segment, &buffers, err);
    if (status != LS_OK)
        return status;
    for (int m = 1; m <= call->merges; m++)
        ls_exchange_merge(exchange, call->leaf, call->depth - m, segment);
    trace_call(replica, call, segment, began, ready.loss_ns);
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

/* Forward and backward alternate with reductions there: one event, of the kind that the mode is for. */
static enum ls_status run_eagerly(struct ls_replica *replica, const struct ls_schedule *schedule, float loss_seed,
                                  const struct ls_step_info *info, struct ls_error *err)
{
    uint64_t began = ls_tracing_now(&replica->tracing);
    enum ls_status status = ls_replica_run_eagerly(replica, schedule, loss_seed, info, err);

    (void)ls_tracing_add(&replica->tracing, LS_TRACE_EAGER, began, info->step);
    return status;
}

enum ls_status ls_replica_evaluate(struct ls_replica *replica, enum ls_step_mode mode, uint64_t epoch,
                                   int64_t step_in_epoch, const struct ls_schedule **schedule, struct ls_error *err)
{
    int64_t first = step_in_epoch * replica->trainer->job->batch_size;
    const struct ls_schedule *chosen = schedule_of(replica, mode, first);
    struct ls_step_info info = {
        .seed = replica->trainer->job->seed, .step = replica->progress.step, .training = mode == LS_STEP_TRAIN};
    float loss_seed = 1.0f / (float)(chosen->batch_samples * ls_train_loss_values(&replica->trainer->spec));
    uint64_t began = ls_tracing_now(&replica->tracing);
    enum ls_status status;

    ls_replica_tell_phase(replica, LS_PHASE_LOADING);
    status = load(replica, &(struct ls_batch_place){chosen, mode == LS_STEP_TRAIN ? epoch : 0, first}, err);
    if (status != LS_OK)
        return status;
    (void)ls_tracing_add(&replica->tracing, LS_TRACE_LOADING, began, replica->progress.step);
    ls_replica_tell_phase(replica, LS_PHASE_COMPUTING);
    for (int i = 0; i < replica->state->variable_count; i++)
        replica->variables[i] = ls_state_data(replica->state, i);
    replica->evaluate_ns = ls_clock_now_ns();
    if (mode == LS_STEP_TRAIN)
        ls_exchange_arrange(replica->exchange[mode], ls_tuner_arrangement(&replica->tuner));
    ls_exchange_begin(replica->exchange[mode], &chosen->plan.layout, replica->progress.step);
    if (replica->compress != NULL && mode == LS_STEP_TRAIN)
        ls_compress_begin(replica->compress, replica->progress.step);
    *schedule = chosen;
    if (replica->trainer->job->eager)
        return run_eagerly(replica, chosen, loss_seed, &info, err);
    return run_segments(replica, chosen, &loss_seed, &info, err);
}
