/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job made ready to run: model, data, loss, optimizer, opened and checked against each other. Shared, read-only, by
 * the replicas of a process; also what plan, evaluate and predict start from.
 */
#ifndef LOCKSTEP_WORKER_STEP_TRAINER_H
#define LOCKSTEP_WORKER_STEP_TRAINER_H

#include "core/data/dataset.h"
#include "core/job/job.h"
#include "core/nn/optimizer.h"
#include "core/nn/train_graph.h"
#include "strategies/plan.h"

struct ls_trainer {
    const struct ls_job *job; /* borrowed */
    struct ls_model *model;
    struct ls_train_spec spec;
    const char *metric_names[LS_MAX_METRICS];
    struct ls_optimizer *optimizer;
    struct ls_dataset *train;      /* NULL where only another set was asked for */
    struct ls_dataset *validation; /* NULL: none */
    int v_total;
    int64_t steps_per_epoch;
    int64_t total_steps; /* of all epochs, cut by --max-steps */
    char *job_json;      /* canonical */
    char fingerprint[65];
    bool lent; /* model and data sets are the caller's (ls_trainer_open_with) */
};

/* What to open. */
enum ls_trainer_sets { LS_TRAINER_MODEL_ONLY, LS_TRAINER_TRAINING };

/* Opens and checks; messages name file, key or layer. job is borrowed. Returned; ends with ls_trainer_close. */
enum ls_status ls_trainer_open(const struct ls_job *job, enum ls_trainer_sets sets, struct ls_trainer **trainer,
                               struct ls_error *err);
/* What a job is trained with in place of the files that it would name: all borrowed until the trainer is closed. */
struct ls_trainer_parts {
    struct ls_model *model; /* finished */
    struct ls_dataset *train;
    struct ls_dataset *validation; /* NULL: none */
};
/* The same with parts that are in memory: job->model_text and data sets are not looked at. The fingerprint is that of
 * the model's description and of all that the data sets hold. */
enum ls_status ls_trainer_open_with(const struct ls_job *job, const struct ls_trainer_parts *parts,
                                    struct ls_trainer **trainer, struct ls_error *err);
void ls_trainer_close(struct ls_trainer *trainer);
/* Opens a data set of the job and checks that it fits the model (and, with labels, the loss). key names it in
 * messages: "data.validation". *dataset stays NULL where data->format is NULL. */
enum ls_status ls_trainer_dataset(const struct ls_trainer *trainer, const struct ls_job_data *data, const char *key,
                                  struct ls_dataset **dataset, struct ls_error *err);
/* Puts another set of the job in the place of the validation set; it must have labels and the training set's dtypes.
 * Not for lent parts. */
enum ls_status ls_trainer_evaluate_on(struct ls_trainer *trainer, const struct ls_job_data *data, const char *key,
                                      struct ls_error *err);
/* Bytes of one sample's features or labels, as the set gives them. */
size_t ls_trainer_feature_bytes(const struct ls_dataset *dataset);
size_t ls_trainer_label_bytes(const struct ls_dataset *dataset);
/* Opens the device that the job names. */
enum ls_status ls_trainer_device(const struct ls_trainer *trainer, struct ls_device **device, struct ls_error *err);

/* Samples of the batch at position `step` of an epoch over count samples. */
int64_t ls_trainer_batch_samples(const struct ls_trainer *trainer, int64_t count, int64_t step_in_epoch);

#endif
