/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Committed steps. The group has committed them already; here they only become part of the ledger, in ranges, and rank
 * 0's numbers are shown. Every worker may report the same steps: each is entered once.
 */
#include "coordinator/machine/machine_internal.h"

#include <math.h>

void lsi_ledger_flush(struct ls_machine *machine)
{
    struct ls_action *action;

    if (!machine->has_range)
        return;
    machine->has_range = false;
    action = lsi_act(machine, LS_ACTION_STEPS);
    action->first_step = machine->range_first;
    action->last_step = machine->range_last;
    action->epoch = machine->range_epoch;
    action->fingerprint = machine->range_fingerprint;
}

static void enter(struct ls_machine *machine, const struct ls_step_report *report, uint64_t first, int64_t now_ms)
{
    if (report->step <= machine->committed)
        return;
    if (first <= machine->committed)
        first = machine->committed + 1;
    if (machine->has_range && first != machine->range_last + 1)
        lsi_ledger_flush(machine);
    if (!machine->has_range) {
        machine->has_range = true;
        machine->range_first = first;
        machine->range_since = now_ms;
    }
    machine->range_last = machine->committed = report->step;
    machine->range_epoch = report->epoch;
    machine->range_fingerprint = report->fingerprint;
}

/* Once, at the step: workers never put the step at which the loss stops being finite into a report with older ones. */
static void look_at_loss(struct ls_machine *machine, const struct ls_step_report *report, uint64_t first)
{
    struct ls_action *action;
    const char *text;

    if (machine->told_not_finite || report->validation || isfinite(report->loss))
        return;
    machine->told_not_finite = true;
    text = lsi_text(
        machine,
        "the loss is %s from step %llu on; training goes on, a smaller optimizer.learning_rate may avoid it, and "
        "the data may hold such numbers",
        isnan(report->loss) ? "not a number" : "infinite", (unsigned long long)first);
    action = lsi_act(machine, LS_ACTION_LOG);
    action->text = text;
    action->warns = true;
}

void lsi_on_report(struct ls_machine *machine, const struct ls_event *event, int64_t now_ms)
{
    const struct ls_step_report *report = event->reported.report;
    struct lsi_worker *worker;

    if (!lsi_event_current(machine, event, &worker))
        return;
    worker->heard_ms = now_ms;
    if (!report->validation) {
        if (report->step > worker->step)
            worker->step = report->step;
        enter(machine, report, event->reported.first_step, now_ms);
    }
    if (worker->first_rank == 0) {
        look_at_loss(machine, report, event->reported.first_step);
        lsi_act(machine, LS_ACTION_REPORT)->report = *report;
    }
    if (machine->has_range && now_ms - machine->range_since >= LS_MACHINE_LEDGER_MS)
        lsi_ledger_flush(machine);
}
