/* SPDX-License-Identifier: Apache-2.0 */
/* lockstep predict: a checkpoint's outputs for the samples of a file, as .npy. */
#include "cli/job_options.h"
#include "cli/one_replica.h"
#include "cli/place.h"
#include "core/base/alloc.h"
#include "core/base/buf.h"
#include "core/base/fs.h"
#include "core/formats/npy.h"

#include <stdio.h>
#include <string.h>

struct prediction {
    struct ls_trainer *trainer;
    struct ls_device *device;
    struct ls_state *state;
    struct ls_step_programs programs;
    struct ls_dataset *dataset;
};

static enum ls_status predict_batch(struct prediction *p, int64_t first, int64_t n, uint8_t *out, struct ls_error *err)
{
    struct ls_shards shards = ls_shards_of(n, 1, 0, 1);
    struct ls_step_info info = {.seed = 0, .training = false};
    enum ls_dtype dtype = ls_dataset_feature_dtype(p->dataset);
    size_t sample = ls_trainer_feature_bytes(p->dataset);
    int64_t *index = ls_alloc_zeroed((size_t)n, sizeof *index);
    const void **variables = ls_alloc_zeroed((size_t)p->state->variable_count, sizeof *variables);
    void *features = ls_alloc_aligned((size_t)n * sample), *arena = NULL, *output = NULL;
    struct ls_step_program *program;
    enum ls_status status = ls_step_programs_get(&p->programs, LS_STEP_PREDICT, &shards, &program, err);

    if (status == LS_OK)
        arena = ls_alloc_aligned(ls_program_arena_bytes(program->program));
    if (status == LS_OK && (index == NULL || features == NULL || arena == NULL || variables == NULL))
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to predict %lld samples", (long long)n);
    if (status == LS_OK) {
        struct ls_program_buffers buffers = {.inputs = (const void *const *)&features,
                                             .variables = variables,
                                             .outputs = &output,
                                             .arena = arena,
                                             .shards = &shards,
                                             .step = &info};

        output = out;
        for (int64_t i = 0; i < n; i++)
            index[i] = first + i;
        for (int i = 0; i < p->state->variable_count; i++)
            variables[i] = ls_state_data(p->state, i);
        ls_dataset_gather(p->dataset, index, n, dtype, features, NULL);
        for (int s = 0; s < ls_program_segment_count(program->program) && status == LS_OK; s++)
            status = ls_program_run(program->program, s, &buffers, err);
    }
    ls_free(arena);
    ls_free(features);
    ls_free((void *)variables);
    ls_free(index);
    return status;
}

static enum ls_status predict_all(struct prediction *p, const char *to, struct ls_error *err)
{
    const struct ls_shape *output = ls_model_output_shape(p->trainer->model, 0);
    int64_t count = ls_dataset_count(p->dataset), batch = p->trainer->job->batch_size;
    struct ls_shape shape = {.rank = output->rank + 1};
    struct ls_view view = {.dtype = LS_F32};
    struct ls_buf file = {0};
    size_t row = (size_t)ls_shape_count(output) * sizeof(float);
    enum ls_status status = LS_OK;

