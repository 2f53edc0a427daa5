/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a provider of collectives fills in, and what it may see of a group. Callers read group.h instead.
 * Requests are published in order and only the oldest one is advanced, so a provider holds the state of one running
 * operation.
 */
#ifndef LOCKSTEP_COLLECTIVE_GROUP_IMPL_H
#define LOCKSTEP_COLLECTIVE_GROUP_IMPL_H

#include "collective/choice.h"
#include "collective/group.h"
#include "collective/tree.h"
#include "collective/turns.h"

#include <stdatomic.h>

/* Largest inline payload of a member in an operation: votes and moments travel in one phase. */
#define LSI_SMALL_BYTES 4096

/* What all members must agree on; sent beside every operation. */
struct lsi_signature {
    uint64_t hash; /* of the layout or the counts and of all below */
    int64_t count;
    uint8_t kind;
    uint8_t reduction;
    uint8_t dtype;
    uint8_t way; /* enum lsi_way */
    int32_t root;
};

struct ls_request {
    struct ls_group *group;
    struct ls_request *next;
    struct ls_request *made_before;
    struct ls_collective op;
    uint64_t sequence; /* 1, 2, ... within the group */
    struct lsi_signature signature;
    const struct lsi_tree *tree; /* reductions */
    const void *const *leaves;   /* reductions: own partials, in the order of the layout */
    const void *own_leaf;        /* what leaves points to where there is one contribution a rank */
    size_t element_bytes;
    int divisor; /* of a mean; 1 otherwise */
    enum lsi_way way;
    bool published;
    bool finished;
    bool unattended; /* a stream waits for its end, and nobody ends the request: it goes by itself */
    enum ls_status status;
};

/* Why a group ended. The first one wins. */
struct lsi_end {
    enum ls_status status;
    int culprit; /* rank, -1: none */
    char reason[400];
};

/* The group that a sub-group was split from; seen by a provider while it creates the sub-group. */
struct lsi_origin {
    struct ls_group *group;
    const int *from; /* rank there of each member */
    int color;
    /* The group is a part of the other's machinery (hybrid): its members go by their ranks there in all sentences, and
     * that one ends it. */
    bool inside;
    /* Nullable, inside: a member of this rank here was found dead; from any thread, without waiting. */
    void (*died)(void *state, int rank);
    void *died_state;
    uint32_t context; /* a number that no group of any member's process has had */
};

/* What members tell each other when their group is split. */
struct lsi_split_card {
    int32_t color;
    int32_t key;
    uint32_t port;    /* tcp: of the listener for the new group */
    uint32_t context; /* the highest that this process has used */
    int64_t status;   /* of the preparation */
};

struct lsi_links_ops;

