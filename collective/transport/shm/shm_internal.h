/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared memory of one host. One memfd holds, in this order: the control block and a lane per rank (posts, flags,
 * bells), a staging area per rank, and what ls_group_register adds. Every word has one writer, except the end record,
 * the count of sleepers and the bells.
 */
#ifndef LOCKSTEP_COLLECTIVE_TRANSPORT_SHM_SHM_INTERNAL_H
#define LOCKSTEP_COLLECTIVE_TRANSPORT_SHM_SHM_INTERNAL_H

#include "collective/group_impl.h"
#include "collective/liveness.h"
#include "collective/reduce.h"
#include "collective/transport/shm/words.h"

#define SHM_MAGIC UINT64_C(0x3170657473636c6c)
/* Operations that may be published before the slowest member has finished the oldest. */
#define SHM_POSTS 8
/* Staging: a ring of slots larger than a second-level cache (smaller rings keep lines dirty in the other core). */
#define SHM_SLOTS 8
#define SHM_SLOT_BYTES (256 * 1024)
#define SHM_STAGING_BYTES ((size_t)2 * SHM_SLOTS * SHM_SLOT_BYTES)
/* Pieces of direct work between two looks at the end record. */
#define SHM_PIECE_BYTES (1 << 20)

#define SHM_LINE __attribute__((aligned(128)))

enum { SHM_SRC_SHARED = 1, SHM_DST_SHARED = 2 };

/* What a rank says when it starts an operation. sequence is stored last. */
struct shm_post {
    _Atomic uint64_t sequence;
    struct lsi_signature signature;
    uint32_t flags;
    uint32_t reserved;
    uint64_t dst; /* offset in the file; tiny: the values, in the line that peers wait for */
    uint64_t payload[LSI_SMALL_BYTES / 8] __attribute__((aligned(64))); /* small: values, else offsets of leaves */
};

struct shm_lane {
    struct {
        _Atomic uint64_t done; /* newest operation in which this rank touches no shared memory any more */
        _Atomic uint64_t in;   /* chunks staged */
        _Atomic uint64_t sum;  /* chunks of the own part summed */
        _Atomic uint64_t out;  /* chunks taken from the others */
    } flags SHM_LINE;
    struct {
        _Atomic uint32_t count;
        _Atomic uint32_t sleeping;
    } bell SHM_LINE;
    struct lsi_robust robust SHM_LINE;
    struct {
        _Atomic uint32_t arrived;
        _Atomic uint32_t waits_for; /* for lsi_shm_waits_read */
        uint64_t processors[16];    /* that it may run on */
    } form SHM_LINE;
    struct shm_post post[SHM_POSTS] SHM_LINE;
};

struct shm_control {
    uint64_t magic;
    uint64_t generation;
    uint32_t world;
    uint32_t lane_bytes;
    _Atomic uint32_t past_caches SHM_LINE; /* tune.c; rank 0 writes it */
    _Atomic uint32_t sleepers SHM_LINE;
    struct shm_end end SHM_LINE;
    struct shm_lane lane[] SHM_LINE;
};

/* Registered memory of all ranks: rank r's is [offset + r * stride, + stride) of the file. */
struct shm_region {
    uint64_t offset;
    size_t stride;
    uint8_t *base;
};

enum shm_phase { SHM_POSTED, SHM_DIRECT, SHM_STAGED, SHM_DONE };

/* The operation that runs. */
struct shm_running {
    uint64_t sequence;
    enum shm_phase phase;
    int scan;       /* ranks below have been seen */
    int64_t cursor; /* direct: elements done */
    int64_t piece;  /* staged: elements of a part in a chunk */
    uint64_t chunks;
    bool large;                              /* staged: a reduction whose results go past the cache */
    uint64_t in, sum, out;                   /* chunks done by this rank */
    uint64_t peers_in, peers_sum, peers_out; /* the slowest peer's, as last seen */
};

enum shm_stage { SHM_IN, SHM_SUM, SHM_OUT, SHM_STAGES };
#define SHM_TIMED 5

/* Rank 0's trials. */
struct shm_tune {
    bool past; /* what is tried or chosen */
    int chunk, trials;
    int64_t settled;
    uint64_t began_ns;
    uint64_t best_ns[2];
    /* crowded: times of stages, of chunks from this one on */
    uint64_t from;
    int timed[SHM_STAGES];
    uint64_t took_ns[SHM_STAGES][SHM_TIMED];
};

