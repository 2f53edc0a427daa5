/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider "nccl". Words go over the mesh of tcp: proofs of the secret, what every operation begins with, values of
 * at most 4 KiB, the reason of an end, deaths. Larger values go in rounds: staged in pinned memory, copied to the
 * device, one call of NCCL (a group of sends and receives, or a collective), copied back, an event. Every member issues
 * the same rounds in the same order, so none can wait for a later one. Neither the device nor NCCL sees a caller's
 * memory: what is left of an aborted round touches staging memory only.
 */
#ifndef LOCKSTEP_COLLECTIVE_PROVIDER_NCCL_NCCL_INTERNAL_H
#define LOCKSTEP_COLLECTIVE_PROVIDER_NCCL_NCCL_INTERNAL_H

#include "collective/algo/message.h"
#include "collective/provider/nccl/api.h"

#include <pthread.h>

#define NCCL_STAGE_BYTES ((size_t)4 << 20) /* of each of the four memories of a slot */
#define NCCL_GRAIN 64                      /* parts of a stage begin at multiples of it */
#define NCCL_SLOTS 4
#define NCCL_ABORT_DEADLINE_NS UINT64_C(3000000000)

/* LIVE: it may be used, under its mutex. ABORTING: a keeper has taken it. GONE: NCCL holds nothing of it. */
enum comm_state { COMM_LIVE, COMM_ABORTING, COMM_GONE };

/* A communicator, shared by its group and the keeper that aborts it. */
struct nccl_handle {
    const struct nccl_library *library;
    struct nccl_comm *comm;
    int device;
    uint64_t family;       /* the same for all that were split from one group */
    pthread_mutex_t use;   /* held around calls that use comm */
    enum comm_state state; /* under the registry's mutex */
    int holders;           /* likewise */
    struct nccl_handle *next;
    struct ls_group *group; /* likewise; NULL once the group has let it go, or while it forms */
    void *links;            /* of group */
};

enum round_kind { ROUND_EXCHANGE, ROUND_BROADCAST, ROUND_GATHER, ROUND_REDUCE };
enum round_state { ROUND_FREE, ROUND_LAUNCHING, ROUND_RUNNING };

/* Bytes of a stage for or from one rank. */
struct nccl_part {
    size_t at;
    size_t bytes;
};

/* One call of NCCL and the memory that it uses. */
struct nccl_slot {
    uint8_t *host_out;
    uint8_t *host_in;
    uint8_t *device_out;
    uint8_t *device_in;
    struct cuda_event *event;
    enum round_state state;
    enum round_kind kind;
    struct nccl_part *send; /* per rank */
    struct nccl_part *receive;
    size_t out_bytes; /* copied to the device before the call */
    size_t in_bytes;  /* copied back after it */
    int root;         /* BROADCAST */
    size_t count;     /* BROADCAST, GATHER: bytes; REDUCE: elements */
    int dtype;        /* REDUCE */
    int op;
};

struct nccl;

/* An operation as rounds; q counts them. */
struct nccl_program {
    /* Which slot round q uses. */
    int (*slot)(const struct nccl *nccl, int64_t q);
    /* The last round that must be over before round q is staged; -1: none. */
    int64_t (*gate)(const struct nccl *nccl, int64_t q);
    /* Fills the slot. */
    void (*stage)(struct nccl *nccl, struct lsi_message *m, struct ls_request *request, int64_t q);
    /* Takes what has come. */
    void (*consume)(struct nccl *nccl, struct lsi_message *m, struct ls_request *request, int64_t q);
};

struct nccl {
    struct lsi_over over; /* lsi_tcp_links */
    struct ls_group *group;
    const struct nccl_library *library;
    struct nccl_handle *handle;
    void *cards[2]; /* of forming; the links may still look at them */
    struct cuda_stream *stream;
    struct nccl_slot slots[NCCL_SLOTS];
    int device;
    bool formed;
    uint64_t polls;
    uint64_t failed_ns; /* when NCCL reported what a dying peer may explain; 0: never */
    struct ls_error failure;
    /* the operation that runs */
    const struct nccl_program *program;
    int64_t piece; /* elements */
    int64_t segments;
    int64_t rounds;
    int64_t launched;
    int64_t done;
    struct nccl_carrier *carrier; /* carrier.c; NULL: the group's own operations are rounds */
};

