/* SPDX-License-Identifier: Apache-2.0 */
/* Trains a model eagerly on one device in one call a step: what tests of models, losses and optimizers share. */
#ifndef LOCKSTEP_TESTS_SUPPORT_TRAINER_H
#define LOCKSTEP_TESTS_SUPPORT_TRAINER_H

#include "core/nn/optimizer.h"
#include "core/nn/train_graph.h"

#define LST_MAX_VARIABLES 64

struct lst_trainer {
    struct ls_model *model; /* borrowed */
    struct ls_device *device;
    struct ls_train_spec spec;
    uint64_t seed, step;
    struct ls_tensor *weights[LST_MAX_VARIABLES];
    struct ls_tensor *slots[LST_MAX_VARIABLES][LS_MAX_SLOTS];
    double counters[LS_MAX_COUNTERS];
};

/* Results of one pass, host copies. gradients are NULL where there are none. */
struct lst_pass {
    double loss; /* mean over the batch */
    double metric[LS_MAX_METRICS];
    struct ls_tensor *output;
    struct ls_tensor *gradients[LST_MAX_VARIABLES];
};

/* device: "ref" or "cpu". Weights come from the model's initialisers with seed. Fails the test on any error. */
void lst_trainer_init(struct lst_trainer *trainer, struct ls_model *model, const char *device, const char *loss,
                      bool from_logits, uint64_t seed);
void lst_trainer_deinit(struct lst_trainer *trainer);
/* Forward, loss, metrics; with training also gradients and new state. x: as many as the model's inputs. */
void lst_trainer_pass(struct lst_trainer *trainer, const struct ls_view *x, const struct ls_view *y, bool training,
                      struct lst_pass *pass);
void lst_pass_deinit(struct lst_pass *pass);
/* One optimizer step with the gradients of a pass. */
void lst_trainer_update(struct lst_trainer *trainer, const struct ls_optimizer *optimizer, struct lst_pass *pass);
/* Samples [begin, end) of a view (borrowed). */
struct ls_view lst_samples(const struct ls_view *view, int64_t begin, int64_t end);

#endif
