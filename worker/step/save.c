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

static bool read_count(const json_t *value, uint64_t *count)
{
    *count = (uint64_t)json_integer_value(value);
    return json_is_integer(value) && json_integer_value(value) >= 0;
}

static bool read_sums(const json_t *meta, const char *key, struct ls_sums *sums)
{
    const json_t *object = json_object_get(meta, key), *metrics = json_object_get(object, "metrics");
    const json_t *samples = json_object_get(object, "samples");

    if (!json_is_integer(samples) || !read_real(json_object_get(object, "loss"), &sums->loss) ||
        json_array_size(metrics) > LS_MAX_METRICS)
        return false;
    sums->samples = json_integer_value(samples);
    if (sums->samples < 0)
        return false;
    for (size_t m = 0; m < json_array_size(metrics); m++)
        if (!read_real(json_array_get(metrics, m), &sums->metrics[m]))
            return false;
    return true;
}

enum ls_status ls_progress_read(const char *json, struct ls_progress *progress, char **job_json, struct ls_error *err)
{
    struct ls_progress read = {0};
    json_t *meta = NULL;
    const json_t *job;
    enum ls_status status = ls_json_parse(json, strlen(json), "the checkpoint's description", &meta, err);

    if (status != LS_OK)
        return status;
    job = json_object_get(meta, "job");
    if (json_integer_value(json_object_get(meta, "format")) != META_FORMAT ||
        !read_count(json_object_get(meta, "step"), &read.step) ||
        !read_count(json_object_get(meta, "validated_epochs"), &read.validated_epochs) || !json_is_object(job) ||
        !read_sums(meta, "epoch", &read.epoch) || !read_sums(meta, "last_epoch", &read.last) ||
        !read_sums(meta, "validation", &read.validation)) {
        json_decref(meta);
        return ls_error_set(err, LS_ECORRUPT, "the checkpoint's description lacks a field or has one of another kind");
    }
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
    if (replica->compress != NULL)
        count += ls_compress_pieces(replica->compress, state->tensor_count, pieces + count);
    return count;
}

/* An outcome that everybody learns, in the words of the rank that has it. */
struct outcome {
    int32_t status;
    char why[508]; /* ends in a zero; a peer's bytes are ended again before they are read */
};

/* What a rank says of its part: whether it is written, and its digest. */
struct written {
    struct outcome outcome;
    struct ls_ckpt_part part;
};

static void describe(struct outcome *outcome, enum ls_status status, const struct ls_error *err)
{
    memset(outcome, 0, sizeof *outcome);
    outcome->status = (int32_t)status;
    if (status != LS_OK)
        (void)ls_str_into(outcome->why, sizeof outcome->why, err->message);
}

/* The outcome of `rank` as this rank's own. */
static enum ls_status take(const struct ls_replica *replica, struct outcome *outcome, int rank, struct ls_error *err)
{
    enum ls_status status;

    outcome->why[sizeof outcome->why - 1] = '\0';
    if (outcome->status == LS_OK)
        return LS_OK;
    status = ls_status_of_peer(outcome->status, LS_EPEER);
    if (replica->world == 1)
        return ls_error_set(err, status, "%s", outcome->why);
    return ls_error_set(err, status, "rank %d: %s", rank, outcome->why);
}

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

/* The description into meta (the text is the caller's), then this rank's part. */
static enum ls_status write_own(struct ls_replica *replica, struct ls_ckpt_meta *meta, char **text,
                                struct ls_ckpt_part *part, struct ls_error *err)
{
    struct ls_ckpt_piece *pieces = ls_alloc_zeroed((size_t)replica->tensor_count, sizeof *pieces);
    enum ls_status status = meta_text(replica, text, err);

    meta->json = *text;
    if (status == LS_OK && pieces == NULL)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to write a checkpoint");
    if (status == LS_OK)
        status = ls_ckpt_write_part(replica->trainer->job->checkpoint_directory, meta, replica->tensors,
                                    replica->tensor_count, pieces, own_pieces(replica, pieces), replica->rank,
                                    replica->world, part, err);
    ls_free(pieces);
    return status;
}

/* Writes the own part and hears of everyone's, also of one that could not be written. */
static enum ls_status write_all(struct ls_replica *replica, struct ls_ckpt_meta *meta, char **text, struct written *all,
                                struct ls_error *err)
{
    struct ls_error why = LS_ERROR_INIT;
    struct written own = {.outcome.status = LS_OK};
    enum ls_status status = write_own(replica, meta, text, &own.part, &why), told;

    describe(&own.outcome, status, &why);
    told = gather_written(replica, &own, all, err);
    if (told != LS_OK)
        return status == LS_OK ? told : ls_error_set(err, status, "%s", why.message);
    for (int r = 0; r < replica->world && told == LS_OK; r++)
        told = take(replica, &all[r].outcome, r, err);
    /* Every rank, for the first that reports the failure ends the job, perhaps before rank 0 gets here. */
    if (told != LS_OK)
        ls_ckpt_abandon(replica->trainer->job->checkpoint_directory, meta->step);
    return told;
}

/* Rank 0 commits and tells everyone the outcome. */
static enum ls_status commit(struct ls_replica *replica, const struct ls_ckpt_meta *meta, const struct written *all,
                             struct ls_error *err)
{
    const struct ls_job *job = replica->trainer->job;
    struct ls_ckpt_part parts[LS_MAX_MEMBERS];
    struct ls_error own = LS_ERROR_INIT;
    struct outcome outcome = {.status = LS_OK};
    struct ls_collective tell = {
        .kind = LS_BROADCAST, .dtype = LS_U8, .dst = &outcome, .count = (int64_t)sizeof outcome, .root = 0};
    enum ls_status told;

    for (int r = 0; r < replica->world; r++)
        parts[r] = all[r].part;
    if (replica->rank == 0)
        describe(&outcome,
                 ls_ckpt_commit(job->checkpoint_directory, meta, replica->tensors, replica->tensor_count, parts,
                                replica->world, (int)job->checkpoint_keep, &own),
                 &own);
    told = ls_group_run(replica->group, &tell, err);
    if (told != LS_OK && (replica->rank != 0 || outcome.status == LS_OK))
        return told;
    return take(replica, &outcome, 0, err);
}

enum ls_status ls_replica_save(struct ls_replica *replica, struct ls_error *err)
{
    struct ls_ckpt_meta meta = {.step = replica->progress.step, .generation = replica->generation};
    struct written all[LS_MAX_MEMBERS];
    char *text = NULL;
    enum ls_status status = ls_replica_agree(replica, err);

    if (status != LS_OK)
        return status;
    status = write_all(replica, &meta, &text, all, err);
    if (status == LS_OK)
        status = commit(replica, &meta, all, err);
    ls_free(text);
    return status;
}
