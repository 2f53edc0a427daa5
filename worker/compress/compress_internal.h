/* SPDX-License-Identifier: Apache-2.0 */
/* Inside worker/compress: the items, the memory of a run of them, and what a method is. */
#ifndef LOCKSTEP_WORKER_COMPRESS_COMPRESS_INTERNAL_H
#define LOCKSTEP_WORKER_COMPRESS_COMPRESS_INTERNAL_H

#include "worker/compress/compress.h"

#include <string.h>

/* Regions of memory that peers may read. The bytes of an item are the same on every rank; those of neighbouring items
 * stand one behind the other, so that a bucket is one piece of each region. */
enum lsi_region { LSI_GIVEN, LSI_TAKEN, LSI_GIVEN_AGAIN, LSI_TAKEN_AGAIN, LSI_REGIONS };

struct lsi_compress_item {
    struct ls_compress_item is;
    int64_t count, rows, cols; /* count = rows * cols, cols the last axis */
    int64_t at;                /* of its first element in the residuals */
    int64_t shared_at, shared; /* elements that all ranks hold alike: place and number */
    int64_t kept;              /* top_k: elements sent */
    bool whole;                /* sent as it is: too small to gain */
    size_t place[LSI_REGIONS], bytes[LSI_REGIONS];
    double moved; /* bytes that a rank receives for it in a step */
};

/* Some neighbouring items, of one bucket. */
struct lsi_compress_run {
    struct lsi_compress_item *items;
    int count;
    const void *const *reduced;
    uint32_t label;
    int64_t *counts; /* room for counts of a collective: world * world + world */
};

struct lsi_compress_method {
    const char *name;
    /* Fills shared, kept, whole, bytes and moved. */
    void (*measure)(const struct ls_compress *c, struct lsi_compress_item *item);
    /* First value of what is shared; NULL: there is none. */
    void (*initialize)(struct ls_compress *c, const struct lsi_compress_item *item);
    /* residual_next holds gradient + residual; leaves there what is not sent (bf16, power_sgd: later too). */
    void (*start)(struct ls_compress *c, const struct lsi_compress_run *run, struct ls_collective *op);
    /* NULL: there is no second collective. False: not for this run. */
    bool (*advance)(struct ls_compress *c, const struct lsi_compress_run *run, struct ls_collective *op);
    void (*finish)(struct ls_compress *c, const struct lsi_compress_run *run);
};
extern const struct lsi_compress_method lsi_compress_bf16, lsi_compress_top_k, lsi_compress_power_sgd;

struct ls_compress {
    struct ls_compress_options options; /* items: NULL */
    struct ls_group *group;
    const struct lsi_compress_method *method;
    int rank, world;
    int item_count;
    struct lsi_compress_item *items;
    int *item_of; /* by reduce, -1: none */
    int64_t elements, shared_elements;
    float *residual[2], *shared[2]; /* committed and next, by `current` */
    int current;
    bool touched; /* this step wrote what is next */
    bool empty;   /* all residuals are zero (a world of one: nothing to add) */
    uint64_t step;
    uint8_t *region[LSI_REGIONS]; /* registered */
    size_t region_bytes[LSI_REGIONS];
    uint32_t *histogram; /* top_k */
    int64_t **counts;    /* by a bucket's first item, made when first needed */
    int tensor_count;
    struct ls_ckpt_tensor *tensors;
    char **names;
    uint8_t *digests; /* of one rank, then of all */
};

/* state.c */
enum ls_status lsi_compress_name_tensors(struct ls_compress *c, struct ls_error *err);

static inline float *lsi_next(const struct ls_compress *c, const struct lsi_compress_item *item)
{
    return c->residual[!c->current] + item->at;
}

static inline float *lsi_sum_of(const struct lsi_compress_run *run, int i)
{
    return (float *)(uintptr_t)run->reduced[run->items[i].is.reduce];
}

/* A region's piece of a run, and its bytes. */
static inline void *lsi_piece(const struct ls_compress *c, const struct lsi_compress_run *run, enum lsi_region region)
{
    return c->region[region] + run->items[0].place[region];
}
static inline size_t lsi_piece_bytes(const struct lsi_compress_run *run, enum lsi_region region)
{
    size_t bytes = 0;

    for (int i = 0; i < run->count; i++)
        bytes += run->items[i].bytes[region];
    return bytes;
}

#endif
