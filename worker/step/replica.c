/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing a replica: state, schedules of both modes, exchanges and buffers, see replica.h. */
#include "worker/step/replica.h"

#include "core/base/alloc.h"
#include "worker/compress/of_job.h"

#include <string.h>

static enum ls_status make_schedules(struct ls_replica *r, enum ls_step_mode mode, int64_t samples,
                                     struct ls_error *err)
{
    const struct ls_job *job = r->trainer->job;
    int64_t size = job->batch_size, sizes[2];
    enum ls_status status = LS_OK;

    sizes[0] = samples < size ? samples : size;
    sizes[1] = samples % size;
    for (int i = 0; i < 2 && status == LS_OK; i++) {
        struct ls_plan_options options = {.batch_samples = sizes[i],
                                          .v_total = r->trainer->v_total,
                                          .world = r->world,
                                          .micro_shards = job->eager ? 0 : job->micro_shards};

        if (sizes[i] > 0 && (i == 0 || sizes[1] != sizes[0]))
            status = ls_schedule_create(&r->programs, mode, &options, r->rank, &r->schedules[mode][i], err);
    }
    return status;
}

static int most_leaves(const struct ls_schedule *schedule)
{
    int most = 1;

    for (int r = 0; schedule != NULL && r < schedule->plan.world; r++)
        if (ls_plan_leaf_count(&schedule->plan, r) > most)
            most = ls_plan_leaf_count(&schedule->plan, r);
    return most;
}

static enum ls_status make_exchange(struct ls_replica *r, enum ls_step_mode mode, struct ls_error *err)
{
    struct ls_schedule *const *both = r->schedules[mode];
    struct ls_exchange_options options = {
        .leaves = 1, .depth = 1, .one_by_one = r->trainer->job->eager, .tracing = &r->tracing};

    for (int i = 0; i < 2; i++) {
        int leaves = most_leaves(both[i]);

        if (leaves > options.leaves)
            options.leaves = leaves;
        if (both[i] != NULL && both[i]->depth > options.depth)
            options.depth = both[i]->depth;
    }
    if (options.leaves > r->max_leaves)
        r->max_leaves = options.leaves;
    options.courier = r->courier;
    options.compress = mode == LS_STEP_TRAIN ? r->compress : NULL;
    return ls_exchange_create(both[0]->calls[0].program->program, r->group, r->device, &options, &r->exchange[mode],
                              err);
}

/* Largest need of any schedule. */
struct needs {
    int64_t samples;
    int arenas, outputs;
    size_t arena_bytes;
};

static struct needs needs_of(const struct ls_replica *r)
{
    struct needs n = {.samples = 1, .arenas = 1, .outputs = 1};

    for (int i = 0; i < 4; i++) {
        const struct ls_schedule *s = r->schedules[i / 2][i % 2];

        if (s == NULL)
            continue;
        if (s->samples > n.samples)
            n.samples = s->samples;
        if (s->arena_count > n.arenas)
            n.arenas = s->arena_count;
        if (s->arena_bytes > n.arena_bytes)
            n.arena_bytes = s->arena_bytes;
        if (s->calls[0].program->output_count > n.outputs)
            n.outputs = s->calls[0].program->output_count;
    }
    return n;
}

/* Gradients that come out of sample-free ops behind the reduction need memory of their own. */
static enum ls_status make_gradients(struct ls_replica *r, struct ls_error *err)
{
    const struct ls_step_program *program = r->schedules[LS_STEP_TRAIN][0]->calls[0].program;

    for (int i = 0; i < r->state->variable_count; i++) {
        int output = program->gradient_output[i];

        if (output < 0 || ls_program_output_at(program->program, output)->reduce >= 0)
            continue;
        r->gradients[i] = ls_alloc_aligned((size_t)r->state->variables[i].count * sizeof(float));
        if (r->gradients[i] == NULL)
            return ls_error_set(err, LS_ENOMEM, "not enough memory for the gradients");
    }
    return LS_OK;
}

static enum ls_status make_loader(struct ls_replica *r, struct ls_error *err)
{
    const struct ls_job *job = r->trainer->job;
    struct ls_loader_options options = {.seed = job->seed, .shuffle = job->shuffle, .samples = needs_of(r).samples};

    options.dataset[LS_STEP_TRAIN] = r->trainer->train;
    options.dataset[LS_STEP_EVALUATE] = r->trainer->validation;
    return ls_loader_create(&options, &r->loader, err);
}

static enum ls_status make_buffers(struct ls_replica *r, struct ls_error *err)
{
    struct needs n = needs_of(r);
    size_t variables = (size_t)r->state->variable_count;
    bool enough = true;

    r->variables = ls_alloc_zeroed(variables, sizeof *r->variables);
    r->gradients = ls_alloc_zeroed(variables, sizeof *r->gradients);
    r->outputs = ls_alloc_zeroed((size_t)n.outputs, sizeof *r->outputs);
    r->votes = ls_alloc_aligned(ls_vote_bytes(r));
    for (int a = 0; a < n.arenas; a++) {
        r->arenas[a] = ls_alloc_aligned(n.arena_bytes);
        enough = enough && r->arenas[a] != NULL;
    }
    if (!enough || r->variables == NULL || r->gradients == NULL || r->outputs == NULL || r->votes == NULL)
        return ls_error_set(err, LS_ENOMEM,
                            "not enough memory for %d calls of %zu bytes of activations; a smaller run.micro_shards "
                            "or more workers need less",
                            n.arenas, n.arena_bytes);
    return make_gradients(r, err);
}

