/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several hosts, some with several members: bytes go between hosts over the links of a carrier (tcp, MPI, NCCL) and
 * inside a host through the shared memory of an inner group. Frames, small operations, words of aborts and the flat
 * algorithms go over the carrier (its words: with NCCL over tcp). Hosts are numbered in the order of their first
 * ranks, members of a host in the order of their ranks. The first members of each host are its lanes, as many as the
 * smallest host has: the k-th ones exchange between hosts.
 */
#ifndef LOCKSTEP_COLLECTIVE_PROVIDER_HYBRID_HYBRID_H
#define LOCKSTEP_COLLECTIVE_PROVIDER_HYBRID_HYBRID_H

#include "collective/algo/message.h"

/* Each member has two windows, which all members of its host read. */
#define HYBRID_WINDOW_BYTES (512 * 1024)
#define HYBRID_PLANS 16

/* Elements of a result. */
struct hybrid_span {
    int64_t begin;
    int64_t length;
};

/* A reduction's tree cut by hosts: each host's partials are the maximal subtrees whose leaves are all on it. */
struct hybrid_plan {
    uint64_t hash; /* of the tree cut by ranks */
    struct lsi_tree_cache cache;
    const struct lsi_tree *hosts;  /* in the cache; its ranks are hosts */
    struct ls_tree_layout *inside; /* per partial of this host: which members hold its leaves */
    int *first_own;                /* per partial: its own leaves are own[first_own[i] .. first_own[i + 1]) */
    int16_t own[LSI_MAX_LEAVES];   /* index among the leaves of the request */
};

/* An operation that goes from window to window (relay.c): for each segment s the values are put into windows s % 2, the
 * members of the host meet, everybody takes what it needs. */
struct hybrid_relay {
    enum ls_status (*post)(struct lsi_message *m, struct ls_request *request, int64_t s, struct ls_error *err);
    enum ls_status (*ready)(struct lsi_message *m, struct ls_request *request, int64_t s, struct ls_error *err);
    void (*take)(struct lsi_message *m, struct ls_request *request, int64_t s);
};

/* The operation that runs. */
struct hybrid_running {
    int step;
    int partial;   /* inside: the next one of this host */
    int64_t piece; /* elements in a window, or of a part in it */
    int64_t segments;
    int64_t inside; /* segments whose partials are under way */
    int64_t done;   /* segments that are complete */
    const struct hybrid_plan *plan;
    uint16_t *wire;                           /* staging of what travels as bf16; NULL: values travel as they are */
    const uint8_t *values[2][LSI_MAX_LEAVES]; /* own host's partials of the own slice, by segment % 2 */
};

struct hybrid {
    struct lsi_over over;  /* between hosts */
    struct lsi_link *link; /* its counters, per rank */
    struct ls_group *group;
    struct ls_group *inner;
    int hosts;
    int lanes;
    int host;  /* of this member */
    int index; /* on it */
    int16_t host_of[LS_MAX_MEMBERS];
    int16_t index_of[LS_MAX_MEMBERS];
    int16_t first_of[LS_MAX_MEMBERS + 1]; /* members of host h are member[first_of[h] .. first_of[h + 1]) */
    int16_t member[LS_MAX_MEMBERS];
    int16_t place_of[LS_MAX_MEMBERS]; /* gathers: where a rank's piece stands in the window of its proxy here */
    int most_held;                    /* pieces that any member has in its window */
    uint8_t *windows;
    struct ls_request *request; /* of the inner group, that runs */
    int64_t counts[LS_MAX_MEMBERS];
    const void *leaves[LSI_MAX_LEAVES];
    int64_t part_begin[LS_MAX_MEMBERS + 1];
    uint64_t inner_ticks;
    uint64_t inner_bytes;
    struct hybrid_plan *plans[HYBRID_PLANS];
    int next_plan;
    struct hybrid_running run;
};

