/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups of replicas and their collectives. A group is immutable: members with incarnations, one generation; it
 * forms, runs, aborts and dies. Operations are non-blocking and run in the order in which every member starts them
 * (their sequence). Abort is local, idempotent, callable from any thread and never blocks; nothing hangs.
 * A member may be a process or a thread of one. One thread at a time starts and waits on a member's group; once a fence
 * was made of a request, or a stream was handed one, any thread may, in turns that the group sees to (a call may wait
 * some milliseconds for its turn): so a stream drives the group while its member goes on.
 */
#ifndef LOCKSTEP_COLLECTIVE_GROUP_H
#define LOCKSTEP_COLLECTIVE_GROUP_H

#include "core/base/host.h"
#include "core/device/fence.h"
#include "core/device/shards.h"
#include "core/tensor/tensor.h"

struct ls_device_stream;
struct ls_group;
struct ls_request;
struct ls_sim_network;

#define LS_MAX_MEMBERS 256

struct ls_member {
    uint64_t worker; /* id given by the coordinator, never reused */
    uint32_t incarnation;
    int index;   /* of the worker in its job, from 0: what sentences call it, as the coordinator's do */
    int replica; /* within the worker */
    char host[LS_HOST_NAME_TEXT]; /* name of the machine: members with one name can share memory */
    char address[64];             /* "127.0.0.1" */
    uint16_t port;                /* of the member's listener (tcp) */
};

struct ls_group_options {
    const struct ls_member *members; /* in rank order; borrowed during the call */
    int world;
    int rank;
    uint64_t generation;
    uint8_t secret[32];       /* of the job: members prove it to each other */
    const char *rendezvous;   /* shm: path of a Unix socket that rank 0 makes (in a 0700 directory). Borrowed. */
    int listener;             /* tcp: this member's listening socket, taken on success; -1 otherwise */
    int64_t form_deadline_ms; /* default 10,000; both: a day at most */
    /* How long an operation may wait for a peer, default 60,000; longer where steps are (ls_group_set_pace). */
    int64_t wait_deadline_ms;
    /* Nullable, borrowed during the call: once true, forming ends as if its deadline had passed. A group that is being
     * formed cannot be aborted otherwise. */
    const _Atomic bool *abandon;
    struct ls_sim_network *network; /* sim: borrowed until the group ends */
    /* Rows "TRANSPORT/OPERATION/MEMBERS/BYTES=WAY" with commas between them, which come before the built-in choices,
     * the same in all members; NULL: LOCKSTEP_COLLECTIVES in the environment. Borrowed during the call. */
    const char *collectives;
    /* Sums may be added in any order, with bits that depend on it (`math: fast`): the same in all members. */
    bool any_order;
    /* Sums and means of f32 beyond 4 KiB travel as bf16, rounded to nearest even, and are added in f32, where messages
     * carry them (tcp, mpi, sim; hybrid: between hosts). LS_EINVAL without any_order; the same in all members. */
    bool bf16_wire;
};
#define LS_GROUP_OPTIONS_DEFAULT                                             \
    {                                                                        \
        .listener = -1, .form_deadline_ms = 10000, .wait_deadline_ms = 60000 \
    }

/* provider: "shm", "tcp", "mpi", "nccl", "hybrid" (shm inside a host, tcp between hosts), "hybrid-mpi" (shm, mpi),
 * "hybrid-nccl" (shm, nccl), "sim", "self" (world 1).
 * Blocks until all members are there or the deadline passes: LS_ETIMEOUT names who is missing. LS_EUNSUPPORTED: there
 * is no such provider; LS_EINVAL: options that do not fit. Returned; ends with ls_group_destroy. */
enum ls_status ls_group_create(const char *provider, const struct ls_group_options *options, struct ls_group **group,
                               struct ls_error *err);
