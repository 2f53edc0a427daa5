/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine with a clock that the test holds: each function gives it one event, whose actions then stand in the rig.
 * A failure ends the test.
 */
#ifndef LOCKSTEP_TESTS_UNIT_COORDINATOR_MACHINE_RIG_H
#define LOCKSTEP_TESTS_UNIT_COORDINATOR_MACHINE_RIG_H

#include "coordinator/machine/machine.h"

/* All zero before rig_begin. */
struct rig {
    struct ls_machine *machine;
    struct ls_actions actions; /* of the last event */
    int64_t now;
};

/* A job that nobody has joined. */
void rig_begin(struct rig *rig, int workers, const char *transport);
/* A job that runs: all its workers, each a watched child; worker ids are 1, 2, ... */
void rig_start(struct rig *rig, int workers);
void rig_end(struct rig *rig);
/* The n-th action of a kind, NULL where there are fewer. */
const struct ls_action *rig_nth(const struct rig *rig, enum ls_action_kind kind, int n);
int rig_count(const struct rig *rig, enum ls_action_kind kind);

void rig_give(struct rig *rig, const struct ls_event *event);
/* A right one, of a worker with one replica on the coordinator's host, pid 100 + wanted. */
struct ls_wire_join rig_join_of(int wanted);
/* child: the index of the watched child that joins, -1: none */
void rig_give_join(struct rig *rig, const struct ls_wire_join *join, uint64_t connection, int child);
void rig_join(struct rig *rig, int wanted, int child);
void rig_say(struct rig *rig, enum ls_event_kind kind, uint64_t worker, enum ls_status status, const char *text);
void rig_beat(struct rig *rig, uint64_t worker, uint64_t step, enum ls_phase phase);
/* A heartbeat of a worker with one replica, which waits in bucket 2 for a rank; ms 0: it does not wait. */
void rig_beat_waiting(struct rig *rig, uint64_t worker, int rank, uint32_t ms);
void rig_report(struct rig *rig, uint64_t worker, uint64_t first, uint64_t last);
void rig_die(struct rig *rig, int child, int exit_status, int signal);
/* Moves the clock and ticks as often as the machine asks, keeping workers first .. last alive (0: none). */
void rig_pass_time(struct rig *rig, int64_t ms, uint64_t first, uint64_t last);

#endif
