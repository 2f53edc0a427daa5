/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forms the full mesh: every member connects to all lower ranks and accepts all higher ones, both at once in one loop,
 * so that only who is really missing is named. Each connection is a small state machine of the handshake in hello.h.
 */
#include "collective/hello.h"
#include "collective/transport/tcp/listen.h"
#include "collective/transport/tcp/tcp_internal.h"

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RETRY_NS 2000000                /* between two calls of a peer that does not listen yet */
#define SILENCE_NS UINT64_C(3000000000) /* after which a caller that says nothing loses its place */

enum stage { FREE, RETRY, CONNECTING, CHALLENGE, GRANT, HELLO };

/* One connection on its way. Outgoing: RETRY, CONNECTING, CHALLENGE, GRANT; incoming: HELLO. */
struct meeting {
    enum stage stage;
    int fd;
    int rank; /* outgoing: who is called */
    int channel;
    uint64_t since_ns;
    size_t have;
    uint8_t challenge[LSI_CHALLENGE_BYTES];
    struct lsi_hello hello;
    struct lsi_grant grant;
};

struct mesh {
    struct tcp *tcp;
    const struct ls_group_options *options;
    uint64_t deadline_ns;
    struct meeting *meetings;
    struct pollfd *polls;
    int capacity;
    int missing;       /* connections */
    int short_errno;   /* why the system gave no descriptor last; 0: it gave one */
    uint64_t short_ns; /* since when */
};

static void hang_up(struct meeting *meeting, enum stage stage)
{
    if (meeting->fd >= 0)
        close(meeting->fd);
    meeting->fd = -1;
    meeting->stage = stage;
    meeting->have = 0;
    meeting->since_ns = ls_clock_now_ns();
}

/* poll takes no more places than the process may have descriptors; each place may come to hold one, beside those that
 * are open already, below the newest of them. */
static void make_room(const struct mesh *mesh)
{
    ls_descriptors_allow((uint64_t)mesh->capacity + 1 + (uint64_t)mesh->tcp->wake + 1);
}

/* Notes whether a descriptor could be had. */
static void note_descriptor(struct mesh *mesh, int fd)
{
    if (fd >= 0) {
        mesh->short_errno = 0;
    } else if (mesh->short_errno == 0 && (errno == EMFILE || errno == ENFILE)) {
        mesh->short_errno = errno;
        mesh->short_ns = ls_clock_now_ns();
    }
}

/* By then a stranger who held a descriptor without a word has lost it. */
static bool is_short(const struct mesh *mesh)
{
    return mesh->short_errno != 0 && ls_clock_now_ns() - mesh->short_ns > SILENCE_NS + RETRY_NS;
}

/* That poll refuses more places than the process may have descriptors is the same. */
static enum ls_status name_shortage(const struct mesh *mesh, struct ls_error *err)
{
    return ls_error_set(
        err, LS_EIO, "%d connections to other workers are missing and cannot be made: %s; raise the limit (ulimit -n)",
        mesh->missing, strerror(mesh->short_errno != 0 ? mesh->short_errno : EMFILE));
}

/* For tests and benches: the kernel sends at most so many bytes a second over each connection. */
static void slow_down(int fd)
{
    const char *text = getenv("LOCKSTEP_DEBUG_TCP_RATE");
    uint64_t rate = text != NULL ? strtoull(text, NULL, 10) : 0;

    if (rate > 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof rate);
}

/* Where the descriptor of a channel stands. */
static int *channel_of(struct tcp *tcp, int rank, int channel)
{
    struct tcp_peer *peer = &tcp->peers[rank];

    return channel == TCP_ALARM ? &peer->alarm : &peer->stream[channel - 1].fd;
}

/* Members of other hosts are accepted from a listener of ls_tcp_listen as well: back to what the system has for all. */
static void restore_control(int fd)
{
    int fresh = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char name[32] = "";
    socklen_t length = sizeof name;

    if (fresh >= 0 && getsockopt(fresh, IPPROTO_TCP, TCP_CONGESTION, name, &length) == 0)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strnlen(name, sizeof name));
    if (fresh >= 0)
        close(fresh);
}

