/* SPDX-License-Identifier: Apache-2.0 */
/* The provider "tcp": the message engine over a mesh of sockets. */
#include "collective/transport/tcp/links.h"
#include "collective/transport/tcp/listen.h"
#include "collective/transport/tcp/tcp_internal.h"

#include "core/base/alloc.h"
#include "core/base/str.h"

#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define SPIN_ROUNDS 200 /* looks in vain before the first sleep */

static enum ls_status tcp_send(void *state, int peer, const void *data, size_t bytes, struct ls_error *err)
{
    struct tcp *tcp = state;

    tcp->links[peer].sends_posted++;
    return lsi_tcp_push(tcp, peer, true, data, bytes, err);
}

static enum ls_status tcp_receive(void *state, int peer, void *data, size_t bytes, struct ls_error *err)
{
    struct tcp *tcp = state;

    tcp->links[peer].receives_posted++;
    return lsi_tcp_push(tcp, peer, false, data, bytes, err);
}

static enum ls_status tcp_poll(void *state, int *culprit, struct ls_error *err)
{
    return lsi_tcp_move(state, culprit, err);
}

/* What a sleep waits for: for each rank its alarm, then its streams; the last one is the own wake-up. */
static nfds_t prepare(struct tcp *tcp)
{
    nfds_t at = 0;

    for (int r = 0; r < tcp->group->world; r++) {
        struct tcp_peer *peer = &tcp->peers[r];
        tcp->polls[at++] = (struct pollfd){peer->left || peer->ended ? -1 : peer->alarm, POLLIN, 0};
        for (int i = 0; i < tcp->streams; i++) {
            struct tcp_stream *stream = &peer->stream[i];
            short events = (short)((stream->in.count > 0 ? POLLIN : 0) | (stream->out.count > 0 ? POLLOUT : 0));
            tcp->polls[at++] = (struct pollfd){events != 0 ? stream->fd : -1, events, 0};
        }
    }
    tcp->polls[at++] = (struct pollfd){tcp->wake, POLLIN, 0};
    return at;
}

void lsi_tcp_read_alarms(struct tcp *tcp, int timeout_ms)
{
    nfds_t count = prepare(tcp);

    if (tcp->patience_ms != tcp->group->wait_deadline_ms)
        lsi_tcp_follow_patience(tcp);
    if (poll(tcp->polls, count, timeout_ms) <= 0)
        return;
    for (int r = 0; r < tcp->group->world; r++)
        if (r != tcp->group->rank && tcp->polls[r * (1 + tcp->streams)].revents != 0)
            lsi_tcp_alarm_read(tcp, r);
}

/* A yield; every sixteenth time the alarms are read instead. */
static bool tcp_idle(void *state, int round)
{
    struct tcp *tcp = state;
    bool sleeps = round >= tcp->spin_rounds;

    if (!sleeps && (round & 15) != 15)
        (void)sched_yield();
    else
        lsi_tcp_read_alarms(tcp, sleeps ? 5 : 0);
    return sleeps;
}

static enum ls_status tcp_look(void *state, int *culprit, struct ls_error *err)
{
    lsi_tcp_read_alarms(state, 0);
    return lsi_tcp_move(state, culprit, err);
}

/* From any thread: peers read the reason first, then the end of the data. */
static void tcp_abort(void *state)
{
    struct tcp *tcp = state;
    uint64_t one = 1;

    (void)lsi_group_end_error(tcp->group, NULL);
    lsi_tcp_alarm_send(tcp, TCP_ABORT, -1);
    for (int r = 0; r < tcp->group->world; r++)
        for (int i = 0; i < tcp->streams && r != tcp->group->rank; i++)
            (void)shutdown(tcp->peers[r].stream[i].fd, SHUT_RDWR);
    (void)!write(tcp->wake, &one, sizeof one);
}

static void tcp_free(struct tcp *tcp)
{
    lsi_tcp_alive_close(tcp);
    for (int r = 0; tcp->peers != NULL && r < tcp->group->world; r++) {
        struct tcp_peer *peer = &tcp->peers[r];
        if (peer->alarm >= 0)
            close(peer->alarm);
        for (int i = 0; i < tcp->streams; i++) {
            if (peer->stream[i].fd >= 0)
                close(peer->stream[i].fd);
            ls_free(peer->stream[i].out.items);
            ls_free(peer->stream[i].in.items);
            ls_free(peer->stream[i].buffer);
        }
    }
    if (tcp->wake >= 0)
        close(tcp->wake);
    ls_free(tcp->peers);
    ls_free(tcp->links);
    ls_free(tcp->polls);
    ls_free(tcp);
}

