/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lossy compression of gradients above the reducer (math: fast only): bf16, top_k, power_sgd. A rank adds what it has
 * left unsent to its gradient, sends a compressed form of that and keeps the rest for the next step (error feedback:
 * Seide et al., Interspeech 2014; Karimireddy et al., ICML 2019), so that what is applied and what is kept always add
 * up to the gradients. All ranks end with the same bits of the sum. A variable is compressed by itself, so no
 * result depends on how gradients are put into buckets. Design: docs/design/compression.md.
 */
#ifndef LOCKSTEP_WORKER_COMPRESS_COMPRESS_H
#define LOCKSTEP_WORKER_COMPRESS_COMPRESS_H

#include "collective/group.h"
#include "core/ckpt/ckpt.h"

struct ls_compress;

/* A variable whose gradient is exactly one reduce of the step's program. */
struct ls_compress_item {
    int reduce;
    int variable;     /* its number in the model */
    const char *path; /* borrowed */
    struct ls_shape shape;
};

struct ls_compress_options {
    const char *method;                   /* "bf16", "top_k", "power_sgd" */
    double ratio;                         /* top_k: part of a variable's elements that a step sends */
    int rank_of_matrix;                   /* power_sgd: columns of the factors */
    int64_t start_step;                   /* steps before it are sent whole */
    uint64_t seed;                        /* of the job, for power_sgd's first factors */
    int rank, world;                      /* of this member */
    int reduce_count;                     /* of the program */
    int item_count;                       /* in order of reduce */
    const struct ls_compress_item *items; /* copied, but for the paths */
};

/* Allocates all that steps need. group: collective, every member calls it in the same order with the same options but
 * for rank; NULL (plan): only the figures below may be asked for. Borrowed. Returned; ends with ls_compress_destroy,
 * after the group's end where operations may still use its memory. */
enum ls_status ls_compress_create(const struct ls_compress_options *options, struct ls_group *group,
                                  struct ls_compress **compress, struct ls_error *err);
void ls_compress_destroy(struct ls_compress *compress);

/* Elements of the variables that are compressed; bytes that a rank receives for them in a step; bytes of memory. */
int64_t ls_compress_elements(const struct ls_compress *compress);
double ls_compress_moved_bytes(const struct ls_compress *compress);
size_t ls_compress_bytes(const struct ls_compress *compress);

/* ---- a step: begin, then for each bucket start, advance, finish; after the vote commit. The collectives are the
 * caller's to run, in the order in which it is given them, the same on all ranks: by whatever thread, since all that is
 * computed here is computed in these calls. ---- */

/* True where the reduce's gradient is compressed at all (compress may be NULL: false). */
bool ls_compress_takes(const struct ls_compress *compress, int reduce);
void ls_compress_begin(struct ls_compress *compress, uint64_t step);
/* False: this step's gradients are sent whole (power_sgd before its start_step). */
bool ls_compress_active(const struct ls_compress *compress);

/* A bucket: reduces first .. last, all of them taken. */
struct ls_compress_span {
    int first, last;
    void *const *partials;      /* [leaf * stride + reduce]: this rank's complete partials */
    int stride, leaves;         /* leaves may be 0 */
    const void *const *reduced; /* by reduce: where the sums go; written in finish */
    uint32_t label;             /* of its collectives, in reports of what is waited for */
};
/* Adds the leaves and the residual, compresses. *op: the first collective; its memory is the compressor's, until the
 * bucket's finish. */
enum ls_status ls_compress_start(struct ls_compress *compress, const struct ls_compress_span *span,
                                 struct ls_collective *op, struct ls_error *err);
/* The method has a second collective. */
bool ls_compress_goes_on(const struct ls_compress *compress);
/* The first one is over. *op: the second one; false: this bucket has nothing to send again. */
bool ls_compress_advance(struct ls_compress *compress, const struct ls_compress_span *span, struct ls_collective *op);
/* The last one is over; the sums are put into reduced. */
void ls_compress_finish(struct ls_compress *compress, const struct ls_compress_span *span);
/* A world of one sends nothing: what a larger world left unsent is added to the gradients, once. */
void ls_compress_alone(struct ls_compress *compress, const void *const *reduced);
/* The step is committed: its residuals become the current ones. Until then a step may be begun again. */
void ls_compress_commit(struct ls_compress *compress);

/* ---- checkpoints (state.c), docs/formats/checkpoint.md ---- */

/* The tensors of all ranks, the same list on each: every rank's residuals, then what all ranks share. */
int ls_compress_tensor_count(const struct ls_compress *compress);
const struct ls_ckpt_tensor *ls_compress_tensor_at(const struct ls_compress *compress, int index);
/* The pieces that this rank writes, tensors numbered from `first`; returns their number. */
int ls_compress_pieces(const struct ls_compress *compress, int first, struct ls_ckpt_piece *pieces);
/* Takes the residuals of ranks i, i + world, ... of the checkpoint's world: in the same world one's own, in another
 * their sum over all ranks stays the same. LS_EINVAL names a tensor that does not fit. */
enum ls_status ls_compress_load(struct ls_compress *compress, const struct ls_ckpt *ckpt, struct ls_error *err);
/* SHA-256 of each rank's tensors, 32 bytes a rank, gathered: collective. Valid until the next call. */
enum ls_status ls_compress_digest(struct ls_compress *compress, const uint8_t **digests, size_t *bytes,
                                  struct ls_error *err);

#endif
