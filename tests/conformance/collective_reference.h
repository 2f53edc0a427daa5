/* SPDX-License-Identifier: Apache-2.0 */
/* Collectives by a scalar reference: a recursion over the shards, element by element. */
#ifndef LOCKSTEP_TESTS_CONFORMANCE_COLLECTIVE_REFERENCE_H
#define LOCKSTEP_TESTS_CONFORMANCE_COLLECTIVE_REFERENCE_H

#include "collective/group.h"

#define REFERENCE_BYTES 8 /* of the largest element */

/* Element i of a leaf: mixed magnitudes, now and then a special value. */
void reference_values(enum ls_dtype dtype, uint64_t seed, int64_t count, void *values);
/* The value of [first, first + count) at element i into out; false where it is empty. leaf_at[v]: the leaf that
 * begins at shard v, or NULL; size_at[v]: its shards. */
bool reference_node(const struct ls_collective *op, uint8_t *const *leaf_at, const int *size_at, struct ls_range range,
                    int64_t i, uint8_t out[REFERENCE_BYTES]);
/* Divides a sum of n contributions, where the operation is a mean. */
void reference_mean(const struct ls_collective *op, int n, uint8_t value[REFERENCE_BYTES]);
/* Whether the bits are equal, payloads of NaN aside. */
bool reference_same(enum ls_dtype dtype, const uint8_t *a, const uint8_t *b);
double reference_real(enum ls_dtype dtype, const uint8_t *value);
/* What another order and a wire of bf16 may change, for each unit of the sum of the magnitudes. */
double reference_tolerance(enum ls_dtype dtype, bool bf16_wire);

#endif
