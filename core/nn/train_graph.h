/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The training step of a model as values: forward, loss, metrics, gradients. One function serves eager and
 * traced contexts; strategies and workers know training only through it.
 *
 * Input indices of the context: 0 .. inputs - 1 the features (n, ...), then the labels, then a replicated f32
 * scalar: the loss seed loss_weight / divisor (one f32 division by the caller; divisor = values of the batch).
 * Variable indices are the model's.
 */
#ifndef LOCKSTEP_CORE_NN_TRAIN_GRAPH_H
#define LOCKSTEP_CORE_NN_TRAIN_GRAPH_H

#include "core/nn/model.h"

/* Losses: "sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy",
 * "mean_squared_error" (also "mse"). Metrics: "accuracy" (resolved by the loss as Keras does),
 * "sparse_categorical_accuracy", "categorical_accuracy", "binary_accuracy", "mean_squared_error". */
struct ls_train_spec {
    const struct ls_model *model; /* borrowed */
    const char *loss;             /* borrowed */
    bool from_logits;
    const char *const *metrics; /* borrowed */
    int metric_count;
};

/* Checks spec against the model and the labels of a data set (dtype, shape of one sample's label); LS_EINVAL says
 * what does not fit. */
enum ls_status ls_train_spec_check(const struct ls_train_spec *spec, enum ls_dtype label_dtype,
                                   const struct ls_shape *label_shape, struct ls_error *err);
/* Number of values a sample adds to the loss's divisor (1 for cross-entropy over (n, C); MSE and binary: outputs are
 * averaged inside the sample first, so 1 too). */
int64_t ls_train_loss_values(const struct ls_train_spec *spec);

#define LS_MAX_METRICS 16

struct ls_train_step {
    struct ls_value *loss_sum;                   /* f64 scalar, reduced: sum over samples of the loss */
    struct ls_value *metric_sum[LS_MAX_METRICS]; /* reduced f64 or i64 scalar: sum over samples */
    struct ls_value **gradients; /* per variable (caller's array): replicated f32; NULL: not trainable */
    struct ls_value **updates;   /* per variable (caller's array): new state; NULL: none */
    struct ls_value **outputs;   /* per model output (caller's array), per-sample */
};

/* variables[i]: value of variable i. training: with dropout, batch statistics, gradients and updates; otherwise only
 * loss, metrics and outputs. labels may be NULL when not training: then only outputs. */
enum ls_status ls_train_build(const struct ls_train_spec *spec, struct ls_context *context,
                              struct ls_value *const *inputs, struct ls_value *labels, struct ls_value *loss_seed,
                              struct ls_value *const *variables, bool training, struct ls_train_step *step,
                              struct ls_error *err);

#endif