/* Not less than an operation may wait: a peer that computes in the middle of one reads nothing, and the kernel counts
 * the time of its closed window too. */
static void set_patience(int fd, int64_t wait_deadline_ms)
{
    unsigned user_ms = wait_deadline_ms < INT_MAX ? (unsigned)wait_deadline_ms : INT_MAX;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_ms, sizeof user_ms);
}

static void tune(int fd, int64_t wait_deadline_ms, bool local)
{
    int on = 1;
    int idle_s = 5;
    int interval_s = 2;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (!local)
        restore_control(fd);
    /* A silent host is asked while nothing is sent. The user timeout decides when it is given up: where one is set,
     * Linux does not count the probes. A job hears of it sooner, by the coordinator's heartbeats. */
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    set_patience(fd, wait_deadline_ms);
}

void lsi_tcp_follow_patience(struct tcp *tcp)
{
    tcp->patience_ms = tcp->group->wait_deadline_ms;
    for (int r = 0; r < tcp->group->world; r++)
        for (int c = 0; c <= tcp->streams && r != tcp->group->rank; c++)
            set_patience(*channel_of(tcp, r, c), tcp->patience_ms);
}

/* The connection belongs to the group from now on. */
static void settle(struct mesh *mesh, struct meeting *meeting, int rank, int channel)
{
    tune(meeting->fd, mesh->options->wait_deadline_ms, lsi_tcp_is_local(mesh->tcp, rank));
    if (channel != TCP_ALARM)
        slow_down(meeting->fd);
    *channel_of(mesh->tcp, rank, channel) = meeting->fd;
    meeting->fd = -1;
    meeting->stage = FREE;
    mesh->missing--;
}

static enum ls_status call(struct mesh *mesh, struct meeting *meeting, struct ls_error *err)
{
    const struct ls_member *member = &mesh->tcp->group->members[meeting->rank];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found;
    char port[8];
    char who[128];

    (void)snprintf(port, sizeof port, "%u", member->port);
    if (getaddrinfo(member->address, port, &hints, &found) != 0)
        return ls_error_set(err, LS_EINVAL, "the address '%.63s' of %s is no number of a host", member->address,
                            lsi_member_text(mesh->tcp->group, meeting->rank, who));
    hang_up(meeting, RETRY);
    meeting->fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    note_descriptor(mesh, meeting->fd);
    if (meeting->fd >= 0 && lsi_tcp_is_local(mesh->tcp, meeting->rank))
        ls_tcp_unpace(meeting->fd);
    if (meeting->fd >= 0 && (connect(meeting->fd, found->ai_addr, found->ai_addrlen) == 0 || errno == EINPROGRESS))
        meeting->stage = CONNECTING;
    else
        hang_up(meeting, RETRY);
    freeaddrinfo(found);
    return LS_OK;
}

