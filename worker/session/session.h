/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's control session with the coordinator: join with proof of the secret, assignment, heartbeats from an own
 * thread (so that a long computation never delays one), orders, reports. All calls are thread-safe.
 */
#ifndef LOCKSTEP_WORKER_SESSION_SESSION_H
#define LOCKSTEP_WORKER_SESSION_SESSION_H

#include "collective/group.h"
#include "core/base/status.h"
#include "core/wire/report.h"

struct ls_session;

struct ls_session_options {
    const char *coordinator; /* "HOST:PORT" */
    uint8_t secret[32];
    char fingerprint[65];        /* of the job, hex */
    uint64_t known_answers;      /* digest of the device's known answers, 0: none were asked */
    int replicas;                /* members this worker brings */
    int wanted_index;            /* >= 0: place among the workers that a launcher gave; -1: any */
    uint16_t listen_port[16];    /* per replica: its tcp listener, 0: none */
    int64_t connect_deadline_ms; /* keeps trying this long, default 10,000 */
    bool *ended; /* nullable, borrowed: set where the job ended before the assignment came; the coordinator says it */
};

/* What the coordinator decided for a generation. */
struct ls_assignment {
    uint64_t generation;
    uint64_t worker; /* own id */
    int first_rank;  /* of this worker's replicas */
    int world;       /* members */
    struct ls_member members[LS_MAX_MEMBERS];
    char provider[16];    /* of the group: ls_group_create */
    char rendezvous[108]; /* path for shm */
};

enum ls_order_kind {
    LS_ORDER_NONE,
    LS_ORDER_STOP, /* checkpoint at the next step boundary that all ranks agree on, then leave */
    LS_ORDER_ABORT /* the generation is over: reason names who died and how */
};

/* Connects, joins and waits for the first assignment. LS_EAUTH: the secret or the job differs (says which);
 * LS_ETIMEOUT: no coordinator. on_abort (nullable) is called from the session's thread when an abort order arrives or
 * the coordinator is lost. Returned; ends with ls_session_close. */
enum ls_status ls_session_open(const struct ls_session_options *options, struct ls_assignment *assignment,
                               struct ls_session **session, struct ls_error *err);
void ls_session_on_abort(struct ls_session *session, void (*on_abort)(void *state, const char *reason), void *state);
/* look is called from the session's thread with every heartbeat, which tells what it gives; it may not use the
 * session. */
void ls_session_on_beat(struct ls_session *session, void (*look)(void *state, struct ls_wait_report *wait),
                        void *state);
/* Newest order, without waiting; reason (nullable, 512 bytes) says why. */
enum ls_order_kind ls_session_order(struct ls_session *session, char *reason);
/* What heartbeats say; a change of phase is told within 50 ms. */
void ls_session_set_phase(struct ls_session *session, uint64_t step, enum ls_phase phase);
/* Asynchronous, told in order. While the connection is slow the newest step of an epoch stands for those before it (the
 * ledger gets ranges); the last of each epoch and every validation are told. */
void ls_session_report_step(struct ls_session *session, const struct ls_step_report *report);
void ls_session_report_checkpoint(struct ls_session *session, uint64_t step, const char *path);
/* Says that this worker's part is over: status, and from rank 0 the summary JSON (nullable) or the error's sentence.
 * Waits until the coordinator has acknowledged it, or its deadline. */
enum ls_status ls_session_finish(struct ls_session *session, enum ls_status result, const char *text,
                                 struct ls_error *err);
void ls_session_close(struct ls_session *session);

#endif
