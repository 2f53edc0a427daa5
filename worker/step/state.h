/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of one replica: variables in model order, the optimizer's slots beside each trainable one, its counters.
 * State t is kept until the step is committed: what the step itself makes (moving statistics, counters) stands twice
 * and flipping makes the next the current one; trainable variables and slots stand once, because the optimizer runs
 * after the commit (docs/design/step.md).
 */
#ifndef LOCKSTEP_WORKER_STEP_STATE_H
#define LOCKSTEP_WORKER_STEP_STATE_H

#include "core/ckpt/ckpt.h"
#include "core/nn/model.h"
#include "core/nn/optimizer.h"

struct ls_state_variable {
    const struct ls_variable_info *info; /* borrowed from the model */
    int64_t count;
    uint64_t first_chunk; /* number of its first chunk among all trainable chunks, for fingerprints */
    void *data[2];        /* current and next, by ls_state.current; the same memory for a trainable one */
    float *slots[LS_MAX_SLOTS];
};

struct ls_state {
    const struct ls_model *model;         /* borrowed */
    const struct ls_optimizer *optimizer; /* borrowed */
    int variable_count;
    struct ls_state_variable *variables;
    int slot_count;
    int counter_count;
    double counters[2][LS_MAX_COUNTERS];
    int current;
    void *memory;
    size_t bytes; /* of memory */
    /* what checkpoints call the tensors: variables, slots, counters */
    int tensor_count;
    struct ls_ckpt_tensor *tensors;
    char **names;
    /* what the ranks keep beside it (gathered digests of compression residuals), hashed behind the tensors.
     * Borrowed. */
    const uint8_t *beside;
    size_t beside_bytes;
};

/* Sized and zeroed; counters at their initial values. Ends with ls_state_destroy. */
enum ls_status ls_state_create(const struct ls_model *model, const struct ls_optimizer *optimizer,
                               struct ls_state **state, struct ls_error *err);
void ls_state_destroy(struct ls_state *state);
/* Initial values by the model's initialisers, or from an .npz (path, nullable) whose members are named by variable
 * path with '/' kept; LS_EINVAL names a missing or ill-shaped member. */
enum ls_status ls_state_initialize(struct ls_state *state, uint64_t seed, const char *npz, struct ls_error *err);
/* Bytes that a replica holds. */
size_t ls_state_bytes(const struct ls_model *model, const struct ls_optimizer *optimizer);

void *ls_state_data(const struct ls_state *state, int variable); /* current */
void *ls_state_next(const struct ls_state *state, int variable); /* the state being made */
void ls_state_flip(struct ls_state *state);                      /* the step is committed */

/* Memory of checkpoint tensor `tensor` of the current state. */
void *ls_state_tensor_data(struct ls_state *state, int tensor);
/* Reads every tensor of a checkpoint into the current state; LS_EINVAL names a tensor that does not fit. */
enum ls_status ls_state_load(struct ls_state *state, const struct ls_ckpt *ckpt, struct ls_error *err);

/* Sum of all trainable variables' chunk hashes (current state). */
uint64_t ls_state_fingerprint(const struct ls_state *state, struct ls_device *device);
/* params_sha256 (trainable variables) and state_sha256 (all tensors) of the current state, hex. */
enum ls_status ls_state_sha256(struct ls_state *state, char params[65], char all[65], struct ls_error *err);

#endif
