/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that carries a replica's collectives while the replica computes: it starts what it is given in that order
 * and drives it to its end, asleep wherever the network has nothing for it. For transports whose data moves on its own;
 * where the members copy it themselves (shared memory), a second thread would only take the processor from the first.
 * A stream (core/device/stream.h) whose works are the operations.
 */
#ifndef LOCKSTEP_WORKER_STEP_COURIER_H
#define LOCKSTEP_WORKER_STEP_COURIER_H

#include "collective/group.h"

struct ls_courier;

/* One operation. The giver fills op and keeps all of it in place until ls_courier_wait has returned; the rest is the
 * courier's until then. */
struct ls_parcel {
    struct ls_collective op;
    struct ls_courier *courier;
    struct ls_fence end;   /* zeroed: the courier did not take it */
    enum ls_status status; /* LS_EAGAIN: it has not ended, or an earlier one failed */
    const char *way;       /* that it went */
    int missing;           /* the rank that was waited for last, -1: none */
};

/* group is borrowed: while a parcel is not done it is the courier's, otherwise the caller's. Returned; ends with
 * ls_courier_destroy before the group ends. */
enum ls_status ls_courier_create(struct ls_group *group, struct ls_courier **courier, struct ls_error *err);
/* Aborts the group where a parcel is not done, and ends the thread. Accepts NULL. */
void ls_courier_destroy(struct ls_courier *courier);
/* Gives a parcel; no allocation. Where 1,024 are under way it waits for the oldest, which has the group's deadline.
 * Failures are told by ls_courier_wait. */
void ls_courier_give(struct ls_courier *courier, struct ls_parcel *parcel);
/* Waits as ls_request_wait does: within the group's deadline, which the courier's own wait has. */
enum ls_status ls_courier_wait(struct ls_courier *courier, struct ls_parcel *parcel, struct ls_error *err);

#endif