/* Thread: the one that uses the group, except abort. */
struct ls_provider_ops {
    size_t size;
    uint32_t abi;
    const char *name;
    /* Of a provider that carries messages (algo/message.h), else NULL. With it the slots from publish to destroy, look,
     * tell_wait and heard_wait are left NULL; create too, where the links can be opened. */
    const struct lsi_links_ops *links;
    /* Of a provider that composes hosts (hybrid), else NULL: what carries between them. */
    const struct lsi_links_ops *over;
    /* Forms the group within options->form_deadline_ms. *state is taken by the group on success. */
    enum ls_status (*create)(const struct ls_group_options *options, struct ls_group *group, void **state,
                             struct ls_error *err);
    /* Tells peers of the operation, without waiting. LS_EAGAIN: no room yet, called again later. */
    enum ls_status (*publish)(void *state, struct ls_request *request, struct ls_error *err);
    /* Advances the oldest published request, without waiting. LS_EAGAIN: not complete. */
    enum ls_status (*progress)(void *state, struct ls_request *request, struct ls_error *err);
    /* Called after the round-th fruitless progress: spins, yields or sleeps (at most 5 ms). True where it slept. */
    bool (*idle)(void *state, int round);
    /* Tells peers, from any thread, without blocking, that the group ended; group->end says why. */
    void (*abort)(void *state);
    /* Ends state; no buffer is touched after it. */
    void (*destroy)(void *state);
    /* Optional pair: own part of shared memory is reserved; after all members have done so it is mapped. */
    enum ls_status (*reserve)(void *state, size_t bytes, struct ls_error *err);
    enum ls_status (*map)(void *state, size_t bytes, void **memory, struct ls_error *err);
    /* Optional, with that pair: where the memory of another rank lies that was mapped with this one's. */
    void *(*peer)(void *state, void *memory, int rank);
    /* Whether an operation (ALL_REDUCE: also the canonical one) can go a way, ONE_SHOT aside; NULL: only that one. */
    bool (*supports)(int kind, enum lsi_way way);
    /* Optional: whether peers have ended the group, though nothing of it is waited for. */
    enum ls_status (*look)(void *state, int *culprit, struct ls_error *err);
    /* Optional: the highest lsi_origin.context that this process has used. */
    uint32_t (*context)(void *state);
    /* Members bring a listener. */
    bool listens;
    /* Optional pair, for waits that are long: tells peers for whom this member waits (-1: nobody any more), and for
     * whom a peer waits (-1: not known). So the one that keeps all waiting is named, and not one that waits itself. */
    void (*tell_wait)(void *state, int rank);
    int (*heard_wait)(void *state, int peer);
    /* Optional, for ls_group_drives_beside; absent: no. */
    bool (*drives_beside)(const void *state);
    /* Optional: whether only the thread that the group was made in may drive it; absent: any, one at a time. */
    bool (*one_thread)(const void *state);
    /* Optional: the time that deadlines are measured in, where it is not the clock's. */
    uint64_t (*now_ns)(void *state);
};
#define LSI_PROVIDER_ABI 1

struct ls_group {
    const struct ls_provider_ops *ops;
    struct ls_provider_ops table;    /* what ops points to where the provider carries messages */
    void *state;                     /* the provider's */
    struct ls_group_options options; /* as created, with an own rendezvous and no members */
    struct ls_group *parent;         /* sub-groups: the group that it was split from */
    const struct lsi_origin *origin; /* sub-groups, while they are created */
    unsigned splits;                 /* how often it was split */
    struct ls_member *members;
    int *names; /* members' ranks in sentences, where they are others */
    int world;
    int rank;
    uint64_t generation;
    int64_t wait_deadline_ms; /* now, by the pace */
    uint64_t pace_ns;         /* of the slowest recent steps */
    uint64_t sequence;        /* of the newest started operation */
    uint64_t settled;         /* of the newest that has ended: they end in order */
    uint64_t completed;       /* of the newest that ended well */
    struct lsi_turns *turns;  /* of the group that all were split from */
    struct lsi_turns own_turns;
    _Atomic int held; /* waits of streams for operations */
    struct ls_request *head;
    struct ls_request *tail;
    struct ls_request *spare;
    struct ls_request *made; /* all there are, by made_before: those that nobody waited for end with the group */
    struct lsi_tree_cache trees;
    struct lsi_choices choices;
    struct ls_tree_layout *flat; /* one leaf a rank: ALL_REDUCE and REDUCE_SCATTER */
    void **plain;                /* memory of ls_group_register where the provider has none of its own */
    int plain_count;
    _Atomic uint64_t bytes_moved;
    uint64_t ticks;      /* the provider raises it with every bit of progress */
    uint64_t seen_ticks; /* at since_ns, when the silence began */
    uint64_t since_ns;
    int told_wait; /* the rank of which peers were told that this member waits long for it; -1: none */
    int waits_for; /* rank, for the sentence of a timeout */
    _Atomic uint64_t wait_word, wait_since_ns; /* what ls_group_waiting gives, see waiting.c */
    const char *waits_why;                     /* "has not started it" */
    _Atomic int end_state;                     /* 0 runs, 1 is being written, 2 ended */
    struct lsi_end end;
};