/* The compressor, and the list of all that a checkpoint holds. */
static enum ls_status make_compress(struct ls_replica *r, const struct ls_ckpt *ckpt, struct ls_error *err)
{
    int own = r->state->tensor_count, more = 0;
    enum ls_status status = ls_compress_of_job(r->trainer, r->schedules[LS_STEP_TRAIN][0]->calls[0].program, r->rank,
                                               r->world, r->group, &r->compress, err);

    if (status == LS_OK && r->compress != NULL && ckpt != NULL) {
        status = ls_compress_load(r->compress, ckpt, err);
        if (status != LS_OK)
            (void)ls_error_wrap(err, "cannot resume from %s", ls_ckpt_path(ckpt));
    }
    if (status != LS_OK)
        return status;
    if (r->compress != NULL)
        more = ls_compress_tensor_count(r->compress);
    r->tensors = ls_alloc_zeroed((size_t)(own + more), sizeof *r->tensors);
    if (r->tensors == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for a replica");
    memcpy(r->tensors, r->state->tensors, (size_t)own * sizeof *r->tensors);
    for (int i = 0; i < more; i++)
        r->tensors[own + i] = *ls_compress_tensor_at(r->compress, i);
    r->tensor_count = own + more;
    return LS_OK;
}

static enum ls_status restore(struct ls_replica *r, const struct ls_ckpt *ckpt, struct ls_error *err)
{
    char *job_json = NULL, *changed = NULL;
    enum ls_status status;

    if (ckpt == NULL)
        return ls_state_initialize(r->state, r->trainer->job->seed, r->trainer->job->initial_weights, err);
    status = ls_progress_read(ls_ckpt_meta_json(ckpt), &r->progress, &job_json, err);
    if (status == LS_OK)
        status = ls_job_compare(job_json, r->trainer->job_json,
                                r->hooks.only_evaluates ? "put it back"
                                                        : "put it back, choose another checkpoint directory, or start "
                                                          "over with --fresh",
                                &changed, err);
    if (status == LS_OK)
        status = ls_state_load(r->state, ckpt, err);
    ls_free(changed);
    ls_free(job_json);
    if (status == LS_OK)
        return status;
    return ls_error_wrap(err, r->hooks.only_evaluates ? "cannot evaluate %s" : "cannot resume from %s",
                         ls_ckpt_path(ckpt));
}

enum ls_status ls_replica_open(const struct ls_trainer *trainer, struct ls_group *group, const struct ls_ckpt *ckpt,
                               const struct ls_replica_hooks *hooks, struct ls_replica **replica, struct ls_error *err)
{
    struct ls_replica *r = ls_alloc_zeroed(1, sizeof *r);
    enum ls_status status;

    if (r == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for a replica");
    r->trainer = trainer;
    r->rank = ls_group_rank(group);
    r->world = ls_group_world(group);
    r->generation = ls_group_generation(group);
    r->group = group;
    r->hooks = *hooks;
    status = ls_replica_alike(r, err);
    if (status == LS_OK)
        status = ls_tracing_meet(group, hooks->trace, &r->tracing, err);
    if (status == LS_OK)
        status = ls_trainer_device(trainer, &r->device, err);
    r->programs = (struct ls_step_programs){.trainer = trainer, .device = r->device};
    if (status == LS_OK)
        status = ls_state_create(trainer->model, trainer->optimizer, &r->state, err);
    if (status == LS_OK)
        status = restore(r, ckpt, err);
    if (status == LS_OK && ls_group_drives_beside(group))
        status = ls_courier_create(group, &r->courier, err);
    if (status == LS_OK)
        status = make_schedules(r, LS_STEP_TRAIN, ls_dataset_count(trainer->train), err);
    if (status == LS_OK)
        status = make_compress(r, ckpt, err);
    if (status == LS_OK)
        status = make_exchange(r, LS_STEP_TRAIN, err);
    if (status == LS_OK && trainer->validation != NULL) {
        status = make_schedules(r, LS_STEP_EVALUATE, ls_dataset_count(trainer->validation), err);
        if (status == LS_OK)
            status = make_exchange(r, LS_STEP_EVALUATE, err);
    }
    if (status == LS_OK)
        status = make_buffers(r, err);
    if (status == LS_OK)
        status = make_loader(r, err);
    if (status != LS_OK) {
        r->group = NULL;
        ls_replica_close(r);
        return status;
    }
    ls_tuner_init(&r->tuner, &(struct ls_tuner_options){.world = r->world,
                                                        .fixed = trainer->job->eager || trainer->job->bf16_wire,
                                                        .beside = r->courier != NULL,
                                                        .any_order = trainer->job->fast,
                                                        .ways_chosen = ls_group_ways_given(group)});
    r->fingerprint = ls_state_fingerprint(r->state, r->device);
    *replica = r;
    return LS_OK;
}

void ls_replica_close(struct ls_replica *r)
{
    if (r == NULL)
        return;
    ls_courier_destroy(r->courier);
    ls_group_destroy(r->group);
    ls_loader_destroy(r->loader);
    for (int i = 0; r->state != NULL && r->gradients != NULL && i < r->state->variable_count; i++)
        ls_free(r->gradients[i]);
    for (int a = 0; a < LS_MAX_SHARDS; a++)
        ls_free(r->arenas[a]);
    ls_free(r->votes);
    ls_free(r->outputs);
    ls_free(r->gradients);
    ls_free((void *)r->variables);
    for (int i = 0; i < 4; i++)
        ls_schedule_destroy(r->schedules[i / 2][i % 2]);
    ls_exchange_destroy(r->exchange[LS_STEP_EVALUATE]);
    ls_exchange_destroy(r->exchange[LS_STEP_TRAIN]);
    ls_compress_destroy(r->compress);
    ls_free(r->tensors);
    ls_step_programs_deinit(&r->programs);
    ls_state_destroy(r->state);
    ls_device_close(r->device);
    ls_free(r);
}
