/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reduces of one replica's step program: memory for partials and reduced values, buckets in the order in which
 * gradients become ready, merging of calls inside a leaf, and the collectives that finish them. The small sums of
 * loss and metrics are left to the vote (vote.h), which gathers them anyway.
 */
#ifndef LOCKSTEP_WORKER_STEP_EXCHANGE_H
#define LOCKSTEP_WORKER_STEP_EXCHANGE_H

#include "collective/group.h"
#include "core/graph/program.h"
#include "worker/compress/compress.h"
#include "worker/step/courier.h"
#include "worker/step/tracing.h"
#include "worker/step/tune.h"

struct ls_exchange;

/* Labels of a step's operations (ls_collective.label): what reports call them. */
enum { LS_LABEL_NONE, LS_LABEL_VOTE, LS_LABEL_MOMENTS, LS_LABEL_BUCKET = 16 };

struct ls_exchange_options {
    int leaves;                       /* most leaves of any rank in any plan of the mode */
    int depth;                        /* most levels of calls pending inside a leaf, on this rank */
    bool one_by_one;                  /* a bucket per reduce, so that each can be waited for alone */
    const struct ls_tracing *tracing; /* borrowed */
    struct ls_courier *courier; /* nullable, borrowed: carries the collectives, else they move inside these calls */
    /* Nullable; borrowed. The gradients it takes are sent its way; it is begun and committed by the caller. */
    struct ls_compress *compress;
};

/* program: any program of the mode (all have the same reduces). Collective: every member calls it in the same order
 * with the same leaves and one_by_one. group and device are borrowed. Returned; ends with ls_exchange_destroy, after
 * the group's end where operations may still use its memory. LS_ENOMEM, or what ls_group_register gives. */
enum ls_status ls_exchange_create(const struct ls_program *program, struct ls_group *group, struct ls_device *device,
                                  const struct ls_exchange_options *options, struct ls_exchange **exchange,
                                  struct ls_error *err);
/* Accepts NULL. */
void ls_exchange_destroy(struct ls_exchange *exchange);

/* Between steps: how the gradients of the next ones are cut and carried; all members alike. Not one_by_one,
 * where each reduce is a bucket: then without effect. */
void ls_exchange_arrange(struct ls_exchange *exchange, const struct ls_arrangement *arrangement);
/* Buckets of a step; bytes of the largest; the way that the last one went ("" before the first step). */
int ls_exchange_bucket_count(const struct ls_exchange *exchange);
size_t ls_exchange_largest_bucket(const struct ls_exchange *exchange);
const char *ls_exchange_way(const struct ls_exchange *exchange);

/* Begins a step: layout (borrowed until the step's end) says which leaves every rank has; step is for the trace. */
void ls_exchange_begin(struct ls_exchange *exchange, const struct ls_tree_layout *layout, uint64_t step);

/* Where the next call of leaf `leaf` puts its partials: depth 0 is the leaf itself. Pointers per reduce, valid until
 * the exchange ends. */
void *const *ls_exchange_partials(struct ls_exchange *exchange, int leaf, int depth);
/* Adds the calls at depth and depth + 1 of the leaf into depth, for every reduce of the segment. */
void ls_exchange_merge(struct ls_exchange *exchange, int leaf, int depth, int segment);

/* From here on: errors are those of ls_group_start and ls_request_wait. */

/* Partials of reduce 0 .. `reduce` are complete in all own leaves: starts the buckets that end there. */
enum ls_status ls_exchange_ready(struct ls_exchange *exchange, int reduce, struct ls_error *err);
/* All calls of the segment have run: starts what is left of it; where more segments follow, finishes all of it. */
enum ls_status ls_exchange_end_segment(struct ls_exchange *exchange, int segment, bool more, struct ls_error *err);
/* Brings one reduce to its value, all before it being done (one_by_one: eager steps need it at once). */
enum ls_status ls_exchange_finish(struct ls_exchange *exchange, int reduce, struct ls_error *err);
/* Number of reduces, and bytes of a reduce's value. */
int ls_exchange_count(const struct ls_exchange *exchange);
size_t ls_exchange_value_bytes(const struct ls_exchange *exchange, int reduce);
/* Waits until reduce's value is there. */
enum ls_status ls_exchange_wait(struct ls_exchange *exchange, int reduce, struct ls_error *err);
enum ls_status ls_exchange_wait_all(struct ls_exchange *exchange, struct ls_error *err);
/* Values by reduce: what ls_program_buffers.reduced takes. */
const void *const *ls_exchange_reduced(const struct ls_exchange *exchange);
/* Own partial of a small (f64 or i64 scalar) reduce in leaf `leaf`, as f64. */
double ls_exchange_scalar(const struct ls_exchange *exchange, int leaf, int reduce);
/* Bytes of registered memory. */
size_t ls_exchange_bytes(const struct ls_exchange *exchange);

#endif
