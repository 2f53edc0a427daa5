/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's connection ended. After its finish that is the normal end. Before, it is lost; where the shell watches the
 * process, its exit status says more than a closed socket does, and it comes a moment later.
 */
#include "coordinator/machine/machine_internal.h"

#include <stdio.h>

void lsi_on_closed(struct ls_machine *machine, const struct ls_event *event, int64_t now_ms)
{
    struct lsi_worker *worker = lsi_worker_find(machine, event->worker);
    char how[256];

    if (worker == NULL || (worker->life != LSI_JOINED && worker->life != LSI_ACTIVE))
        return;
    if (worker->child >= 0) {
        worker->life = LSI_SUSPECT;
        worker->suspect_ms = now_ms;
        return;
    }
    /* Nobody sees its exit status: while others are waited for it may have been told to leave. Once it has its
     * assignment, it would say that it ends. */
    (void)snprintf(how, sizeof how, "%s (%s)", machine->state == LS_JOINING ? "left" : "was lost",
                   event->said.text == NULL ? "the connection was closed" : event->said.text);
    lsi_lose(machine, worker, how);
}
