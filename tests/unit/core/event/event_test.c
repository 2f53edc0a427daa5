/* SPDX-License-Identifier: Apache-2.0 */
/* The loop's promises: each end is told once, queued bytes leave, children are reaped, nothing leaks. */
#include "core/base/alloc.h"
#include "core/base/str.h"
#include "core/event/event.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct side {
    struct ls_loop *loop;
    struct ls_stream *stream;
    struct ls_listener *listener;
    size_t bytes;
    int connected, closed, ticks;
    enum ls_status status;
    struct ls_child_end end;
    _Atomic pid_t mark;
    pid_t mark_at_end;
};

static void on_connect(void *state)
{
    ((struct side *)state)->connected++;
}

static void on_data(void *state, const uint8_t *data, size_t length)
{
    (void)data;
    ((struct side *)state)->bytes += length;
}

static void on_close(void *state, enum ls_status status, const char *reason)
{
    struct side *side = state;

    (void)reason;
    side->stream = NULL;
    side->closed++;
    side->status = status;
    ls_loop_stop(side->loop);
}

static const struct ls_stream_handlers handlers = {.on_connect = on_connect, .on_data = on_data, .on_close = on_close};

static void on_accept(void *state, struct ls_stream *stream)
{
    struct side *side = state;

    side->stream = stream;
    ls_stream_accept(stream, &handlers, side);
}

static void listen_here(struct side *server, struct ls_loop *loop, char address[64])
{
    struct ls_error err = LS_ERROR_INIT;

    server->loop = loop;
    cr_assert_eq(ls_listener_open(loop, "127.0.0.1:0", on_accept, server, &server->listener, &err), LS_OK, "%s",
                 err.message);
    (void)snprintf(address, 64, "127.0.0.1:%u", ls_listener_port(server->listener));
}

static char big[300000];

static void send_and_end(void *state)
{
    struct side *client = state;

    cr_expect_eq(ls_stream_write(client->stream, big, sizeof big), LS_OK);
    ls_stream_end(client->stream);
    client->stream = NULL;
}

/* Bytes queued before ls_stream_end all arrive, then the other side hears the end. */
Test(event, ends_after_the_last_byte)
{
    static const struct ls_stream_handlers sender = {
        .on_connect = send_and_end, .on_data = on_data, .on_close = on_close};
    struct side server = {0}, client = {0};
    struct ls_loop *loop;
    char address[64], host[LS_HOST_TEXT];
    uint16_t port;

    cr_assert_eq(ls_loop_create(&loop, NULL), LS_OK);
    listen_here(&server, loop, address);
    client.loop = loop;
    cr_assert_eq(ls_address_split(address, host, &port, NULL), LS_OK);
    cr_assert_eq(ls_stream_connect(loop, host, port, &sender, &client, &client.stream, NULL), LS_OK);
    ls_loop_run(loop);
    cr_expect_eq(server.bytes, sizeof big);
    cr_expect_eq(server.closed, 1);
    cr_expect_eq(client.closed, 0);
    ls_loop_destroy(loop);
}

/* A name is resolved, a closed port is an on_close, once, and the stream is gone. */
Test(event, tells_a_refused_connection_once)
{
    struct side client = {0};
    struct ls_loop *loop;

    cr_assert_eq(ls_loop_create(&loop, NULL), LS_OK);
    client.loop = loop;
    cr_assert_eq(ls_stream_connect(loop, "localhost", 1, &handlers, &client, &client.stream, NULL), LS_OK);
    ls_loop_run(loop);
    cr_expect_eq(client.closed, 1);
    cr_expect_eq(client.connected, 0);
    cr_expect_eq(client.status, LS_EPEER);
    ls_loop_destroy(loop);
}

/* A writer is stopped by the limit instead of filling memory for a reader that does not read. */
Test(event, bounds_the_queue)
{
    struct side server = {0}, client = {0};
    enum ls_status status = LS_OK;
    struct ls_loop *loop;
    char address[64], host[LS_HOST_TEXT];
    uint16_t port;

    cr_assert_eq(ls_loop_create(&loop, NULL), LS_OK);
    listen_here(&server, loop, address);
    client.loop = loop;
    cr_assert_eq(ls_address_split(address, host, &port, NULL), LS_OK);
    cr_assert_eq(ls_stream_connect(loop, host, port, &handlers, &client, &client.stream, NULL), LS_OK);
    for (int i = 0; i < 100 && status == LS_OK; i++)
        status = ls_stream_write(client.stream, big, sizeof big);
    cr_expect_eq(status, LS_EBUSY);
    cr_expect_leq(ls_stream_queued(client.stream), 1024 * 1024);
    ls_loop_destroy(loop);
}

static void on_stop(void *state)
{
    ls_loop_stop(state);
}

static void accept_three(void *state, struct ls_stream *stream)
{
    struct side *side = state;

    ls_stream_close(stream);
    if (++side->connected == 3) /* one turn of the loop may accept them all */
        ls_loop_stop(side->loop);
}