extern const struct ls_provider_ops lsi_self_provider;
extern const struct ls_provider_ops lsi_shm_provider;
extern const struct ls_provider_ops lsi_tcp_provider;
extern const struct ls_provider_ops lsi_hybrid_provider;
extern const struct ls_provider_ops lsi_hybrid_mpi_provider;
extern const struct ls_provider_ops lsi_hybrid_nccl_provider;
extern const struct ls_provider_ops lsi_mpi_provider;
extern const struct ls_provider_ops lsi_nccl_provider;
extern const struct ls_provider_ops lsi_sim_provider;

/* --- group.c: making one, its members in sentences, the one recorded reason of its end --- */
/* ls_group_create; origin: NULL, or that of a sub-group. */
enum ls_status lsi_group_create(const struct ls_provider_ops *ops, const struct ls_group_options *options,
                                const struct lsi_origin *origin, struct ls_group **group, struct ls_error *err);
/* Whether forming is over: the deadline has passed, the caller gave it up, or what the group is split from has ended,
 * whose reason is then lsi_group_create's. */
bool lsi_form_over(const struct ls_group *group, const struct ls_group_options *options, uint64_t deadline_ns);
/* LS_ETIMEOUT that names the first few members that are not here. */
enum ls_status lsi_missing(const struct ls_group *group, const bool *here, int64_t form_deadline_ms,
                           struct ls_error *err);
/* How a member is called in sentences: its rank, or that in the group which this one is inside of. */
int lsi_rank_name(const struct ls_group *group, int rank);
/* "rank 3 (worker 7 on host a)" into text; returns text. */
const char *lsi_member_text(const struct ls_group *group, int rank, char text[128]);
/* Records why the group ended and returns the status to use; where it ended before, the older reason stays. */
enum ls_status lsi_group_end(struct ls_group *group, enum ls_status status, int culprit, const char *reason);
/* From any thread. */
static inline bool lsi_group_ended(const struct ls_group *group)
{
    return atomic_load_explicit(&group->end_state, memory_order_acquire) != 0;
}
/* Puts the recorded reason into err. */
enum ls_status lsi_group_end_error(const struct ls_group *group, struct ls_error *err);

/* --- operation.c: arguments and signatures --- */
/* LS_EINVAL or LS_EUNSUPPORTED where the arguments do not fit each other or the group. */
enum ls_status lsi_operation_check(const struct ls_group *group, const struct ls_collective *op, struct ls_error *err);
/* Binds the compiled tree and the own leaves of a reduction. */
enum ls_status lsi_operation_bind(struct ls_request *request, struct ls_error *err);
/* Chooses the way and fills in the signature; after lsi_operation_bind. */
void lsi_operation_sign(struct ls_request *request);
/* "operation 12 (all-reduce of 1000 float32)" into text; returns text. */
const char *lsi_operation_text(const struct lsi_signature *signature, uint64_t sequence, char text[128]);
/* LS_EDIVERGED with both sides. */
enum ls_status lsi_mismatch(const struct ls_request *request, int peer, const struct lsi_signature *theirs,
                            struct ls_error *err);
/* The layout whose leaves a reduction adds. */
const struct ls_tree_layout *lsi_request_layout(const struct ls_request *request);

/* --- request.c: the queue. The calling thread has the turn. --- */
/* One round: publishes, and advances the oldest request as far as it goes. LS_OK: the queue is empty; LS_EAGAIN: it
 * waits; anything else: the group has ended, and all requests with it. */
enum ls_status lsi_group_advance(struct ls_group *group, struct ls_error *err);
/* Ends the group for a failure that this member found: records it, tells the peers, finishes all requests. Gives the
 * recorded reason, which is an older one where there is. */
enum ls_status lsi_group_fail(struct ls_group *group, enum ls_status status, int culprit, const struct ls_error *why,
                              struct ls_error *err);
