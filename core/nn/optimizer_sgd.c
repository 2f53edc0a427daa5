/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stochastic gradient descent: w -= lr g; with momentum v = m v - lr g, w += v (Nesterov: w += m v - lr g).
 * Sutskever, Martens, Dahl, Hinton: On the importance of initialization and momentum in deep learning, ICML 2013.
 */
#include "core/nn/optimizer_internal.h"

static enum ls_status check(const struct ls_optimizer_options *options, struct ls_error *err)
{
    if (!(options->momentum >= 0.0f && options->momentum <= 1.0f))
        return ls_error_set(err, LS_EINVAL, "sgd: momentum is %g, it must be from 0 to 1", (double)options->momentum);
    return LS_OK;
}

static int slot_count(const struct ls_optimizer_options *options)
{
    return options->momentum != 0.0f ? 1 : 0;
}

static void apply(const struct ls_optimizer_options *options, struct ls_device *device, const double *counters,
                  const struct ls_optimizer_slice *slice)
{
    bool has_slot = slot_count(options) > 0;
    struct ls_sgd_args args = {.count = slice->count,
                               .w = slice->w,
                               .g = slice->g,
                               .v = has_slot ? slice->slots[0] : NULL,
                               .w_out = slice->w_out,
                               .v_out = has_slot ? slice->slots_out[0] : NULL,
                               .learning_rate = options->learning_rate,
                               .momentum = options->momentum,
                               .nesterov = options->nesterov};
    (void)counters;
    ls_device_sgd(device, &args);
}

const struct lsi_optimizer_class lsi_optimizer_sgd = {
    .name = "sgd",
    .check = check,
    .slot_count = slot_count,
    .slot_names = {"momentum"},
    .apply = apply,
};
