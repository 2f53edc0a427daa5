/* SPDX-License-Identifier: Apache-2.0 */
/* The result-defining keys of a job as RFC 8785 JSON: what its fingerprint is the SHA-256 of. */
#include "core/job/job_internal.h"

#include "core/base/alloc.h"
#include "core/base/hash.h"
#include "core/base/str.h"
#include "core/data/dataset.h"
#include "core/formats/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int64_t power_below(int64_t x)
{
    int64_t power = x < 1 ? 0 : 1;

    while (power > 0 && power <= x / 2)
        power *= 2;
    return power;
}

/* V by the rule of docs/numerics.md, so that a job which states it and one which does not are the same job. (A test
 * compares with core/device's, which this layer may not include.) */
static int64_t shards_of(const struct ls_job *job)
{
    int64_t small = power_below(job->batch_size), large = power_below(job->batch_size / 32);

    if (job->batch_shards > 0)
        return job->batch_shards;
    small = small < 8 ? small : 8;
    large = large < 64 ? large : 64;
    return small > large ? small : large;
}

/* One file: format NULL where it holds no samples to count. */
static enum ls_status describe_file(const char *path, const char *format, json_t **value, struct ls_error *err)
{
    int64_t bytes = 0, samples = 0;
    char sha256[65] = "";
    enum ls_status status = ls_dataset_file_digest(path, &bytes, sha256, err);

    if (status == LS_OK && format != NULL)
        status = ls_dataset_file_count(path, format, &samples, err);
    if (status != LS_OK)
        return status;
    *value = json_pack("{s:I, s:s}", "bytes", (json_int_t)bytes, "sha256", sha256);
    if (*value != NULL && format != NULL)
        (void)json_object_set_new(*value, "samples", json_integer(samples));
    return LS_OK;
}

static enum ls_status add_set(json_t *data, const char *key, const struct ls_job_data *set, struct ls_error *err)
{
    json_t *value, *file = NULL;
    enum ls_status status;

    if (set->format == NULL)
        return LS_OK;
    value = json_pack("{s:s}", "format", set->format);
    status = describe_file(set->features, set->format, &file, err);
    if (status == LS_OK) {
        (void)json_object_set_new(value, "features", file);
        if (set->labels != NULL) {
            status = describe_file(set->labels, set->format, &file, err);
            if (status == LS_OK)
                (void)json_object_set_new(value, "labels", file);
        }
    }
    if (status != LS_OK) {
        json_decref(value);
        (void)ls_error_wrap(err, "data.%s", key);
        return status;
    }
    (void)json_object_set_new(data, key, value);
    return LS_OK;
}

/* The model by the digest of its canonical JSON, so that white space does not make another model. */
static enum ls_status add_model(json_t *root, const struct ls_job *job, struct ls_error *err)
{
    json_t *model = NULL;
    struct ls_buf text = {0};
    uint8_t digest[LS_SHA256_BYTES];
    char hex[LS_SHA256_HEX];
    enum ls_status status = ls_json_parse(job->model_text, job->model_length, job->model, &model, err);

    if (status == LS_OK)
        status = ls_json_canonical(model, &text, err);
    if (status == LS_OK) {
        ls_sha256_of(text.data, text.length, digest);
        ls_hex(digest, sizeof digest, hex);
        (void)json_object_set_new(root, "model", json_string(hex));
    }
    ls_buf_deinit(&text);
    json_decref(model);
    return status;
}

static void add_optimizer(json_t *root, const struct ls_job *job)
{
    json_t *value = json_pack("{s:s, s:f}", "name", job->optimizer.name, "learning_rate", job->optimizer.learning_rate);

    if (strcmp(job->optimizer.name, "sgd") == 0) {
        (void)json_object_set_new(value, "momentum", json_real(job->optimizer.momentum));
        (void)json_object_set_new(value, "nesterov", json_boolean(job->optimizer.nesterov));
    } else {
        (void)json_object_set_new(value, "beta_1", json_real(job->optimizer.beta1));
        (void)json_object_set_new(value, "beta_2", json_real(job->optimizer.beta2));
        (void)json_object_set_new(value, "epsilon", json_real(job->optimizer.epsilon));
    }
    (void)json_object_set_new(root, "optimizer", value);
}

