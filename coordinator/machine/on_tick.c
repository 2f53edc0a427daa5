/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time passed: every deadline of the machine is looked at here. A tick that is overdue means that this process stood
 * still (a stopped or starved host); what workers said meanwhile lies unread, so that short waits begin anew and the
 * long ones do not count the lost time.
 */
#include "coordinator/machine/machine_internal.h"

#include <stdio.h>

void lsi_forgive(struct ls_machine *machine, int64_t now_ms)
{
    int64_t late = now_ms - machine->tick_due;

    if (late <= machine->options.heartbeat_ms)
        return;
    machine->tick_due = now_ms;
    machine->stood_ms = late;
    machine->woke_ms = now_ms;
    machine->joining_since += late;
    machine->stopping_since += late;
    machine->symptom_ms = now_ms;
    for (int i = 0; i < machine->worker_count; i++) {
        machine->workers[i].heard_ms = now_ms;
        machine->workers[i].suspect_ms = now_ms;
    }
}

static void look_at_joining(struct ls_machine *machine, int64_t now_ms)
{
    char missing[256], sentence[LS_WIRE_SENTENCE];

    if (machine->state != LS_JOINING || now_ms - machine->joining_since < machine->options.join_deadline_ms)
        return;
    lsi_describe_missing(machine, missing, sizeof missing);
    (void)snprintf(sentence, sizeof sentence, "%s of %d did not join within %.10g s", missing, machine->options.workers,
                   (double)machine->options.join_deadline_ms / 1000);
    lsi_fail(machine, LS_ETIMEOUT, sentence);
}

static void look_at_worker(struct ls_machine *machine, struct lsi_worker *worker, int64_t now_ms)
{
    int64_t silent = now_ms - worker->heard_ms;
    char how[128];

    if (worker->life == LSI_SUSPECT) {
        if (now_ms - worker->suspect_ms >= LS_MACHINE_CHILD_GRACE_MS)
            lsi_lose(machine, worker, "closed its connection without finishing");
        return;
    }
    if (!lsi_worker_alive(worker) || silent <= LS_MACHINE_LOST_AFTER * machine->options.heartbeat_ms)
        return;
    (void)snprintf(how, sizeof how, "has not answered for %.1f s, last heard", (double)silent / 1000);
    lsi_lose(machine, worker, how);
}

static void look_at_stopping(struct ls_machine *machine, int64_t now_ms)
{
    char who[128], place[64], sentence[LS_WIRE_SENTENCE];

    if (machine->state != LS_STOPPING || now_ms - machine->stopping_since < machine->options.stop_deadline_ms)
        return;
    for (int i = 0; i < machine->worker_count; i++) {
        const struct lsi_worker *worker = &machine->workers[i];

        if (!lsi_worker_alive(worker))
            continue;
        lsi_describe(worker, who, sizeof who);
        lsi_describe_place(machine, worker, place, sizeof place);
        (void)snprintf(sentence, sizeof sentence, "%s did not stop within %.3g s, it was %s", who,
                       (double)machine->options.stop_deadline_ms / 1000, place);
        lsi_fail(machine, LS_ETIMEOUT, sentence);
        return;
    }
}

void lsi_on_tick(struct ls_machine *machine, int64_t now_ms)
{
    machine->tick_due = now_ms + machine->options.heartbeat_ms;
    if (now_ms - machine->woke_ms > LS_MACHINE_LOST_AFTER * machine->options.heartbeat_ms)
        machine->stood_ms = 0; /* who left meanwhile has been seen */
    if (machine->state == LS_ENDED || machine->state == LS_FAILED)
        return;
    for (int i = 0; i < machine->worker_count; i++)
        look_at_worker(machine, &machine->workers[i], now_ms);
    look_at_joining(machine, now_ms);
    look_at_stopping(machine, now_ms);
    if (machine->has_symptom && now_ms - machine->symptom_ms >= LS_MACHINE_SYMPTOM_GRACE_MS)
        lsi_fail(machine, machine->symptom_status, machine->symptom);
    if (machine->state != LS_FAILED && machine->has_range && now_ms - machine->range_since >= LS_MACHINE_LEDGER_MS)
        lsi_ledger_flush(machine);
}
