/* SPDX-License-Identifier: Apache-2.0 */
/* A sign of life: step and phase are kept for the sentence that says who was doing what. */
#include "coordinator/machine/machine_internal.h"

void lsi_on_heartbeat(struct ls_machine *machine, const struct ls_event *event, int64_t now_ms)
{
    struct lsi_worker *worker = lsi_worker_find(machine, event->worker);

    if (worker == NULL || !lsi_worker_alive(worker))
        return;
    worker->heard_ms = now_ms;
    lsi_act(machine, LS_ACTION_ACK)->worker = worker->id;
    if (event->generation != machine->generation)
        return; /* life is life, but an older generation's step says nothing about this one */
    worker->step = event->heartbeat.step;
    worker->phase = event->heartbeat.phase;
    worker->wait = event->heartbeat.wait;
    /* It can tell of its own replicas only. */
    if (worker->wait.kind != LS_WAIT_NONE && lsi_rank_owner(machine, worker->wait.rank) != worker)
        worker->wait = (struct ls_wait_report){.kind = LS_WAIT_NONE};
    /* All workers are looked at: only where this may have begun or ended a stall. */
    if (worker->wait.waited_ms >= LS_MACHINE_STALL_MS || machine->stalls > 0)
        lsi_look_at_waits(machine, now_ms);
}
