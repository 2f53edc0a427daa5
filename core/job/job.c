/* SPDX-License-Identifier: Apache-2.0 */
/* Life of a job, and its loading: the text, its sections, the model's text. docs/formats/job.md has the keys. */
#include "core/job/job_internal.h"

#include "core/base/alloc.h"
#include "core/base/buf.h"
#include "core/base/fs.h"
#include "core/base/str.h"

#include <string.h>

#define MAX_MODEL ((size_t)64 << 20)

static void free_data(struct ls_job_data *data)
{
    ls_free(data->format);
    ls_free(data->features);
    ls_free(data->labels);
}

void ls_job_destroy(struct ls_job *job)
{
    if (job == NULL)
        return;
    ls_free(job->path);
    ls_free(job->directory);
    ls_free(job->model);
    ls_free(job->model_text);
    ls_free(job->initial_weights);
    free_data(&job->train);
    free_data(&job->validation);
    free_data(&job->test);
    ls_free(job->loss);
    for (int i = 0; i < job->metric_count; i++)
        ls_free(job->metrics[i]);
    ls_free(job->optimizer.name);
    ls_free(job->compression.name);
    ls_free(job->strategy);
    ls_free(job->transport);
    ls_free(job->device);
    ls_free(job->isa);
    ls_free(job->checkpoint_directory);
    ls_free(job);
}

static void read_all(const struct lsi_section *top, struct ls_job *job)
{
    static const char *const keys[] = {"version", "numerics",  "seed",  "math", "compression",     "wire",
                                       "batch",   "epochs",    "model", "data", "initial_weights", "loss",
                                       "metrics", "optimizer", "run"};

    lsi_job_check_keys(top, keys, LSI_COUNT(keys));
    lsi_job_read_result(top, job);
    lsi_job_read_run(top, job);
}

enum ls_status lsi_job_read(const struct lsi_job_source *source, struct ls_job **job, struct ls_error *err)
{
    struct lsi_walk walk = {.file = source->path, .err = err};
    struct lsi_section top = {.walk = &walk};
    struct ls_job *made = ls_alloc_zeroed(1, sizeof *made);
    json_t *tree = NULL;

    if (made != NULL) {
        made->path = ls_str_copy(source->path);
        made->directory = ls_path_directory(source->path);
    }
    if (made == NULL || made->path == NULL || made->directory == NULL)
        walk.status = ls_error_set(err, LS_ENOMEM, "not enough memory to read %s", source->path);
    else
        walk.status = lsi_job_tree(source, &tree, &walk.lines, err);
    if (walk.status == LS_OK) {
        top.object = tree;
        read_all(&top, made);
    }
    json_decref(tree);
    json_decref(walk.lines);
    if (walk.status == LS_OK)
        *job = made;
    else
        ls_job_destroy(made);
    return walk.status;
}

static enum ls_status load_model(struct ls_job *job, struct ls_error *err)
{
    struct ls_buf text = {0};
    enum ls_status status = ls_fs_read(job->model, MAX_MODEL, &text, err);

    if (status == LS_OK && ls_buf_append(&text, "", 1) != LS_OK)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to read %s", job->model);
    if (status != LS_OK) {
        ls_buf_deinit(&text);
        (void)ls_error_wrap(err, "%s: model", job->path);
        return status;
    }
    job->model_text = (char *)text.data;
    job->model_length = text.length - 1;
    return LS_OK;
}

static enum ls_status take_model(struct ls_job *job, const char *text, size_t length, struct ls_error *err)
{
    if (length > MAX_MODEL)
        return ls_error_set(err, LS_EINVAL, "%s: model: %s is longer than %zu bytes", job->path, job->model, MAX_MODEL);
    job->model_text = ls_alloc(length + 1);
    if (job->model_text == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for %s", job->model);
    memcpy(job->model_text, text, length);
    job->model_text[length] = '\0';
    job->model_length = length;
    return LS_OK;
}

static enum ls_status load(const struct lsi_job_source *source, const struct ls_job_texts *texts, struct ls_job **job,
                           struct ls_error *err)
{
    struct ls_job *made = NULL;
    enum ls_status status = lsi_job_read(source, &made, err);

    if (status == LS_OK)
        status = texts != NULL && texts->model_text != NULL
                     ? take_model(made, texts->model_text, texts->model_length, err)
                     : load_model(made, err);
    if (status == LS_OK)
        *job = made;
    else
        ls_job_destroy(made);
    return status;
}

enum ls_status ls_job_parse(const char *text, size_t length, const char *path, const char *const *overrides,
                            int override_count, struct ls_job **job, struct ls_error *err)
{
    struct lsi_job_source source = {text, length, path, overrides, override_count};

    return load(&source, NULL, job, err);
}

enum ls_status ls_job_load_texts(const struct ls_job_texts *texts, const char *const *overrides, int override_count,
                                 struct ls_job **job, struct ls_error *err)
{
    struct lsi_job_source source = {texts->text, texts->length, texts->path, overrides, override_count};
    struct ls_buf text = {0};
    enum ls_status status = LS_OK;

    if (texts->text == NULL) {
        status = ls_fs_read(texts->path, MAX_MODEL, &text, err);
        source.text = (const char *)text.data;
        source.length = text.length;
    }
    if (status == LS_OK)
        status = load(&source, texts, job, err);
    else
        (void)ls_error_wrap(err, "cannot read the job");
    ls_buf_deinit(&text);
    return status;
}

enum ls_status ls_job_load(const char *path, const char *const *overrides, int override_count, struct ls_job **job,
                           struct ls_error *err)
{
    const struct ls_job_texts texts = {.path = path};

    return ls_job_load_texts(&texts, overrides, override_count, job, err);
}
