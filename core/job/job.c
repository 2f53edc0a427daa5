/* SPDX-License-Identifier: Apache-2.0 */
/* Life of a job, the sections of the job file, and what must agree between them. docs/formats/job.md is the table. */
#include "core/job/job_internal.h"

#include "core/base/alloc.h"
#include "core/base/buf.h"
#include "core/base/fs.h"
#include "core/base/str.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define MAX_MODEL ((size_t)64 << 20)
#define MAX_SHARDS 256
#define EVERY_MINUTES 10.0
#define BETA_MOST 0.99999994 /* the largest f32 below 1 */

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

static void set_text(struct lsi_walk *walk, char **place, const char *text)
{
    char *copy = ls_str_copy(text);

    if (copy == NULL)
        walk->status = ls_error_set(walk->err, LS_ENOMEM, "not enough memory to read the job");
    else {
        ls_free(*place);
        *place = copy;
    }
}

/* A path of the job file, relative to the directory of the file. */
static void read_path(const struct lsi_section *section, const char *key, const char *directory, char **place)
{
    char *text = NULL;

    lsi_job_string(section, key, &text);
    if (text != NULL && section->walk->status == LS_OK) {
        ls_free(*place);
        *place = ls_path_join(directory, text);
        if (*place == NULL)
            section->walk->status = ls_error_set(section->walk->err, LS_ENOMEM, "not enough memory to read the job");
    }
    ls_free(text);
}

/* The name of `loss: name` or `loss: {name: ..., option: ...}`; *options has object NULL for the short form. */
static void read_named(const struct lsi_section *outer, const char *key, const char *const *names, size_t count,
                       char **name, struct lsi_section *options)
{
    *options = (struct lsi_section){.walk = outer->walk};
    lsi_job_require(outer, key);
    if (outer->walk->status == LS_OK && json_is_string(json_object_get(outer->object, key))) {
        lsi_job_choice(outer, key, names, count, name);
        return;
    }
    *options = lsi_job_section(outer, key);
    if (options->object == NULL)
        return;
    lsi_job_require(options, "name");
    lsi_job_choice(options, "name", names, count, name);
}

static void read_loss(const struct lsi_section *top, struct ls_job *job)
{
    static const char *const names[] = {"sparse_categorical_crossentropy", "categorical_crossentropy",
                                        "binary_crossentropy", "mean_squared_error", "mse"};
    static const char *const with_logits[] = {"name", "from_logits"};
    static const char *const plain[] = {"name"};
    struct lsi_section options;

    read_named(top, "loss", names, COUNT(names), &job->loss, &options);
    if (top->walk->status != LS_OK)
        return;
    if (strcmp(job->loss, "mse") == 0)
        set_text(top->walk, &job->loss, "mean_squared_error");
    if (strcmp(job->loss, "mean_squared_error") == 0)
        lsi_job_check_keys(&options, plain, COUNT(plain));
    else
        lsi_job_check_keys(&options, with_logits, COUNT(with_logits));
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
    read_named(top, "optimizer", names, COUNT(names), &job->optimizer.name, &options);
    if (top->walk->status != LS_OK)
        return;
    job->optimizer.learning_rate = strcmp(job->optimizer.name, "sgd") == 0 ? 0.01 : 0.001;
    if (strcmp(job->optimizer.name, "sgd") == 0)
        lsi_job_check_keys(&options, sgd, COUNT(sgd));
    else
        lsi_job_check_keys(&options, adam, COUNT(adam));
    lsi_job_number(&options, "learning_rate", 0, true, 1e6, &job->optimizer.learning_rate);
    lsi_job_number(&options, "momentum", 0, false, 1, &job->optimizer.momentum);
    lsi_job_flag(&options, "nesterov", &job->optimizer.nesterov);
    lsi_job_number(&options, "beta_1", 0, false, BETA_MOST, &job->optimizer.beta1);
    lsi_job_number(&options, "beta_2", 0, false, BETA_MOST, &job->optimizer.beta2);
    lsi_job_number(&options, "epsilon", 0, true, 1, &job->optimizer.epsilon);
}

