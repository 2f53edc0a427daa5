/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves queued messages over non-blocking sockets: what is due to go is written from several messages at once; large
 * pieces are read straight to their place, small ones through a read-ahead buffer, so that a frame and the values
 * behind it cost one call.
 */
#include "collective/transport/tcp/tcp_internal.h"

#include "core/base/alloc.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define MOST_PIECES 16
/* At most so much of one peer in one go, so that others and aborts are looked at. */
#define MOST_BYTES ((size_t)2 << 20)
#define DIRECT_BYTES ((size_t)8 << 10)

enum ls_status lsi_tcp_queue_push(struct tcp_queue *queue, const void *data, size_t bytes, struct ls_error *err)
{
    if (queue->count == queue->capacity) {
        size_t capacity = queue->capacity == 0 ? 32 : 2 * queue->capacity;
        struct tcp_item *items = ls_alloc_zeroed(capacity, sizeof *items);
        if (items == NULL)
            return ls_error_set(err, LS_ENOMEM, "no memory for %zu queued messages", capacity);
        for (size_t i = 0; i < queue->count; i++)
            items[i] = queue->items[(queue->first + i) % queue->capacity];
        ls_free(queue->items);
        queue->items = items;
        queue->capacity = capacity;
        queue->first = 0;
    }
    queue->items[(queue->first + queue->count++) % queue->capacity] =
        (struct tcp_item){(uint8_t *)(uintptr_t)data, bytes};
    return LS_OK;
}

static struct tcp_item *first_of(const struct tcp_queue *queue)
{
    return &queue->items[queue->first];
}

/* `bytes` of the queue have gone; returns how many messages that ended. */
static uint64_t advance(struct tcp_queue *queue, size_t bytes)
{
    uint64_t ended = 0;

    queue->done += bytes;
    while (queue->count > 0 && queue->done >= first_of(queue)->bytes) {
        queue->done -= first_of(queue)->bytes;
        queue->first = (queue->first + 1) % queue->capacity;
        queue->count--;
        ended++;
    }
    return ended;
}

/* 0 or the errno that ended the connection. */
static int send_some(struct tcp_peer *peer, struct lsi_link *link)
{
    size_t sent = 0;

    while (peer->out.count > 0 && sent < MOST_BYTES) {
        struct iovec parts[MOST_PIECES];
        struct msghdr message = {.msg_iov = parts};
        size_t skip = peer->out.done;
        while (message.msg_iovlen < MOST_PIECES && message.msg_iovlen < peer->out.count) {
            struct tcp_item *item = &peer->out.items[(peer->out.first + message.msg_iovlen) % peer->out.capacity];
            parts[message.msg_iovlen++] = (struct iovec){item->data + skip, item->bytes - skip};
            skip = 0;
        }
        ssize_t n = sendmsg(peer->fd[TCP_DATA], &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : errno;
        link->sends_done += advance(&peer->out, (size_t)n);
        sent += (size_t)n;
    }
    return 0;
}

/* From the buffer to the places that wait. */
static void unbuffer(struct tcp_peer *peer, struct lsi_link *link)
{
    while (peer->in.count > 0 && peer->buffer_begin < peer->buffer_end) {
        struct tcp_item *item = first_of(&peer->in);
        size_t due = item->bytes - peer->in.done;
        size_t have = peer->buffer_end - peer->buffer_begin;
        size_t n = due < have ? due : have;
        memcpy(item->data + peer->in.done, peer->buffer + peer->buffer_begin, n);
        peer->buffer_begin += n;
        link->receives_done += advance(&peer->in, n);
    }
    if (peer->buffer_begin == peer->buffer_end)
        peer->buffer_begin = peer->buffer_end = 0;
}

/* 0, the errno that ended the connection, or ESHUTDOWN at its end. */
static int receive_some(struct tcp_peer *peer, struct lsi_link *link)
{
    size_t received = 0;

    unbuffer(peer, link);
    while (peer->in.count > 0 && received < MOST_BYTES) {
        struct tcp_item *item = first_of(&peer->in);
        size_t due = item->bytes - peer->in.done;
        bool direct = due >= DIRECT_BYTES;
        ssize_t n = direct ? recv(peer->fd[TCP_DATA], item->data + peer->in.done, due, MSG_DONTWAIT)
                           : recv(peer->fd[TCP_DATA], peer->buffer, TCP_BUFFER_BYTES, MSG_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : errno;
        if (n == 0)
            return ESHUTDOWN;
        received += (size_t)n;
        if (direct) {
            link->receives_done += advance(&peer->in, (size_t)n);
        } else {
            peer->buffer_end = (size_t)n;
            unbuffer(peer, link);
        }
    }
    return 0;
}

enum ls_status lsi_tcp_move(struct tcp *tcp, int *culprit, struct ls_error *err)
{
    int dead = atomic_load_explicit(&tcp->dead, memory_order_acquire);

    if (dead != 0 && tcp->loss.status == LS_OK)
        lsi_tcp_alarm_died(tcp, dead - 1);
    if (tcp->loss.status != LS_OK) {
        *culprit = tcp->culprit;
        return ls_error_set(err, tcp->loss.status, "%s", tcp->loss.message);
    }
    for (int r = 0; r < tcp->group->world; r++) {
        struct tcp_peer *peer = &tcp->peers[r];
        int error = 0;
        if (peer->out.count > 0)
            error = send_some(peer, &tcp->links[r]);
        /* What a peer sent before it went away still counts. */
        if (peer->in.count > 0) {
            int other = receive_some(peer, &tcp->links[r]);
            error = error != 0 ? error : other;
        }
        if (error != 0)
            return lsi_tcp_lost(tcp, r, error, culprit, err);
    }
    return LS_OK;
}
