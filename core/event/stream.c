/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP streams. A stream's owner either closes it, ends it (queued bytes still leave) or hears of its end through
 * on_close, exactly one of the three. Memory goes when libuv has let go of the last handle.
 */
#include "core/event/event_internal.h"

#include "core/base/alloc.h"

#include <string.h>

struct ls_stream {
    struct lsi_owner owner;
    struct ls_loop *loop;
    uv_tcp_t tcp;
    uv_timer_t linger; /* bounds how long ls_stream_end may take */
    uv_connect_t connect;
    uv_shutdown_t shutdown;
    uv_getaddrinfo_t resolve;
    struct ls_stream_handlers handlers;
    void *state;
    bool let_go; /* no callback any more */
};

struct write {
    uv_write_t uv;
    char bytes[];
};

uv_tcp_t *lsi_stream_tcp(struct ls_stream *stream)
{
    return &stream->tcp;
}

struct ls_stream *lsi_stream_create(struct ls_loop *loop)
{
    struct ls_stream *stream = ls_alloc_zeroed(1, sizeof *stream);

    if (stream == NULL)
        return NULL;
    if (uv_tcp_init(&loop->uv, &stream->tcp) != 0) {
        ls_free(stream);
        return NULL;
    }
    (void)uv_timer_init(&loop->uv, &stream->linger);
    lsi_handle_attach((uv_handle_t *)&stream->tcp, &stream->owner);
    lsi_handle_attach((uv_handle_t *)&stream->linger, &stream->owner);
    stream->loop = loop;
    stream->let_go = true;
    return stream;
}

void ls_stream_close(struct ls_stream *stream)
{
    if (stream == NULL)
        return;
    stream->let_go = true;
    lsi_handle_close((uv_handle_t *)&stream->tcp);
    lsi_handle_close((uv_handle_t *)&stream->linger);
}

/* The end that the owner did not ask for. */
static void broke(struct ls_stream *stream, int uv_error)
{
    bool tell = !stream->let_go;

    ls_stream_close(stream);
    if (tell)
        stream->handlers.on_close(stream->state, lsi_status_of(uv_error),
                                  uv_error == UV_EOF ? "the connection was closed" : uv_strerror(uv_error));
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct ls_stream *stream = handle->data;

    (void)suggested;
    *buf = uv_buf_init(stream->loop->scratch, sizeof stream->loop->scratch);
}

static void on_read(uv_stream_t *tcp, ssize_t got, const uv_buf_t *buf)
{
    struct ls_stream *stream = tcp->data;

    if (uv_is_closing((uv_handle_t *)tcp))
        return;
    if (got < 0)
        broke(stream, (int)got);
    else if (got > 0 && !stream->let_go)
        stream->handlers.on_data(stream->state, (const uint8_t *)buf->base, (size_t)got);
}

static void begin(struct ls_stream *stream)
{
    int failed;

    (void)uv_tcp_nodelay(&stream->tcp, 1);
    (void)uv_tcp_keepalive(&stream->tcp, 1, 15);
    failed = uv_read_start((uv_stream_t *)&stream->tcp, on_alloc, on_read);
    if (failed != 0)
        broke(stream, failed);
}

void ls_stream_accept(struct ls_stream *stream, const struct ls_stream_handlers *handlers, void *state)
{
    stream->handlers = *handlers;
    stream->state = state;
    stream->let_go = false;
    begin(stream);
}

static void on_connect(uv_connect_t *request, int failed)
{
    struct ls_stream *stream = request->handle->data;

    if (uv_is_closing((uv_handle_t *)request->handle))
        return;
    if (failed != 0) {
        broke(stream, failed);
        return;
    }
    begin(stream);
    if (!stream->let_go && stream->handlers.on_connect != NULL)
        stream->handlers.on_connect(stream->state);
}

static void on_resolve(uv_getaddrinfo_t *request, int failed, struct addrinfo *found)
{
    struct ls_stream *stream = request->data;

    if (!uv_is_closing((uv_handle_t *)&stream->tcp)) {
        if (failed == 0)
            failed = uv_tcp_connect(&stream->connect, &stream->tcp, found->ai_addr, on_connect);
        if (failed != 0)
            broke(stream, failed);
    }
    uv_freeaddrinfo(found);
    lsi_owner_drop(&stream->owner);
}