static void check_compression(const struct lsi_section *top, const struct lsi_section *options, struct ls_job *job)
{
    static const char *const bf16[] = {"name"};
    static const char *const top_k[] = {"name", "ratio"};
    static const char *const power_sgd[] = {"name", "rank", "start_step"};

    job->compression.ratio = 0.01;
    job->compression.rank = 2;
    if (strcmp(job->compression.name, "top_k") == 0)
        lsi_job_check_keys(options, top_k, COUNT(top_k));
    else if (strcmp(job->compression.name, "power_sgd") == 0)
        lsi_job_check_keys(options, power_sgd, COUNT(power_sgd));
    else
        lsi_job_check_keys(options, bf16, COUNT(bf16));
    lsi_job_number(options, "ratio", 0, true, 1, &job->compression.ratio);
    lsi_job_int(options, "rank", 1, 256, &job->compression.rank);
    lsi_job_integer(options, "start_step", 0, INT64_C(1) << 48, &job->compression.start_step);
    if (!job->fast)
        lsi_job_fail(top, "compression",
                     "is %s, which loses bits of the gradients; set math: fast to allow that, or compression: none",
                     job->compression.name);
}

/* After math. */
static void read_compression(const struct lsi_section *top, struct ls_job *job)
{
    static const char *const names[] = {"none", "bf16", "top_k", "power_sgd"};
    struct lsi_section options;

    if (!lsi_job_has(top, "compression"))
        return;
    read_named(top, "compression", names, COUNT(names), &job->compression.name, &options);
    if (top->walk->status != LS_OK)
        return;
    if (strcmp(job->compression.name, "none") != 0) {
        check_compression(top, &options, job);
        return;
    }
    lsi_job_check_keys(&options, (const char *const[]){"name"}, 1);
    ls_free(job->compression.name);
    job->compression.name = NULL;
}

enum ls_status ls_job_set_compression(struct ls_job *job, const struct ls_compression_options *options,
                                      struct ls_error *err)
{
    struct lsi_walk walk = {.file = job->path, .err = err};
    struct lsi_section top = {.walk = &walk};
    json_t *value;

