/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collectives over messages (tcp, mpi): the same algorithms over anything that carries bytes in order between each pair
 * of ranks. Every operation begins with a frame from everyone to everyone, which holds the signature and, for at most
 * 4 KiB a rank, the values themselves; larger operations go on with the algorithm of their kind.
 */
#ifndef LOCKSTEP_COLLECTIVE_ALGO_MESSAGE_H
#define LOCKSTEP_COLLECTIVE_ALGO_MESSAGE_H

#include "collective/group_impl.h"
#include "collective/reduce.h"

struct lsi_algorithm;
struct lsi_link;

/* What carries the bytes. All calls come from the group's thread but abort. */
struct lsi_links_ops {
    /* Connects all members within options->form_deadline_ms. *links is returned and ends with destroy; *link, counters
     * a rank, are the links'. The listener stays the caller's. NULL where the provider has a create of its own. */
    enum ls_status (*open)(const struct ls_group_options *options, struct ls_group *group, void **links,
                           struct lsi_link **link, struct ls_error *err);
    /* Queues bytes (> 0) for a peer; data stays untouched until it is sent. */
    enum ls_status (*send)(void *state, int peer, const void *data, size_t bytes, struct ls_error *err);
    /* Queues the place for the next bytes of a peer. Sends and receives match one to one, in order. */
    enum ls_status (*receive)(void *state, int peer, void *data, size_t bytes, struct ls_error *err);
    /* Optional, all three or none: the values of an algorithm go another way than words, in batches, each of which
     * flush ends. Both ends of a message post it in batches at the same place of an order that all members keep. */
    enum ls_status (*send_values)(void *state, int peer, const void *data, size_t bytes, struct ls_error *err);
    enum ls_status (*receive_values)(void *state, int peer, void *data, size_t bytes, struct ls_error *err);
    void (*flush)(void *state);
    /* Moves what can be moved without waiting. LS_EPEER: *culprit is lost. */
    enum ls_status (*poll)(void *state, int *culprit, struct ls_error *err);
    /* As ls_provider_ops.idle. */
    bool (*idle)(void *state, int round);
    /* As ls_provider_ops.abort. */
    void (*abort)(void *state);
    void (*destroy)(void *state);
    /* Optional, as in ls_provider_ops. */
    enum ls_status (*look)(void *state, int *culprit, struct ls_error *err);
    void (*tell_wait)(void *state, int rank);
    int (*heard_wait)(void *state, int peer);
    /* Optional: from now on the members of this host are watched; called where nobody else does that. */
    void (*watch)(void *state);
    /* Optional, from any thread, without waiting: somebody else found the peer dead. All are told. */
    void (*died)(void *state, int peer);
    /* Bytes move inside poll alone: whoever waits for something else meanwhile goes on polling. */
    bool needs_polls;
    /* Optional: bytes of a segment of the canonical algorithm, where other than 128 KiB are faster. */
    int64_t segment_bytes;
    /* Optional: the carrier's own algorithm for an operation whose values do not fit the frames. */
    const struct lsi_algorithm *(*algorithm)(void *state, const struct ls_request *request);
};

/* Links over other links (hybrid, nccl over tcp): their state begins with this one, and what is only handed on goes to
 * these functions, which bear links without the optional slots. */
struct lsi_over {
    const struct lsi_links_ops *ops;
    void *links;
};
enum ls_status lsi_over_send(void *state, int peer, const void *data, size_t bytes, struct ls_error *err);
enum ls_status lsi_over_receive(void *state, int peer, void *data, size_t bytes, struct ls_error *err);
enum ls_status lsi_over_look(void *state, int *culprit, struct ls_error *err);
void lsi_over_tell_wait(void *state, int rank);
int lsi_over_heard_wait(void *state, int peer);
/* The links of a group that carries messages; where hosts are composed, those between hosts. */
void *lsi_links_of(const struct ls_group *group);

/* Counted by the carrier; read by the algorithms. */
struct lsi_link {
    uint64_t sends_posted;
    uint64_t sends_done;
    uint64_t receives_posted;
    uint64_t receives_done;
};

#define LSI_FRAME_MAGIC UINT32_C(0x6c73636f)
struct lsi_frame {
    uint32_t magic;
    uint32_t payload_bytes;
    uint64_t generation;
    uint64_t sequence;
    struct lsi_signature signature;
    uint64_t payload[]; /* LSI_SMALL_BYTES at most */
};

/* A whole frame of another rank, which has not been looked at, against the operation that this member runs: LS_EPEER or
 * LS_EDIVERGED say what is wrong with it. */
