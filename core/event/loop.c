/* SPDX-License-Identifier: Apache-2.0 */
/* The loop itself, timers, and the end of every handle. */
#include "core/event/event_internal.h"

#include "core/base/alloc.h"
#include "core/base/descriptors.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#define DESCRIPTORS 8 /* of a loop itself; without all of them libuv may abort */

struct ls_timer {
    struct lsi_owner owner;
    uv_timer_t uv;
    void (*on_time)(void *state);
    void *state;
};

void lsi_owner_drop(struct lsi_owner *owner)
{
    owner->handles--;
    if (owner->handles == 0)
        ls_free(owner);
}

static void on_closed(uv_handle_t *handle)
{
    lsi_owner_drop(handle->data);
}

void lsi_handle_attach(uv_handle_t *handle, struct lsi_owner *owner)
{
    handle->data = owner;
    owner->handles++;
}

void lsi_handle_close(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_closed);
}

enum ls_status lsi_status_of(int uv_error)
{
    switch (uv_error) {
    case 0:
        return LS_OK;
    case UV_EADDRINUSE:
        return LS_EBUSY;
    case UV_ENOMEM:
        return LS_ENOMEM;
    case UV_ETIMEDOUT:
        return LS_ETIMEOUT;
    case UV_EOF:
    case UV_ECONNREFUSED:
    case UV_ECONNRESET:
    case UV_EPIPE:
        return LS_EPEER;
    default:
        return LS_EIO;
    }
}

static void on_async(uv_async_t *handle)
{
    struct ls_loop *loop = handle->data;

    if (loop->on_wake != NULL)
        loop->on_wake(loop->state);
}

enum ls_status ls_loop_create(struct ls_loop **loop, struct ls_error *err)
{
    struct ls_loop *made;
    int failed;

    if (!ls_descriptors_spare(DESCRIPTORS))
        return ls_error_set(err, LS_EIO,
                            "this process may not open %d more files and sockets, which an event loop needs; raise the "
                            "limit (ulimit -n)",
                            DESCRIPTORS);
    made = ls_alloc_zeroed(1, sizeof *made);
    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for an event loop");
    failed = uv_loop_init(&made->uv);
    if (failed != 0)
        goto free_loop;
    failed = uv_async_init(&made->uv, &made->wake, on_async);
    if (failed != 0)
        goto close_loop;
    made->owner.handles = 1; /* the caller's: closing the last handle must not free it */
    lsi_handle_attach((uv_handle_t *)&made->wake, &made->owner);
    *loop = made;
    return LS_OK;
close_loop:
    (void)uv_loop_close(&made->uv);
free_loop:
    ls_free(made);
    return ls_error_set(err, lsi_status_of(failed), "cannot make an event loop: %s", uv_strerror(failed));
}

static void close_any(uv_handle_t *handle, void *unused)
{
    (void)unused;
    lsi_handle_close(handle);
}

void ls_loop_destroy(struct ls_loop *loop)
{
    if (loop == NULL)
        return;
    loop->on_wake = NULL;
    do {
        uv_walk(&loop->uv, close_any, NULL);
        (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    } while (uv_loop_close(&loop->uv) == UV_EBUSY);
    lsi_owner_drop(&loop->owner);
}

void ls_loop_on_wake(struct ls_loop *loop, void (*on_wake)(void *state), void *state)
{
    loop->on_wake = on_wake;
    loop->state = state;
}

void ls_loop_wake(struct ls_loop *loop)
{
    (void)uv_async_send(&loop->wake);
}

void ls_loop_run(struct ls_loop *loop)
{
    static const struct timespec no_wait = {0};
    sigset_t pipe_only, before;

    /* A write to a closed socket raises SIGPIPE in the writing thread; blocked there, it hurts nobody. */
    (void)sigemptyset(&pipe_only);
    (void)sigaddset(&pipe_only, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    if (!sigismember(&before, SIGPIPE)) {
        (void)sigtimedwait(&pipe_only, NULL, &no_wait);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
}

void ls_loop_stop(struct ls_loop *loop)
{
    uv_stop(&loop->uv);
}

static void on_timer(uv_timer_t *handle)
{
    struct ls_timer *timer = handle->data;

    timer->on_time(timer->state);
}

enum ls_status ls_timer_create(struct ls_loop *loop, void (*on_time)(void *state), void *state, struct ls_timer **timer,
                               struct ls_error *err)
{
    struct ls_timer *made = ls_alloc_zeroed(1, sizeof *made);

    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for a timer");
    (void)uv_timer_init(&loop->uv, &made->uv);
    lsi_handle_attach((uv_handle_t *)&made->uv, &made->owner);
    made->on_time = on_time;
    made->state = state;
    *timer = made;
    return LS_OK;
}

void ls_timer_start(struct ls_timer *timer, uint64_t after_ms)
{
    uv_update_time(timer->uv.loop);
    (void)uv_timer_start(&timer->uv, on_timer, after_ms, 0);
}

void ls_timer_stop(struct ls_timer *timer)
{
    (void)uv_timer_stop(&timer->uv);
}

void ls_timer_destroy(struct ls_timer *timer)
{
    if (timer != NULL)
        lsi_handle_close((uv_handle_t *)&timer->uv);
}
