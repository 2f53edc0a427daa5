/* SPDX-License-Identifier: Apache-2.0 */
/* State of the machine, and what its message handlers share. */
#ifndef LOCKSTEP_COORDINATOR_MACHINE_MACHINE_INTERNAL_H
#define LOCKSTEP_COORDINATOR_MACHINE_MACHINE_INTERNAL_H

#include "coordinator/machine/machine.h"

enum lsi_life {
    LSI_JOINED,   /* waits for the first generation */
    LSI_ACTIVE,   /* member of the current generation */
    LSI_SUSPECT,  /* its connection closed; the child's exit status may still say why */
    LSI_FINISHED, /* said that it is done, or that it failed */
    LSI_GONE
};

struct lsi_worker {
    uint64_t id;
    uint32_t incarnation; /* how often somebody came for this index, from 1 */
    enum lsi_life life;
    int index; /* -1 until it is dealt */
    int wanted;
    int replicas;
    int first_rank;
    uint16_t ports[LS_WIRE_MAX_REPLICAS];
    char host[LS_HOST_NAME_TEXT];
    char address[64];
    char local_address[64];
    int64_t pid;
    int child;          /* the watched process that is this worker, -1: none */
    int64_t heard_ms;   /* last word from it */
    int64_t suspect_ms; /* since when it is one */
    uint64_t step;
    enum ls_phase phase;
    struct ls_wait_report wait; /* of its newest heartbeat */
    int64_t stall_ms;           /* when it was last said that others wait for this one; 0: never */
    bool stalls;                /* that was said, and they still wait */
    char *summary;              /* text of an orderly finish */
};

struct ls_machine {
    struct ls_machine_options options;
    enum ls_machine_state state;
    uint64_t generation;
    uint64_t next_worker;
    int64_t joining_since, stopping_since;
    int64_t tick_due;           /* an event long after it tells how long this process stood still */
    int64_t stood_ms, woke_ms;  /* how long that was and when it ended; 0 a while later */
    struct lsi_worker *workers; /* in join order; gone ones stay, ids are never reused */
    int worker_count, worker_capacity;
    struct ls_wire_member members[LS_WIRE_MAX_MEMBERS];
    int world;
    char provider[16];
    /* A worker said that a peer of it is gone: a symptom. The cause gets a while to show itself. */
    bool has_symptom;
    int64_t symptom_ms;
    enum ls_status symptom_status;
    char symptom[LS_WIRE_SENTENCE];
    /* A worker finished because the group stopped in order before its last step. */
    bool interrupted;
    char interruption[LS_WIRE_SENTENCE];
    /* Ledger: committed steps not yet told to the journal. */
    bool has_range;
    uint64_t range_first, range_last, range_epoch, range_fingerprint, committed;
    int64_t range_since;
    bool told_not_finite;
    int stalls; /* workers for which others wait, as was said */
    /* Actions of the running step. */
    struct ls_action *actions;
    int action_count, action_capacity;
    char **texts; /* owned; freed at the next step */
    int text_count, text_capacity;
    bool out_of_memory;
};

/* Adds an action and returns it to be filled in; a spare one when memory is short (the step then fails). */
struct ls_action *lsi_act(struct ls_machine *machine, enum ls_action_kind kind);
/* Text that lives until the next step. */
const char *lsi_text(struct ls_machine *machine, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *lsi_text_copy(struct ls_machine *machine, const char *text);
void lsi_log(struct ls_machine *machine, const char *format, ...) __attribute__((format(printf, 2, 3)));

struct lsi_worker *lsi_worker_find(struct ls_machine *machine, uint64_t id);
/* Not finished and not gone. */
bool lsi_worker_alive(const struct lsi_worker *worker);
/* Whether it has told of a step, or the group, which it is a member of, has committed one. */
bool lsi_worker_began(const struct ls_machine *machine, const struct lsi_worker *worker);
/* An event of `worker` that may change the state: it is alive and of the current generation. */
bool lsi_event_current(struct ls_machine *machine, const struct ls_event *event, struct lsi_worker **worker);

/* "worker 1 (pid 1234)" */
void lsi_describe(const struct lsi_worker *worker, char *text, size_t size);
/* "computing step 57", "near step 58", "before its first report" */
void lsi_describe_place(const struct ls_machine *machine, const struct lsi_worker *worker, char *text, size_t size);
/* "; worker 0 waits while reducing step 57" for the others alive, a few of them by name; empty where there is none. */
void lsi_describe_others(const struct ls_machine *machine, const struct lsi_worker *except, char *text, size_t size);
/* Indices nobody has taken: "worker 1" or "workers 1, 3 and 5 others". */
void lsi_describe_missing(const struct ls_machine *machine, char *text, size_t size);

/* The job is over with an error: everyone alive gets the order to abort. Once; later calls change nothing. */
void lsi_fail(struct ls_machine *machine, enum ls_status status, const char *sentence);
/* A worker is lost; how: "was killed by signal 9". Fails the job with the sentence that names it. */
void lsi_lose(struct ls_machine *machine, struct lsi_worker *worker, const char *how);
/* Ends the job if every worker has finished. */
void lsi_end_if_done(struct ls_machine *machine);
/* Everyone is there: deals indices and ranks and starts the next generation. */
void lsi_assign(struct ls_machine *machine, int64_t now_ms);
/* The worker that holds a rank of this generation; NULL: there is no such rank. */
struct lsi_worker *lsi_rank_owner(struct ls_machine *machine, int rank);
/* A heartbeat came: says who keeps others waiting, once for each time. */
void lsi_look_at_waits(struct ls_machine *machine, int64_t now_ms);
/* Tells the journal the committed range. */
void lsi_ledger_flush(struct ls_machine *machine);

/* Where this process stood still, that time is held against nobody. Before each event. */
void lsi_forgive(struct ls_machine *machine, int64_t now_ms);

void lsi_on_join(struct ls_machine *machine, const struct ls_event *event, int64_t now_ms);
void lsi_on_heartbeat(struct ls_machine *machine, const struct ls_event *event, int64_t now_ms);
void lsi_on_report(struct ls_machine *machine, const struct ls_event *event, int64_t now_ms);
void lsi_on_checkpoint(struct ls_machine *machine, const struct ls_event *event, int64_t now_ms);
void lsi_on_finish(struct ls_machine *machine, const struct ls_event *event, int64_t now_ms);
void lsi_on_closed(struct ls_machine *machine, const struct ls_event *event, int64_t now_ms);
void lsi_on_child(struct ls_machine *machine, const struct ls_event *event, int64_t now_ms);
void lsi_on_stop(struct ls_machine *machine, int64_t now_ms);
void lsi_on_tick(struct ls_machine *machine, int64_t now_ms);

#endif
