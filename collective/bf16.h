/* SPDX-License-Identifier: Apache-2.0 */
/* f32 that travels as bf16: rounded to nearest even (NaN stay NaN), added in f32. Kernels: collective/isa. */
#ifndef LOCKSTEP_COLLECTIVE_BF16_H
#define LOCKSTEP_COLLECTIVE_BF16_H

#include <stdbool.h>
#include <stdint.h>

/* Arrays of count elements that do not overlap, at any place; count may be 0. out = bf16(in) */
void lsi_bf16_narrow(uint16_t *out, const float *in, int64_t count);
/* out = f32(in) */
void lsi_bf16_widen(float *out, const uint16_t *in, int64_t count);
/* The same past the caches: for what nobody reads soon. */
void lsi_bf16_widen_past(float *out, const uint16_t *in, int64_t count);
/* sum = sum + f32(in) */
void lsi_bf16_add(float *sum, const uint16_t *in, int64_t count);
/* Both sides get what travels: out = bf16(values), values = f32(out). */
void lsi_bf16_settle(uint16_t *out, float *values, int64_t count);
/* The last addition and what settle does in one sweep: out = bf16(sum + f32(came)), kept = f32(out); no copy of the sum
 * is left. past: kept goes past the caches. */
struct lsi_bf16_close {
    const float *sum;
    const uint16_t *came;
    uint16_t *out;
    float *kept;
    bool past;
};
void lsi_bf16_close(const struct lsi_bf16_close *close, int64_t count);
/* values = values / divisor, of a mean; divisor: ranks, 1 to 256, so exact in f32 */
void lsi_bf16_divide(float *values, int divisor, int64_t count);

#endif
