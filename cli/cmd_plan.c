/* SPDX-License-Identifier: Apache-2.0 */
/* lockstep plan: what a job would do, without starting anything. */
#include "cli/carried.h"
#include "cli/job_options.h"
#include "core/base/alloc.h"
#include "worker/compress/of_job.h"
#include "worker/step/schedule.h"
#include "worker/step/state.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* Numbers of one job in one world. */
struct figures {
    struct ls_plan plan;
    int64_t samples, steps_per_epoch, total_steps, parameters;
    size_t state_bytes, gradient_bytes, activation_bytes, batch_bytes, data_bytes;
    size_t compression_bytes;
    enum ls_carried carried;
    double whole_bytes; /* per rank and step in f32: what a slice owner reads and everyone gets back */
    double bf16_bytes;  /* the same as bf16: a rank adds up its own first */
    double moved_bytes; /* with what the job compresses */
};

static int most_leaves(const struct ls_plan *plan)
{
    int most = 1;

    for (int r = 0; r < plan->world; r++)
        if (ls_plan_leaf_count(plan, r) > most)
            most = ls_plan_leaf_count(plan, r);
    return most;
}

/* The rank with most shards. */
static int busiest(const struct ls_plan *plan)
{
    int found = 0, most = 0;

    for (int r = 0; r < plan->world; r++) {
        int shards = 0;

        for (int l = 0; l < ls_plan_leaf_count(plan, r); l++)
            shards += ls_plan_leaf(plan, r, l).count;
        if (shards > most) {
            most = shards;
            found = r;
        }
    }
    return found;
}

/* Memory of the compressor, and what is left to move. */
static enum ls_status compress(const struct ls_trainer *trainer, const struct ls_step_program *program,
                               struct figures *f, struct ls_error *err)
{
    struct ls_compress *c = NULL;
    enum ls_status status = ls_compress_of_job(trainer, program, 0, f->plan.world, NULL, &c, err);

    f->moved_bytes = f->whole_bytes;
    f->carried = ls_carried_planned(trainer->job);
    f->bf16_bytes = 4.0 * (double)f->parameters * (f->plan.world - 1) / f->plan.world;
    if (f->carried == LS_CARRIED_BF16)
        f->moved_bytes = f->bf16_bytes;
    if (status == LS_OK && c != NULL) {
        f->compression_bytes = ls_compress_bytes(c);
        f->moved_bytes *= 1 - (double)ls_compress_elements(c) / (double)f->parameters;
        f->moved_bytes += ls_compress_moved_bytes(c);
    }
    ls_compress_destroy(c);
    return status;
}

/* Activations of the rank with most samples, from its traced program. */
static enum ls_status trace(const struct ls_trainer *trainer, struct figures *f, struct ls_error *err)
{
    struct ls_device *device = NULL;
    struct ls_step_programs programs = {.trainer = trainer};
    struct ls_plan_options options = {.batch_samples = f->plan.batch_samples,
                                      .v_total = f->plan.v_total,
                                      .world = f->plan.world,
                                      .micro_shards = trainer->job->micro_shards};
    struct ls_schedule *schedule = NULL;
    enum ls_status status = ls_trainer_device(trainer, &device, err);

    programs.device = device;
    if (status == LS_OK)
        status = ls_schedule_create(&programs, LS_STEP_TRAIN, &options, busiest(&f->plan), &schedule, err);
    if (status == LS_OK) {
        f->activation_bytes = (size_t)schedule->arena_count * schedule->arena_bytes;
        f->batch_bytes = 2 * (size_t)schedule->samples *
                         (ls_trainer_feature_bytes(trainer->train) + ls_trainer_label_bytes(trainer->train));
        status = compress(trainer, schedule->calls[0].program, f, err);
    }
    ls_schedule_destroy(schedule);
    ls_step_programs_deinit(&programs);
    ls_device_close(device);
    return status;
}

static enum ls_status compute(const struct ls_trainer *trainer, struct figures *f, struct ls_error *err)
{
    const struct ls_job *job = trainer->job;
    int64_t count = ls_dataset_count(trainer->train);
    struct ls_plan_options options = {.batch_samples = count < job->batch_size ? count : job->batch_size,
                                      .v_total = trainer->v_total,
                                      .world = job->workers * job->replicas,
                                      .micro_shards = job->micro_shards};
    enum ls_status status = ls_plan_build(&options, &f->plan, err);