enum ls_status lsi_frame_judge(const struct ls_request *request, int rank, const struct lsi_frame *frame,
                               struct ls_error *err);

struct lsi_message;
/* One algorithm. begin posts what needs no peer, after all frames have come and fit; advance LS_EAGAIN: not complete
 * (the engine itself waits until all that was posted is done). */
struct lsi_algorithm {
    const char *name;
    enum ls_status (*begin)(struct lsi_message *m, struct ls_request *request, struct ls_error *err);
    enum ls_status (*advance)(struct lsi_message *m, struct ls_request *request, struct ls_error *err);
};
extern const struct lsi_algorithm lsi_all_reduce_canonical;
extern const struct lsi_algorithm lsi_all_reduce_gather;
extern const struct lsi_algorithm lsi_all_reduce_halving;
extern const struct lsi_algorithm lsi_all_reduce_ring;
extern const struct lsi_algorithm lsi_all_reduce_bf16;
extern const struct lsi_algorithm lsi_all_gather_direct;
extern const struct lsi_algorithm lsi_all_to_all_direct;
extern const struct lsi_algorithm lsi_broadcast_binomial;

enum lsi_message_phase { LSI_MESSAGE_FRAMES, LSI_MESSAGE_PAYLOADS, LSI_MESSAGE_ALGORITHM, LSI_MESSAGE_DRAIN };

struct lsi_message {
    struct ls_group *group;
    const struct lsi_links_ops *ops;
    void *links;
    struct lsi_link *link;   /* per rank */
    struct lsi_frame *frame; /* own */
    uint8_t *inbox;          /* frames of the peers, frame_room bytes each */
    uint8_t *staging;        /* of the algorithm */
    size_t staging_bytes;
    const void **inputs; /* room for one pointer per leaf */
    /* the operation that runs */
    uint64_t sequence;
    enum lsi_message_phase phase;
    const struct lsi_algorithm *algorithm;
    uint64_t moved; /* sum of the links' done counts, to notice progress */
    int64_t piece;  /* elements of a part in a segment or chunk */
    int64_t segments;
    int64_t posted;  /* segments whose values are under way */
    int64_t done;    /* segments added up */
    int64_t widened; /* bf16: segments whose sums came back */
    int level;       /* halving: halves taken, then given back */
    bool gathers;    /* halving: the second phase */
    uint64_t
        *receive_goal; /* [segment % 2][rank]: receives_done that completes its values; bf16: two sets more, of sums */
    uint64_t *send_goal;
};

/* Takes links (also on failure). */
enum ls_status lsi_message_create(struct ls_group *group, const struct lsi_links_ops *ops, void *links,
                                  struct lsi_link *link, struct lsi_message **message, struct ls_error *err);
/* Slots of a provider whose state is the message engine. */
bool lsi_message_supports(int kind, enum lsi_way way);
/* The algorithm that goes that way between ranks; NULL: there is none. */
const struct lsi_algorithm *lsi_message_algorithm(int kind, enum lsi_way way);
enum ls_status lsi_message_publish(void *state, struct ls_request *request, struct ls_error *err);
enum ls_status lsi_message_progress(void *state, struct ls_request *request, struct ls_error *err);
void lsi_message_destroy(void *state);
/* A provider's table, complete: itself where it carries no messages (links is NULL), else a copy in `room` whose slots
 * that were left NULL are the engine's (provider.c). tell_wait and heard_wait stay NULL where the links have none. */
const struct ls_provider_ops *lsi_message_complete(const struct ls_provider_ops *ops, struct ls_provider_ops *room);

/* For algorithms: own partial number `own` of elements [begin, begin + length): the leaf itself, or its leaves added
 * into room. */
const void *lsi_own_partial(struct lsi_message *m, const struct ls_request *request, int own, int64_t begin,
                            int64_t length, void *room);
struct lsi_own {
    const void *came; /* nullable: added first; it may be out */
    int64_t begin;
    int64_t length;
    int divisor; /* of a mean; 1 otherwise */
};
/* In any order: all leaves of this rank (one at least, or what came), one after another, into out. */
void lsi_own_sum(struct lsi_message *m, const struct ls_request *request, const struct lsi_own *own, void *out);

/* For algorithms. Zero bytes are no message. */
enum ls_status lsi_post_send(struct lsi_message *m, int peer, const void *data, int64_t bytes, struct ls_error *err);
enum ls_status lsi_post_receive(struct lsi_message *m, int peer, void *data, int64_t bytes, struct ls_error *err);
/* Staging memory of at least bytes; what was in it is lost. */
enum ls_status lsi_message_staging(struct lsi_message *m, size_t bytes, struct ls_error *err);

#endif
