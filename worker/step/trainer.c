/* SPDX-License-Identifier: Apache-2.0 */
/* Opens a job's parts and checks them against each other, see trainer.h. */
#include "worker/step/trainer.h"

#include "core/base/alloc.h"
#include "core/base/hash.h"
#include "core/formats/json.h"

#include <string.h>

static enum ls_status open_model(struct ls_trainer *trainer, struct ls_error *err)
{
    const struct ls_job *job = trainer->job;
    struct ls_optimizer_options options = LS_OPTIMIZER_OPTIONS_DEFAULT;
    enum ls_status status = LS_OK;

    if (!trainer->lent)
        status = ls_model_from_keras(job->model_text, job->model_length, &trainer->model, err);
    if (status != LS_OK)
        return ls_error_wrap(err, "%s", job->model);
    if (ls_model_input_count(trainer->model) != 1 || ls_model_output_count(trainer->model) != 1)
        return ls_error_set(err, LS_EUNSUPPORTED, "%s has %d inputs and %d outputs; jobs train models with one of each",
                            job->model, ls_model_input_count(trainer->model), ls_model_output_count(trainer->model));
    options.name = job->optimizer.name;
    options.learning_rate = (float)job->optimizer.learning_rate;
    options.momentum = (float)job->optimizer.momentum;
    options.nesterov = job->optimizer.nesterov;
    options.beta1 = job->optimizer.beta1;
    options.beta2 = job->optimizer.beta2;
    options.epsilon = (float)job->optimizer.epsilon;
    return ls_optimizer_create(&options, &trainer->optimizer, err);
}

static enum ls_status check_features(const struct ls_trainer *trainer, const struct ls_dataset *dataset,
                                     const char *key, struct ls_error *err)
{
    const struct ls_shape *have = ls_dataset_feature_shape(dataset), *want = ls_model_input_shape(trainer->model, 0);
    char have_text[128], want_text[128];

    if (ls_shape_equal(have, want))
        return LS_OK;
    return ls_error_set(err, LS_EINVAL,
                        "%s: a sample has the shape %s, but the model %s takes %s; change the InputLayer or the data",
                        key, ls_shape_text(have, have_text), trainer->job->model, ls_shape_text(want, want_text));
}

/* A sparse label must be a class; found before training, with the file's worst label named. */
static enum ls_status check_labels(const struct ls_trainer *trainer, const struct ls_dataset *dataset, const char *key,
                                   struct ls_error *err)
{
    const struct ls_shape *output = ls_model_output_shape(trainer->model, 0);
    int64_t classes = output->rank > 0 ? output->dim[output->rank - 1] : 1, low, high;
    enum ls_status status =
        ls_train_spec_check(&trainer->spec, ls_dataset_label_dtype(dataset), ls_dataset_label_shape(dataset), err);

    if (status != LS_OK)
        return ls_error_wrap(err, "%s", key);
    if (strcmp(trainer->spec.loss, "sparse_categorical_crossentropy") != 0)
        return LS_OK;
    status = ls_dataset_label_range(dataset, &low, &high, err);
    if (status == LS_OK && (low < 0 || high >= classes))
        return ls_error_set(err, LS_EINVAL,
                            "%s: labels go from %lld to %lld, but the model has %lld classes (0 to %lld)", key,
                            (long long)low, (long long)high, (long long)classes, (long long)classes - 1);
    return status;
}

static enum ls_status check_set(const struct ls_trainer *trainer, const struct ls_dataset *dataset, const char *key,
                                struct ls_error *err)
{
    enum ls_status status = check_features(trainer, dataset, key, err);

    if (status == LS_OK && ls_dataset_has_labels(dataset))
        status = check_labels(trainer, dataset, key, err);
    return status;
}

enum ls_status ls_trainer_dataset(const struct ls_trainer *trainer, const struct ls_job_data *data, const char *key,
                                  struct ls_dataset **dataset, struct ls_error *err)
{
    struct ls_dataset_options options = {
        .format = data->format, .features = data->features, .labels = data->labels, .shared = true};
    struct ls_dataset *opened = NULL;
    enum ls_status status;

    if (data->format == NULL)
        return LS_OK;
    status = ls_dataset_open(&options, &opened, err);
    if (status != LS_OK)
        return ls_error_wrap(err, "%s", key);
    status = check_set(trainer, opened, key, err);
    if (status != LS_OK)
        ls_dataset_close(opened);
    else
        *dataset = opened;
    return status;
}

/* Programs are traced for the training set's dtypes, and buffers made for its samples. */
static enum ls_status check_alike(const struct ls_trainer *trainer, const struct ls_dataset *other, const char *key,
                                  struct ls_error *err)
{
    const struct ls_dataset *train = trainer->train;
    bool features = ls_dataset_feature_dtype(other) == ls_dataset_feature_dtype(train);

