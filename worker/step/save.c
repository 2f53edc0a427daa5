/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints of a running job: every rank writes the pieces it owns, rank 0 commits when it has everyone's digest,
 * and all learn whether that worked. Beside the tensors: where the job stands and its canonical JSON.
 */
#include "worker/step/replica.h"

#include "core/base/alloc.h"
#include "core/base/str.h"
#include "core/formats/json.h"

#include <string.h>

#define META_FORMAT 1

/* Sums go in as text of 17 digits: exact, and NaN and infinity (which JSON lacks) survive. */
static json_t *real_json(double value)
{
    char text[40];

    (void)snprintf(text, sizeof text, "%.17g", value);
    return json_string(text);
}

static json_t *sums_json(const struct ls_sums *sums, int metric_count)
{
    json_t *metrics = json_array();

    for (int m = 0; m < metric_count; m++)
        (void)json_array_append_new(metrics, real_json(sums->metrics[m]));
    return json_pack("{s:I, s:o, s:o}", "samples", (json_int_t)sums->samples, "loss", real_json(sums->loss), "metrics",
                     metrics);
}

static enum ls_status meta_text(const struct ls_replica *replica, char **text, struct ls_error *err)
{
    const struct ls_progress *p = &replica->progress;
    const char *job_json = replica->trainer->job_json;
    int metrics = replica->trainer->spec.metric_count;
    json_t *job = NULL, *meta = NULL;
    enum ls_status status = ls_json_parse(job_json, strlen(job_json), "the job", &job, err);

    if (status != LS_OK)
        return status;
    meta = json_pack("{s:i, s:I, s:I, s:o, s:o, s:o, s:o}", "format", META_FORMAT, "step", (json_int_t)p->step,
                     "validated_epochs", (json_int_t)p->validated_epochs, "epoch", sums_json(&p->epoch, metrics),
                     "last_epoch", sums_json(&p->last, metrics), "validation", sums_json(&p->validation, metrics),
                     "job", job);
    if (meta == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for the checkpoint's description");
    status = ls_json_canonical_text(meta, text, err);
    json_decref(meta);
    return status;
}

static bool read_real(const json_t *value, double *real)
{
    return json_is_string(value) && ls_str_to_f64(json_string_value(value), real);
}

static bool read_sums(const json_t *meta, const char *key, struct ls_sums *sums)
{
    const json_t *object = json_object_get(meta, key), *metrics = json_object_get(object, "metrics");
    const json_t *samples = json_object_get(object, "samples");

    if (!json_is_integer(samples) || !read_real(json_object_get(object, "loss"), &sums->loss) ||
        json_array_size(metrics) > LS_MAX_METRICS)
        return false;
    sums->samples = json_integer_value(samples);
    for (size_t m = 0; m < json_array_size(metrics); m++)
        if (!read_real(json_array_get(metrics, m), &sums->metrics[m]))
            return false;
    return true;
}

enum ls_status ls_progress_read(const char *json, struct ls_progress *progress, char **job_json, struct ls_error *err)
{
    struct ls_progress read = {0};
    json_t *meta = NULL;
    const json_t *step, *validated, *job;
    enum ls_status status = ls_json_parse(json, strlen(json), "the checkpoint's description", &meta, err);