struct shm {
    struct ls_group *group;
    int fd;
    struct shm_control *control;
    size_t control_bytes;
    uint8_t *staging;
    bool staging_reserved;
    uint64_t file_end;
    struct shm_region *regions;
    int region_count;
    uint64_t all_done; /* every rank has finished this operation, as last seen */
    uint64_t chunk_base;
    bool crowded; /* members outnumber the processors */
    int spin_rounds;
    int yield_rounds;
    bool armed;
    uint32_t bell_seen;
    struct shm_running run;
    struct shm_tune tune;
    const void **inputs; /* room for one pointer per leaf */
    void **outs;         /* and per rank */
    struct lsi_keeper keeper;
    void (*died)(void *state, int rank); /* as in lsi_origin; NULL: nobody else is told */
    void *died_state;
};

/* At most eight bytes of values a rank. */
static inline bool shm_tiny(const struct ls_request *request)
{
    return request->tree != NULL && request->op.count <= 8 &&
           (uint64_t)request->op.count * request->element_bytes * (uint64_t)request->tree->max_partials <= 8;
}

static inline struct shm_lane *shm_lane(const struct shm *shm, int rank)
{
    return &shm->control->lane[rank];
}

static inline struct shm_post *shm_post(const struct shm *shm, int rank, uint64_t sequence)
{
    return &shm_lane(shm, rank)->post[sequence % SHM_POSTS];
}

/* Slot `chunk` of a rank's staging: values for the others, or its summed part. */
static inline uint8_t *shm_slot(const struct shm *shm, int rank, uint64_t chunk, bool summed)
{
    return shm->staging + (size_t)rank * SHM_STAGING_BYTES +
           ((size_t)(summed ? SHM_SLOTS : 0) + chunk % SHM_SLOTS) * SHM_SLOT_BYTES;
}

/* rendezvous.c: the descriptor of the group's memfd, made by rank 0 and handed out on the Unix socket. */
enum ls_status lsi_shm_rendezvous(const struct ls_group_options *options, const struct ls_group *group, size_t bytes,
                                  int *fd, struct ls_error *err);
/* wait.c */
void lsi_shm_notify(struct shm *shm);
bool lsi_shm_idle(struct shm *shm, int round);
void lsi_shm_disarm(struct shm *shm);
void lsi_shm_end(struct shm *shm, enum ls_status status, int culprit, const char *reason);
enum ls_status lsi_shm_end_error(struct shm *shm, struct ls_error *err);
/* memory.c: regions and what lies in them. */
enum ls_status lsi_shm_reserve(void *state, size_t bytes, struct ls_error *err);
void *lsi_shm_peer(void *state, void *memory, int rank);
enum ls_status lsi_shm_map(void *state, size_t bytes, void **memory, struct ls_error *err);
/* Offset in the file of own memory [data, data + bytes); false where it is not registered. */
bool lsi_shm_offset_of(const struct shm *shm, const void *data, size_t bytes, uint64_t *offset);
/* Memory at an offset that a peer gave; NULL where it is not inside a region. */
void *lsi_shm_at(const struct shm *shm, uint64_t offset, size_t bytes);
enum ls_status lsi_shm_reserve_staging(struct shm *shm, struct ls_error *err);
/* liveness.c: the keeper holds this rank's robust word and watches the next rank's. */
enum ls_status lsi_shm_keeper_start(struct shm *shm, struct ls_error *err);
void lsi_shm_keeper_stop(struct shm *shm);
/* post.c, direct.c, staged.c: LS_EAGAIN while not complete. */
enum ls_status lsi_shm_publish(void *state, struct ls_request *request, struct ls_error *err);
bool lsi_shm_direct_fits(const struct shm *shm, const struct ls_request *request);
enum ls_status lsi_shm_direct(struct shm *shm, struct ls_request *request, struct ls_error *err);
enum ls_status lsi_shm_staged_begin(struct shm *shm, const struct ls_request *request, struct ls_error *err);
enum ls_status lsi_shm_staged(struct shm *shm, struct ls_request *request);
/* tune.c: by rank 0, where a large staged reduction begins and after each chunk that it has summed. */
void lsi_shm_tune_begin(struct shm *shm);
void lsi_shm_tune_chunk(struct shm *shm);
/* By anybody around a stage of a chunk; start gives 0 where it is not timed, and then stop is left out. */
uint64_t lsi_shm_tune_start(const struct shm *shm, uint64_t chunk);
void lsi_shm_tune_stop(struct shm *shm, enum shm_stage stage, uint64_t began_ns);

#endif
