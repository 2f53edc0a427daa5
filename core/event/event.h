/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam for sockets, timers and child processes: a loop with callbacks, on libuv. Everything of one loop is used
 * from the thread that runs it; only ls_loop_wake may be called from elsewhere. Whatever is still open when the loop is
 * destroyed ends with it, without a callback.
 */
#ifndef LOCKSTEP_CORE_EVENT_EVENT_H
#define LOCKSTEP_CORE_EVENT_EVENT_H

#include "core/base/host.h"
#include "core/base/status.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LS_ADDRESS_TEXT 64 /* bytes of a numeric address as text */
#define LS_HOST_TEXT 256   /* bytes of a host name */

struct ls_loop;
struct ls_timer;
struct ls_stream;
struct ls_listener;
struct ls_child;

/* Returned; ends with ls_loop_destroy. */
enum ls_status ls_loop_create(struct ls_loop **loop, struct ls_error *err);
/* Ends the loop and all that is open on it. Not from one of its callbacks. Accepts NULL. */
void ls_loop_destroy(struct ls_loop *loop);
/* Runs callbacks until ls_loop_stop. SIGPIPE is blocked in the calling thread meanwhile. */
void ls_loop_run(struct ls_loop *loop);
void ls_loop_stop(struct ls_loop *loop);
/* Makes on_wake run in the loop's thread (once for several calls). Any thread, and signal handlers. */
void ls_loop_wake(struct ls_loop *loop);
void ls_loop_on_wake(struct ls_loop *loop, void (*on_wake)(void *state), void *state);

/* A timer that fires once per start. Starting again moves it. Returned; ends with ls_timer_destroy. */
enum ls_status ls_timer_create(struct ls_loop *loop, void (*on_time)(void *state), void *state, struct ls_timer **timer,
                               struct ls_error *err);
void ls_timer_start(struct ls_timer *timer, uint64_t after_ms);
void ls_timer_stop(struct ls_timer *timer);
void ls_timer_destroy(struct ls_timer *timer);

/* Name of this machine, or what LOCKSTEP_HOST says: at most 63 letters, digits and . - _ (others become -); "localhost"
 * where it has none. */
void ls_host_name(char host[LS_HOST_NAME_TEXT]);
/* "HOST:PORT" or "[IPv6]:PORT" into its parts; LS_EINVAL says what is wrong. */
enum ls_status ls_address_split(const char *text, char host[LS_HOST_TEXT], uint16_t *port, struct ls_error *err);

struct ls_stream_handlers {
    void (*on_connect)(void *state); /* of ls_stream_connect only; may be NULL */
    /* Bytes as they come; borrowed during the call. */
    void (*on_data)(void *state, const uint8_t *data, size_t length);
    /* The last callback: the connection could not be made, broke or was closed by the other side. The stream is
     * gone. */
    void (*on_close)(void *state, enum ls_status status, const char *reason);
};

/* Resolves and connects without blocking. If the start fails, no callback comes. Returned; ends with ls_stream_close,
 * ls_stream_end or its on_close. */
enum ls_status ls_stream_connect(struct ls_loop *loop, const char *host, uint16_t port,
                                 const struct ls_stream_handlers *handlers, void *state, struct ls_stream **stream,
                                 struct ls_error *err);
/* Takes over an accepted stream: its callbacks begin. handlers are copied. */
void ls_stream_accept(struct ls_stream *stream, const struct ls_stream_handlers *handlers, void *state);
/* Queues a copy. LS_EBUSY where more than the limit (1 MiB) waits for a slow reader. */
enum ls_status ls_stream_write(struct ls_stream *stream, const void *data, size_t length);
/* At once, without on_close; what was not sent is lost. Accepts NULL. */
void ls_stream_close(struct ls_stream *stream);
/* Lets go: what was queued is still sent (for 2 s at most), then it closes, without any callback. Accepts NULL. */
void ls_stream_end(struct ls_stream *stream);
/* Bytes queued and not yet sent. */
size_t ls_stream_queued(const struct ls_stream *stream);
/* Numeric addresses of both sides, empty where unknown, and the port of the other one. */
void ls_stream_peer(const struct ls_stream *stream, char address[LS_ADDRESS_TEXT], uint16_t *port);
void ls_stream_local(const struct ls_stream *stream, char address[LS_ADDRESS_TEXT]);

/* Listens at once on one address ("HOST:PORT", port 0: any). LS_EBUSY names an address in use. on_accept gets each new
 * stream, taken: it must call ls_stream_accept or ls_stream_close. Returned; ends with ls_listener_close. */
enum ls_status ls_listener_open(struct ls_loop *loop, const char *address,
                                void (*on_accept)(void *state, struct ls_stream *stream), void *state,
                                struct ls_listener **listener, struct ls_error *err);
uint16_t ls_listener_port(const struct ls_listener *listener);
void ls_listener_close(struct ls_listener *listener);

/* How a child process ended: exit_status >= 0 or signal > 0; both -1 where somebody else has waited for it. */
struct ls_child_end {
    pid_t pid;
    int exit_status;
    int signal;
};

/* Watches one child of this process and reaps it (no other): on_end comes once, and the watch is gone after it.
 * Returned; ends with ls_child_close. */
enum ls_status ls_child_watch(struct ls_loop *loop, pid_t pid,
                              void (*on_end)(void *state, const struct ls_child_end *end), void *state,
                              struct ls_child **child, struct ls_error *err);
/* mark (borrowed while the watch lasts) becomes 0 before the process is reaped, so that a signal handler which finds
 * its pid there may signal it. */
void ls_child_set_mark(struct ls_child *child, _Atomic pid_t *mark);
/* Looks now whether it has ended, and then calls on_end before it returns. */
void ls_child_check(struct ls_child *child);
/* Sends a signal; safe from a reused pid, because a watched child is reaped here only. */
void ls_child_signal(struct ls_child *child, int signal);
void ls_child_close(struct ls_child *child);

#endif
