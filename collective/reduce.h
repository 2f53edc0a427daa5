/* SPDX-License-Identifier: Apache-2.0 */
/* Sums vectors along a compiled tree, a chunk that fits the first-level cache at a time. */
#ifndef LOCKSTEP_COLLECTIVE_REDUCE_H
#define LOCKSTEP_COLLECTIVE_REDUCE_H

#include "collective/tree.h"

/* From here on results go past the cache: they would not stay in it. */
#define LSI_STREAM_BYTES ((size_t)4 << 20)

/* out[i] = a[i] op b[i] for `count` elements at any place; out may be a or b. */
typedef void (*lsi_combine)(void *out, const void *a, const void *b, int64_t count);

/* NULL where the dtype cannot be reduced (bool, u8; integers: no mean). bf16, f16: each node of the tree is one
 * operation of f32, rounded once. Minimum and maximum give NaN where an operand is one; integers wrap. A mean combines
 * as a sum; lsi_reduce.divisor divides it at the end. */
lsi_combine lsi_combine_get(enum ls_dtype dtype, enum ls_reduction reduction);

/* Where a result goes: to `count` places, the first `cached` of them into the caches, the others past them. */
struct lsi_places {
    void *const *outs;
    int count;
    int cached;
};
/* The same operation on `bytes` (whole blocks of LSI_BLOCK_BYTES, kernels.h) of a and b into several places at once,
 * `at` bytes behind where each begins; there they all begin a cache line. */
typedef void (*lsi_spread)(const struct lsi_places *places, size_t at, const void *a, const void *b, size_t bytes);

/* NULL where this processor has none. */
lsi_spread lsi_spread_get(enum ls_dtype dtype, enum ls_reduction reduction);

struct lsi_reduce {
    lsi_combine combine;
    size_t element_bytes;
    const struct lsi_steps *steps;
    const void *const *inputs; /* where the elements of each input begin; borrowed */
    /* The result goes to each of them; none overlaps another or an input, but the first, which may be an input unless
     * stream is set. */
    void *const *outs;
    int out_count;
    bool stream;       /* past the cache: for results that nobody reads soon */
    int cached;        /* with stream: so many results, the first, stay in the caches all the same */
    lsi_spread spread; /* with stream: of the same operation, or NULL */
    /* Above 1: the result is divided by it, one operation more. dtype is needed then. */
    int divisor;
    enum ls_dtype dtype;
};
/* Elements [0, count) of the inputs into the results, which are the caller's; cannot fail. */
void lsi_reduce_run(const struct lsi_reduce *reduce, int64_t count);
/* memcpy past the cache; ends with a store fence. */
void lsi_copy_stream(void *dst, const void *src, size_t bytes);

#endif
