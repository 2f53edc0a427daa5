/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Constants of exp, log and tanh, shared by the plain C functions and the vector kernels, which evaluate the same
 * operations in the same order in f64. Polynomials: interpolation at Chebyshev nodes with 200-bit arithmetic,
 * rounded to f64; relative error of the whole function below 2^-60 before rounding errors.
 */
#ifndef LOCKSTEP_CORE_DEVICE_TRANSCENDENTAL_CONSTANTS_H
#define LOCKSTEP_CORE_DEVICE_TRANSCENDENTAL_CONSTANTS_H

/* Adding it rounds |x| < 2^51 to an integer, which then stands in the low bits of the sum. */
#define LSI_ROUND_MAGIC 0x1.8p52
#define LSI_LOG2_E 0x1.71547652b82fep+0
/* ln 2 = HI + LO for a product inside fma. */
#define LSI_LN2_HI 0x1.62e42fefa39efp-1
#define LSI_LN2_LO 0x1.abc9e3b39803fp-56
/* ln 2 = HI + LO where HI has 42 bits: a product with an exponent is exact. */
#define LSI_LN2_HI42 0x1.62e42fefa3800p-1
#define LSI_LN2_LO42 0x1.ef35793c76730p-45

/* Arguments beyond these give the limit in f32 whatever the polynomial says. */
#define LSI_EXP_F32_MIN (-104.0)
#define LSI_EXP_F32_MAX 89.0
#define LSI_TANH_F32_MAX 10.0

/* e^r - 1 = r + r^2 Q(r) for |r| <= ln 2 / 2; lowest coefficient first. */
#define LSI_EXPM1_TERMS 11
#define LSI_EXPM1_COEFFICIENTS                                                                                         \
    {                                                                                                                  \
        0x1.0000000000000p-1, 0x1.5555555555557p-3, 0x1.5555555555556p-5, 0x1.11111111100dcp-7, 0x1.6c16c16c162d4p-10, \
            0x1.a01a01abe7fe1p-13, 0x1.a01a01a6d889cp-16, 0x1.71de0231960ebp-19, 0x1.27e4db646b17ep-22,                \
            0x1.af4de97ca4194p-26, 0x1.1f730349868cep-29                                                               \
    }
/* log((1 + s) / (1 - s)) = 2 s + s z L(z), z = s^2, for s of a mantissa in [sqrt(1/2), sqrt(2)). */
#define LSI_LOG_TERMS 8
#define LSI_LOG_COEFFICIENTS                                                                                          \
    {                                                                                                                 \
        0x1.5555555555555p-1, 0x1.9999999999a39p-2, 0x1.2492492476a1ap-2, 0x1.c71c7201a55d7p-3, 0x1.745cf8e4bba1bp-3, \
            0x1.3b1c3c1c81c8fp-3, 0x1.0fbde0f4ad17bp-3, 0x1.0c0aff044a970p-3                                          \
    }
/* High word of sqrt(1/2): where log cuts the mantissa. */
#define LSI_LOG_CUT UINT64_C(0x3fe6a09e00000000)

/* log: an f64 result this near (in its ulps) to the middle of two f32 numbers may be one of the five exceptions. */
#define LSI_LOG_WINDOW 4

#endif