    if (status != LS_OK)
        return status;
    step = json_object_get(meta, "step");
    validated = json_object_get(meta, "validated_epochs");
    job = json_object_get(meta, "job");
    if (json_integer_value(json_object_get(meta, "format")) != META_FORMAT || !json_is_integer(step) ||
        !json_is_integer(validated) || !json_is_object(job) || !read_sums(meta, "epoch", &read.epoch) ||
        !read_sums(meta, "last_epoch", &read.last) || !read_sums(meta, "validation", &read.validation)) {
        json_decref(meta);
        return ls_error_set(err, LS_ECORRUPT, "the checkpoint's description lacks a field or has one of another type");
    }
    read.step = (uint64_t)json_integer_value(step);
    read.validated_epochs = (uint64_t)json_integer_value(validated);
    status = ls_json_canonical_text(job, job_json, err);
    json_decref(meta);
    if (status == LS_OK)
        *progress = read;
    return status;
}

static int own_pieces(struct ls_replica *replica, struct ls_ckpt_piece *pieces)
{
    struct ls_state *state = replica->state;
    int count = 0;

    for (int i = 0; i < state->tensor_count; i++) {
        const struct ls_ckpt_tensor *tensor = &state->tensors[i];
        struct ls_ckpt_piece piece = {.tensor = i};

        ls_plan_owned(ls_shape_count(&tensor->shape), i, replica->world, replica->rank, &piece.begin, &piece.count);
        piece.data =
            (const uint8_t *)ls_state_tensor_data(state, i) + (size_t)piece.begin * ls_dtype_size(tensor->dtype);
        if (piece.count > 0)
            pieces[count++] = piece;
    }
    return count;
}

/* What a rank says of its part: whether it is written, and its digest. */
struct written {
    int32_t status;
    int32_t unused;
    struct ls_ckpt_part part;
};

static enum ls_status gather_written(struct ls_replica *replica, const struct written *own, struct written *all,
                                     struct ls_error *err)
{
    int64_t counts[LS_MAX_MEMBERS];

    for (int r = 0; r < replica->world; r++)
        counts[r] = (int64_t)sizeof *own;
    return ls_group_run(
        replica->group,
        &(struct ls_collective){.kind = LS_ALL_GATHER, .dtype = LS_U8, .src = own, .dst = all, .counts = counts}, err);
}

/* Rank 0 commits and tells everyone the outcome. */
static enum ls_status commit(struct ls_replica *replica, const struct ls_ckpt_meta *meta, const struct written *all,
                             struct ls_error *err)
{
    const struct ls_job *job = replica->trainer->job;
    struct ls_ckpt_part parts[LS_MAX_MEMBERS];
    enum ls_status status = LS_OK, told;
    int32_t outcome;

    for (int r = 0; r < replica->world; r++)
        parts[r] = all[r].part;
    if (replica->rank == 0)
        status = ls_ckpt_commit(job->checkpoint_directory, meta, replica->state->tensors, replica->state->tensor_count,
                                parts, replica->world, (int)job->checkpoint_keep, err);
    outcome = (int32_t)status;
    told = ls_group_run(
        replica->group,
        &(struct ls_collective){.kind = LS_BROADCAST, .dtype = LS_I32, .dst = &outcome, .count = 1, .root = 0},
        status == LS_OK ? err : NULL);
    if (status != LS_OK || told != LS_OK)
        return status != LS_OK ? status : told;
    if (outcome != LS_OK)
        return ls_error_set(err, (enum ls_status)outcome, "rank 0 could not commit the checkpoint of step %llu in %s",
                            (unsigned long long)meta->step, job->checkpoint_directory);
    return LS_OK;
}

enum ls_status ls_replica_save(struct ls_replica *replica, struct ls_error *err)
{
    const char *directory = replica->trainer->job->checkpoint_directory;
    struct ls_ckpt_meta meta = {.step = replica->progress.step, .generation = replica->generation};
    struct ls_ckpt_piece *pieces = ls_alloc_zeroed((size_t)replica->state->tensor_count, sizeof *pieces);
    struct written own = {0}, all[LS_MAX_MEMBERS];
    char *text = NULL;
    enum ls_status status;

    if (pieces == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to write a checkpoint");
    status = meta_text(replica, &text, err);
    meta.json = text;
    if (status == LS_OK)
        status = ls_ckpt_write_part(directory, &meta, replica->state->tensors, replica->state->tensor_count, pieces,
                                    own_pieces(replica, pieces), replica->rank, replica->world, &own.part, err);
    own.status = (int32_t)status;
    if (gather_written(replica, &own, all, status == LS_OK ? err : NULL) != LS_OK && status == LS_OK)
        status = LS_EPEER;
    for (int r = 0; r < replica->world && status == LS_OK; r++)
        if (all[r].status != LS_OK)
            status = ls_error_set(err, (enum ls_status)all[r].status,
                                  "rank %d could not write its part of the checkpoint of step %llu in %s", r,
                                  (unsigned long long)meta.step, directory);
    if (status == LS_OK)
        status = commit(replica, &meta, all, err);
    ls_free(text);
    ls_free(pieces);
    return status;
}