    if (status != LS_OK)
        return status;
    f->samples = count;
    f->steps_per_epoch = trainer->steps_per_epoch;
    f->total_steps = trainer->total_steps;
    for (int i = 0; i < ls_model_variable_count(trainer->model); i++)
        if (ls_model_variable(trainer->model, i)->role == LS_ROLE_TRAINABLE)
            f->parameters += ls_shape_count(&ls_model_variable(trainer->model, i)->shape);
    f->state_bytes = ls_state_bytes(trainer->model, trainer->optimizer);
    f->gradient_bytes = (size_t)f->parameters * sizeof(float) * (size_t)(most_leaves(&f->plan) + (f->plan.world > 1));
    f->data_bytes = ls_trainer_feature_bytes(trainer->train) * (size_t)count;
    if (f->plan.world > 1)
        f->whole_bytes =
            4.0 * (double)f->parameters * ((double)(f->plan.layout.range_count) + f->plan.world - 2) / f->plan.world;
    return trace(trainer, f, err);
}

static void print_ranges(const struct figures *f)
{
    for (int r = 0; r < f->plan.world; r++) {
        printf("  rank %-3d", r);
        if (ls_plan_leaf_count(&f->plan, r) == 0)
            printf(" spare: the batch has only %d shards\n", f->plan.v_total);
        for (int l = 0; l < ls_plan_leaf_count(&f->plan, r); l++) {
            struct ls_range leaf = ls_plan_leaf(&f->plan, r, l), calls[LS_MAX_SHARDS];

            printf("%s shards %d-%d in %d call%s", l > 0 ? "," : "", leaf.first, leaf.first + leaf.count - 1,
                   ls_plan_calls(&f->plan, leaf, calls), ls_plan_calls(&f->plan, leaf, calls) == 1 ? "" : "s");
            if (l == ls_plan_leaf_count(&f->plan, r) - 1)
                putchar('\n');
        }
    }
}

static void print_wire(const struct ls_job *job, const struct figures *f)
{
    char text[160];

    switch (f->carried) {
    case LS_CARRIED_BF16:
        printf("wire: bf16; in f32 %.2f MiB\n", f->whole_bytes / 1048576);
        break;
    case LS_CARRIED_BF16_BETWEEN_HOSTS:
        printf("wire: bf16 between hosts, where each replica alone on its host moves %.2f MiB; no effect on one host\n",
               f->bf16_bytes / 1048576);
        break;
    case LS_CARRIED_F32:
        printf("%s\n", ls_carried_in_vain(job->transport, f->plan.world, text));
        break;
    }
}

static void print_text(const struct ls_trainer *trainer, const struct figures *f)
{
    const struct ls_job *job = trainer->job;
    char *summary = ls_model_summary(trainer->model);

    printf("%s\n", summary != NULL ? summary : "");
    ls_free(summary);
    printf("strategy %s: %d worker%s x %d replica%s x %d thread%s, math: %s\n", job->strategy, job->workers,
           job->workers == 1 ? "" : "s", job->replicas, job->replicas == 1 ? "" : "s", job->threads,
           job->threads == 1 ? "" : "s", job->fast ? "fast" : "exact");
    /* "auto" is decided when the workers have come and their hosts are known. */
    printf("transport %s: %s\n", job->transport, ls_transport_find(job->transport)->text);
    printf("batch %lld in %d shards; %lld samples, %lld steps per epoch, %lld steps in all\n",
           (long long)job->batch_size, f->plan.v_total, (long long)f->samples, (long long)f->steps_per_epoch,
           (long long)f->total_steps);
    print_ranges(f);
    printf("largest share: %lld samples (%.3f of an even one)\n", (long long)f->plan.max_samples,
           (double)f->plan.max_samples * f->plan.active / (double)f->plan.batch_samples);
    printf("parameters: %lld\n", (long long)f->parameters);
    printf("memory per replica: state %.1f MiB; gradients %.1f MiB; activations %.1f MiB; two batches %.1f MiB\n",
           (double)f->state_bytes / 1048576, (double)f->gradient_bytes / 1048576, (double)f->activation_bytes / 1048576,
           (double)f->batch_bytes / 1048576);
    if (f->compression_bytes > 0)
        printf("memory of the compression: %.1f MiB\n", (double)f->compression_bytes / 1048576);
    printf("data per host: %.1f MiB\n", (double)f->data_bytes / 1048576);
    printf("bytes moved per replica and step: %.2f MiB (%d partial sums)\n", f->moved_bytes / 1048576,
           f->plan.layout.range_count);
    if (job->compression.name != NULL)
        printf("compression: %s; without it %.2f MiB\n", job->compression.name, f->whole_bytes / 1048576);
    if (job->bf16_wire)
        print_wire(job, f);
    printf("job fingerprint: %s\n", trainer->fingerprint);
}

