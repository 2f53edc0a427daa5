/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watching children: SIGCHLD says that some child has ended, waitpid by pid says whether it was ours. A slow timer
 * looks as well, for a child that died before the watch began or a signal that somebody else swallowed.
 */
#include "core/event/event_internal.h"

#include "core/base/alloc.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#define LOOK_EVERY_MS 250

struct ls_child {
    struct lsi_owner owner;
    uv_signal_t signal;
    uv_timer_t timer;
    pid_t pid;
    _Atomic pid_t *mark; /* may be NULL */
    void (*on_end)(void *state, const struct ls_child_end *end);
    void *state;
};

void ls_child_check(struct ls_child *child)
{
    struct ls_child_end end = {.pid = child->pid, .exit_status = -1, .signal = -1};
    int how = 0;
    siginfo_t seen = {.si_pid = 0};
    pid_t got;

    if (uv_is_closing((uv_handle_t *)&child->signal))
        return;
    /* Seen first and reaped after the mark is taken away: until then nobody else can have its pid. */
    do {
        got = waitid(P_PID, (id_t)child->pid, &seen, WEXITED | WNOHANG | WNOWAIT);
    } while (got < 0 && errno == EINTR);
    if (got == 0 && seen.si_pid == 0)
        return;
    if (child->mark != NULL)
        atomic_store(child->mark, 0);
    do {
        got = waitpid(child->pid, &how, WNOHANG);
    } while (got < 0 && errno == EINTR);
    if (got == child->pid && WIFEXITED(how))
        end.exit_status = WEXITSTATUS(how);
    else if (got == child->pid && WIFSIGNALED(how))
        end.signal = WTERMSIG(how);
    ls_child_close(child);
    child->on_end(child->state, &end);
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    ls_child_check(handle->data);
}

static void on_look(uv_timer_t *handle)
{
    ls_child_check(handle->data);
}

enum ls_status ls_child_watch(struct ls_loop *loop, pid_t pid,
                              void (*on_end)(void *state, const struct ls_child_end *end), void *state,
                              struct ls_child **child, struct ls_error *err)
{
    struct ls_child *made = ls_alloc_zeroed(1, sizeof *made);
    int failed;

    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to watch process %ld", (long)pid);
    made->pid = pid;
    made->on_end = on_end;
    made->state = state;
    failed = uv_signal_init(&loop->uv, &made->signal);
    if (failed != 0) {
        ls_free(made);
        return ls_error_set(err, lsi_status_of(failed), "cannot watch process %ld: %s", (long)pid, uv_strerror(failed));
    }
    (void)uv_timer_init(&loop->uv, &made->timer);
    lsi_handle_attach((uv_handle_t *)&made->signal, &made->owner);
    lsi_handle_attach((uv_handle_t *)&made->timer, &made->owner);
    failed = uv_signal_start(&made->signal, on_signal, SIGCHLD);
    if (failed == 0)
        failed = uv_timer_start(&made->timer, on_look, 0, LOOK_EVERY_MS);
    if (failed != 0) {
        ls_child_close(made);
        return ls_error_set(err, lsi_status_of(failed), "cannot watch process %ld: %s", (long)pid, uv_strerror(failed));
    }
    *child = made;
    return LS_OK;
}

void ls_child_set_mark(struct ls_child *child, _Atomic pid_t *mark)
{
    child->mark = mark;
}

void ls_child_signal(struct ls_child *child, int number)
{
    if (!uv_is_closing((uv_handle_t *)&child->signal))
        (void)kill(child->pid, number);
}

void ls_child_close(struct ls_child *child)
{
    if (child == NULL)
        return;
    lsi_handle_close((uv_handle_t *)&child->signal);
    lsi_handle_close((uv_handle_t *)&child->timer);
}
