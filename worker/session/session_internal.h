/* SPDX-License-Identifier: Apache-2.0 */
/* State of a session. The first part belongs to callers and the session's thread under the lock, the rest to the
 * thread. */
#ifndef LOCKSTEP_WORKER_SESSION_SESSION_INTERNAL_H
#define LOCKSTEP_WORKER_SESSION_SESSION_INTERNAL_H

#include "worker/session/job.h"
#include "worker/session/session.h"

#include "core/event/event.h"
#include "core/wire/channel.h"

#include <pthread.h>

#define LSI_FLUSH_MS 20 /* reports are sent at most this often */
#define LSI_FINISH_MS 10000
#define LSI_FINISH_BYTES (255 * 1024) /* of a summary; a longer one is cut */
#define LSI_RETRY_MIN_MS 20
#define LSI_RETRY_MAX_MS 500
#define LSI_QUEUE 16    /* checkpoints that wait; the oldest give way */
#define LSI_NOTES 256   /* reports that wait, see notes.c */
#define LSI_PHASE_MS 50 /* a change of phase is told at most this often, and at least with the next heartbeat */

enum lsi_open_state { LSI_OPENING, LSI_OPENED, LSI_NOT_OPENED };
enum lsi_link_stage { LSI_CONNECTING, LSI_CHALLENGED, LSI_ASKED, LSI_JOINED, LSI_LEFT };

struct lsi_checkpoint_note {
    uint64_t step;
    char path[4096];
};

struct lsi_note {
    struct ls_step_report report;
    uint64_t first_step; /* the first that it stands for */
};

struct lsi_notes {
    struct lsi_note items[LSI_NOTES];
    int count;
};

struct ls_session {
    /* --- under the lock --- */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum lsi_open_state open;
    struct ls_error open_error;
    bool ended; /* by the coordinator, before the first assignment */
    struct ls_assignment assignment;
    enum ls_order_kind order;
    char reason[512];
    uint64_t step;
    enum ls_phase phase;
    bool phase_armed; /* the thread will tell the phase soon: no need to wake it */
    bool flush_armed; /* the thread will look at what waits anyway: no need to wake it */
    struct lsi_notes notes;
    struct lsi_checkpoint_note *checkpoints; /* LSI_QUEUE of them */
    int checkpoint_count;
    bool finish_wanted, finish_sent, finish_acked;
    enum ls_status finish_status;
    char *finish_text;
    bool lost; /* the coordinator is gone */
    bool closing;
    bool fetching; /* asks for the job instead of joining; constant */
    struct ls_fetched_job *fetched;
    /* --- its own lock, so that on_abort may use the session --- */
    pthread_mutex_t abort_lock;
    void (*on_abort)(void *state, const char *reason);
    void *abort_state;
    bool abort_told;
    void (*look)(void *state, struct ls_wait_report *wait);
    void *look_state;
    /* --- the thread's --- */
    pthread_t thread;
    struct ls_session_options options;
    char *address; /* "HOST:PORT" */
    char host[LS_HOST_TEXT];
    uint16_t port;
    struct ls_loop *loop;
    struct ls_timer *beat, *flush, *retry;
    struct ls_stream *stream;
    struct ls_channel channel;
    struct ls_wire_transcript transcript;
    enum lsi_link_stage stage;
    uint64_t generation;
    uint32_t incarnation;
    int64_t heartbeat_ms;
    int64_t began_ms, heard_ms, beat_ms, flushed_ms;
    int64_t retry_ms;
    char last_failure[160];
};

int64_t lsi_session_now_ms(void);
/* Starts the thread and waits until it has joined (or, fetching, has the job), or cannot. After a failure the session
 * is gone. Returned; ends with ls_session_close. */
enum ls_status lsi_session_start(const struct ls_session_options *options, bool fetching, struct ls_session **session,
                                 struct ls_error *err);

/* Tries to connect; a failure tries again until the deadline. */
void lsi_link_start(struct ls_session *session);
void lsi_link_on_retry(void *state);
/* The session cannot be opened: wakes the opener with the status and sentence. */
void lsi_link_refuse(struct ls_session *session, enum ls_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The connection to a coordinator that had let us in is over. */
void lsi_link_lost(struct ls_session *session, const char *why);
void lsi_link_close(struct ls_session *session);

/* One message that came; what it owns may be taken. */
void lsi_hear(struct ls_session *session, struct ls_message *message, const struct ls_frame_info *info);
/* An order of the coordinator, or its loss: the newest wins, but nothing undoes an abort. */
void lsi_take_order(struct ls_session *session, enum ls_order_kind order, const char *reason);
/* Calls on_abort if there is an abort that it has not heard of. */
void lsi_tell_abort(struct ls_session *session);

/* A report that has to be said; what waits becomes fewer where it may. */
void lsi_notes_add(struct lsi_notes *notes, const struct ls_step_report *report);
/* The oldest; false where there is none. */
bool lsi_notes_take(struct lsi_notes *notes, struct lsi_note *note);
/* So many wait that they should be said without delay. */
bool lsi_notes_crowded(const struct lsi_notes *notes);

void lsi_speak(struct ls_session *session, const struct ls_message *message);
/* Brings the next heartbeat forward where it has a new phase to tell. */
void lsi_speak_phase(struct ls_session *session);
void lsi_speak_on_beat(void *state);
void lsi_speak_on_flush(void *state);
/* Sends what waits, now or as soon as the last flush is LSI_FLUSH_MS ago. */
void lsi_speak_flush(struct ls_session *session);

#endif