static void print_json(const struct ls_trainer *trainer, const struct figures *f)
{
    json_t *ranks = json_array(), *o;

    for (int r = 0; r < f->plan.world; r++) {
        json_t *leaves = json_array();

        for (int l = 0; l < ls_plan_leaf_count(&f->plan, r); l++) {
            struct ls_range leaf = ls_plan_leaf(&f->plan, r, l), calls[LS_MAX_SHARDS];

            (void)json_array_append_new(leaves, json_pack("{s:i, s:i, s:i}", "first", leaf.first, "count", leaf.count,
                                                          "calls", ls_plan_calls(&f->plan, leaf, calls)));
        }
        (void)json_array_append_new(ranks, leaves);
    }
    o = json_pack(
        "{s:s, s:s, s:i, s:i, s:i, s:I, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:I, s:s, s:s, s:o}",
        "strategy", trainer->job->strategy, "transport", trainer->job->transport, "workers", trainer->job->workers,
        "replicas", f->plan.world, "threads", trainer->job->threads, "batch", (json_int_t)trainer->job->batch_size,
        "shards", f->plan.v_total, "samples", (json_int_t)f->samples, "steps_per_epoch", (json_int_t)f->steps_per_epoch,
        "total_steps", (json_int_t)f->total_steps, "parameters", (json_int_t)f->parameters, "state_bytes",
        (json_int_t)f->state_bytes, "gradient_bytes", (json_int_t)f->gradient_bytes, "activation_bytes",
        (json_int_t)f->activation_bytes, "batch_bytes", (json_int_t)f->batch_bytes, "moved_bytes_per_step",
        f->moved_bytes, "moved_bytes_without_compression", f->whole_bytes, "compression_bytes",
        (json_int_t)f->compression_bytes, "wire", ls_carried_name(f->carried), "fingerprint", trainer->fingerprint,
        "ranks", ranks);
    (void)json_dumpf(o, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(o);
}

static enum ls_status run(const struct ls_command *command, int argc, char **argv, struct ls_error *err)
{
    struct ls_job_options o = {.max_steps = 0};
    bool json = false;
    const char *path;
    const struct ls_option options[] = {LS_JOB_OPTION_ROWS(o),
                                        {"json", NULL, "print one line of JSON", LS_OPTION_FLAG, &json},
                                        {NULL, NULL, NULL, LS_OPTION_FLAG, NULL}};
    struct ls_job *job = NULL;
    struct ls_trainer *trainer = NULL;
    struct figures *f = ls_alloc_zeroed(1, sizeof *f);
    enum ls_status status = ls_options_parse(command, options, argc, argv, 1, 1, &path, err);

    if (status == LS_OK && f == NULL)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to plan");
    if (status == LS_OK)
        status = ls_job_options_load(&o, path, &job, err);
    if (status == LS_OK)
        status = ls_trainer_open(job, LS_TRAINER_TRAINING, &trainer, err);
    if (status == LS_OK)
        status = compute(trainer, f, err);
    if (status == LS_OK && json)
        print_json(trainer, f);
    else if (status == LS_OK)
        print_text(trainer, f);
    ls_trainer_close(trainer);
    ls_job_destroy(job);
    ls_free(f);
    return status;
}

const struct ls_command ls_cmd_plan = {.name = "plan",
                                       .arguments = "JOB [options]",
                                       .summary = "Show what a job would do: shards, memory, bytes moved",
                                       .run = run};