/* Not there where nothing is compressed: such a job has the fingerprint that it always had. */
static void add_compression(json_t *root, const struct ls_job *job)
{
    json_t *value;

    if (job->compression.name == NULL)
        return;
    value = json_pack("{s:s}", "name", job->compression.name);
    if (strcmp(job->compression.name, "top_k") == 0)
        (void)json_object_set_new(value, "ratio", json_real(job->compression.ratio));
    if (strcmp(job->compression.name, "power_sgd") == 0) {
        (void)json_object_set_new(value, "rank", json_integer(job->compression.rank));
        (void)json_object_set_new(value, "start_step", json_integer((json_int_t)job->compression.start_step));
    }
    (void)json_object_set_new(root, "compression", value);
}

static void add_scalars(json_t *root, const struct ls_job *job)
{
    json_t *metrics = json_array();
    char seed[24];

    (void)json_object_set_new(root, "version", json_integer(job->version));
    (void)json_object_set_new(root, "numerics", json_integer(job->numerics));
    /* Beyond 2^53 a JSON number would be rounded. */
    (void)snprintf(seed, sizeof seed, "%" PRIu64, job->seed);
    (void)json_object_set_new(root, "seed",
                              job->seed <= UINT64_C(1) << 53 ? json_integer((json_int_t)job->seed) : json_string(seed));
    (void)json_object_set_new(root, "math", json_string(job->fast ? "fast" : "exact"));
    (void)json_object_set_new(
        root, "batch",
        json_pack("{s:I, s:I}", "size", (json_int_t)job->batch_size, "shards", (json_int_t)shards_of(job)));
    (void)json_object_set_new(root, "epochs", json_integer(job->epochs));
    (void)json_object_set_new(root, "loss",
                              json_pack("{s:s, s:b}", "name", job->loss, "from_logits", (int)job->from_logits));
    for (int i = 0; i < job->metric_count; i++)
        (void)json_array_append_new(metrics, json_string(job->metrics[i]));
    (void)json_object_set_new(root, "metrics", metrics);
    add_optimizer(root, job);
    add_compression(root, job);
    if (job->bf16_wire)
        (void)json_object_set_new(root, "wire", json_string("bf16"));
}

static enum ls_status add_data(json_t *root, const struct ls_job *job, struct ls_error *err)
{
    json_t *data = json_pack("{s:b}", "shuffle", (int)job->shuffle);
    json_t *weights = NULL;
    enum ls_status status = add_set(data, "train", &job->train, err);

    if (status == LS_OK)
        status = add_set(data, "validation", &job->validation, err);
    if (status == LS_OK && job->initial_weights != NULL) {
        status = describe_file(job->initial_weights, NULL, &weights, err);
        if (status == LS_OK)
            (void)json_object_set_new(root, "initial_weights", weights);
        else
            (void)ls_error_wrap(err, "initial_weights");
    }
    (void)json_object_set_new(root, "data", data);
    return status;
}

enum ls_status ls_job_canonical_json(const struct ls_job *job, char **json, struct ls_error *err)
{
    json_t *root = json_object();
    enum ls_status status;

    if (root == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for the fingerprint of %s", job->path);
    add_scalars(root, job);
    status = add_data(root, job, err);
    if (status == LS_OK)
        status = add_model(root, job, err);
    if (status != LS_OK)
        (void)ls_error_wrap(err, "%s", job->path);
    else if (json_object_size(root) != 11u + (job->initial_weights != NULL ? 1u : 0u) +
                                           (job->compression.name != NULL ? 1u : 0u) + (job->bf16_wire ? 1u : 0u))
        status = ls_error_set(err, LS_ENOMEM, "not enough memory for the fingerprint of %s", job->path);
    else
        status = ls_json_canonical_text(root, json, err);
    json_decref(root);
    return status;
}

enum ls_status ls_job_fingerprint(const struct ls_job *job, char hex[65], struct ls_error *err)
{
    uint8_t digest[LS_SHA256_BYTES];
    char *json = NULL;
    enum ls_status status = ls_job_canonical_json(job, &json, err);

    if (status != LS_OK)
        return status;
    ls_sha256_of(json, strlen(json), digest);
    ls_hex(digest, sizeof digest, hex);
    ls_free(json);
    return LS_OK;
}
