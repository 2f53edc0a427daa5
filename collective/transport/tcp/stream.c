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

static enum ls_status push(struct tcp_queue *queue, const void *data, size_t bytes, struct ls_error *err)
{
    if (bytes == 0 && queue->count == 0) {
        queue->ended++;
        return LS_OK;
    }
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

enum ls_status lsi_tcp_push(struct tcp *tcp, int rank, bool out, const void *data, size_t bytes, struct ls_error *err)
{
    struct tcp_peer *peer = &tcp->peers[rank];
    size_t pieces = bytes >= TCP_STRIPE_BYTES ? (size_t)tcp->streams : 1;
    enum ls_status status = LS_OK;

    for (size_t i = 0; i < (size_t)tcp->streams && status == LS_OK; i++) {
        struct tcp_queue *queue = out ? &peer->stream[i].out : &peer->stream[i].in;
        size_t begin = i < pieces ? bytes * i / pieces : bytes, end = i < pieces ? bytes * (i + 1) / pieces : bytes;
        status = push(queue, (const uint8_t *)data + begin, end - begin, err);
    }
    return status;
}

static struct tcp_item *first_of(const struct tcp_queue *queue)
{
    return &queue->items[queue->first];
}

/* `bytes` of the queue have gone. */
static void advance(struct tcp_queue *queue, size_t bytes)
{
    queue->done += bytes;
    while (queue->count > 0 && queue->done >= first_of(queue)->bytes) {
        queue->done -= first_of(queue)->bytes;
        queue->first = (queue->first + 1) % queue->capacity;
        queue->count--;
        queue->ended++;
    }
}

/* 0 or the errno that ended the connection. */
static int send_some(struct tcp_stream *stream)
{
    size_t sent = 0;

    while (stream->out.count > 0 && sent < MOST_BYTES) {
        struct iovec parts[MOST_PIECES];
        struct msghdr message = {.msg_iov = parts};
        size_t skip = stream->out.done;
        while (message.msg_iovlen < MOST_PIECES && message.msg_iovlen < stream->out.count) {
            struct tcp_item *item = &stream->out.items[(stream->out.first + message.msg_iovlen) % stream->out.capacity];
            parts[message.msg_iovlen++] = (struct iovec){item->data + skip, item->bytes - skip};
            skip = 0;
        }
        ssize_t n = sendmsg(stream->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : errno;
        advance(&stream->out, (size_t)n);
        sent += (size_t)n;
    }
    return 0;
}

/* From the buffer to the places that wait. */
static void unbuffer(struct tcp_stream *stream)
{
    while (stream->in.count > 0 && stream->buffer_begin < stream->buffer_end) {
        struct tcp_item *item = first_of(&stream->in);
        size_t due = item->bytes - stream->in.done;
        size_t have = stream->buffer_end - stream->buffer_begin;
        size_t n = due < have ? due : have;
        memcpy(item->data + stream->in.done, stream->buffer + stream->buffer_begin, n);
        stream->buffer_begin += n;
        advance(&stream->in, n);
    }
    if (stream->buffer_begin == stream->buffer_end)
        stream->buffer_begin = stream->buffer_end = 0;
}

/* 0, the errno that ended the connection, or ESHUTDOWN at its end. */
static int receive_some(struct tcp_stream *stream)
{
    size_t received = 0;

    unbuffer(stream);
    while (stream->in.count > 0 && received < MOST_BYTES) {
        struct tcp_item *item = first_of(&stream->in);
        size_t due = item->bytes - stream->in.done;
        bool direct = due >= DIRECT_BYTES;
        ssize_t n = direct ? recv(stream->fd, item->data + stream->in.done, due, MSG_DONTWAIT)
                           : recv(stream->fd, stream->buffer, TCP_BUFFER_BYTES, MSG_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : errno;
        if (n == 0)
            return ESHUTDOWN;
        received += (size_t)n;
        if (direct) {
            advance(&stream->in, (size_t)n);
        } else {
            stream->buffer_end = (size_t)n;
            unbuffer(stream);
        }
    }
    return 0;
}

/* 0 or why the pair's connections ended. */
static int move_pair(struct tcp *tcp, int rank)
{
    struct lsi_link *link = &tcp->links[rank];
    uint64_t sent = UINT64_MAX, received = UINT64_MAX;
    int error = 0;

    for (int i = 0; i < tcp->streams; i++) {
        struct tcp_stream *stream = &tcp->peers[rank].stream[i];
        int other = stream->out.count > 0 ? send_some(stream) : 0;
        error = error != 0 ? error : other;
        /* What a peer sent before it went away still counts. */
        other = stream->in.count > 0 ? receive_some(stream) : 0;
        error = error != 0 ? error : other;
        sent = stream->out.ended < sent ? stream->out.ended : sent;
        received = stream->in.ended < received ? stream->in.ended : received;
    }
    link->sends_done = sent;
    link->receives_done = received;
    return error;
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
        int error = r != tcp->group->rank ? move_pair(tcp, r) : 0;
        if (error != 0)
            return lsi_tcp_lost(tcp, r, error, culprit, err);
    }
    return LS_OK;
}