/* handle.c */
struct nccl_handle *lsi_nccl_handle_create(const struct nccl_library *library, int device);
/* From now on the keeper may end group and tell its peers over links. */
void lsi_nccl_handle_publish(struct nccl_handle *handle, struct ls_group *group, void *links);
/* Takes the communicator for a call; false where it is not to be used any more. */
bool lsi_nccl_handle_enter(struct nccl_handle *handle);
void lsi_nccl_handle_leave(struct nccl_handle *handle);
/* Aborts it and all of its family in one call of NCCL, from a thread of its own; from any thread, never blocks. */
void lsi_nccl_handle_abort(struct nccl_handle *handle);
/* Ends it: finalizes and destroys it, or (orderly false) aborts it. Waits for NCCL a few seconds at most; true where
 * nothing uses the device's memory any more. Releases handle. */
bool lsi_nccl_handle_close(struct nccl_handle *handle, bool orderly);

/* nccl.c; watched: members of this host are, while it forms too. Abort: as in lsi_links_ops. */
enum ls_status lsi_nccl_open(const struct ls_group_options *options, struct ls_group *group, bool watched,
                             struct nccl **nccl, struct lsi_link **link, struct ls_error *err);
void lsi_nccl_abort(void *state);
extern const struct lsi_links_ops lsi_nccl_links;

/* form.c: from connected links to a communicator. */
enum ls_status lsi_nccl_form(struct nccl *nccl, const struct ls_group_options *options, struct lsi_link *link,
                             uint64_t deadline_ns, struct ls_error *err);

/* stage.c */
enum ls_status lsi_nccl_stage_create(struct nccl *nccl, struct ls_error *err);
/* leak: the device may still write, so that its memory cannot be given back. */
void lsi_nccl_stage_destroy(struct nccl *nccl, bool leak);
void lsi_nccl_slot_clear(struct nccl *nccl, struct nccl_slot *slot, enum round_kind kind);
/* Places the next part for or from a rank behind the others of the slot; its place in the host's memory. */
uint8_t *lsi_nccl_slot_send(struct nccl_slot *slot, int rank, size_t bytes);
uint8_t *lsi_nccl_slot_receive(struct nccl_slot *slot, int rank, size_t bytes);
enum ls_status lsi_nccl_launch(struct nccl *nccl, struct nccl_slot *slot, struct ls_error *err);
/* LS_OK: the call is queued; LS_EAGAIN: NCCL is still at it. */
enum ls_status lsi_nccl_settle(struct nccl *nccl, struct nccl_slot *slot, struct ls_error *err);
/* LS_OK: all is copied back, and the slot free. */
enum ls_status lsi_nccl_finish(struct nccl *nccl, struct nccl_slot *slot, struct ls_error *err);
/* Makes the device the thread's; returns the one to give to lsi_nccl_device_leave. */
int lsi_nccl_device_enter(const struct nccl *nccl);
void lsi_nccl_device_leave(const struct nccl *nccl, int previous);
/* LS_EPEER with NCCL's own words. */
enum ls_status lsi_nccl_failed(const struct nccl *nccl, const char *call, int code, struct ls_error *err);

/* program.c */
extern const struct lsi_algorithm lsi_nccl_algorithm;
/* Waits a moment (LS_EAGAIN) with a failure that the death of a peer may explain. */
enum ls_status lsi_nccl_hold_back(struct nccl *nccl, enum ls_status status, const struct ls_error *why,
                                  struct ls_error *err);
bool lsi_nccl_supports(int kind, enum lsi_way way);
/* copy.c, reduce.c: the program of an operation; sets piece, segments and rounds. */
void lsi_nccl_plan_copy(struct nccl *nccl, const struct ls_request *request);
void lsi_nccl_plan_reduce(struct nccl *nccl, const struct ls_request *request);
/* Sends `bytes` of host_out to all and places what they send, length(r) bytes of rank r each. */
void lsi_nccl_stage_gather(struct nccl *nccl, struct nccl_slot *slot, const int64_t *bytes);
/* Where rank r's bytes are after a gather. */
const uint8_t *lsi_nccl_gathered(const struct nccl_slot *slot, int rank);
/* Elements of a part that go in one round, where `parts` of them share a stage. */
int64_t lsi_nccl_piece(const struct ls_request *request, int64_t parts, int64_t longest);

#endif
