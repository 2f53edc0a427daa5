/* SPDX-License-Identifier: Apache-2.0 */
/* Inside worker/fit: a member of a mirrored run, for those who hand its group to a replica. */
#ifndef LOCKSTEP_WORKER_FIT_MIRRORED_INTERNAL_H
#define LOCKSTEP_WORKER_FIT_MIRRORED_INTERNAL_H

#include "worker/fit/mirrored.h"

struct lsi_mirrored_member;

typedef enum ls_status (*lsi_mirrored_fn)(void *state, struct lsi_mirrored_member *member, struct ls_error *err);

/* ls_mirrored_run with the member in place of its group. */
enum ls_status lsi_mirrored_run(int replicas, lsi_mirrored_fn fn, void *state, struct ls_error *err);
struct ls_group *lsi_mirrored_group(const struct lsi_mirrored_member *member);
/* The function is about to destroy the group itself: from now on nobody else touches it. failed: why its own part
 * went wrong (NULL: it did not); the others are then ended with that. */
void lsi_mirrored_withdraw(struct lsi_mirrored_member *member, const struct ls_error *failed);

#endif
