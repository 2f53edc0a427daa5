/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP between each pair of members: connections for data, the streams, and one, the alarm, for words: a bye or the
 * reason of an abort, which cannot wait behind half-sent data, and who is waited for. End of file without a word means
 * that the peer died.
 */
#ifndef LOCKSTEP_COLLECTIVE_TRANSPORT_TCP_TCP_INTERNAL_H
#define LOCKSTEP_COLLECTIVE_TRANSPORT_TCP_TCP_INTERNAL_H

#include "collective/algo/message.h"
#include "collective/liveness.h"
#include "collective/transport/tcp/listen.h"
#include "collective/transport/tcp/words.h"

#define TCP_BUFFER_BYTES (64 * 1024)

/* Channels of a pair: the alarm, then the streams. */
#define TCP_ALARM 0
#define TCP_MOST_CHANNELS (1 + LS_TCP_MOST_STREAMS)
/* Messages from here on are cut in as many pieces as there are streams; shorter ones go over the first. */
#define TCP_STRIPE_BYTES ((size_t)64 * 1024)

struct tcp_item {
    uint8_t *data;
    size_t bytes;
};

/* A ring of messages that wait; `done` bytes of the first one have gone. */
struct tcp_queue {
    struct tcp_item *items;
    size_t capacity;
    size_t first;
    size_t count;
    size_t done;
    uint64_t ended; /* messages that are over */
};

/* One connection for data. Every message passes every stream, where need be with no byte: what all streams have ended
 * is done. */
struct tcp_stream {
    int fd;
    struct tcp_queue out;
    struct tcp_queue in;
    uint8_t *buffer; /* read ahead of what was asked for */
    size_t buffer_begin;
    size_t buffer_end;
};

struct tcp_peer {
    int alarm;
    struct tcp_stream stream[LS_TCP_MOST_STREAMS];
    bool left;     /* it said bye */
    bool ended;    /* it told a reason, or died: in loss */
    int waits_for; /* rank, as it told; -1: nobody */
    bool told_alive;
    struct tcp_page *_Atomic page; /* alive.c: of another process of this host, and the own one */
    struct tcp_heard heard;        /* over the alarm */
};

struct tcp {
    struct ls_group *group;
    struct tcp_peer *peers;
    struct lsi_link *links;
    struct pollfd *polls;
    int streams;         /* of a pair */
    int64_t patience_ms; /* the kernel's */
    int wake;            /* eventfd: an abort by another thread, a death that the keeper noticed */
    int spin_rounds;
    struct ls_error loss; /* first loss that was noticed */
    int culprit;
    struct lsi_keeper keeper;
    int alive_fd;     /* of the own page */
    _Atomic int dead; /* 1 + the rank whose death the keeper noticed */
};

/* The member is on this host, by its name. */
bool lsi_tcp_is_local(const struct tcp *tcp, int rank);
/* mesh.c: connects all pairs. Follow: the kernel is to be as patient as the group is now. */
enum ls_status lsi_tcp_mesh(struct tcp *tcp, const struct ls_group_options *options, struct ls_error *err);
void lsi_tcp_follow_patience(struct tcp *tcp);
/* stream.c: queues and the moving of bytes. Push: a message over the streams of a pair. */
enum ls_status lsi_tcp_push(struct tcp *tcp, int rank, bool out, const void *data, size_t bytes, struct ls_error *err);
enum ls_status lsi_tcp_move(struct tcp *tcp, int *culprit, struct ls_error *err);
/* alive.c: deaths on this host. Heard: what a peer said of its page. Died: from a keeper's thread. */
void lsi_tcp_alive_open(void *state);
void lsi_tcp_alive_died(void *state, int rank);
void lsi_tcp_alive_heard(struct tcp *tcp, int rank, const struct tcp_message *message);
void lsi_tcp_alive_close(struct tcp *tcp);
/* Waits for alarms, or a wake-up, at most so long, and reads what came. */
void lsi_tcp_read_alarms(struct tcp *tcp, int timeout_ms);
/* alarm.c. Died: notes what the keeper found. */
void lsi_tcp_alarm_died(struct tcp *tcp, int rank);
void lsi_tcp_alarm_send(struct tcp *tcp, enum tcp_word word, int culprit);
/* Reads the alarm of a peer without waiting; notes a bye, a wait, a reason or a death. */
void lsi_tcp_alarm_read(struct tcp *tcp, int rank);
/* The data connection of a peer ended: finds out why. Waits at most 100 ms for its alarm. */
enum ls_status lsi_tcp_lost(struct tcp *tcp, int rank, int error, int *culprit, struct ls_error *err);

#endif
