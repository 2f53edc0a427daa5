/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listening socket on one named address. A connection for which there is no memory waits in the kernel and is tried
 * again: libuv listens no further until it is accepted.
 */
#include "core/event/event_internal.h"

#include "core/base/alloc.h"

#include <string.h>

#define BACKLOG 512
#define TRY_AGAIN_MS 50

struct ls_listener {
    struct lsi_owner owner;
    struct ls_loop *loop;
    uv_tcp_t tcp;
    uv_timer_t again;
    void (*on_accept)(void *state, struct ls_stream *stream);
    void *state;
};

static void on_again(uv_timer_t *timer);

/* Takes the connection that waits. */
static void take(struct ls_listener *listener)
{
    struct ls_stream *stream = lsi_stream_create(listener->loop);

    if (stream == NULL) {
        (void)uv_timer_start(&listener->again, on_again, TRY_AGAIN_MS, 0);
        return;
    }
    if (uv_accept((uv_stream_t *)&listener->tcp, (uv_stream_t *)lsi_stream_tcp(stream)) != 0) {
        ls_stream_close(stream);
        return;
    }
    listener->on_accept(listener->state, stream);
}

static void on_again(uv_timer_t *timer)
{
    take(timer->data);
}

static void on_connection(uv_stream_t *server, int failed)
{
    if (failed == 0 && !uv_is_closing((uv_handle_t *)server))
        take(server->data);
}

static enum ls_status resolve_here(struct ls_loop *loop, const char *host, uint16_t port,
                                   struct sockaddr_storage *address, struct ls_error *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    uv_getaddrinfo_t request;
    char service[8];
    int failed;

    if (lsi_address_numeric(host, port, address))
        return LS_OK;
    (void)snprintf(service, sizeof service, "%u", (unsigned)port);
    failed = uv_getaddrinfo(&loop->uv, &request, NULL, host, service, &hints);
    if (failed != 0)
        return ls_error_set(err, LS_EINVAL, "cannot find the address of %s to listen on: %s", host,
                            uv_strerror(failed));
    memcpy(address, request.addrinfo->ai_addr, request.addrinfo->ai_addrlen);
    uv_freeaddrinfo(request.addrinfo);
    return LS_OK;
}

enum ls_status ls_listener_open(struct ls_loop *loop, const char *address,
                                void (*on_accept)(void *state, struct ls_stream *stream), void *state,
                                struct ls_listener **listener, struct ls_error *err)
{
    struct sockaddr_storage where;
    char host[LS_HOST_TEXT];
    struct ls_listener *made;
    uint16_t port;
    enum ls_status status = ls_address_split(address, host, &port, err);
    int failed;

    if (status == LS_OK)
        status = resolve_here(loop, host, port, &where, err);
    if (status != LS_OK)
        return status;
    made = ls_alloc_zeroed(1, sizeof *made);
    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to listen on %s", address);
    (void)uv_tcp_init(&loop->uv, &made->tcp);
    (void)uv_timer_init(&loop->uv, &made->again);
    lsi_handle_attach((uv_handle_t *)&made->tcp, &made->owner);
    lsi_handle_attach((uv_handle_t *)&made->again, &made->owner);
    made->loop = loop;
    made->on_accept = on_accept;
    made->state = state;
    failed = uv_tcp_bind(&made->tcp, (const struct sockaddr *)&where, 0);
    if (failed == 0)
        failed = uv_listen((uv_stream_t *)&made->tcp, BACKLOG, on_connection);
    if (failed != 0) {
        ls_listener_close(made);
        return ls_error_set(err, lsi_status_of(failed), "cannot listen on %s: %s", address, uv_strerror(failed));
    }
    *listener = made;
    return LS_OK;
}

uint16_t ls_listener_port(const struct ls_listener *listener)
{
    struct sockaddr_storage name = {0};
    char text[LS_ADDRESS_TEXT];
    int length = sizeof name;
    uint16_t port = 0;

    if (uv_tcp_getsockname(&listener->tcp, (struct sockaddr *)&name, &length) == 0)
        lsi_address_text(&name, text, &port);
    return port;
}

void ls_listener_close(struct ls_listener *listener)
{
    if (listener == NULL)
        return;
    lsi_handle_close((uv_handle_t *)&listener->tcp);
    lsi_handle_close((uv_handle_t *)&listener->again);
}
