/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transcendental functions from basic operations alone, the same bits everywhere. The f32 forms (device_impl.h)
 * are correctly rounded; these f64 forms are within about 1e-15 (relative) and serve initialisers, schedules and
 * tests of gradients. No libm but fma and sqrt.
 */
#ifndef LOCKSTEP_CORE_DEVICE_TRANSCENDENTAL_H
#define LOCKSTEP_CORE_DEVICE_TRANSCENDENTAL_H

double lsi_exp_f64(double x);
/* -inf for 0, NaN for a negative number. */
double lsi_log_f64(double x);
double lsi_tanh_f64(double x);
/* NaN where |x| > 2^20 (no long argument reduction is kept). */
double lsi_cos_f64(double x);

#endif
