/* SPDX-License-Identifier: Apache-2.0 */
/* What the worker says: heartbeats at their time, reports when they are due, the end when everything before is said. */
#include "worker/session/session_internal.h"

#include "core/base/str.h"

#include <stdio.h>

void lsi_speak(struct ls_session *session, const struct ls_message *message)
{
    struct ls_buf frame = {0};
    struct ls_error err = LS_ERROR_INIT;
    enum ls_status status;

    if (session->stream == NULL)
        return;
    status = ls_channel_pack(&session->channel, message, session->generation, session->incarnation, &frame, &err);
    if (status == LS_OK)
        status = ls_stream_write(session->stream, frame.data, frame.length);
    ls_buf_deinit(&frame);
    if (status == LS_OK)
        return;
    ls_stream_close(session->stream);
    session->stream = NULL;
    if (session->stage == LSI_JOINED)
        lsi_link_lost(session, status == LS_EBUSY ? "it does not read what it is sent" : ls_status_sentence(status));
    else
        lsi_link_refuse(session, status, "cannot talk to the coordinator at %s: %s", session->address,
                        ls_status_sentence(status));
}

void lsi_speak_on_beat(void *state)
{
    struct ls_session *session = state;
    struct ls_message message = {.type = LS_MESSAGE_HEARTBEAT};
    int64_t now = lsi_session_now_ms();
    int64_t late = now - session->beat_ms - session->heartbeat_ms;
    int64_t patience = LS_WIRE_PATIENCE_MS(session->heartbeat_ms);

    if (session->stage != LSI_JOINED)
        return;
    if (late > session->heartbeat_ms)
        session->heard_ms += late; /* we stood still ourselves; what it said lies unread */
    if (now - session->heard_ms > patience) {
        lsi_link_close(session);
        lsi_link_lost(session, "it does not answer");
        return;
    }
    (void)pthread_mutex_lock(&session->lock);
    message.heartbeat.step = session->step;
    message.heartbeat.phase = session->phase;
    session->phase_armed = false;
    (void)pthread_mutex_unlock(&session->lock);
    (void)pthread_mutex_lock(&session->abort_lock);
    if (session->look != NULL)
        session->look(session->look_state, &message.heartbeat.wait);
    (void)pthread_mutex_unlock(&session->abort_lock);
    session->beat_ms = now;
    ls_timer_start(session->beat, (uint64_t)session->heartbeat_ms);
    lsi_speak(session, &message);
}

void lsi_speak_phase(struct ls_session *session)
{
    int64_t wait = session->beat_ms + LSI_PHASE_MS - lsi_session_now_ms();
    bool armed;

    (void)pthread_mutex_lock(&session->lock);
    armed = session->phase_armed;
    (void)pthread_mutex_unlock(&session->lock);
    if (armed && session->stage == LSI_JOINED && session->heartbeat_ms > LSI_PHASE_MS)
        ls_timer_start(session->beat, (uint64_t)(wait > 0 ? wait : 0));
}

/* Takes the next thing that waits, in the order in which it must be said; false where nothing does. */
static bool take_next(struct ls_session *session, struct ls_message *message)
{
    bool found = true;
    struct lsi_note note;

    (void)pthread_mutex_lock(&session->lock);
    if (lsi_notes_take(&session->notes, &note)) {
        message->type = LS_MESSAGE_STEP_REPORT;
        message->report = (struct ls_wire_report){.report = note.report, .first_step = note.first_step};
    } else if (session->checkpoint_count > 0) {
        message->type = LS_MESSAGE_CHECKPOINT;
        message->checkpoint.step = session->checkpoints[0].step;
        (void)ls_str_into(message->checkpoint.path, sizeof message->checkpoint.path, session->checkpoints[0].path);
        session->checkpoint_count--;
        for (int i = 0; i < session->checkpoint_count; i++)
            session->checkpoints[i] = session->checkpoints[i + 1];
    } else if (session->finish_wanted && !session->finish_sent) {
        message->type = LS_MESSAGE_FINISH;
        message->finish.status = session->finish_status;
        message->finish.text = session->finish_text; /* borrowed: not changed while it is wanted */
        session->finish_sent = true;
    } else {
        found = false;
    }
    (void)pthread_mutex_unlock(&session->lock);
    return found;
}

/* How many things wait. Where none does, the next one wakes the session's thread. */
static int count_waiting(struct ls_session *session)
{
    int count;

    (void)pthread_mutex_lock(&session->lock);
    count = session->notes.count + session->checkpoint_count;
    count += session->finish_wanted && !session->finish_sent ? 1 : 0;
    if (count == 0)
        session->flush_armed = false;
    (void)pthread_mutex_unlock(&session->lock);
    return count;
}

/* What waits is the end, or so much that it must not grow. */
static bool urgent(struct ls_session *session)
{
    bool wanted;

    (void)pthread_mutex_lock(&session->lock);
    wanted = session->finish_wanted || lsi_notes_crowded(&session->notes);
    (void)pthread_mutex_unlock(&session->lock);
    return wanted;
}

void lsi_speak_flush(struct ls_session *session)
{
    int64_t since = lsi_session_now_ms() - session->flushed_ms;
    struct ls_message message;

    if (session->stage != LSI_JOINED || session->generation == 0)
        return;
    if (since < LSI_FLUSH_MS && !urgent(session)) {
        ls_timer_start(session->flush, (uint64_t)(LSI_FLUSH_MS - since));
        return;
    }
    session->flushed_ms = lsi_session_now_ms();
    /* What comes meanwhile is the next flush's. A report that is too long to send, or a peer that does not read, ends
     * the link inside lsi_speak. */
    for (int left = count_waiting(session); left > 0 && session->stage == LSI_JOINED && session->stream != NULL; left--)
        if (take_next(session, &message))
            lsi_speak(session, &message);
    if (count_waiting(session) > 0 && session->stage == LSI_JOINED)
        ls_timer_start(session->flush, urgent(session) ? 0 : LSI_FLUSH_MS);
}

void lsi_speak_on_flush(void *state)
{
    lsi_speak_flush(state);
}