int ls_group_rank(const struct ls_group *group);
int ls_group_world(const struct ls_group *group);
uint64_t ls_group_generation(const struct ls_group *group);
const char *ls_group_provider(const struct ls_group *group);
/* Whether bf16_wire makes sums travel as bf16 over a provider (one that is not known: no), between members of one host
 * or of several; and whether it does in this group. */
bool ls_provider_carries_bf16(const char *provider, bool several_hosts);
bool ls_group_carries_bf16(const struct ls_group *group);
/* Whether a user's rows come before the built-in choices (`collectives`, or the environment's). */
bool ls_group_ways_given(const struct ls_group *group);
/* Of those rows: alike where members choose alike. */
uint64_t ls_group_ways_digest(const struct ls_group *group);

/* Deadlines follow the work: where its slowest member took a step so long, an operation may wait for ten such steps, if
 * that is longer than wait_deadline_ms; at most a day. Longer steps count at once, shorter ones little by little. All
 * members say the same number, between operations. Sub-groups keep what they began with. */
void ls_group_set_pace(struct ls_group *group, uint64_t slowest_ns);

/* Memory that peers may read directly (shm) or plain memory (others), zeroed, 64-byte aligned; all members call it in
 * the same order with the same bytes, while no operation runs (LS_EBUSY). Ends with the group. */
enum ls_status ls_group_register(struct ls_group *group, size_t bytes, void **memory, struct ls_error *err);

enum ls_collective_kind {
    LS_ALL_REDUCE_TREE, /* the canonical one: partials of aligned ranges, summed in tree order */
    LS_ALL_REDUCE,      /* one contribution a rank, ranks added as the leaves 0 .. world-1 of a canonical tree */
    /* The same, or as the canonical one where there is a layout; rank r gets the counts[r] elements behind those of
     * the ranks before it */
    LS_REDUCE_SCATTER,
    LS_ALL_GATHER, /* rank r gives counts[r] elements; all get them one after another */
    LS_BROADCAST,  /* count elements from root */
    LS_ALL_TO_ALL, /* rank i gives counts[i * world + j] elements to rank j, out of src and into dst in rank order */
    LS_BARRIER
};
/* LS_MEAN: the sum divided by the number of contributions (the layout's ranges, or the ranks); not of integers. */
enum ls_reduction { LS_SUM, LS_MIN, LS_MAX, LS_PRODUCT, LS_MEAN };

/* Which aligned shard ranges each rank has partials for: ranges[first_range[r] .. first_range[r + 1]) are rank r's,
 * all in rising shard order within a rank. */
struct ls_tree_layout {
    int v_total;
    int world;
    int range_count;
    struct ls_range ranges[2 * LS_MAX_SHARDS];
    int first_range[LS_MAX_MEMBERS + 1];
};

struct ls_collective {
    enum ls_collective_kind kind;
    enum ls_reduction reduction;
    enum ls_dtype dtype;
    int64_t count;   /* elements of the result (ALL_GATHER, ALL_TO_ALL: ignored) */
    const void *src; /* not ALL_REDUCE_TREE */
    void *dst;       /* whole result; src and dst may not overlap. BROADCAST: in and out */
    /* REDUCE_SCATTER, ALL_GATHER: per rank; ALL_TO_ALL: world x world, the same in all members. Borrowed until the
     * request ends. */
    const int64_t *counts;
    int root;
    /* ALL_REDUCE_TREE, and REDUCE_SCATTER where it is one of partials; borrowed until the request ends */
    const struct ls_tree_layout *layout;
    const void *const *leaves; /* with a layout: this rank's partials, one per own range; borrowed */
    const char *way; /* nullable, static: the way it is to go where it can ("gather"), before the table; alike in all */
    uint32_t label;  /* the caller's name for it in reports (ls_group_wait), 0: none; members need not agree */
    uint64_t *finished_ns; /* nullable, borrowed: gets the time of its completion here (ls_clock_now_ns) */
};

/* Starts; *request ends with ls_request_wait or a test that gives LS_OK. Memory from ls_group_register is used in
 * place where the back end can. */