    if (!ls_dataset_has_labels(other))
        return ls_error_set(err, LS_EINVAL, "%s: %s needs labels", trainer->job->path, key);
    if (features && ls_dataset_label_dtype(other) == ls_dataset_label_dtype(train) &&
        ls_trainer_label_bytes(other) == ls_trainer_label_bytes(train))
        return LS_OK;
    return ls_error_set(err, LS_EINVAL, "%s: %s are %s, but those of data.train are %s; store both sets alike", key,
                        features ? "labels" : "features",
                        ls_dtype_name(features ? ls_dataset_label_dtype(other) : ls_dataset_feature_dtype(other)),
                        ls_dtype_name(features ? ls_dataset_label_dtype(train) : ls_dataset_feature_dtype(train)));
}

/* The model takes both; others would have to be rounded. */
static enum ls_status check_feature_dtype(const struct ls_trainer *trainer, struct ls_error *err)
{
    enum ls_dtype dtype = ls_dataset_feature_dtype(trainer->train);
    const char *path = trainer->job->train.features;

    if (dtype == LS_F32 || dtype == LS_U8)
        return LS_OK;
    return ls_error_set(
        err, LS_EINVAL,
        "data.train: the features%s%s are read as %s, but a model takes float32 or uint8; store them as float32",
        path != NULL ? " in " : "", path != NULL ? path : "", ls_dtype_name(dtype));
}

/* The data sets are open: may they be trained on, and for how long? */
static enum ls_status count_steps(struct ls_trainer *trainer, struct ls_error *err)
{
    const struct ls_job *job = trainer->job;
    int64_t count;
    enum ls_status status;

    if (trainer->train == NULL || !ls_dataset_has_labels(trainer->train))
        return ls_error_set(err, LS_EINVAL, "%s: data.train with features and labels is needed for training",
                            job->path);
    status = check_feature_dtype(trainer, err);
    if (status == LS_OK && trainer->validation != NULL)
        status = check_alike(trainer, trainer->validation, "data.validation", err);
    if (status != LS_OK)
        return status;
    count = ls_dataset_count(trainer->train);
    if (count < 1)
        return ls_error_set(err, LS_EINVAL, "%s: data.train holds no sample", job->path);
    trainer->steps_per_epoch = (count + job->batch_size - 1) / job->batch_size;
    trainer->total_steps = trainer->steps_per_epoch * job->epochs;
    if (job->max_steps > 0 && job->max_steps < trainer->total_steps)
        trainer->total_steps = job->max_steps;
    return LS_OK;
}

static enum ls_status open_training(struct ls_trainer *trainer, struct ls_error *err)
{
    const struct ls_job *job = trainer->job;
    enum ls_status status = ls_trainer_dataset(trainer, &job->train, "data.train", &trainer->train, err);

    if (status == LS_OK)
        status = ls_trainer_dataset(trainer, &job->validation, "data.validation", &trainer->validation, err);
    if (status == LS_OK)
        status = count_steps(trainer, err);
    if (status == LS_OK)
        status = ls_job_canonical_json(job, &trainer->job_json, err);
    return status == LS_OK ? ls_job_fingerprint(job, trainer->fingerprint, err) : status;
}

/* What the canonical JSON says of a set in memory. */
static enum ls_status add_set(json_t *data, const char *key, const struct ls_dataset *dataset, struct ls_error *err)
{
    char sha256[65];
    enum ls_status status = dataset != NULL ? ls_dataset_digest(dataset, sha256, err) : LS_OK;

    if (dataset != NULL && status == LS_OK)
        (void)json_object_set_new(data, key,
                                  json_pack("{s:s, s:I, s:s}", "format", "memory", "samples",
                                            (json_int_t)ls_dataset_count(dataset), "sha256", sha256));
    return status;
}

/* The job's canonical JSON with the model's description and the data sets' digests in the places of files. */
static enum ls_status describe_lent(struct ls_trainer *trainer, struct ls_error *err)
{
    struct ls_job job = *trainer->job;
    uint8_t digest[LS_SHA256_BYTES];
    char *text = NULL;
    json_t *root = NULL, *data;
    enum ls_status status = ls_model_describe(trainer->model, &job.model_text, err);

    if (status != LS_OK)
        return status;
    job.model_length = strlen(job.model_text);
    status = ls_job_canonical_json(&job, &text, err);
    if (status == LS_OK)
        status = ls_json_parse(text, strlen(text), "the job", &root, err);
    data = json_object_get(root, "data");
    if (status == LS_OK)
        status = add_set(data, "train", trainer->train, err);
    if (status == LS_OK)
        status = add_set(data, "validation", trainer->validation, err);
    if (status == LS_OK)
        status = ls_json_canonical_text(root, &trainer->job_json, err);
    if (status == LS_OK) {
        ls_sha256_of(trainer->job_json, strlen(trainer->job_json), digest);
        ls_hex(digest, sizeof digest, trainer->fingerprint);
    }
    json_decref(root);
    ls_free(text);
    ls_free(job.model_text);
    return status;
}

