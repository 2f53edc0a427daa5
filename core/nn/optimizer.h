/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Optimizers as Keras 3 computes them: element-wise passes over slices of variables; shared state (step, beta^t) is
 * replicated and advances once a step. A new one is one file and one line in optimizer.c's table.
 */
#ifndef LOCKSTEP_CORE_NN_OPTIMIZER_H
#define LOCKSTEP_CORE_NN_OPTIMIZER_H

#include "core/device/device.h"

#define LS_MAX_SLOTS 4
#define LS_MAX_COUNTERS 4

struct ls_optimizer_options {
    const char *name; /* "sgd", "adam" */
    float learning_rate;
    float momentum;      /* sgd */
    bool nesterov;       /* sgd */
    double beta1, beta2; /* adam */
    float epsilon;       /* adam */
};
#define LS_OPTIMIZER_OPTIONS_DEFAULT                                                                                \
    {                                                                                                               \
        .name = "adam", .learning_rate = 0.001f, .momentum = 0.0f, .nesterov = false, .beta1 = 0.9, .beta2 = 0.999, \
        .epsilon = 1e-7f                                                                                            \
    }

struct ls_optimizer;

/* LS_EINVAL names a wrong option. Strings are copied. Returned; ends with ls_optimizer_destroy. */
enum ls_status ls_optimizer_create(const struct ls_optimizer_options *options, struct ls_optimizer **optimizer,
                                   struct ls_error *err);
void ls_optimizer_destroy(struct ls_optimizer *optimizer);
/* f32 slots per trainable variable and their names ("momentum", "velocity", "m", "v"); all start at 0. */
int ls_optimizer_slot_count(const struct ls_optimizer *optimizer);
const char *ls_optimizer_slot_name(const struct ls_optimizer *optimizer, int slot);
/* f64 counters ("beta1_power", ...) replicated; initial value. State of the optimizer in checkpoints. */
int ls_optimizer_counter_count(const struct ls_optimizer *optimizer);
const char *ls_optimizer_counter_name(const struct ls_optimizer *optimizer, int counter);
double ls_optimizer_counter_initial(const struct ls_optimizer *optimizer, int counter);

/* Advances the counters once a step (from -> to, may be equal), before that step's sweeps. */
void ls_optimizer_advance(const struct ls_optimizer *optimizer, const double *from, double *to);

/* One slice of one variable: count elements. w_out and slots_out may equal w and slots. */
struct ls_optimizer_slice {
    int64_t count;
    const float *w, *g;
    const float *slots[LS_MAX_SLOTS];
    float *w_out;
    float *slots_out[LS_MAX_SLOTS];
};
/* Sweeps a slice with the counters of this step (advanced). */
void ls_optimizer_apply(const struct ls_optimizer *optimizer, struct ls_device *device, const double *counters,
                        const struct ls_optimizer_slice *slice);

#endif
