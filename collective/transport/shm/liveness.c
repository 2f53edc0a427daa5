/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper of a shared-memory group: the words lie in the lanes; a death ends the group for everybody. */
#include "collective/transport/shm/shm_internal.h"

#include <stdio.h>

static struct lsi_robust *word_of(void *state, int rank)
{
    return &shm_lane(state, rank)->robust;
}

static void report(void *state, int rank)
{
    struct shm *shm = state;
    char who[128];
    char reason[256];

    (void)snprintf(reason, sizeof reason, "%s died", lsi_member_text(shm->group, rank, who));
    lsi_shm_end(shm, LS_EPEER, rank, reason);
    if (shm->died != NULL)
        shm->died(shm->died_state, rank);
}

enum ls_status lsi_shm_keeper_start(struct shm *shm, struct ls_error *err)
{
    const struct lsi_origin *origin = shm->group->origin;

    if (shm->group->world == 1)
        return LS_OK;
    if (origin != NULL && origin->inside) {
        shm->died = origin->died;
        shm->died_state = origin->died_state;
    }
    shm->keeper = (struct lsi_keeper){
        .rank = shm->group->rank, .world = shm->group->world, .of = word_of, .died = report, .argument = shm};
    return lsi_keeper_start(&shm->keeper, err);
}

void lsi_shm_keeper_stop(struct shm *shm)
{
    lsi_keeper_stop(&shm->keeper);
}