/* A connection for which there is no memory at first is accepted when there is, and those after it too. */
Test(event, accepts_when_memory_is_back)
{
    struct side server = {0};
    struct ls_timer *patience;
    int clients[3];

    cr_assert_eq(ls_loop_create(&server.loop, NULL), LS_OK);
    cr_assert_eq(ls_listener_open(server.loop, "127.0.0.1:0", accept_three, &server, &server.listener, NULL), LS_OK);
    cr_assert_eq(ls_timer_create(server.loop, on_stop, server.loop, &patience, NULL), LS_OK);
    for (int i = 0; i < 3; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(ls_listener_port(server.listener))};

        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        clients[i] = socket(AF_INET, SOCK_STREAM, 0);
        cr_assert_eq(connect(clients[i], (struct sockaddr *)&address, sizeof address), 0);
    }
    ls_alloc_fail_after(1);
    ls_timer_start(patience, 10000);
    ls_loop_run(server.loop);
    ls_alloc_fail_after(0);
    cr_expect_eq(server.connected, 3);
    for (int i = 0; i < 3; i++)
        (void)close(clients[i]);
    ls_loop_destroy(server.loop);
}

/* An address in use is LS_EBUSY and named; a wrong one says what is wrong with it. */
Test(event, refuses_addresses)
{
    struct side server = {0};
    struct ls_listener *second = NULL;
    struct ls_error err = LS_ERROR_INIT;
    struct ls_loop *loop;
    char address[64], host[LS_HOST_TEXT];
    uint16_t port;

    cr_assert_eq(ls_loop_create(&loop, NULL), LS_OK);
    listen_here(&server, loop, address);
    cr_expect_eq(ls_listener_open(loop, address, on_accept, &server, &second, &err), LS_EBUSY);
    cr_expect_not_null(strstr(err.message, address));
    cr_expect_eq(ls_address_split("localhost", host, &port, &err), LS_EINVAL);
    cr_expect_not_null(strstr(err.message, "has no port"));
    cr_expect_eq(ls_address_split("a:99999", host, &port, &err), LS_EINVAL);
    cr_expect_eq(ls_address_split("::1:80", host, &port, &err), LS_EINVAL);
    cr_expect_eq(ls_address_split(":80", host, &port, &err), LS_EINVAL);
    cr_expect_eq(ls_address_split("[::1]:80", host, &port, &err), LS_OK);
    cr_expect_str_eq(host, "::1");
    cr_expect_eq(port, 80);
    ls_loop_destroy(loop);
}

static void on_end(void *state, const struct ls_child_end *end)
{
    struct side *side = state;

    side->end = *end;
    side->mark_at_end = atomic_load(&side->mark);
    side->closed++;
    ls_loop_stop(side->loop);
}

/* How a child ended is told: its exit status, or the signal, also where it had died before the watch began. */
Test(event, tells_how_a_child_ended)
{
    for (int killed = 0; killed < 2; killed++) {
        struct side side = {0};
        struct ls_child *child;
        pid_t pid = fork();

        if (pid == 0) {
            if (killed == 0)
                _exit(7);
            for (;;)
                (void)pause();
        }
        cr_assert_eq(ls_loop_create(&side.loop, NULL), LS_OK);
        if (killed == 0) {
            siginfo_t info;

            (void)waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT); /* it is dead already, and not yet reaped */
        }
        cr_assert_eq(ls_child_watch(side.loop, pid, on_end, &side, &child, NULL), LS_OK);
        atomic_store(&side.mark, pid);
        ls_child_set_mark(child, &side.mark);
        if (killed == 1)
            ls_child_signal(child, SIGKILL);
        ls_loop_run(side.loop);
        cr_expect_eq(side.closed, 1);
        cr_expect_eq(side.end.pid, pid);
        cr_expect_eq(side.mark_at_end, 0, "nobody may signal a pid that is free again");
        cr_expect_eq(side.end.exit_status, killed == 0 ? 7 : -1);
        cr_expect_eq(side.end.signal, killed == 0 ? -1 : SIGKILL);
        ls_loop_destroy(side.loop);
    }
}

static void on_wake(void *state)
{
    struct side *side = state;

    side->ticks++;
    ls_loop_stop(side->loop);
}

static void *wake(void *state)
{
    ls_loop_wake(((struct side *)state)->loop);
    return NULL;
}

static void on_time(void *state)
{
    struct side *side = state;

    side->connected++;
    ls_loop_stop(side->loop);
}

/* Another thread wakes the loop; a timer fires once per start and not after a stop. */
Test(event, wakes_and_times)
{
    struct side side = {0};
    struct ls_timer *timer, *stopped;
    pthread_t thread;

    cr_assert_eq(ls_loop_create(&side.loop, NULL), LS_OK);
    ls_loop_on_wake(side.loop, on_wake, &side);
    cr_assert_eq(pthread_create(&thread, NULL, wake, &side), 0);
    ls_loop_run(side.loop);
    (void)pthread_join(thread, NULL);
    cr_expect_eq(side.ticks, 1);
    cr_assert_eq(ls_timer_create(side.loop, on_time, &side, &timer, NULL), LS_OK);
    cr_assert_eq(ls_timer_create(side.loop, on_time, &side, &stopped, NULL), LS_OK);
    ls_timer_start(stopped, 1);
    ls_timer_stop(stopped);
    ls_timer_start(timer, 20);
    ls_loop_run(side.loop);
    cr_expect_eq(side.connected, 1);
    ls_timer_destroy(stopped);
    ls_timer_destroy(timer);
    ls_loop_destroy(side.loop);
}
