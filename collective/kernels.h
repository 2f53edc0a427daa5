/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of the element-wise kernels, one for each instruction set (collective/isa); all give the same bits. */
#ifndef LOCKSTEP_COLLECTIVE_KERNELS_H
#define LOCKSTEP_COLLECTIVE_KERNELS_H

#include "collective/bf16.h"
#include "collective/reduce.h"

#include <stddef.h>

/* Bytes that a spread works in; less than that is not worth stores past the cache. */
#define LSI_BLOCK_BYTES ((size_t)256)
/* A column beside those of enum ls_reduction: the division of a mean. */
#define LSI_DIVIDE 4
#define LSI_OPERATIONS 5
#define LSI_REDUCED_DTYPES (LS_F16 + 1)

/* As the functions of bf16.h; divisor: one number. */
struct lsi_bf16_kernels {
    void (*narrow)(uint16_t *out, const float *in, int64_t count);
    void (*widen)(float *out, const uint16_t *in, int64_t count);
    void (*widen_past)(float *out, const uint16_t *in, int64_t count);
    void (*add)(float *sum, const uint16_t *in, int64_t count);
    void (*settle)(uint16_t *out, float *values, int64_t count);
    void (*divide)(float *values, const float *divisor, int64_t count);
    void (*close)(const struct lsi_bf16_close *close, int64_t count);
};

struct lsi_kernels {
    lsi_combine combine[LSI_REDUCED_DTYPES][LSI_OPERATIONS];
    lsi_spread spread[LSI_REDUCED_DTYPES][LSI_OPERATIONS]; /* NULL where the set has none */
    /* Whole cache lines to a place at the beginning of one, past the cache; NULL where the set has none. */
    void (*stream)(uint8_t *dst, const uint8_t *src, size_t lines);
    struct lsi_bf16_kernels bf16;
};

extern const struct lsi_kernels lsi_kernels_base;
#if defined(__x86_64__)
extern const struct lsi_kernels lsi_kernels_avx2, lsi_kernels_avx512;
#endif
/* The best table that this processor can run. */
const struct lsi_kernels *lsi_kernels_best(void);

#endif
