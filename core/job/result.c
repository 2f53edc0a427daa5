/* SPDX-License-Identifier: Apache-2.0 */
/* What defines the result: everything in a job file but `run`, and but what shortens gradients (gradients.c). */
#include "core/job/job_internal.h"

#include "core/base/alloc.h"

#include <string.h>

#define BETA_MOST 0.99999994 /* the largest f32 below 1 */

static void read_loss(const struct lsi_section *top, struct ls_job *job)
{
    static const char *const names[] = {"sparse_categorical_crossentropy", "categorical_crossentropy",
                                        "binary_crossentropy", "mean_squared_error", "mse"};
    static const char *const with_logits[] = {"name", "from_logits"};
    static const char *const plain[] = {"name"};
    struct lsi_section options;

    lsi_job_named(top, "loss", names, LSI_COUNT(names), &job->loss, &options);
    if (top->walk->status != LS_OK)
        return;
    if (strcmp(job->loss, "mse") == 0)
        lsi_job_set(top->walk, &job->loss, "mean_squared_error");
    if (strcmp(job->loss, "mean_squared_error") == 0)
        lsi_job_check_keys(&options, plain, LSI_COUNT(plain));
    else
        lsi_job_check_keys(&options, with_logits, LSI_COUNT(with_logits));
    lsi_job_flag(&options, "from_logits", &job->from_logits);
}

static void read_optimizer(const struct lsi_section *top, struct ls_job *job)
{
    static const char *const names[] = {"sgd", "adam"};
    static const char *const sgd[] = {"name", "learning_rate", "momentum", "nesterov"};
    static const char *const adam[] = {"name", "learning_rate", "beta_1", "beta_2", "epsilon"};
    struct lsi_section options;

    job->optimizer.beta1 = 0.9;
    job->optimizer.beta2 = 0.999;
    job->optimizer.epsilon = 1e-7;
    lsi_job_named(top, "optimizer", names, LSI_COUNT(names), &job->optimizer.name, &options);
    if (top->walk->status != LS_OK)
        return;
    job->optimizer.learning_rate = strcmp(job->optimizer.name, "sgd") == 0 ? 0.01 : 0.001;
    if (strcmp(job->optimizer.name, "sgd") == 0)
        lsi_job_check_keys(&options, sgd, LSI_COUNT(sgd));
    else
        lsi_job_check_keys(&options, adam, LSI_COUNT(adam));
    lsi_job_number(&options, "learning_rate", 0, true, 1e6, &job->optimizer.learning_rate);
    lsi_job_number(&options, "momentum", 0, false, 1, &job->optimizer.momentum);
    lsi_job_flag(&options, "nesterov", &job->optimizer.nesterov);
    lsi_job_number(&options, "beta_1", 0, false, BETA_MOST, &job->optimizer.beta1);
    lsi_job_number(&options, "beta_2", 0, false, BETA_MOST, &job->optimizer.beta2);
    lsi_job_number(&options, "epsilon", 0, true, 1, &job->optimizer.epsilon);
}

static void read_metrics(const struct lsi_section *top, struct ls_job *job)
{
    static const char *const names[] = {"accuracy",        "sparse_categorical_accuracy", "categorical_accuracy",
                                        "binary_accuracy", "mean_squared_error",          "mse"};
    json_t *list = lsi_job_has(top, "metrics") ? json_object_get(top->object, "metrics") : NULL;
    size_t count = json_is_array(list) ? json_array_size(list) : list != NULL ? 1 : 0;

    lsi_job_list(top, "metrics");
    if (count > LS_JOB_MAX_METRICS)
        lsi_job_fail(top, "metrics", "has %zu entries; at most %d are allowed", count, LS_JOB_MAX_METRICS);
    for (size_t i = 0; i < count && top->walk->status == LS_OK; i++) {
        /* A section of one key stands for the entry, so that it is checked like any other text. */
        struct lsi_section entry = {.walk = top->walk, .object = json_object()};
        char **name = &job->metrics[job->metric_count];

        if (json_object_set(entry.object, "metrics", json_is_array(list) ? json_array_get(list, i) : list) == 0)
            lsi_job_choice(&entry, "metrics", names, LSI_COUNT(names), name);
        json_decref(entry.object);
        if (*name == NULL) {
            lsi_job_fail(top, "metrics", "has an empty entry");
            return;
        }
        job->metric_count++;
        if (strcmp(*name, "mse") == 0)
            lsi_job_set(top->walk, name, "mean_squared_error");
        for (int k = 0; k < job->metric_count - 1; k++)
            if (strcmp(job->metrics[k], *name) == 0)
                lsi_job_fail(top, "metrics", "has %s twice", *name);
    }
}