    if (!isfinite(options->ratio))
        return ls_error_set(err, LS_EINVAL, "%s: compression.ratio must be a finite number", job->path);
    value = json_object();
    (void)json_object_set_new(value, "name", json_string(options->name != NULL ? options->name : "none"));
    if (options->ratio != 0)
        (void)json_object_set_new(value, "ratio", json_real(options->ratio));
    if (options->rank != 0)
        (void)json_object_set_new(value, "rank", json_integer(options->rank));
    if (options->start_step != 0)
        (void)json_object_set_new(value, "start_step", json_integer((json_int_t)options->start_step));
    top.object = json_pack("{s:o}", "compression", value);
    if (top.object == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to read %s", job->path);
    read_compression(&top, job);
    json_decref(top.object);
    return walk.status;
}

/* After math and compression. */
static void read_wire(const struct lsi_section *top, struct ls_job *job)
{
    static const char *const names[] = {"f32", "bf16"};
    char *name = NULL;

    lsi_job_choice(top, "wire", names, COUNT(names), &name);
    job->bf16_wire = name != NULL && strcmp(name, "bf16") == 0;
    ls_free(name);
    if (job->bf16_wire && !job->fast)
        lsi_job_fail(top, "wire",
                     "is bf16, which rounds sums on their way; set math: fast to allow that, or wire: f32");
    if (job->bf16_wire && job->compression.name != NULL)
        lsi_job_fail(top, "wire", "is bf16 and compression is %s, which sends its own numbers; leave one of them out",
                     job->compression.name);
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
            lsi_job_choice(&entry, "metrics", names, COUNT(names), name);
        json_decref(entry.object);
        if (*name == NULL) {
            lsi_job_fail(top, "metrics", "has an empty entry");
            return;
        }
        job->metric_count++;
        if (strcmp(*name, "mse") == 0)
            set_text(top->walk, name, "mean_squared_error");
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
    lsi_job_check_keys(&section, keys, COUNT(keys));
    lsi_job_require(&section, "format");
    lsi_job_choice(&section, "format", formats, COUNT(formats), &set->format);
    lsi_job_require(&section, "features");
    read_path(&section, "features", directory, &set->features);
    if (needs_labels)
        lsi_job_require(&section, "labels");
    read_path(&section, "labels", directory, &set->labels);
}

static void read_data(const struct lsi_section *top, struct ls_job *job)
{
    static const char *const keys[] = {"train", "validation", "test", "shuffle"};
    struct lsi_section data = lsi_job_section(top, "data");

    lsi_job_require(top, "data");
    lsi_job_check_keys(&data, keys, COUNT(keys));
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
    lsi_job_check_keys(&batch, keys, COUNT(keys));
    lsi_job_integer(&batch, "size", 1, INT32_MAX, &job->batch_size);
    lsi_job_integer(&batch, "shards", 1, MAX_SHARDS, &job->batch_shards);
    if (job->batch_shards > 0 && (job->batch_shards & (job->batch_shards - 1)) != 0)
        lsi_job_fail(&batch, "shards", "must be a power of two, not %lld", (long long)job->batch_shards);
}

static void read_result(const struct lsi_section *top, struct ls_job *job)
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
    lsi_job_choice(top, "math", maths, COUNT(maths), &math);
    job->fast = math != NULL && strcmp(math, "fast") == 0;
    ls_free(math);
    read_compression(top, job);
    read_wire(top, job);
    read_batch(top, job);
    job->epochs = 1;
    lsi_job_integer(top, "epochs", 1, 1000000000, &job->epochs);
    lsi_job_require(top, "model");
    read_path(top, "model", job->directory, &job->model);
    read_path(top, "initial_weights", job->directory, &job->initial_weights);
    read_data(top, job);
    read_loss(top, job);
    read_metrics(top, job);
    read_optimizer(top, job);
}

/* "out/<name of the job file without its ending>" beside the job file. */
static void default_checkpoint_directory(struct lsi_walk *walk, struct ls_job *job)
{
    const char *slash = strrchr(job->path, '/');
    const char *name = slash != NULL ? slash + 1 : job->path;
    const char *dot = strrchr(name, '.');
    int length = dot != NULL && dot != name ? (int)(dot - name) : (int)strlen(name);
    char *relative = ls_str_format("out/%.*s", length, name);

    job->checkpoint_directory = relative != NULL ? ls_path_join(job->directory, relative) : NULL;
    ls_free(relative);
    if (job->checkpoint_directory == NULL)
        walk->status = ls_error_set(walk->err, LS_ENOMEM, "not enough memory to read the job");
}

static void read_checkpoint(const struct lsi_section *run, struct ls_job *job)
{
    static const char *const keys[] = {"directory", "every_steps", "every_minutes", "keep"};
    struct lsi_section section = lsi_job_section(run, "checkpoint");

    lsi_job_check_keys(&section, keys, COUNT(keys));
    read_path(&section, "directory", job->directory, &job->checkpoint_directory);
    if (job->checkpoint_directory == NULL && run->walk->status == LS_OK)
        default_checkpoint_directory(run->walk, job);
    lsi_job_integer(&section, "every_steps", 0, INT64_C(1) << 48, &job->checkpoint_every_steps);
    if (!lsi_job_has(&section, "every_steps"))
        job->checkpoint_every_minutes = EVERY_MINUTES;
    lsi_job_number(&section, "every_minutes", 0, false, 1e6, &job->checkpoint_every_minutes);
    job->checkpoint_keep = 2;
    lsi_job_integer(&section, "keep", 2, 1000000, &job->checkpoint_keep);
}

