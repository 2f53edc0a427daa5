/* SPDX-License-Identifier: Apache-2.0 */
/* One optimizer is one row; each has a file of its own. */
#ifndef LOCKSTEP_CORE_NN_OPTIMIZER_INTERNAL_H
#define LOCKSTEP_CORE_NN_OPTIMIZER_INTERNAL_H

#include "core/nn/optimizer.h"

struct lsi_optimizer_class {
    const char *name;
    enum ls_status (*check)(const struct ls_optimizer_options *options, struct ls_error *err);
    int (*slot_count)(const struct ls_optimizer_options *options);
    const char *slot_names[LS_MAX_SLOTS];
    int counter_count;
    const char *counter_names[LS_MAX_COUNTERS];
    double counter_initial[LS_MAX_COUNTERS];
    /* NULL where there are no counters. */
    void (*advance)(const struct ls_optimizer_options *options, const double *from, double *to);
    void (*apply)(const struct ls_optimizer_options *options, struct ls_device *device, const double *counters,
                  const struct ls_optimizer_slice *slice);
};

struct ls_optimizer {
    const struct lsi_optimizer_class *class;
    struct ls_optimizer_options options; /* name points to the class's */
};

extern const struct lsi_optimizer_class lsi_optimizer_sgd;  /* optimizer_sgd.c */
extern const struct lsi_optimizer_class lsi_optimizer_adam; /* optimizer_adam.c */

#endif
