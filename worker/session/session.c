/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of session.h: they leave a note under the lock and wake the session's thread, which does the rest. */
#include "worker/session/session_internal.h"

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/str.h"
#include "core/base/thread.h"

#include <string.h>

_Static_assert(LS_WIRE_MAX_MEMBERS == LS_MAX_MEMBERS, "a generation on the wire is a group");
_Static_assert(sizeof((struct ls_session_options *)0)->listen_port / sizeof(uint16_t) == LS_WIRE_MAX_REPLICAS,
               "a listener per replica");

int64_t lsi_session_now_ms(void)
{
    return (int64_t)(ls_clock_now_ns() / 1000000);
}

static void on_wake(void *state)
{
    struct ls_session *session = state;
    bool closing;

    (void)pthread_mutex_lock(&session->lock);
    closing = session->closing;
    (void)pthread_mutex_unlock(&session->lock);
    if (closing) {
        ls_loop_stop(session->loop);
        return;
    }
    lsi_tell_abort(session);
    lsi_speak_phase(session);
    lsi_speak_flush(session);
}

static void *run(void *state)
{
    struct ls_session *session = state;

    lsi_link_start(session);
    ls_loop_run(session->loop);
    lsi_link_close(session);
    return NULL;
}

static void init_locks(struct ls_session *session)
{
    pthread_mutexattr_t recursive;

    (void)pthread_cond_init(&session->changed, NULL);
    (void)pthread_mutex_init(&session->lock, NULL);
    (void)pthread_mutexattr_init(&recursive);
    (void)pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    (void)pthread_mutex_init(&session->abort_lock, &recursive);
    (void)pthread_mutexattr_destroy(&recursive);
}

static void free_session(struct ls_session *session)
{
    ls_loop_destroy(session->loop);
    ls_channel_deinit(&session->channel);
    (void)pthread_mutex_destroy(&session->abort_lock);
    (void)pthread_mutex_destroy(&session->lock);
    (void)pthread_cond_destroy(&session->changed);
    explicit_bzero(session->options.secret, sizeof session->options.secret);
    ls_fetched_job_destroy(session->fetched);
    ls_free(session->checkpoints);
    ls_free(session->finish_text);
    ls_free(session->address);
    ls_free(session);
}

static enum ls_status prepare(struct ls_session *session, struct ls_error *err)
{
    enum ls_status status = ls_address_split(session->address, session->host, &session->port, err);

    if (status == LS_OK)
        status = ls_loop_create(&session->loop, err);
    if (status == LS_OK)
        status = ls_timer_create(session->loop, lsi_speak_on_beat, session, &session->beat, err);
    if (status == LS_OK)
        status = ls_timer_create(session->loop, lsi_speak_on_flush, session, &session->flush, err);
    if (status == LS_OK)
        status = ls_timer_create(session->loop, lsi_link_on_retry, session, &session->retry, err);
    if (status != LS_OK)
        return status;
    ls_loop_on_wake(session->loop, on_wake, session);
    session->began_ms = lsi_session_now_ms();
    return ls_thread_start("session", 0, run, session, &session->thread, err);
}

static struct ls_session *create(const struct ls_session_options *options, bool fetching)
{
    struct ls_session *session = ls_alloc_zeroed(1, sizeof *session);

    if (session == NULL)
        return NULL;
    session->options = *options;
    if (session->options.connect_deadline_ms <= 0)
        session->options.connect_deadline_ms = 10000;
    session->options.coordinator = NULL; /* borrowed; the copy is `address` */
    session->address = ls_str_copy(options->coordinator);
    session->fetching = fetching;
    session->fetched = fetching ? ls_alloc_zeroed(1, sizeof *session->fetched) : NULL;
    session->checkpoints = ls_alloc_zeroed(LSI_QUEUE, sizeof *session->checkpoints);
    init_locks(session);
    if (session->address == NULL || session->checkpoints == NULL || (fetching && session->fetched == NULL)) {
        free_session(session);
        return NULL;
    }
    return session;
}

enum ls_status lsi_session_start(const struct ls_session_options *options, bool fetching, struct ls_session **session,
                                 struct ls_error *err)
{
    struct ls_session *made = create(options, fetching);
    enum ls_status status;

    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for a session with %s", options->coordinator);
    status = prepare(made, err);
    if (status != LS_OK) {
        free_session(made);
        return status;
    }
    /* Bounded by the thread: it gives up at the connect deadline, and once joined when the coordinator falls silent. */
    (void)pthread_mutex_lock(&made->lock);
    while (made->open == LSI_OPENING)
        ls_wait_idle("the coordinator's answer", &made->changed, &made->lock);
    (void)pthread_mutex_unlock(&made->lock);
    if (made->open == LSI_NOT_OPENED) {
        if (options->ended != NULL)
            *options->ended = made->ended;
        status = ls_error_set(err, made->open_error.status, "%s", made->open_error.message);
        ls_session_close(made);
        return status;
    }
    *session = made;
    return LS_OK;
}