/* Reads up to `bytes` in all; true when they are complete. A broken connection goes back to `stage`. */
static bool gather(struct meeting *meeting, void *data, size_t bytes, enum stage stage)
{
    ssize_t n = recv(meeting->fd, (uint8_t *)data + meeting->have, bytes - meeting->have, MSG_DONTWAIT);

    if (n > 0) {
        meeting->have += (size_t)n;
        if (meeting->have < bytes)
            return false;
        meeting->have = 0;
        return true;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        hang_up(meeting, stage);
    return false;
}

/* Handshake messages are far smaller than an empty socket's buffer. */
static bool say(struct meeting *meeting, const void *data, size_t bytes, enum stage on_failure)
{
    if (send(meeting->fd, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)bytes)
        return true;
    hang_up(meeting, on_failure);
    return false;
}

static enum ls_status outgoing(struct mesh *mesh, struct meeting *meeting, struct ls_error *err)
{
    const struct ls_group *group = mesh->tcp->group;
    int error = 0;
    socklen_t length = sizeof error;
    char where[128];
    enum ls_status status;

    switch (meeting->stage) {
    case CONNECTING:
        if (getsockopt(meeting->fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0 || error != 0)
            hang_up(meeting, RETRY);
        else
            meeting->stage = CHALLENGE;
        return LS_OK;
    case CHALLENGE:
        if (!gather(meeting, meeting->challenge, sizeof meeting->challenge, RETRY))
            return LS_OK;
        status = lsi_hello_make(group, mesh->options->secret, meeting->challenge, meeting->channel,
                                1 + mesh->tcp->streams, &meeting->hello, err);
        if (status == LS_OK && say(meeting, &meeting->hello, sizeof meeting->hello, RETRY))
            meeting->stage = GRANT;
        return status;
    case GRANT:
        if (!gather(meeting, &meeting->grant, sizeof meeting->grant, RETRY))
            return LS_OK;
        status = lsi_grant_check(group, mesh->options->secret, meeting->challenge, &meeting->hello, &meeting->grant,
                                 lsi_member_text(group, meeting->rank, where), err);
        if (status == LS_OK)
            settle(mesh, meeting, meeting->rank, meeting->channel);
        return status;
    default:
        return LS_OK;
    }
}

/* Each of a pair would wait for connections that the other does not make: both are told at once. */
static enum ls_status compare_streams(const struct mesh *mesh, struct meeting *meeting, struct ls_error *err)
{
    const struct ls_group *group = mesh->tcp->group;
    int own = mesh->tcp->streams;
    long long other = (long long)meeting->hello.channels - 1;
    struct ls_error why = LS_ERROR_INIT;
    char who[128];

    if (other == own)
        return LS_OK;
    (void)ls_error_set(&why, LS_EUSAGE,
                       LS_TCP_STREAMS_VARIABLE " is %lld for %s and %d for rank %d; set the same for all workers",
                       other, lsi_member_text(group, meeting->hello.rank, who), own, lsi_rank_name(group, group->rank));
    lsi_grant_end(mesh->options->secret, meeting->challenge, &meeting->hello, why.message, &meeting->grant);
    return ls_error_set(err, LS_EUSAGE, "%s", why.message);
}

static enum ls_status incoming(struct mesh *mesh, struct meeting *meeting, struct ls_error *err)
{
    const struct ls_group *group = mesh->tcp->group;
    struct lsi_hello *hello = &meeting->hello;
    enum ls_status status = LS_OK;

    if (!gather(meeting, hello, sizeof *hello, FREE))
        return LS_OK;
    if (lsi_hello_judge(group, mesh->options->secret, meeting->challenge, hello, &meeting->grant) == LS_OK) {
        status = compare_streams(mesh, meeting, err);
        if (status == LS_OK && (hello->rank < group->rank || hello->channel < 0 || hello->channel > mesh->tcp->streams))
            (void)lsi_grant_refuse(&meeting->grant, "it should be called, not call");
        else if (status == LS_OK && *channel_of(mesh->tcp, hello->rank, hello->channel) >= 0)
            (void)lsi_grant_refuse(&meeting->grant, "its rank has come already");
    }
    if (!say(meeting, &meeting->grant, sizeof meeting->grant, FREE))
        return status;
    if (meeting->grant.status == LS_OK)
        settle(mesh, meeting, hello->rank, hello->channel);
    else
        hang_up(meeting, FREE);
    return status;
}

/* Takes a caller in; where all places are taken the one that has been silent longest goes. */
static void accept_one(struct mesh *mesh)
{
    int fd = accept4(mesh->options->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct meeting *place = NULL;

    note_descriptor(mesh, fd);
    if (fd < 0)
        return;
    for (int i = 0; i < mesh->capacity; i++) {
        struct meeting *m = &mesh->meetings[i];
        if (m->stage == FREE) {
            place = m;
            break;
        }
        if (m->stage == HELLO && (place == NULL || m->since_ns < place->since_ns))
            place = m;
    }
    if (place == NULL) {
        close(fd);
        return;
    }
    hang_up(place, FREE);
    place->fd = fd;
    if (ls_random_bytes(place->challenge, sizeof place->challenge) != LS_OK) {
        hang_up(place, FREE);
        return;
    }
    if (say(place, place->challenge, sizeof place->challenge, FREE))
        place->stage = HELLO;
}

/* Descriptors to wait for; entry i + 1 belongs to meeting i. */
static enum ls_status prepare(struct mesh *mesh, struct ls_error *err)
{
    uint64_t now = ls_clock_now_ns();
    enum ls_status status = LS_OK;

    mesh->polls[0] = (struct pollfd){mesh->options->listener, POLLIN, 0};
    for (int i = 0; i < mesh->capacity && status == LS_OK; i++) {
        struct meeting *m = &mesh->meetings[i];
        if (m->stage == RETRY && now - m->since_ns >= RETRY_NS)
            status = call(mesh, m, err);
        if (m->stage == HELLO && now - m->since_ns >= SILENCE_NS)
            hang_up(m, FREE);
        mesh->polls[i + 1] = (struct pollfd){m->fd, m->stage == CONNECTING ? POLLOUT : POLLIN, 0};
    }
    return status;
}

static enum ls_status name_missing(const struct mesh *mesh, struct ls_error *err)
{
    bool here[LS_MAX_MEMBERS];

    for (int r = 0; r < mesh->tcp->group->world; r++) {
        const struct tcp_peer *peer = &mesh->tcp->peers[r];
        here[r] = r == mesh->tcp->group->rank || peer->alarm >= 0;
        for (int i = 0; i < mesh->tcp->streams && r != mesh->tcp->group->rank; i++)
            here[r] = here[r] && peer->stream[i].fd >= 0;
    }
    return lsi_missing(mesh->tcp->group, here, mesh->options->form_deadline_ms, err);
}

static enum ls_status meet(struct mesh *mesh, struct ls_error *err)
{
    while (mesh->missing > 0) {
        enum ls_status status = prepare(mesh, err);
        int ready;

        if (status != LS_OK)
            return status;
        if (lsi_form_over(mesh->tcp->group, mesh->options, mesh->deadline_ns))
            return name_missing(mesh, err);
        ready = poll(mesh->polls, (nfds_t)mesh->capacity + 1, 2);
        if ((ready < 0 && errno == EINVAL) || is_short(mesh))
            return name_shortage(mesh, err);
        if (ready <= 0)
            continue;
        for (int i = 0; i < mesh->capacity && status == LS_OK; i++) {
            struct meeting *m = &mesh->meetings[i];
            if (mesh->polls[i + 1].revents == 0 || m->fd != mesh->polls[i + 1].fd)
                continue;
            if (m->stage == HELLO)
                status = incoming(mesh, m, err);
            else
                status = outgoing(mesh, m, err);
        }
        if (status != LS_OK)
            return status;
        if (mesh->polls[0].revents != 0)
            accept_one(mesh);
    }
    return LS_OK;
}

enum ls_status lsi_tcp_mesh(struct tcp *tcp, const struct ls_group_options *options, struct ls_error *err)
{
    int channels = 1 + tcp->streams, calls = channels * options->rank;
    struct mesh mesh = {.tcp = tcp,
                        .options = options,
                        .deadline_ns = ls_clock_now_ns() + (uint64_t)options->form_deadline_ms * 1000000u,
                        .capacity = calls + channels * options->world + 16,
                        .missing = channels * (options->world - 1)};
    enum ls_status status;

    make_room(&mesh);
    (void)fcntl(options->listener, F_SETFL, fcntl(options->listener, F_GETFL) | O_NONBLOCK);
    mesh.meetings = ls_alloc_zeroed((size_t)mesh.capacity, sizeof mesh.meetings[0]);
    mesh.polls = ls_alloc_zeroed((size_t)mesh.capacity + 1, sizeof mesh.polls[0]);
    if (mesh.meetings == NULL || mesh.polls == NULL) {
        status = ls_error_set(err, LS_ENOMEM, "no memory to form a group of %d", options->world);
    } else {
        for (int i = 0; i < mesh.capacity; i++)
            mesh.meetings[i].fd = -1;
        for (int i = 0; i < calls; i++) {
            mesh.meetings[i].stage = RETRY;
            mesh.meetings[i].rank = i / channels;
            mesh.meetings[i].channel = i % channels;
        }
        status = meet(&mesh, err);
        for (int i = 0; i < mesh.capacity; i++)
            hang_up(&mesh.meetings[i], FREE);
    }
    ls_free(mesh.meetings);
    ls_free(mesh.polls);
    return status;
}
