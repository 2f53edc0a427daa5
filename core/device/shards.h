/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logical shards and the canonical tree (docs/numerics.md). A batch of n samples is cut into V shards;
 * sums over shards follow one fixed binary tree over 0..V-1, an empty shard is absent from it.
 */
#ifndef LOCKSTEP_CORE_DEVICE_SHARDS_H
#define LOCKSTEP_CORE_DEVICE_SHARDS_H

#include <stdint.h>

#define LS_MAX_SHARDS 256

/* The shards that one call evaluates: aligned range [first, first + count) of V = `total` shards, count a power
 * of two dividing first. offset[i] is where shard first + i begins among the call's samples; offset[count] is
 * the number of the call's samples. first_sample is the position in the global batch of the call's sample 0. */
struct ls_shards {
    int total;
    int first;
    int count;
    int64_t first_sample;
    int64_t batch_samples; /* samples of the whole (global, perhaps short) batch */
    int64_t offset[LS_MAX_SHARDS + 1];
};

/* V by the rule of the batch size: max(min(8, p(B)), min(64, p(B / 32))), p(x) the largest power of two <= x. */
int ls_shards_default(int64_t batch_size);
/* First sample of shard v of a batch of n samples cut into V: floor(v n / V). v may be V. */
int64_t ls_shard_begin(int64_t n, int v_total, int v);
/* The layout of an aligned range of a batch of n samples. */
struct ls_shards ls_shards_of(int64_t n, int v_total, int first, int count);

/* Positions of an aligned subtree in the canonical tree: a postfix program that adds leaves.
 * Built once, then run over vectors: leaf k >= 0 pushes partial k, LS_TREE_ADD adds the two topmost. */
#define LS_TREE_ADD (-1)
struct ls_tree_program {
    int length;
    int depth; /* most entries on the stack at once */
    int16_t code[4 * LS_MAX_SHARDS];
};
/* An aligned range of shards [first, first + count); a partial sum exists for it. */
struct ls_range {
    int first;
    int count;
};
/* Program over `leaves` disjoint aligned ranges in rising order (any subset of 0..V-1: ranges that are missing are
 * absent). Leaf k is ranges[k]. */
void ls_tree_program_build(const struct ls_range *ranges, int leaves, int v_total, struct ls_tree_program *program);

#endif
