/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mirrored strategy inside one process: a function runs once per replica, each in a thread of its own, with a
 * group that joins them. What a loop written by hand stands on.
 */
#ifndef LOCKSTEP_WORKER_FIT_MIRRORED_H
#define LOCKSTEP_WORKER_FIT_MIRRORED_H

#include "collective/group.h"

/* One replica's part. The group (rank, world: group.h) is lent for the call; every replica starts the same operations
 * in the same order. A replica that fails ends the others' operations with its reason. */
typedef enum ls_status (*ls_mirrored_fn)(void *state, struct ls_group *group, struct ls_error *err);

/* Replicas of one process: at most LS_MAX_MEMBERS. One runs in the calling thread, over a group of one. Returns when
 * all have ended: LS_OK, or the error of the replica that failed first. */
enum ls_status ls_mirrored_run(int replicas, ls_mirrored_fn fn, void *state, struct ls_error *err);

#endif
