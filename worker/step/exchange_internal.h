/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the exchange: what it holds, and what its files do for one another. exchange.c has its life and its memory,
 * exchange_step.c the way of a step through it, exchange_compress.c the buckets that a compressor sends,
 * exchange_trace.c what a trace tells of them.
 */
#ifndef LOCKSTEP_WORKER_STEP_EXCHANGE_INTERNAL_H
#define LOCKSTEP_WORKER_STEP_EXCHANGE_INTERNAL_H

#include "worker/step/exchange.h"

enum lsi_entry_kind { ENTRY_SUM, ENTRY_MOMENTS, ENTRY_SCALAR };

struct lsi_entry {
    enum lsi_entry_kind kind;
    enum ls_dtype dtype;
    int segment;
    int bucket;    /* ENTRY_SUM */
    int64_t count; /* elements */
    size_t offset; /* in a leaf's memory and in the reduced memory, bytes */
    size_t bytes;
};

struct lsi_bucket {
    int segment;
    int first, last; /* reduces */
    bool compressed, advanced;
    size_t offset, bytes;
    bool sent;                        /* a collective of it is under way, */
    struct ls_request *request;       /* as a request, */
    struct ls_parcel parcel;          /* or with the courier */
    int missing;                      /* the rank that was waited for last, -1: none */
    uint64_t started_ns, finished_ns; /* of a traced step */
    const char *way;
    bool done;
};

struct ls_exchange {
    struct ls_group *group;
    struct ls_device *device;
    const struct ls_tree_layout *layout;
    int rank, world;
    int entry_count;
    struct lsi_entry *entries;
    int bucket_count, started;
    struct lsi_bucket *buckets;
    int leaves, stack;
    bool one_by_one;
    struct ls_arrangement arrangement;
    bool carried; /* by the courier, in this step */
    size_t leaf_bytes;
    uint8_t *registered; /* leaves, then the reduced values */
    uint8_t *scratch;    /* stack - 1 more levels for calls inside a leaf */
    void **partials;     /* [leaf][depth][reduce] */
    const void **reduced;
    const void **leaf_pointers; /* [bucket, at most one an entry][own leaf], then [leaf of all ranks] for moments */
    uint8_t *gathered;          /* moments of all leaves of all ranks */
    struct ls_tree_program pair, tree;
    struct ls_compress *compress;
    struct ls_courier *courier;
    const struct ls_tracing *tracing;
    uint64_t step;
};

/* exchange_step.c: starts a collective of a bucket; waits for the one that is under way, if any. */
enum ls_status lsi_exchange_send(struct ls_exchange *ex, struct lsi_bucket *b, const struct ls_collective *op,
                                 struct ls_error *err);
enum ls_status lsi_exchange_receive(struct ls_exchange *ex, struct lsi_bucket *b, struct ls_error *err);

/* exchange_compress.c. This step's bucket is the compressor's. */
bool lsi_exchange_is_compressed(const struct ls_exchange *ex, const struct lsi_bucket *b);
enum ls_status lsi_exchange_start_compressed(struct ls_exchange *ex, struct lsi_bucket *b, struct ls_error *err);
/* Its second collective, once a step; nothing for other buckets. */
enum ls_status lsi_exchange_advance_compressed(struct ls_exchange *ex, struct lsi_bucket *b, struct ls_error *err);
enum ls_status lsi_exchange_finish_compressed(struct ls_exchange *ex, struct lsi_bucket *b, struct ls_error *err);

/* exchange_trace.c: a wait for a bucket, or for moments (-1); a bucket from its start to its completion. */
void lsi_exchange_trace_wait(const struct ls_exchange *ex, uint64_t began, int bucket, int missing);
void lsi_exchange_trace_bucket(const struct ls_exchange *ex, const struct lsi_bucket *b);

#endif
