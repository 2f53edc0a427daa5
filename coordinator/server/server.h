/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The coordinator's shell: sockets, timers, journal and children around the pure machine (coordinator/machine).
 * It listens, admits workers of one job, forms generation 1 when all have come, and ends with the job.
 */
#ifndef LOCKSTEP_COORDINATOR_SERVER_SERVER_H
#define LOCKSTEP_COORDINATOR_SERVER_SERVER_H

#include "core/base/status.h"
#include "core/wire/report.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ls_server;

/* Everyone joined, training starts. */
struct ls_server_ready {
    int workers, members;  /* members: replicas in all */
    const char *transport; /* that was chosen; "self" where there is one member */
    bool several_hosts;
};

struct ls_server_options {
    const char *listen; /* "127.0.0.1:0"; port 0: any */
    uint8_t secret[32];
    char fingerprint[65];
    uint64_t known_answers;   /* digest that a worker must join with (core/device/known_answer.h); 0: any */
    int workers;              /* wanted */
    const char *transport;    /* a name of core/job/transport.h */
    const char *directory;    /* journal and rendezvous socket go here (0700 sub-directory made); NULL: temporary */
    int64_t join_deadline_ms; /* all workers must have come by then, default 30,000 */
    int64_t heartbeat_ms;     /* expected period, default 250; lost after 8 */
    /* What a worker that brings no job is told; all borrowed until the server is open. */
    const char *job_path; /* absolute; NULL: workers must bring the job */
    const char *const *job_overrides;
    int job_override_count;
    int64_t job_max_steps;
    const char *job_model_text; /* of the model file, NULL: workers read it */
    size_t job_model_length;
    /* Progress, called from ls_server_run's thread; any may be NULL. */
    void (*on_ready)(void *state, const struct ls_server_ready *ready);
    void (*on_report)(void *state, const struct ls_step_report *report); /* the newest of rank 0 */
    void (*on_log)(void *state, const char *sentence);                   /* something a person should know */
    void (*on_warning)(void *state, const char *sentence);               /* ... must know; NULL: on_log */
    void *state;
};
#define LS_SERVER_OPTIONS_DEFAULT                                               \
    {                                                                           \
        .listen = "127.0.0.1:0", .join_deadline_ms = 30000, .heartbeat_ms = 250 \
    }

/* Listens at once: LS_EBUSY names an address in use. Returned; ends with ls_server_close. */
enum ls_status ls_server_open(const struct ls_server_options *options, struct ls_server **server, struct ls_error *err);
uint16_t ls_server_port(const struct ls_server *server);
/* Processes whose death is the death of worker index i. Told after the listener exists and children were started (they
 * need the port), before ls_server_run. Borrowed until ls_server_close; a place becomes 0 before its process is
 * reaped. */
void ls_server_set_children(struct ls_server *server, _Atomic pid_t *children, int count);
/* Runs until the job is over. LS_OK: finished or stopped in order, *summary (ls_free, may be NULL) is rank 0's JSON.
 * LS_EINTERRUPTED: stopped in order because a worker was told to (*summary is what there is so far), or stopped before
 * all had joined. LS_EPEER and others: one sentence that names who died and how; *summary is NULL. */
enum ls_status ls_server_run(struct ls_server *server, char **summary, struct ls_error *err);
/* Orders an orderly stop (checkpoint and leave); safe from a signal handler and any thread. */
void ls_server_stop(struct ls_server *server);
void ls_server_close(struct ls_server *server);

#endif