/* The request is to be used again. */
void lsi_request_give(struct ls_request *request);

/* --- drive.c: whoever waits, advances. The calling thread has the turn. --- */
struct lsi_patience;
/* Drives the group until the operation of that sequence has ended (LS_OK, also where it failed) or patience has
 * (LS_ETIMEOUT, LS_EINTERRUPTED). patience and its hurry: nullable; a thread without hurry spins. */
enum ls_status lsi_group_drive(struct ls_group *group, uint64_t sequence, const struct lsi_patience *patience,
                               struct ls_error *err);
/* One round of it, without waiting. */
void lsi_group_poll(struct ls_group *group, uint64_t sequence);
/* The nearest group that this one was split from, or that its own was, which has ended, also where that is only seen
 * now; NULL: all go on. */
struct ls_group *lsi_ended_parent(const struct ls_group *group);

/* --- waiting.c: what is said of waits. The calling thread has the turn. --- */
/* Lets other threads see that the oldest request waits, and that it no longer does. */
void lsi_waiting_say(struct ls_group *group);
void lsi_waiting_clear(struct ls_group *group);
/* Tells peers whom this member waits for, once, so that they do not take it for the silent one; that it holds no
 * more. */
void lsi_waiting_tell(struct ls_group *group);
void lsi_waiting_retract(struct ls_group *group);

/* --- part.c: which elements are whose --- */
/* The piece of [0, count) that rank r of world owns: whole pages for large counts, cache lines for small ones. */
void lsi_slice(int64_t count, int world, int r, int64_t *begin, int64_t *length);
/* The elements of the whole result that are rank r's part in this operation. */
void lsi_part(const struct ls_request *request, int r, int64_t *begin, int64_t *length);
/* Elements of the longest part that any rank has. */
int64_t lsi_longest_part(const struct ls_request *request);

/* Elements that travel at a time. */
struct lsi_piece {
    int64_t begin;  /* in the whole result */
    int64_t inside; /* in what was cut */
    int64_t length; /* 0 behind the end */
};
/* Piece s, from 0, of `count` elements cut into pieces of `size`; the last one may be shorter. */
struct lsi_piece lsi_cut(int64_t count, int64_t size, int64_t s);
/* The same of the part of `owner`. */
struct lsi_piece lsi_piece_of(const struct ls_request *request, int64_t size, int owner, int64_t s);
static inline int64_t lsi_bytes_of(const struct ls_request *request, int64_t elements)
{
    return elements * (int64_t)request->element_bytes;
}

/* What rank `from` gives rank `to` in an ALL_TO_ALL: elements, where they begin in the source and in the result. */
struct lsi_pair {
    int64_t length;
    int64_t src;
    int64_t dst;
};
struct lsi_pair lsi_pair_of(const struct ls_request *request, int from, int to);
/* Elements of the own source of an ALL_TO_ALL. */
int64_t lsi_row(const struct ls_request *request, int from);

/* --- add.c: sums --- */
/* The request's reduction of `length` elements along steps, from where their inputs begin, into out. A partial is left
 * as it is; a result is divided where the reduction is a mean. */
void lsi_add_partial(const struct ls_request *request, const struct lsi_steps *steps, const void *const *inputs,
                     void *out, int64_t length);
void lsi_add_result(const struct ls_request *request, const struct lsi_steps *steps, const void *const *inputs,
                    void *out, int64_t length);

/* --- small.c: operations of one phase --- */
/* At most LSI_SMALL_BYTES of values a rank: it may go ONE_SHOT. All members come to the same answer. */
bool lsi_is_small(const struct ls_request *request);
/* Own values into `values` of LSI_SMALL_BYTES. */
void lsi_small_write(const struct ls_request *request, void *values);
/* The result from every rank's values. inputs: room for LSI_MAX_LEAVES pointers. */
void lsi_small_finish(const struct ls_request *request, const void *const *values, const void **inputs);

#endif
