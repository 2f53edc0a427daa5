/* SPDX-License-Identifier: Apache-2.0 */
/* Somebody wants an orderly end: every worker checkpoints at the same step and leaves. */
#include "coordinator/machine/machine_internal.h"

void lsi_on_stop(struct ls_machine *machine, int64_t now_ms)
{
    if (machine->state == LS_JOINING) {
        lsi_fail(machine, LS_EINTERRUPTED, "the job was stopped before all its workers had joined");
        return;
    }
    if (machine->state != LS_RUNNING)
        return;
    machine->state = LS_STOPPING;
    machine->stopping_since = now_ms;
    for (int i = 0; i < machine->worker_count; i++) {
        struct ls_action *order;

        if (machine->workers[i].life != LSI_ACTIVE)
            continue;
        order = lsi_act(machine, LS_ACTION_ORDER);
        order->worker = machine->workers[i].id;
        order->order = LS_WIRE_ORDER_STOP;
        order->text = "the job was told to stop";
    }
}
