/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adam as Keras computes it: step size alpha = lr sqrt(1 - beta2^t) / (1 - beta1^t), epsilon outside the root of the
 * uncorrected second moment. The powers are f64 counters; alpha is worked out in f64 (subtract, root, subtract,
 * multiply, divide, each rounded) and rounded once to f32; 1 - beta is subtracted in f64 and rounded once, as in Keras
 * (f32 would lose a part in 20,000 of 0.001). Kingma, Ba: Adam, ICLR 2015.
 */
#include "core/nn/optimizer_internal.h"

#include <math.h>

enum { BETA1_POWER, BETA2_POWER };

static enum ls_status check(const struct ls_optimizer_options *options, struct ls_error *err)
{
    /* Below 1 as f32 too, of which the powers are made. */
    if (!(options->beta1 >= 0.0 && (float)options->beta1 < 1.0f))
        return ls_error_set(err, LS_EINVAL, "adam: beta1 is %g, it must be at least 0 and below 1", options->beta1);
    if (!(options->beta2 >= 0.0 && (float)options->beta2 < 1.0f))
        return ls_error_set(err, LS_EINVAL, "adam: beta2 is %g, it must be at least 0 and below 1", options->beta2);
    if (!(options->epsilon >= 0.0f && isfinite(options->epsilon)))
        return ls_error_set(err, LS_EINVAL, "adam: epsilon is %g, it must be 0 or a finite positive number",
                            (double)options->epsilon);
    return LS_OK;
}

static int slot_count(const struct ls_optimizer_options *options)
{
    (void)options;
    return 2;
}

static void advance(const struct ls_optimizer_options *options, const double *from, double *to)
{
    to[BETA1_POWER] = from[BETA1_POWER] * (double)(float)options->beta1;
    to[BETA2_POWER] = from[BETA2_POWER] * (double)(float)options->beta2;
}

static void apply(const struct ls_optimizer_options *options, struct ls_device *device, const double *counters,
                  const struct ls_optimizer_slice *slice)
{
    double alpha = (double)options->learning_rate * sqrt(1.0 - counters[BETA2_POWER]) / (1.0 - counters[BETA1_POWER]);
    struct ls_adam_args args = {.count = slice->count,
                                .w = slice->w,
                                .g = slice->g,
                                .m = slice->slots[0],
                                .v = slice->slots[1],
                                .w_out = slice->w_out,
                                .m_out = slice->slots_out[0],
                                .v_out = slice->slots_out[1],
                                .alpha = (float)alpha,
                                .keep1 = (float)(1.0 - options->beta1),
                                .keep2 = (float)(1.0 - options->beta2),
                                .epsilon = options->epsilon};
    ls_device_adam(device, &args);
}

const struct lsi_optimizer_class lsi_optimizer_adam = {
    .name = "adam",
    .check = check,
    .slot_count = slot_count,
    .slot_names = {"m", "v"},
    .counter_count = 2,
    .counter_names = {"beta1_power", "beta2_power"},
    .counter_initial = {1.0, 1.0},
    .advance = advance,
    .apply = apply,
};