static void check_strategy(const struct lsi_section *run, struct ls_job *job)
{
    if (run->walk->status != LS_OK)
        return;
    if (job->workers * job->replicas > LS_JOB_MAX_REPLICAS) {
        lsi_job_fail(run, "workers", "is %d with %d replicas each; a job has at most %d replicas in all", job->workers,
                     job->replicas, LS_JOB_MAX_REPLICAS);
        return;
    }
    if (job->strategy == NULL) {
        set_text(run->walk, &job->strategy,
                 job->workers > 1    ? "multi_worker"
                 : job->replicas > 1 ? "mirrored"
                                     : "one_device");
        return;
    }
    if (strcmp(job->strategy, "one_device") == 0 && (job->workers > 1 || job->replicas > 1))
        lsi_job_fail(run, "strategy",
                     "is one_device, which is 1 worker with 1 replica, not %d with %d; choose multi_worker",
                     job->workers, job->replicas);
    else if (strcmp(job->strategy, "mirrored") == 0 && job->workers > 1)
        lsi_job_fail(run, "strategy",
                     "is mirrored, which is 1 worker with several replicas, not %d workers; choose multi_worker",
                     job->workers);
}

/* Whether an override gave the key, or the section that has it. */
static bool overridden(const struct lsi_section *section, const char *key)
{
    char path[200];

    (void)snprintf(path, sizeof path, "%s.%s", section->path, key);
    return lsi_job_has(section, key) && (json_is_string(json_object_get(section->walk->lines, path)) ||
                                         json_is_string(json_object_get(section->walk->lines, section->path)));
}

static void read_run(const struct lsi_section *top, struct ls_job *job)
{
    static const char *const keys[] = {"strategy", "workers",   "replicas",     "threads",    "transport", "device",
                                       "isa",      "execution", "micro_shards", "checkpoint", "max_steps"};
    static const char *const strategies[] = {"one_device", "mirrored", "multi_worker"};
    static const char *const transports[] = {"auto", "shm", "tcp", "hybrid", "mpi", "nccl"};
    static const char *const devices[] = {"cpu", "ref"};
    static const char *const isas[] = {"ref", "avx2", "avx512", "neon"};
    static const char *const executions[] = {"graph", "eager"};
    struct lsi_section run = lsi_job_section(top, "run");
    char *execution = NULL;

    lsi_job_check_keys(&run, keys, COUNT(keys));
    job->workers = job->replicas = job->threads = 1;
    lsi_job_int(&run, "workers", 1, LS_JOB_MAX_REPLICAS, &job->workers);
    job->workers_overridden = overridden(&run, "workers");
    lsi_job_int(&run, "replicas", 1, 16, &job->replicas);
    lsi_job_int(&run, "threads", 1, 1024, &job->threads);
    lsi_job_choice(&run, "strategy", strategies, COUNT(strategies), &job->strategy);
    set_text(top->walk, &job->transport, "auto");
    lsi_job_choice(&run, "transport", transports, COUNT(transports), &job->transport);
    set_text(top->walk, &job->device, "cpu");
    lsi_job_choice(&run, "device", devices, COUNT(devices), &job->device);
    lsi_job_choice(&run, "isa", isas, COUNT(isas), &job->isa);
    lsi_job_choice(&run, "execution", executions, COUNT(executions), &execution);
    job->eager = execution != NULL && strcmp(execution, "eager") == 0;
    ls_free(execution);
    lsi_job_integer(&run, "micro_shards", 0, MAX_SHARDS, &job->micro_shards);
    lsi_job_integer(&run, "max_steps", 0, INT64_C(1) << 48, &job->max_steps);
    read_checkpoint(&run, job);
    check_strategy(&run, job);
}

static void read_all(const struct lsi_section *top, struct ls_job *job)
{
    static const char *const keys[] = {"version", "numerics",  "seed",  "math", "compression",     "wire",
                                       "batch",   "epochs",    "model", "data", "initial_weights", "loss",
                                       "metrics", "optimizer", "run"};

    lsi_job_check_keys(top, keys, COUNT(keys));
    read_result(top, job);
    read_run(top, job);
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
