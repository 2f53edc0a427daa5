/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The training (or evaluation) step of a model traced for one number of samples and shards a call, and where its
 * results are.
 * All programs of one mode have the same reduces in the same order; only shapes of per-sample values differ.
 */
#ifndef LOCKSTEP_WORKER_STEP_STEP_PROGRAM_H
#define LOCKSTEP_WORKER_STEP_STEP_PROGRAM_H

#include "core/graph/program.h"
#include "worker/step/trainer.h"

enum ls_step_mode { LS_STEP_TRAIN, LS_STEP_EVALUATE, LS_STEP_PREDICT };

struct ls_step_program {
    int64_t samples; /* of a call */
    int shards;      /* of a call */
    enum ls_step_mode mode;
    struct ls_program *program;
    int output_count;
    int loss_output; /* -1 in PREDICT; indices into the program's outputs */
    int metric_output[LS_MAX_METRICS];
    int prediction_output; /* PREDICT; -1 otherwise */
    int *gradient_output;  /* per variable, -1: none */
    int *update_output;    /* per variable, -1: none */
};

/* What the context's values are bound to: an eager step binds memory, a trace none. */
struct ls_step_binding {
    void *features, *labels, *loss_seed;
    void *const *variables;
};

/* Enters inputs and variables into a context and builds the step there. gradients, updates, outputs: caller's arrays
 * (per variable, per variable, per model output). */
enum ls_status ls_step_build(const struct ls_trainer *trainer, struct ls_context *context, enum ls_step_mode mode,
                             const struct ls_step_binding *binding, struct ls_train_step *step, struct ls_error *err);

/* Traces and compiles for calls of as many samples and shards as `shards` has. Returned; ends with
 * ls_step_program_destroy. */
enum ls_status ls_step_program_create(const struct ls_trainer *trainer, struct ls_device *device,
                                      enum ls_step_mode mode, const struct ls_shards *shards,
                                      struct ls_step_program **program, struct ls_error *err);
void ls_step_program_destroy(struct ls_step_program *program);

/* Programs by (mode, samples, shards), made when first asked for. */
struct ls_step_programs {
    const struct ls_trainer *trainer; /* borrowed */
    struct ls_device *device;         /* borrowed */
    struct ls_step_program *made[64];
    int count;
};
enum ls_status ls_step_programs_get(struct ls_step_programs *programs, enum ls_step_mode mode,
                                    const struct ls_shards *shards, struct ls_step_program **program,
                                    struct ls_error *err);
void ls_step_programs_deinit(struct ls_step_programs *programs);

#endif
