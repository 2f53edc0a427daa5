/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a group as it was left in shared memory, see words.h. */
#include "collective/transport/shm/words.h"

#include "collective/group_impl.h"

#include <sched.h>
#include <stdio.h>

#define PATIENCE 10000 /* yields in which a living writer is through */

enum ls_status lsi_shm_end_read(const struct shm_end *end, int world, int *culprit, struct ls_error *err)
{
    char reason[sizeof end->reason];
    int named;

    /* The writer may have died between the two stores. */
    for (int i = 0; i < PATIENCE && atomic_load_explicit(&end->state, memory_order_acquire) == 1; i++)
        (void)sched_yield();
    if (atomic_load_explicit(&end->state, memory_order_acquire) != 2) {
        *culprit = -1;
        return ls_error_set(err, LS_EPEER, "a member of the group ended it and died");
    }
    /* Peers' bytes: nothing of them is trusted further than its form. */
    named = end->culprit;
    *culprit = named >= 0 && named < world ? named : -1;
    (void)snprintf(reason, sizeof reason, "%.*s", (int)sizeof end->reason - 1, end->reason);
    return ls_error_set(err, ls_status_of_peer(end->status, LS_EINTERRUPTED), "%s", reason);
}