static inline struct hybrid *hybrid_of(const struct lsi_message *m)
{
    return m->links;
}

static inline int hybrid_size(const struct hybrid *h, int host)
{
    return h->first_of[host + 1] - h->first_of[host];
}

/* The rank of a host's member. */
static inline int hybrid_rank(const struct hybrid *h, int host, int index)
{
    return h->member[h->first_of[host] + index];
}

/* Index of the member of a host that stands for a rank there: itself on its own host. */
static inline int hybrid_proxy(const struct hybrid *h, int host, int rank)
{
    return h->index_of[rank] % hybrid_size(h, host);
}

static inline bool hybrid_is_lane(const struct hybrid *h)
{
    return h->index < h->lanes;
}

/* hosts.c: who stands where; then the inner group is formed. */
void lsi_hybrid_place(struct hybrid *h);
enum ls_status lsi_hybrid_meet(struct hybrid *h, const struct ls_group_options *options, struct ls_error *err);
/* plan.c: of the request's tree, from the cache or into it. Borrowed while the request runs. */
enum ls_status lsi_hybrid_plan(struct hybrid *h, const struct ls_request *request, const struct hybrid_plan **plan,
                               struct ls_error *err);
void lsi_hybrid_plans_deinit(struct hybrid *h);
/* inner.c: an operation of the inner group. No-ops that succeed where the host has one member. */
enum ls_status lsi_hybrid_inner_start(struct hybrid *h, const struct ls_collective *op, struct ls_error *err);
enum ls_status lsi_hybrid_inner_test(struct lsi_message *m, struct ls_error *err);
/* Why the inner group has ended, if it has; *culprit is a rank of the whole. */
enum ls_status lsi_hybrid_inner_look(struct hybrid *h, int *culprit, struct ls_error *err);
void lsi_hybrid_inner_abort(struct hybrid *h);
/* The keeper of the host found a member of the inner group dead; h is the state. */
void lsi_hybrid_inner_died(void *h, int rank);
void lsi_hybrid_inner_destroy(struct hybrid *h);
/* Window s % 2 of a member of this host. */
uint8_t *lsi_hybrid_window(const struct hybrid *h, int index, int64_t s);
/* What was to come from (receives), or to go to, other hosts is done: up to goal[rank], NULL: everything. Otherwise
 * names who is waited for. */
bool lsi_hybrid_done(struct lsi_message *m, bool receives, const uint64_t *goal, const char *why);
bool lsi_hybrid_received(struct lsi_message *m, const char *why);
bool lsi_hybrid_sent(struct lsi_message *m, const char *why);
/* The messages of these algorithms go where the carrier wants values. Flush ends a batch of them. All members come by
 * their batches in one order, which no timing changes: by segment (of a reduction partials of s + 1 before sums of s),
 * in a broadcast then by the depth of who receives in the tree of hosts. Both ends post a message in the same one. */
enum ls_status lsi_hybrid_send(struct lsi_message *m, int peer, const void *data, int64_t bytes, struct ls_error *err);
enum ls_status lsi_hybrid_receive(struct lsi_message *m, int peer, void *data, int64_t bytes, struct ls_error *err);
void lsi_hybrid_flush(struct lsi_message *m);
/* relay.c */
void lsi_hybrid_relay_begin(struct lsi_message *m, int64_t piece, int64_t longest);
enum ls_status lsi_hybrid_relay(struct lsi_message *m, struct ls_request *request, const struct hybrid_relay *relay,
                                struct ls_error *err);

extern const struct lsi_algorithm lsi_hybrid_inside; /* all members are on one host */
extern const struct lsi_algorithm lsi_hybrid_reduce; /* both all-reduces, reduce-scatter */
extern const struct lsi_algorithm lsi_hybrid_all_gather;
extern const struct lsi_algorithm lsi_hybrid_broadcast;
extern const struct lsi_algorithm lsi_hybrid_all_to_all;

#endif
