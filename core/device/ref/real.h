/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that the type-generic bodies (*_real.inc) use: both_reals.inc includes a body with LSI_REAL float and
 * LSI_SUFFIX f32, then with double and f64; R(name) is name_f32 or name_f64. f64 serves tests of gradients; training
 * is f32.
 */
#ifndef LOCKSTEP_CORE_DEVICE_REF_REAL_H
#define LOCKSTEP_CORE_DEVICE_REF_REAL_H

#include "core/device/device_impl.h"
#include "core/device/transcendental.h"

#include <math.h>

#define LSI_PASTE(name, suffix) name##_##suffix
#define LSI_EXPAND(name, suffix) LSI_PASTE(name, suffix)
#define R(name) LSI_EXPAND(name, LSI_SUFFIX)

#define LSI_DEFINE_REAL(real, suffix, fma_of, sqrt_of, abs_of)                  \
    static inline real lsi_fma_##suffix(real a, real b, real c)                 \
    {                                                                           \
        return fma_of(a, b, c);                                                 \
    }                                                                           \
    static inline real lsi_sqrt_##suffix(real x)                                \
    {                                                                           \
        return sqrt_of(x);                                                      \
    }                                                                           \
    /* 1 / (1 + e^-x) */                                                        \
    static inline real lsi_sigmoid_##suffix(real x)                             \
    {                                                                           \
        return (real)1 / ((real)1 + lsi_exp_##suffix(-x));                      \
    }                                                                           \
    /* Among NaN the first, among equals the first; a zero is +0. */            \
    static inline real lsi_maximum_##suffix(real a, real b)                     \
    {                                                                           \
        real r = a != a ? a : b != b ? b : a >= b ? a : b;                      \
                                                                                \
        return r == (real)0 ? (real)0 : r;                                      \
    }                                                                           \
    static inline real lsi_minimum_##suffix(real a, real b)                     \
    {                                                                           \
        real r = a != a ? a : b != b ? b : a <= b ? a : b;                      \
                                                                                \
        return r == (real)0 ? (real)0 : r;                                      \
    }                                                                           \
    /* max(x, 0) - x t + log(1 + e^-|x|); the logarithm by Kahan's quotient. */ \
    static inline real lsi_sigmoid_xent_##suffix(real x, real t)                \
    {                                                                           \
        real e = lsi_exp_##suffix(-abs_of(x)), u = (real)1 + e;                 \
        real l = u == (real)1 ? e : lsi_log_##suffix(u) * (e / (u - (real)1));  \
                                                                                \
        return fma_of(-x, t, lsi_maximum_##suffix(x, (real)0)) + l;             \
    }

LSI_DEFINE_REAL(float, f32, fmaf, sqrtf, fabsf)
LSI_DEFINE_REAL(double, f64, fma, sqrt, fabs)

#endif
