/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The coordinator's decisions as a pure function: (state, event, now) -> actions. No clock, socket, file or random
 * number in here; the shell (coordinator/server) feeds events and performs the actions in their order. The same code
 * runs under unit tests and seeded storms.
 *
 * joining --everyone is there--> running(generation) --stop--> stopping --all finished--> ended
 *    any of them --a loss, a deadline, a worker's error--> failed
 */
#ifndef LOCKSTEP_COORDINATOR_MACHINE_MACHINE_H
#define LOCKSTEP_COORDINATOR_MACHINE_MACHINE_H

#include "core/base/host.h"
#include "core/base/status.h"
#include "core/wire/message.h"
#include "core/wire/report.h"

#include <stdbool.h>
#include <stdint.h>

#define LS_MACHINE_LOST_AFTER 8          /* heartbeats */
#define LS_MACHINE_CHILD_GRACE_MS 250    /* how long a closed connection waits for the child's exit status */
#define LS_MACHINE_SYMPTOM_GRACE_MS 1500 /* how long a worker's "my peer is gone" waits for the peer's own fate */
#define LS_MACHINE_LEDGER_MS 200         /* committed steps are told to the journal in ranges, this often */
#define LS_MACHINE_STALL_MS 2000         /* a wait of this length is said, with whom it is for */
#define LS_MACHINE_STALL_AGAIN_MS 30000  /* of one worker not sooner than this after the last time */
#define LS_MACHINE_NEVER INT64_MAX

enum ls_machine_state { LS_JOINING, LS_RUNNING, LS_STOPPING, LS_ENDED, LS_FAILED };

struct ls_machine_options {
    int workers;
    char fingerprint[65];
    uint64_t known_answers;       /* that a worker must have; 0: any */
    char transport[16];           /* a name of core/job/transport.h */
    char host[LS_HOST_NAME_TEXT]; /* of the coordinator: the rendezvous directory is there */
    char rendezvous[108];
    uint64_t last_generation; /* of the journal; the first one made is this + 1 */
    int64_t join_deadline_ms;
    int64_t heartbeat_ms;
    int64_t stop_deadline_ms; /* between an order to stop and its end */
};

enum ls_event_kind {
    LS_EVENT_JOIN,       /* a connection proved the secret and wants in */
    LS_EVENT_HEARTBEAT,  /* worker, generation, heartbeat */
    LS_EVENT_REPORT,     /* worker, generation, reported */
    LS_EVENT_CHECKPOINT, /* worker, generation, step, text (path) */
    LS_EVENT_FINISH,     /* worker, generation, status, text */
    LS_EVENT_CLOSED,     /* worker's connection ended; text says how */
    LS_EVENT_CHILD,      /* child `index` of this host ended: pid, exit_status, signal */
    LS_EVENT_STOP,       /* somebody wants an orderly end */
    LS_EVENT_BROKEN,     /* the shell cannot go on: status, text (the journal cannot be written) */
    LS_EVENT_TICK        /* time passed */
};

struct ls_event {
    enum ls_event_kind kind;
    uint64_t connection; /* JOIN: the shell's name for it */
    uint64_t worker;
    uint64_t generation;
    union {
        struct {
            const struct ls_wire_join *join;
            const char *address;       /* of the worker, as the coordinator sees it */
            const char *local_address; /* of the coordinator on this connection */
            int child;                 /* which watched child it is, -1: none */
        } joined;
        struct ls_wire_heartbeat heartbeat;
        struct {
            const struct ls_step_report *report;
            uint64_t first_step; /* the report stands for the steps first_step .. report->step */
        } reported;
        struct {
            int index;
            int64_t pid;
            int exit_status; /* -1: not known */
            int signal;      /* > 0: killed by it */
        } child;
        struct {
            enum ls_status status;
            uint64_t step;
            const char *text; /* borrowed; may be NULL */
        } said;
    };
};

enum ls_action_kind {
    LS_ACTION_WELCOME,    /* connection becomes `worker` with `incarnation` */
    LS_ACTION_REFUSE,     /* connection: status, text; then close it */
    LS_ACTION_ASSIGN,     /* worker: send ls_machine_assignment */
    LS_ACTION_ORDER,      /* worker: order, status, text */
    LS_ACTION_ACK,        /* worker: acknowledge its heartbeat */
    LS_ACTION_ACK_FINISH, /* worker */
    LS_ACTION_DROP,       /* worker: close its connection, kill its process where it is `child`: it is out */
    LS_ACTION_READY,      /* show: everyone joined */
    LS_ACTION_REPORT,     /* show: report */
    LS_ACTION_LOG,        /* show: text */
    LS_ACTION_GENERATION, /* journal, durable before the next action: ls_machine_assignment of the new generation */
    LS_ACTION_STEPS,      /* journal: generation, first_step .. last_step, epoch, fingerprint */
    LS_ACTION_CHECKPOINT, /* journal: generation, step, text (path) */
    LS_ACTION_END         /* the job is over: status, text (an error's sentence or NULL), summary (or NULL) */
};

struct ls_action {
    enum ls_action_kind kind;
    uint64_t connection;
    uint64_t worker;
    uint64_t generation;
    uint32_t incarnation;
    int child; /* -1: none */
    enum ls_wire_order order;
    enum ls_status status;
    uint64_t first_step, last_step, epoch, fingerprint;
    struct ls_step_report report;
    const char *text, *summary; /* live until the next step */
    bool warns;                 /* LS_ACTION_LOG: the result is in doubt */
};

struct ls_actions {
    const struct ls_action *items; /* borrowed, until the next step */
    int count;
};

struct ls_machine;

/* Copies options. Returned; ends with ls_machine_destroy. */
enum ls_status ls_machine_create(const struct ls_machine_options *options, int64_t now_ms, struct ls_machine **machine,
                                 struct ls_error *err);
void ls_machine_destroy(struct ls_machine *machine);
/* One event. LS_ENOMEM where memory is short: the machine has then failed, and must only be destroyed. */
enum ls_status ls_machine_step(struct ls_machine *machine, const struct ls_event *event, int64_t now_ms,
                               struct ls_actions *actions);
/* When the next LS_EVENT_TICK is due; LS_MACHINE_NEVER. */
int64_t ls_machine_deadline(const struct ls_machine *machine);
enum ls_machine_state ls_machine_state(const struct ls_machine *machine);
uint64_t ls_machine_generation(const struct ls_machine *machine); /* 0 before the first */
/* Workers that are in the generation and have neither finished nor gone. */
int ls_machine_alive(const struct ls_machine *machine);
/* The current generation as `worker` sees it; its members are borrowed from the machine. */
void ls_machine_assignment(const struct ls_machine *machine, uint64_t worker, struct ls_wire_assignment *assignment);

#endif
