/* SPDX-License-Identifier: Apache-2.0 */
/* The virtual network's insides. Everything is under one lock; the order of events depends on the seed alone. */
#ifndef LOCKSTEP_COLLECTIVE_TRANSPORT_SIM_SIM_INTERNAL_H
#define LOCKSTEP_COLLECTIVE_TRANSPORT_SIM_SIM_INTERNAL_H

#include "collective/algo/message.h"
#include "collective/transport/sim/network.h"

#include <pthread.h>

#define SIM_MAX_MEMBERS 64
#define SIM_NEVER UINT64_MAX

/* A word is what ends things; it overtakes data. SIM_END is the end of a stream, in its order. */
enum sim_kind { SIM_PACKET, SIM_END, SIM_WORD, SIM_CUT, SIM_CRASH };
enum sim_word_kind { SIM_NO_WORD, SIM_WAITS, SIM_BYE, SIM_ABORT, SIM_DEATH };

struct sim_word {
    enum sim_word_kind kind;
    enum ls_status status;
    int culprit;
    char reason[400];
};

struct sim_event {
    uint64_t at_ns;
    uint64_t order; /* in which its stream made it */
    enum sim_kind kind;
    int from;
    int to;
    uint64_t sequence;      /* packets, end: place in the stream */
    struct sim_event *next; /* arrived and waiting for its turn */
    size_t taken;           /* bytes handed over */
    size_t bytes;
    uint8_t data[]; /* of the packet, or a sim_word */
};

struct sim_item {
    uint8_t *data;
    size_t bytes;
};

/* Messages that wait; `done` bytes of the first have gone. */
struct sim_queue {
    struct sim_item *items;
    size_t capacity;
    size_t first;
    size_t count;
    size_t done;
};

/* What one member sends another. */
struct sim_stream {
    uint64_t random;
    uint64_t order;
    uint64_t sent;           /* packets */
    uint64_t expected;       /* packet that is handed over next */
    size_t in_flight;        /* bytes sent and not handed over */
    struct sim_queue out;    /* the sender's */
    struct sim_queue in;     /* the receiver's places */
    struct sim_event *early; /* arrived, by sequence */
    bool ended;              /* SIM_END was reached */
    bool cut;
    bool short_of_memory;
    struct sim_word word; /* how the sender ended, as far as it has arrived */
    int waits_for;        /* the newest that the sender told; -1: nobody */
    uint64_t waits_order;
};

struct sim_member {
    struct ls_group *group; /* NULL: not there */
    struct lsi_link *links;
    bool came;
    bool idle;
    bool crashed;
    bool has_said; /* its end to the others */
    uint64_t crash_ns;
    bool silent;
};

struct sim_partition {
    uint64_t mask;
    uint64_t from_ns;
    uint64_t until_ns;
};

struct ls_sim_network {
    pthread_mutex_t lock;
    pthread_cond_t moved; /* time has passed */
    struct ls_sim_options options;
    uint64_t now_ns;
    int came;   /* members that were ever there */
    int stalls; /* real sleeps in a row in which no time passed */
    struct sim_member member[SIM_MAX_MEMBERS];
    struct sim_partition partition;
    struct sim_stream *streams; /* [from * world + to] */
    struct sim_event **heap;
    size_t heap_count;
    size_t heap_capacity;
    /* Networks of sub-groups: made by the first member that comes. */
    struct ls_sim_network *children;
    struct ls_sim_network *sibling;
    uint64_t key;
};

/* The network of the sub-group `key`; NULL: memory is short. */
struct ls_sim_network *lsi_sim_child(struct ls_sim_network *network, uint64_t key, int world);

static inline struct sim_stream *sim_stream(struct ls_sim_network *network, int from, int to)
{
    return &network->streams[from * network->options.world + to];
}

/* network.c; the lock is held. NULL/false: memory is short. */
struct sim_event *lsi_sim_event(struct ls_sim_network *network, enum sim_kind kind, int from, int to, size_t bytes);
/* Takes the event; an at_ns of SIM_NEVER ends it. */
bool lsi_sim_push(struct ls_sim_network *network, struct sim_event *event);
/* When something that is sent now arrives. */
uint64_t lsi_sim_arrival(struct ls_sim_network *network, int from, int to);
bool lsi_sim_chance(struct sim_stream *stream, int permille);
void lsi_sim_advance(struct ls_sim_network *network);
/* stream.c; the lock is held. */
bool lsi_sim_queue_push(struct sim_queue *queue, const void *data, size_t bytes);
/* Sends what the window has room for. */
void lsi_sim_send(struct ls_sim_network *network, int from, int to);
/* Hands over what has arrived in order. */
void lsi_sim_take(struct ls_sim_network *network, int from, int to);
void lsi_sim_arrive(struct ls_sim_network *network, struct sim_event *event);
/* Tells all others a word; one that ends this member ends its streams too. */
void lsi_sim_say(struct ls_sim_network *network, int from, const struct sim_word *word);
void lsi_sim_stream_free(struct sim_stream *stream);

#endif