enum ls_status ls_group_start(struct ls_group *group, const struct ls_collective *collective,
                              struct ls_request **request, struct ls_error *err);
/* Makes progress; LS_EAGAIN while it is not complete. Otherwise the status that ls_request_wait would give: LS_OK ends
 * the request, after another one ls_request_wait does. */
enum ls_status ls_request_test(struct ls_request *request, struct ls_error *err);
/* Waits. LS_EPEER names the lost member, LS_ETIMEOUT who is waited for, LS_EINTERRUPTED an abort and its reason,
 * LS_EDIVERGED a mismatch of layouts with both sides. Ends the request in every case. */
enum ls_status ls_request_wait(struct ls_request *request, struct ls_error *err);
/* The same for a thread beside those that compute: it does not spin, so it is woken a little later, unless *hurry is
 * true, which any thread may change. */
enum ls_status ls_request_wait_beside(struct ls_request *request, const _Atomic bool *hurry, struct ls_error *err);
/* Work submitted to the stream afterwards begins when the operation has completed here. Where it failed that work is
 * skipped, and the stream fails with the group's reason. Takes the request on success: the stream drives the operation
 * to its end, which is within the group's deadline, and ends it; a stream that is destroyed before aborts the group.
 * The group is destroyed after the stream has got behind it (ls_device_stream_synchronize, an event) or was destroyed.
 * LS_EUNSUPPORTED: an MPI library that allows one thread only. */
enum ls_status ls_request_wait_on_stream(struct ls_request *request, struct ls_device_stream *stream,
                                         struct ls_error *err);
/* The request as a fence, good until the group ends: testing it makes progress, waiting for it drives the group, also
 * where another thread does the same. The request stays the caller's to end. LS_EUNSUPPORTED as above. */
enum ls_status ls_request_fence(struct ls_request *request, struct ls_fence *fence, struct ls_error *err);
/* start + wait */
enum ls_status ls_group_run(struct ls_group *group, const struct ls_collective *collective, struct ls_error *err);
/* Whether a thread of its own may drive this member's operations while the others compute, and gains by it: the network
 * moves data by itself, and a wait sleeps. */
bool ls_group_drives_beside(const struct ls_group *group);
/* "canonical", "direct", ...: the way that a started operation goes. */
const char *ls_request_way(const struct ls_request *request);
/* Bytes that this member has copied or sent in this group so far. */
uint64_t ls_group_bytes_moved(const struct ls_group *group);

/* What a member waits for at this moment, from any thread while the group lives; false: nothing, or not long enough to
 * have looked at the clock. */
struct ls_group_wait {
    int rank; /* whose part is missing, -1: not known */
    enum ls_collective_kind kind;
    uint32_t label;    /* of the operation */
    uint64_t since_ns; /* nothing has moved since then (ls_clock_now_ns) */
};
bool ls_group_waiting(const struct ls_group *group, struct ls_group_wait *wait);
/* The rank that was missing when this member last looked in vain, -1: none; thread: the one that uses the group. */
int ls_group_missing(const struct ls_group *group);

/* All members call it, each with a color and a key: those of one color form a group of their own over the same
 * transport, ranked by key, then by their rank here. color -1: no group, *split is NULL. The new group ends before this
 * one, and with it: an abort or a loss here ends its operations too. Returned; ends with ls_group_destroy. */
enum ls_status ls_group_split(struct ls_group *group, int color, int key, struct ls_group **split,
                              struct ls_error *err);

/* All pending and later operations of this member end with LS_EINTERRUPTED and reason; peers learn of it at once
 * (shm: abort word, tcp: closed connections). */
void ls_group_abort(struct ls_group *group, const char *reason);
/* Aborts if it still runs; after it no buffer is touched, and requests that nobody waited for are gone. Accepts
 * NULL. */
void ls_group_destroy(struct ls_group *group);

#endif
