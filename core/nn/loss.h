/* SPDX-License-Identifier: Apache-2.0 */
/* Losses and metrics: one row each, built from ops over per-sample values. */
#ifndef LOCKSTEP_CORE_NN_LOSS_H
#define LOCKSTEP_CORE_NN_LOSS_H

#include "core/nn/train_graph.h"

/* What losses and metrics are worked out from. */
struct lsi_scores {
    struct ls_context *context;
    struct ls_value *output; /* of the model: (n, ...) */
    struct ls_value *logits; /* what the loss takes instead, softmax or sigmoid being its own; NULL: output */
    struct ls_value *labels; /* as they came */
};

/* How labels must look beside an output. */
enum lsi_label_kind {
    LSI_LABEL_INDEX, /* i32, the output's shape without its last axis */
    LSI_LABEL_DENSE  /* f32 (or i32, cast), the output's shape */
};

struct lsi_loss {
    const char *name, *alias;
    enum lsi_label_kind label;
    /* *loss = (n), f32: one number a sample, averaged over what the sample holds. */
    enum ls_status (*build)(const struct lsi_scores *scores, struct ls_value **loss, struct ls_error *err);
};

struct lsi_metric {
    const char *name, *alias;
    enum lsi_label_kind label;
    /* *sum: reduced scalar, i64 where it counts, else f64. */
    enum ls_status (*build)(const struct lsi_scores *scores, struct ls_value **sum, struct ls_error *err);
};

/* LS_EINVAL with a suggestion where there is no such name. */
enum ls_status lsi_loss_find(const char *name, const struct lsi_loss **loss, struct ls_error *err);
/* "accuracy" is resolved by shapes as Keras does: one output is binary, fewer label axes are sparse, else
 * categorical. */
enum ls_status lsi_metric_find(const char *name, const struct ls_shape *output, const struct ls_shape *label,
                               const struct lsi_metric **metric, struct ls_error *err);
/* Whether labels of this dtype and shape of a sample fit. who: "loss x", for the message. */
enum ls_status lsi_label_check(enum lsi_label_kind kind, const char *who, enum ls_dtype dtype,
                               const struct ls_shape *label, const struct ls_shape *output, struct ls_error *err);

/* ---- train_values.c ---- */
/* Labels in the shape that goes with the output, (n.., without last axis) i32 or (n, ...) f32. */
enum ls_status lsi_labels_index(const struct lsi_scores *scores, struct ls_value **labels, struct ls_error *err);
enum ls_status lsi_labels_dense(const struct lsi_scores *scores, struct ls_value **labels, struct ls_error *err);
/* (n, ...) f32 -> (n): the mean over a sample's elements: row rule over all of them, one division by their number. */
enum ls_status lsi_sample_mean(struct ls_context *context, struct ls_value *x, struct ls_value **mean,
                               struct ls_error *err);
/* (n) -> f64 scalar, over the batch. */
enum ls_status lsi_batch_sum_f64(struct ls_context *context, struct ls_value *x, struct ls_value **sum,
                                 struct ls_error *err);
/* Elements of a value of (n, ...) as a sample has them. */
int64_t lsi_sample_elements(const struct ls_value *x);

#endif