    shape.dim[0] = count;
    memcpy(shape.dim + 1, output->dim, (size_t)output->rank * sizeof *output->dim);
    view.shape = shape;
    view.data = ls_alloc_aligned((size_t)count * row);
    if (view.data == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for the outputs of %lld samples", (long long)count);
    for (int64_t first = 0; first < count && status == LS_OK; first += batch)
        status = predict_batch(p, first, count - first < batch ? count - first : batch,
                               (uint8_t *)view.data + (size_t)first * row, err);
    if (status == LS_OK)
        status = ls_npy_append(&file, &view, err);
    if (status == LS_OK)
        status = ls_fs_write_atomic(to, file.data, file.length, err);
    ls_buf_deinit(&file);
    ls_free(view.data);
    return status;
}

static enum ls_status open_all(struct prediction *p, const struct ls_job *job, const struct ls_ckpt *ckpt,
                               const struct ls_job_data *data, struct ls_error *err)
{
    enum ls_status status = ls_trainer_open(job, LS_TRAINER_MODEL_ONLY, &p->trainer, err);

    if (status == LS_OK)
        status = ls_trainer_dataset(p->trainer, data, "--input", &p->dataset, err);
    if (status != LS_OK)
        return status;
    p->trainer->train = p->dataset; /* its dtype is what programs are traced for */
    status = ls_trainer_device(p->trainer, &p->device, err);
    if (status == LS_OK)
        status = ls_state_create(p->trainer->model, p->trainer->optimizer, &p->state, err);
    if (status == LS_OK)
        status = ls_state_load(p->state, ckpt, err);
    p->programs = (struct ls_step_programs){.trainer = p->trainer, .device = p->device};
    return status;
}

static enum ls_status predict(const struct ls_job *job, const char *directory, const struct ls_job_data *data,
                              const char *to, struct ls_error *err)
{
    struct prediction p = {.trainer = NULL};
    struct ls_ckpt *ckpt = NULL;
    enum ls_status status = ls_checkpoint_of_job(job, directory, &ckpt, err);

    if (status == LS_OK)
        status = open_all(&p, job, ckpt, data, err);
    if (status == LS_OK)
        status = predict_all(&p, to, err);
    if (status == LS_OK)
        printf("wrote the outputs for %lld samples to %s\n", (long long)ls_dataset_count(p.dataset), to);
    ls_step_programs_deinit(&p.programs);
    ls_state_destroy(p.state);
    ls_device_close(p.device);
    ls_trainer_close(p.trainer);
    ls_ckpt_close(ckpt);
    return status;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), ending = strlen(end);

    return length >= ending && strcmp(text + length - ending, end) == 0;
}

static enum ls_status run(const struct ls_command *command, int argc, char **argv, struct ls_error *err)
{
    struct ls_job_options o = {.max_steps = 0};
    const char *directory = NULL, *input = NULL, *output = NULL, *format = NULL, *path;
    const struct ls_option options[] = {
        {"input", "FILE", "samples, .npy or IDX (the job's data.test, else data.validation)", LS_OPTION_TEXT, &input},
        {"format", "NAME", "of --input: npy or idx (by its name)", LS_OPTION_TEXT, &format},
        {"output", "FILE", "where to write the outputs, .npy", LS_OPTION_TEXT, &output},
        {"checkpoint", "DIR", "a checkpoint, or a directory of them (the job's)", LS_OPTION_TEXT, &directory},
        {"set", "KEY=VALUE", "override a key of the job", LS_OPTION_LIST, &o.set},
        {"threads", "N", "threads (run.threads)", LS_OPTION_TEXT, &o.threads},
        {NULL, NULL, NULL, LS_OPTION_FLAG, NULL}};
    struct ls_job *job = NULL;
    enum ls_status status = ls_options_parse(command, options, argc, argv, 1, 1, &path, err);

    if (status == LS_OK && output == NULL)
        status = ls_error_set(err, LS_EUSAGE, "--output FILE.npy is needed");
    if (status == LS_OK)
        status = ls_job_options_load(&o, path, &job, err);
    if (status == LS_OK) {
        struct ls_place_reads reads = {.job = job, .file = input, .checkpoint = directory};

        status = ls_place_check("--output", output, &reads, err);
    }
    if (status == LS_OK) {
        struct ls_job_data data = job->test.format != NULL ? job->test : job->validation;
        char copy[2][4096];

        data.labels = NULL;
        if (input != NULL) {
            bool npy = format != NULL ? strcmp(format, "npy") == 0 : ends_with(input, ".npy");

            (void)snprintf(copy[0], sizeof copy[0], "%s", npy ? "npy" : format != NULL ? format : "idx");
            (void)snprintf(copy[1], sizeof copy[1], "%s", input);
            data.format = copy[0];
            data.features = copy[1];
        }
        status =
            data.format != NULL
                ? predict(job, directory, &data, output, err)
                : ls_error_set(err, LS_EUSAGE, "--input FILE is needed: %s names no test or validation data", path);
    }
    ls_job_destroy(job);
    return status;
}

const struct ls_command ls_cmd_predict = {.name = "predict",
                                          .arguments = "JOB --output FILE.npy [options]",
                                          .summary = "Write a checkpoint's outputs for a file of samples",
                                          .run = run};