static void tcp_destroy(void *state)
{
    struct tcp *tcp = state;

    if (!lsi_group_ended(tcp->group))
        lsi_tcp_alarm_send(tcp, TCP_BYE, -1);
    tcp_free(tcp);
}

static void tcp_tell_wait(void *state, int rank)
{
    lsi_tcp_alarm_send(state, TCP_WAITS, rank);
}

static int tcp_heard_wait(void *state, int peer)
{
    const struct tcp *tcp = state;

    return tcp->peers[peer].waits_for;
}

static bool drives_beside(const void *state)
{
    (void)state;
    return true;
}

static bool is_local(const struct ls_group *group, int rank)
{
    return strcmp(group->members[rank].host, group->members[group->rank].host) == 0;
}

bool lsi_tcp_is_local(const struct tcp *tcp, int rank)
{
    return is_local(tcp->group, rank);
}

/* Spinning pays where each member of this host has a processor. */
static int choose_spin(const struct ls_group *group)
{
    cpu_set_t set;
    int processors = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    int here = 0;

    for (int r = 0; r < group->world; r++)
        here += is_local(group, r);
    return here <= processors ? SPIN_ROUNDS : 1;
}

/* One connection carries what one processor can; more of them help where a network is faster than that. */
static int choose_streams(void)
{
    const char *text = getenv(LS_TCP_STREAMS_VARIABLE);
    int64_t streams = 1;

    if (text == NULL || !ls_str_to_i64(text, &streams) || streams < 1)
        return 1;
    return streams < LS_TCP_MOST_STREAMS ? (int)streams : LS_TCP_MOST_STREAMS;
}

static enum ls_status allocate(struct tcp *tcp, struct ls_error *err)
{
    size_t world = (size_t)tcp->group->world;
    bool ok;

    tcp->peers = ls_alloc_zeroed(world, sizeof tcp->peers[0]);
    tcp->links = ls_alloc_zeroed(world, sizeof tcp->links[0]);
    tcp->polls = ls_alloc_zeroed(world * (1 + (size_t)tcp->streams) + 1, sizeof tcp->polls[0]);
    tcp->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ok = tcp->peers != NULL && tcp->links != NULL && tcp->polls != NULL && tcp->wake >= 0;
    for (size_t r = 0; tcp->peers != NULL && r < world; r++) {
        struct tcp_peer *peer = &tcp->peers[r];
        peer->alarm = peer->waits_for = -1;
        for (int i = 0; i < tcp->streams; i++) {
            peer->stream[i].fd = -1;
            if ((int)r != tcp->group->rank && ok)
                ok = (peer->stream[i].buffer = ls_alloc(TCP_BUFFER_BYTES)) != NULL;
        }
    }
    return ok ? LS_OK : ls_error_set(err, LS_ENOMEM, "no memory for the connections of a group of %zu", world);
}

static enum ls_status tcp_open(const struct ls_group_options *options, struct ls_group *group, void **links,
                               struct lsi_link **link, struct ls_error *err)
{
    struct tcp *tcp;
    enum ls_status status;

    if (options->listener < 0 && options->rank < options->world - 1)
        return ls_error_set(err, LS_EINVAL, "rank %d has no listening socket for its peers", options->rank);
    tcp = ls_alloc_zeroed(1, sizeof *tcp);
    if (tcp == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for a group");
    tcp->group = group;
    tcp->wake = tcp->alive_fd = -1;
    tcp->spin_rounds = choose_spin(group);
    tcp->streams = choose_streams();
    tcp->patience_ms = group->wait_deadline_ms;
    status = allocate(tcp, err);
    if (status == LS_OK)
        status = lsi_tcp_mesh(tcp, options, err);
    if (status != LS_OK) {
        tcp_free(tcp);
        return status;
    }
    *links = tcp;
    *link = tcp->links;
    return LS_OK;
}

const struct lsi_links_ops lsi_tcp_links = {
    .open = tcp_open,
    .send = tcp_send,
    .receive = tcp_receive,
    .poll = tcp_poll,
    .idle = tcp_idle,
    .abort = tcp_abort,
    .destroy = tcp_destroy,
    .look = tcp_look,
    .tell_wait = tcp_tell_wait,
    .heard_wait = tcp_heard_wait,
    .watch = lsi_tcp_alive_open,
    .died = lsi_tcp_alive_died,
};

const struct ls_provider_ops lsi_tcp_provider = {
    .size = sizeof(struct ls_provider_ops),
    .abi = LSI_PROVIDER_ABI,
    .name = "tcp",
    .links = &lsi_tcp_links,
    .supports = lsi_message_supports,
    .listens = true,
    .drives_beside = drives_beside,
};
