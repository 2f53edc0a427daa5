/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one rank does in a batch of n samples: the plan's leaves turned into calls with their programs, arenas and
 * merges. Made once per (mode, n) and kept, so that a step allocates nothing.
 */
#ifndef LOCKSTEP_WORKER_STEP_SCHEDULE_H
#define LOCKSTEP_WORKER_STEP_SCHEDULE_H

#include "strategies/plan.h"
#include "worker/step/step_program.h"

struct ls_scheduled_call {
    int leaf;
    int depth;  /* where in the leaf its partials go (ls_exchange_partials) */
    int merges; /* pairs to add when it has run: at depth - 1, depth - 2, ... */
    bool final; /* the last call, alone in its leaf: its partials are the rank's last as they appear */
    int arena;
    struct ls_shards shards;
    struct ls_step_program *program;
    int64_t first_sample; /* among the rank's samples of the batch */
};

struct ls_schedule {
    enum ls_step_mode mode;
    int64_t batch_samples;
    struct ls_plan plan;
    int call_count;
    struct ls_scheduled_call *calls;
    int64_t samples; /* of this rank */
    int arena_count;
    size_t arena_bytes; /* of the largest */
    int segment_count;
    int depth; /* most levels of a leaf in use at once */
};

/* A rank without leaves gets one call of one sample whose partials nobody takes, so that what follows the reductions
 * is computed there too. programs is borrowed. Returned; ends with ls_schedule_destroy. */
enum ls_status ls_schedule_create(struct ls_step_programs *programs, enum ls_step_mode mode,
                                  const struct ls_plan_options *options, int rank, struct ls_schedule **schedule,
                                  struct ls_error *err);
void ls_schedule_destroy(struct ls_schedule *schedule);

#endif