enum ls_status ls_session_open(const struct ls_session_options *options, struct ls_assignment *assignment,
                               struct ls_session **session, struct ls_error *err)
{
    enum ls_status status;

    if (options->replicas < 1 || options->replicas > LS_WIRE_MAX_REPLICAS)
        return ls_error_set(err, LS_EINVAL, "a worker has 1 to %d replicas, not %d", LS_WIRE_MAX_REPLICAS,
                            options->replicas);
    status = lsi_session_start(options, false, session, err);
    if (status == LS_OK)
        *assignment = (*session)->assignment;
    return status;
}

void ls_session_on_abort(struct ls_session *session, void (*on_abort)(void *state, const char *reason), void *state)
{
    (void)pthread_mutex_lock(&session->abort_lock);
    session->on_abort = on_abort;
    session->abort_state = state;
    (void)pthread_mutex_unlock(&session->abort_lock);
    ls_loop_wake(session->loop); /* the abort may have come before */
}

void ls_session_on_beat(struct ls_session *session, void (*look)(void *state, struct ls_wait_report *wait), void *state)
{
    (void)pthread_mutex_lock(&session->abort_lock);
    session->look = look;
    session->look_state = state;
    (void)pthread_mutex_unlock(&session->abort_lock);
}

enum ls_order_kind ls_session_order(struct ls_session *session, char *reason)
{
    enum ls_order_kind order;

    (void)pthread_mutex_lock(&session->lock);
    order = session->order;
    if (reason != NULL)
        (void)ls_str_into(reason, sizeof session->reason, session->reason);
    (void)pthread_mutex_unlock(&session->lock);
    return order;
}

void ls_session_set_phase(struct ls_session *session, uint64_t step, enum ls_phase phase)
{
    bool wake;

    (void)pthread_mutex_lock(&session->lock);
    wake = session->phase != phase && !session->phase_armed;
    session->phase_armed = session->phase_armed || wake;
    session->step = step;
    session->phase = phase;
    (void)pthread_mutex_unlock(&session->lock);
    if (wake)
        ls_loop_wake(session->loop);
}

void ls_session_report_step(struct ls_session *session, const struct ls_step_report *report)
{
    bool wake;

    (void)pthread_mutex_lock(&session->lock);
    lsi_notes_add(&session->notes, report);
    wake = !session->flush_armed || lsi_notes_crowded(&session->notes);
    session->flush_armed = true;
    (void)pthread_mutex_unlock(&session->lock);
    if (wake)
        ls_loop_wake(session->loop);
}

void ls_session_report_checkpoint(struct ls_session *session, uint64_t step, const char *path)
{
    struct lsi_checkpoint_note *note;

    (void)pthread_mutex_lock(&session->lock);
    if (session->checkpoint_count == LSI_QUEUE) {
        memmove(session->checkpoints, session->checkpoints + 1, (LSI_QUEUE - 1) * sizeof *session->checkpoints);
        session->checkpoint_count--;
    }
    note = &session->checkpoints[session->checkpoint_count++];
    note->step = step;
    (void)ls_str_into(note->path, sizeof note->path, path);
    session->flush_armed = true;
    (void)pthread_mutex_unlock(&session->lock);
    ls_loop_wake(session->loop);
}

/* Waits for the acknowledgement; under the lock. */
static enum ls_status await_ack(struct ls_session *session, struct ls_error *err)
{
    struct ls_wait wait = ls_wait_begin("the coordinator's acknowledgement", LSI_FINISH_MS * UINT64_C(1000000));

    while (!session->finish_acked && !session->lost) {
        if (!ls_wait_on(&wait, &session->changed, &session->lock))
            break;
    }
    if (session->finish_acked)
        return LS_OK;
    if (session->lost)
        return ls_error_set(err, LS_EPEER, "the coordinator at %s is gone and has not heard the result",
                            session->address);
    return ls_error_set(err, LS_ETIMEOUT, "the coordinator at %s did not acknowledge the result within %d s",
                        session->address, LSI_FINISH_MS / 1000);
}

enum ls_status ls_session_finish(struct ls_session *session, enum ls_status result, const char *text,
                                 struct ls_error *err)
{
    char *copy = text == NULL ? NULL : ls_str_copy(text);
    enum ls_status status;

    if (copy != NULL && strlen(copy) > LSI_FINISH_BYTES)
        copy[LSI_FINISH_BYTES] = '\0';
    if (text != NULL && copy == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for the result");
    (void)pthread_mutex_lock(&session->lock);
    if (!session->finish_wanted) {
        session->finish_wanted = true;
        session->finish_status = result;
        session->finish_text = copy;
        copy = NULL;
    }
    ls_loop_wake(session->loop);
    status = await_ack(session, err);
    (void)pthread_mutex_unlock(&session->lock);
    ls_free(copy);
    return status;
}

void ls_session_close(struct ls_session *session)
{
    if (session == NULL)
        return;
    (void)pthread_mutex_lock(&session->lock);
    session->closing = true;
    (void)pthread_mutex_unlock(&session->lock);
    ls_loop_wake(session->loop);
    (void)pthread_join(session->thread, NULL);
    free_session(session);
}
