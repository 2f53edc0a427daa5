/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random numbers by counter: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy
 * as 1, 2, 3; SC 2011) and the sample order of an epoch (a Feistel permutation walked into range).
 * docs/numerics.md says which key and counter a value uses.
 */
#ifndef LOCKSTEP_CORE_BASE_PHILOX_H
#define LOCKSTEP_CORE_BASE_PHILOX_H

#include <stdint.h>

/* Sample number of values that belong to no sample (initialisers). */
#define LS_PHILOX_NO_SAMPLE ((UINT64_C(1) << 48) - 1)

struct ls_philox_key {
    uint32_t word[2];
};

/* The four words of one counter. */
void ls_philox(struct ls_philox_key key, const uint32_t counter[4], uint32_t out[4]);

/* Key of a stream: first 8 bytes of SHA-256(seed, stream, call; u64 little-endian). stream = ordinal of
 * the stream in model order, call = index of the call of that stream within a step. */
struct ls_philox_key ls_philox_key_of(uint64_t seed, uint64_t stream, uint64_t call);

/* The four words of (step, sample, block): 48, 48 and 32 bits of the counter, in this order from the
 * least significant bit. */
void ls_philox_block(struct ls_philox_key key, uint64_t step, uint64_t sample, uint32_t block, uint32_t out[4]);

/* A number in [0, 1) with 24 bits from one word. */
static inline float ls_philox_unit(uint32_t word)
{
    return (float)(word >> 8) * 0x1p-24f;
}

/* Dataset index at `position` of `epoch` among n samples: a permutation of 0..n-1. position < n. */
uint64_t ls_shuffle_index(struct ls_philox_key key, uint64_t epoch, uint64_t n, uint64_t position);

#endif
