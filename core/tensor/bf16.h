/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bf16 is the upper half of an f32 (core/tensor/tensor.h: LS_BF16), so to widen it is exact. The rounding of f32 to it
 * stands here alone: to nearest, of two equally near ones to the even one. What NaN becomes is the caller's choice:
 * casts give the one quiet NaN, kernels of collectives (collective/isa) keep sign and upper digits.
 */
#ifndef LOCKSTEP_CORE_TENSOR_BF16_H
#define LOCKSTEP_CORE_TENSOR_BF16_H

#include <stdint.h>
#include <string.h>

/* bits: those of f32 that is no NaN, a uint32_t or a vector of them. Gives bf16 in the lower half of each. */
#define LSI_BF16_NEAREST(bits) (((bits) + 0x7fff + (((bits) >> 16) & 1)) >> 16)
/* The same of a NaN, made quiet: its upper digits alone could be those of an infinity. */
#define LSI_BF16_QUIET(bits) (((bits) >> 16) | 0x40)

/* NaN becomes 0x7fc0. */
static inline uint16_t lsi_bf16_of_f32(float x)
{
    uint32_t bits, rounded;

    memcpy(&bits, &x, sizeof bits);
    rounded = LSI_BF16_NEAREST(bits);
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0 : rounded);
}

static inline float lsi_f32_of_bf16(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

#endif