static enum ls_status open_lent(struct ls_trainer *trainer, struct ls_error *err)
{
    enum ls_status status = LS_OK;

    if (trainer->train != NULL)
        status = check_set(trainer, trainer->train, "data.train", err);
    if (status == LS_OK && trainer->validation != NULL)
        status = check_set(trainer, trainer->validation, "data.validation", err);
    if (status == LS_OK)
        status = count_steps(trainer, err);
    return status == LS_OK ? describe_lent(trainer, err) : status;
}

static struct ls_trainer *create(const struct ls_job *job, struct ls_error *err)
{
    struct ls_trainer *made = ls_alloc_zeroed(1, sizeof *made);

    if (made == NULL) {
        (void)ls_error_set(err, LS_ENOMEM, "not enough memory to open the job");
        return NULL;
    }
    made->job = job;
    made->v_total = job->batch_shards > 0 ? (int)job->batch_shards : ls_shards_default(job->batch_size);
    for (int i = 0; i < job->metric_count; i++)
        made->metric_names[i] = job->metrics[i];
    return made;
}

static void specify(struct ls_trainer *trainer)
{
    const struct ls_job *job = trainer->job;

    trainer->spec = (struct ls_train_spec){.model = trainer->model,
                                           .loss = job->loss,
                                           .from_logits = job->from_logits,
                                           .metrics = trainer->metric_names,
                                           .metric_count = job->metric_count};
}

enum ls_status ls_trainer_open(const struct ls_job *job, enum ls_trainer_sets sets, struct ls_trainer **trainer,
                               struct ls_error *err)
{
    struct ls_trainer *made = create(job, err);
    enum ls_status status;

    if (made == NULL)
        return LS_ENOMEM;
    status = open_model(made, err);
    if (status == LS_OK) {
        specify(made);
        status = sets == LS_TRAINER_TRAINING ? open_training(made, err) : LS_OK;
    }
    if (status != LS_OK)
        ls_trainer_close(made);
    else
        *trainer = made;
    return status;
}

enum ls_status ls_trainer_open_with(const struct ls_job *job, const struct ls_trainer_parts *parts,
                                    struct ls_trainer **trainer, struct ls_error *err)
{
    struct ls_trainer *made = create(job, err);
    enum ls_status status;

    if (made == NULL)
        return LS_ENOMEM;
    made->lent = true;
    made->model = parts->model;
    made->train = parts->train;
    made->validation = parts->validation;
    status = open_model(made, err);
    if (status == LS_OK) {
        specify(made);
        status = open_lent(made, err);
    }
    if (status != LS_OK)
        ls_trainer_close(made);
    else
        *trainer = made;
    return status;
}

void ls_trainer_close(struct ls_trainer *trainer)
{
    if (trainer == NULL)
        return;
    ls_free(trainer->job_json);
    ls_optimizer_destroy(trainer->optimizer);
    if (!trainer->lent) {
        ls_dataset_close(trainer->validation);
        ls_dataset_close(trainer->train);
        ls_model_destroy(trainer->model);
    }
    ls_free(trainer);
}

enum ls_status ls_trainer_device(const struct ls_trainer *trainer, struct ls_device **device, struct ls_error *err)
{
    struct ls_device_options options = LS_DEVICE_OPTIONS_DEFAULT;

    options.threads = trainer->job->threads;
    options.fast = trainer->job->fast;
    options.isa = trainer->job->isa;
    return ls_device_open(trainer->job->device, &options, device, err);
}

enum ls_status ls_trainer_evaluate_on(struct ls_trainer *trainer, const struct ls_job_data *data, const char *key,
                                      struct ls_error *err)
{
    struct ls_dataset *chosen = NULL;
    enum ls_status status = ls_trainer_dataset(trainer, data, key, &chosen, err);

    if (status == LS_OK && chosen == NULL)
        status = ls_error_set(err, LS_EINVAL, "%s has no %s", trainer->job->path, key);
    if (status == LS_OK)
        status = check_alike(trainer, chosen, key, err);
    if (status != LS_OK) {
        ls_dataset_close(chosen);
        return status;
    }
    ls_dataset_close(trainer->validation);
    trainer->validation = chosen;
    return LS_OK;
}

size_t ls_trainer_feature_bytes(const struct ls_dataset *dataset)
{
    return (size_t)ls_shape_count(ls_dataset_feature_shape(dataset)) * ls_dtype_size(ls_dataset_feature_dtype(dataset));
}

size_t ls_trainer_label_bytes(const struct ls_dataset *dataset)
{
    return (size_t)ls_shape_count(ls_dataset_label_shape(dataset)) * ls_dtype_size(ls_dataset_label_dtype(dataset));
}

int64_t ls_trainer_batch_samples(const struct ls_trainer *trainer, int64_t count, int64_t step_in_epoch)
{
    int64_t left = count - step_in_epoch * trainer->job->batch_size;

    return left < trainer->job->batch_size ? left : trainer->job->batch_size;
}