static int start_connect(struct ls_stream *stream, const char *host, uint16_t port)
{
    struct sockaddr_storage address;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    char service[8];
    int failed;

    if (lsi_address_numeric(host, port, &address))
        return uv_tcp_connect(&stream->connect, &stream->tcp, (const struct sockaddr *)&address, on_connect);
    (void)snprintf(service, sizeof service, "%u", (unsigned)port);
    stream->resolve.data = stream;
    failed = uv_getaddrinfo(&stream->loop->uv, &stream->resolve, on_resolve, host, service, &hints);
    if (failed == 0)
        stream->owner.handles++; /* the request points at the stream until its callback */
    return failed;
}

enum ls_status ls_stream_connect(struct ls_loop *loop, const char *host, uint16_t port,
                                 const struct ls_stream_handlers *handlers, void *state, struct ls_stream **stream,
                                 struct ls_error *err)
{
    struct ls_stream *made = lsi_stream_create(loop);
    int failed;

    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for a connection to %s", host);
    failed = start_connect(made, host, port);
    if (failed != 0) {
        ls_stream_close(made);
        return ls_error_set(err, lsi_status_of(failed), "cannot connect to %s: %s", host, uv_strerror(failed));
    }
    made->handlers = *handlers;
    made->state = state;
    made->let_go = false;
    *stream = made;
    return LS_OK;
}

static void on_written(uv_write_t *request, int failed)
{
    struct ls_stream *stream = request->handle->data;

    ls_free(request->data);
    if (failed != 0 && !uv_is_closing((uv_handle_t *)&stream->tcp))
        broke(stream, failed);
}

enum ls_status ls_stream_write(struct ls_stream *stream, const void *data, size_t length)
{
    struct write *write;
    uv_buf_t buf;
    int failed;

    if (uv_stream_get_write_queue_size((uv_stream_t *)&stream->tcp) + length > LSI_QUEUE_LIMIT)
        return LS_EBUSY;
    write = ls_alloc(sizeof *write + length);
    if (write == NULL)
        return LS_ENOMEM;
    memcpy(write->bytes, data, length);
    write->uv.data = write;
    buf = uv_buf_init(write->bytes, (unsigned)length);
    failed = uv_write(&write->uv, (uv_stream_t *)&stream->tcp, &buf, 1, on_written);
    if (failed != 0)
        ls_free(write);
    return lsi_status_of(failed);
}

static void on_linger(uv_timer_t *timer)
{
    ls_stream_close(timer->data);
}

/* Nothing is closed here: the other side may still have bytes in flight, and closing over them would reset the
 * connection before it has read our last words. Its own close, or the timer, ends the stream. */
static void on_shutdown(uv_shutdown_t *request, int failed)
{
    if (failed != 0 && !uv_is_closing((uv_handle_t *)request->handle))
        ls_stream_close(request->handle->data);
}

void ls_stream_end(struct ls_stream *stream)
{
    if (stream == NULL || uv_is_closing((uv_handle_t *)&stream->tcp))
        return;
    stream->let_go = true;
    uv_update_time(&stream->loop->uv);
    (void)uv_timer_start(&stream->linger, on_linger, LSI_LINGER_MS, 0);
    if (uv_shutdown(&stream->shutdown, (uv_stream_t *)&stream->tcp, on_shutdown) != 0)
        ls_stream_close(stream);
}

size_t ls_stream_queued(const struct ls_stream *stream)
{
    return uv_stream_get_write_queue_size((const uv_stream_t *)&stream->tcp);
}

void ls_stream_peer(const struct ls_stream *stream, char address[LS_ADDRESS_TEXT], uint16_t *port)
{
    struct sockaddr_storage name = {0};
    int length = sizeof name;

    address[0] = '\0';
    if (uv_tcp_getpeername(&stream->tcp, (struct sockaddr *)&name, &length) == 0)
        lsi_address_text(&name, address, port);
    else if (port != NULL)
        *port = 0;
}

void ls_stream_local(const struct ls_stream *stream, char address[LS_ADDRESS_TEXT])
{
    struct sockaddr_storage name = {0};
    int length = sizeof name;

    address[0] = '\0';
    if (uv_tcp_getsockname(&stream->tcp, (struct sockaddr *)&name, &length) == 0)
        lsi_address_text(&name, address, NULL);
}
