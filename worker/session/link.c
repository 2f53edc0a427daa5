/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection to the coordinator: made again and again until the deadline, then proved both ways. A coordinator that
 * cannot prove the secret learns nothing about the job.
 */
#include "worker/session/session_internal.h"

#include "core/base/hash.h"
#include "core/base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void lsi_link_close(struct ls_session *session)
{
    ls_stream_close(session->stream);
    session->stream = NULL;
}

void lsi_link_refuse(struct ls_session *session, enum ls_status status, const char *format, ...)
{
    char message[768];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    session->stage = LSI_LEFT;
    ls_timer_stop(session->retry);
    ls_timer_stop(session->beat);
    (void)pthread_mutex_lock(&session->lock);
    if (session->open == LSI_OPENING) {
        session->open = LSI_NOT_OPENED;
        (void)ls_error_set(&session->open_error, status, "%s", message);
    }
    (void)pthread_cond_broadcast(&session->changed);
    (void)pthread_mutex_unlock(&session->lock);
}

void lsi_link_lost(struct ls_session *session, const char *why)
{
    char reason[512];
    bool expected;

    ls_timer_stop(session->beat);
    (void)pthread_mutex_lock(&session->lock);
    expected = session->finish_acked;
    session->lost = true;
    (void)pthread_cond_broadcast(&session->changed);
    (void)pthread_mutex_unlock(&session->lock);
    if (expected)
        return;
    (void)snprintf(reason, sizeof reason, "the coordinator at %s is gone (%s)", session->address, why);
    lsi_link_refuse(session, LS_EPEER, "%s", reason); /* only where the first assignment had not come */
    lsi_take_order(session, LS_ORDER_ABORT, reason);
}

static int64_t time_left(const struct ls_session *session)
{
    return session->began_ms + session->options.connect_deadline_ms - lsi_session_now_ms();
}

/* This attempt failed: another one a little later, at no fixed distance so that many workers do not come in step. */
static void try_again(struct ls_session *session, const char *why)
{
    uint8_t chance = 0;
    int64_t wait;

    (void)ls_str_into(session->last_failure, sizeof session->last_failure, why);
    (void)ls_random_bytes(&chance, 1);
    session->retry_ms = session->retry_ms == 0 ? LSI_RETRY_MIN_MS : 2 * session->retry_ms;
    if (session->retry_ms > LSI_RETRY_MAX_MS)
        session->retry_ms = LSI_RETRY_MAX_MS;
    wait = session->retry_ms / 2 + session->retry_ms * chance / 512;
    if (wait > time_left(session))
        wait = time_left(session) > 0 ? time_left(session) : 0;
    session->stage = LSI_CONNECTING;
    ls_timer_start(session->retry, (uint64_t)wait);
}

static void hello(void *state)
{
    struct ls_session *session = state;
    struct ls_message message = {.type = LS_MESSAGE_HELLO};

    message.hello.major = LS_WIRE_MAJOR;
    message.hello.minor = LS_WIRE_MINOR;
    message.hello.features = LS_WIRE_FEATURES;
    if (ls_random_bytes(message.hello.nonce, LS_WIRE_NONCE) != LS_OK) {
        lsi_link_refuse(session, LS_EIO, "the system gives no random bytes");
        return;
    }
    session->transcript.hello = message.hello;
    session->stage = LSI_CHALLENGED;
    session->channel.allowed = LS_MESSAGE_BIT(LS_MESSAGE_CHALLENGE) | LS_MESSAGE_BIT(LS_MESSAGE_REFUSAL);
    lsi_speak(session, &message);
}

static void on_close(void *state, enum ls_status status, const char *reason)
{
    struct ls_session *session = state;

    (void)status;
    session->stream = NULL;
    if (session->stage == LSI_JOINED)
        lsi_link_lost(session, reason);
    else if (session->stage != LSI_LEFT)
        try_again(session, reason);
}

static void broken(struct ls_session *session, enum ls_status status, const struct ls_error *err)
{
    lsi_link_close(session);
    if (session->stage == LSI_JOINED)
        lsi_link_lost(session, err->message);
    else
        lsi_link_refuse(session, status, "what answers at %s is not a coordinator that this worker can talk to: %s",
                        session->address, err->message);
}

static void on_data(void *state, const uint8_t *data, size_t length)
{
    struct ls_session *session = state;
    struct ls_error err = LS_ERROR_INIT;
    enum ls_status status = ls_channel_feed(&session->channel, data, length, &err);

    session->heard_ms = lsi_session_now_ms();
    while (status == LS_OK && session->stream != NULL) {
        struct ls_message message;
        struct ls_frame_info info;

        status = ls_channel_next(&session->channel, &message, &info, &err);
        if (status != LS_OK)
            break;
        lsi_hear(session, &message, &info);
        ls_message_deinit(&message);
    }
    if (status != LS_OK && status != LS_EAGAIN && session->stream != NULL)
        broken(session, status, &err);
}

void lsi_link_start(struct ls_session *session)
{
    static const struct ls_stream_handlers handlers = {.on_connect = hello, .on_data = on_data, .on_close = on_close};
    struct ls_error err = LS_ERROR_INIT;

    ls_channel_deinit(&session->channel);
    session->stage = LSI_CONNECTING;
    /* The timer runs through the attempt too: a host that swallows packets must not outlast the deadline. */
    ls_timer_start(session->retry, (uint64_t)(time_left(session) > 0 ? time_left(session) : 0));
    if (ls_stream_connect(session->loop, session->host, session->port, &handlers, session, &session->stream, &err) !=
        LS_OK) {
        session->stream = NULL;
        try_again(session, err.message);
    }
}

void lsi_link_on_retry(void *state)
{
    struct ls_session *session = state;

    if (session->stage == LSI_JOINED || session->stage == LSI_LEFT)
        return;
    if (time_left(session) > 0) {
        lsi_link_close(session);
        lsi_link_start(session);
        return;
    }
    lsi_link_close(session);
    lsi_link_refuse(session, LS_ETIMEOUT, "no coordinator answered at %s within %.3g s (%s); is it running there?",
                    session->address, (double)session->options.connect_deadline_ms / 1000,
                    session->last_failure[0] == '\0' ? "no answer" : session->last_failure);
}
