/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint is complete: the steps before it go to the journal first. */
#include "coordinator/machine/machine_internal.h"

void lsi_on_checkpoint(struct ls_machine *machine, const struct ls_event *event, int64_t now_ms)
{
    struct lsi_worker *worker;
    struct ls_action *action;

    if (!lsi_event_current(machine, event, &worker))
        return;
    worker->heard_ms = now_ms;
    lsi_ledger_flush(machine);
    action = lsi_act(machine, LS_ACTION_CHECKPOINT);
    action->last_step = event->said.step;
    action->text = lsi_text_copy(machine, event->said.text == NULL ? "" : event->said.text);
}
