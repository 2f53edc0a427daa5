/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints: one atomic commit of safetensors parts and a manifest, in DIRECTORY/step-<step>/; DIRECTORY/LATEST
 * names the newest complete one. Format: docs/formats/checkpoint.md. Each rank writes its own part; one of them
 * commits. Loading verifies everything before it gives a byte, and falls back to the one before.
 */
#ifndef LOCKSTEP_CORE_CKPT_CKPT_H
#define LOCKSTEP_CORE_CKPT_CKPT_H

#include "core/tensor/tensor.h"

#define LS_CKPT_CHUNK 4096 /* elements of a chunk: what ownership and CRCs count in */

/* One tensor of the state, whole. role: enum ls_role of core/nn (a number here). */
struct ls_ckpt_tensor {
    const char *path; /* "dense/kernel"; slots: "dense/kernel/m"; unique. Borrowed. */
    int role;
    enum ls_dtype dtype;
    struct ls_shape shape;
};

/* A run of elements [begin, begin + count) of tensor `tensor` that a part holds. begin is a multiple of
 * LS_CKPT_CHUNK. */
struct ls_ckpt_piece {
    int tensor;
    int64_t begin, count;
    const void *data; /* borrowed */
};

/* What rank `part` tells the one that commits: size and digest of its part. Fixed size, so it can be all-gathered. */
struct ls_ckpt_part {
    uint64_t bytes;
    uint8_t sha256[32];
};

/* Everything beside tensors: one JSON object as text (data position, job keys, metrics, counters). */
struct ls_ckpt_meta {
    uint64_t step;
    uint64_t generation;
    const char *json; /* borrowed; stored as the manifest's "meta" section */
};

/* Lock on a checkpoint directory (created where missing): LS_EBUSY names the holder's pid. */
struct ls_ckpt_lock;
enum ls_status ls_ckpt_lock_open(const char *directory, struct ls_ckpt_lock **lock, struct ls_error *err);
void ls_ckpt_lock_close(struct ls_ckpt_lock *lock);

/* Writes part `part` of `parts` into the uncommitted directory of meta->step and syncs it. Fills *result. */
enum ls_status ls_ckpt_write_part(const char *directory, const struct ls_ckpt_meta *meta,
                                  const struct ls_ckpt_tensor *tensors, int tensor_count,
                                  const struct ls_ckpt_piece *pieces, int piece_count, int part, int parts,
                                  struct ls_ckpt_part *result, struct ls_error *err);
/* All parts are written: manifest, rename, LATEST; then removes complete checkpoints beyond `keep` (>= 2 kept).
 * A failure leaves the older checkpoints untouched. */
enum ls_status ls_ckpt_commit(const char *directory, const struct ls_ckpt_meta *meta,
                              const struct ls_ckpt_tensor *tensors, int tensor_count, const struct ls_ckpt_part *parts,
                              int part_count, int keep, struct ls_error *err);

/* Removes what ranks wrote for a step that will not be committed, so that a full disk is not kept full. */
void ls_ckpt_abandon(const char *directory, uint64_t step);

struct ls_ckpt;
/* Opens the newest checkpoint under directory that verifies (or the one that `directory` itself is). LS_ENOENT: there
 * is none. LS_EIO: directory is a file. LS_ECORRUPT: there are some and none verifies; the message names what is wrong
 * with the newest.
 * A fallback is reported through *fell_back (nullable): text, ls_free, NULL when none. */
enum ls_status ls_ckpt_open(const char *directory, struct ls_ckpt **ckpt, char **fell_back, struct ls_error *err);
void ls_ckpt_close(struct ls_ckpt *ckpt);
uint64_t ls_ckpt_step(const struct ls_ckpt *ckpt);
uint64_t ls_ckpt_generation(const struct ls_ckpt *ckpt);
const char *ls_ckpt_meta_json(const struct ls_ckpt *ckpt); /* borrowed */
const char *ls_ckpt_path(const struct ls_ckpt *ckpt);      /* its own directory, borrowed */
int ls_ckpt_tensor_count(const struct ls_ckpt *ckpt);
const struct ls_ckpt_tensor *ls_ckpt_tensor_at(const struct ls_ckpt *ckpt, int index);
/* Index of a path, -1 where there is none. */
int ls_ckpt_find(const struct ls_ckpt *ckpt, const char *path);
/* Copies a whole tensor, assembled from its pieces. data holds the tensor's bytes. */
enum ls_status ls_ckpt_read(const struct ls_ckpt *ckpt, int index, void *data, struct ls_error *err);
/* Whether a name in a checkpoint directory is one that this layer writes: a checkpoint, also an unfinished one, LATEST
 * or LOCK. */
bool ls_ckpt_keeps(const char *name);
/* Whether the directory is one checkpoint, not a directory of them. Nothing is verified. */
bool ls_ckpt_is_one(const char *directory);
/* Removes all checkpoints under directory (train --fresh, after it was told to). */
enum ls_status ls_ckpt_remove_all(const char *directory, struct ls_error *err);

#endif