static void read_set(const struct lsi_section *data, const char *key, bool needs_labels, const char *directory,
                     struct ls_job_data *set)
{
    static const char *const keys[] = {"format", "features", "labels"};
    static const char *const formats[] = {"idx", "npy"};
    struct lsi_section section = lsi_job_section(data, key);

    if (section.object == NULL)
        return;
    lsi_job_check_keys(&section, keys, LSI_COUNT(keys));
    lsi_job_require(&section, "format");
    lsi_job_choice(&section, "format", formats, LSI_COUNT(formats), &set->format);
    lsi_job_require(&section, "features");
    lsi_job_path(&section, "features", directory, &set->features);
    if (needs_labels)
        lsi_job_require(&section, "labels");
    lsi_job_path(&section, "labels", directory, &set->labels);
}

static void read_data(const struct lsi_section *top, struct ls_job *job)
{
    static const char *const keys[] = {"train", "validation", "test", "shuffle"};
    struct lsi_section data = lsi_job_section(top, "data");

    lsi_job_require(top, "data");
    lsi_job_check_keys(&data, keys, LSI_COUNT(keys));
    lsi_job_require(&data, "train");
    read_set(&data, "train", true, job->directory, &job->train);
    read_set(&data, "validation", true, job->directory, &job->validation);
    read_set(&data, "test", false, job->directory, &job->test);
    job->shuffle = true;
    lsi_job_flag(&data, "shuffle", &job->shuffle);
}

static void read_batch(const struct lsi_section *top, struct ls_job *job)
{
    static const char *const keys[] = {"size", "shards"};
    struct lsi_section batch = lsi_job_section(top, "batch");

    job->batch_size = 32;
    lsi_job_check_keys(&batch, keys, LSI_COUNT(keys));
    lsi_job_integer(&batch, "size", 1, INT32_MAX, &job->batch_size);
    lsi_job_integer(&batch, "shards", 1, LSI_JOB_MAX_SHARDS, &job->batch_shards);
    if (job->batch_shards > 0 && (job->batch_shards & (job->batch_shards - 1)) != 0)
        lsi_job_fail(&batch, "shards", "must be a power of two, not %lld", (long long)job->batch_shards);
}

void lsi_job_read_result(const struct lsi_section *top, struct ls_job *job)
{
    static const char *const maths[] = {"exact", "fast"};
    char *math = NULL;
    int64_t seed = 1;

    lsi_job_require(top, "version");
    lsi_job_integer(top, "version", 1, 1, &job->version);
    job->numerics = 1;
    lsi_job_integer(top, "numerics", 1, 1, &job->numerics);
    lsi_job_integer(top, "seed", 0, INT64_MAX, &seed);
    job->seed = (uint64_t)seed;
    lsi_job_choice(top, "math", maths, LSI_COUNT(maths), &math);
    job->fast = math != NULL && strcmp(math, "fast") == 0;
    ls_free(math);
    lsi_job_read_gradients(top, job);
    read_batch(top, job);
    job->epochs = 1;
    lsi_job_integer(top, "epochs", 1, 1000000000, &job->epochs);
    lsi_job_require(top, "model");
    lsi_job_path(top, "model", job->directory, &job->model);
    lsi_job_path(top, "initial_weights", job->directory, &job->initial_weights);
    read_data(top, job);
    read_loss(top, job);
    read_metrics(top, job);
    read_optimizer(top, job);
}
