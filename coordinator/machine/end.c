/* SPDX-License-Identifier: Apache-2.0 */
/* How a job ends: in order when every worker has finished, or with one sentence that everybody gets. */
#include "coordinator/machine/machine_internal.h"

#include <stdio.h>

static void abort_all(struct ls_machine *machine, enum ls_status status, const char *reason)
{
    const char *text = lsi_text_copy(machine, reason);

    for (int i = 0; i < machine->worker_count; i++) {
        struct ls_action *order;

        if (machine->workers[i].life != LSI_ACTIVE && machine->workers[i].life != LSI_JOINED)
            continue;
        order = lsi_act(machine, LS_ACTION_ORDER);
        order->worker = machine->workers[i].id;
        order->order = LS_WIRE_ORDER_ABORT;
        order->status = status;
        order->text = text;
    }
}

static void fail(struct ls_machine *machine, enum ls_status status, const char *reason, const char *sentence)
{
    struct ls_action *end;

    if (machine->state == LS_ENDED || machine->state == LS_FAILED)
        return;
    lsi_ledger_flush(machine);
    machine->state = LS_FAILED;
    abort_all(machine, status, reason);
    end = lsi_act(machine, LS_ACTION_END);
    end->status = status;
    end->text = lsi_text_copy(machine, sentence);
}

void lsi_fail(struct ls_machine *machine, enum ls_status status, const char *sentence)
{
    fail(machine, status, sentence, sentence);
}

/* A coordinator that was stopped for long finds that its workers have left it: that is not their fault. */
static void describe_own_fault(const struct ls_machine *machine, char *text, size_t size)
{
    int64_t patience_ms = LS_WIRE_PATIENCE_MS(machine->options.heartbeat_ms);

    text[0] = '\0';
    if (machine->stood_ms >= patience_ms)
        (void)snprintf(text, size,
                       "the coordinator itself stood still for %.1f s, and workers leave one that is silent for %.3g "
                       "s: ",
                       (double)machine->stood_ms / 1000, (double)patience_ms / 1000);
}

void lsi_lose(struct ls_machine *machine, struct lsi_worker *worker, const char *how)
{
    char who[128], place[64], others[256], fault[128], reason[LS_WIRE_SENTENCE], sentence[LS_WIRE_SENTENCE];
    bool member = worker->index >= 0;
    struct ls_action *drop = lsi_act(machine, LS_ACTION_DROP);

    worker->life = LSI_GONE;
    drop->worker = worker->id;
    drop->child = worker->child;
    lsi_describe(worker, who, sizeof who);
    lsi_describe_place(machine, worker, place, sizeof place);
    lsi_describe_others(machine, worker, others, sizeof others);
    describe_own_fault(machine, fault, sizeof fault);
    if (member)
        (void)snprintf(reason, sizeof reason, "%s%s %s %s%s", fault, who, how,
                       lsi_worker_began(machine, worker) ? "while " : "", place);
    else
        (void)snprintf(reason, sizeof reason, "%s%s %s before training began", fault, who, how);
    (void)snprintf(sentence, sizeof sentence, "%s%s", reason, others);
    if (machine->state == LS_JOINING && worker->child < 0)
        lsi_log(machine, "%s; another may take its place", reason); /* a cluster may send one */
    else
        fail(machine, LS_EPEER, reason, sentence);
}

void lsi_end_if_done(struct ls_machine *machine)
{
    const char *summary = NULL;
    struct ls_action *end;
    bool early;

    if (machine->state != LS_RUNNING && machine->state != LS_STOPPING)
        return;
    for (int i = 0; i < machine->worker_count; i++) {
        if (lsi_worker_alive(&machine->workers[i]))
            return;
        if (machine->workers[i].life == LSI_FINISHED && machine->workers[i].first_rank == 0)
            summary = machine->workers[i].summary;
    }
    if (machine->has_symptom) {
        lsi_fail(machine, machine->symptom_status, machine->symptom); /* nobody is left who could be its cause */
        return;
    }
    lsi_ledger_flush(machine);
    /* Stopped by our order is what was wanted; stopped by a signal to a worker is for the user to know. */
    early = machine->interrupted && machine->state == LS_RUNNING;
    machine->state = LS_ENDED;
    end = lsi_act(machine, LS_ACTION_END);
    end->status = early ? LS_EINTERRUPTED : LS_OK;
    if (early)
        end->text = machine->interruption[0] != '\0' ? machine->interruption
                                                     : "the job stopped in order, because a worker was told to stop";
    end->summary = summary == NULL ? NULL : lsi_text_copy(machine, summary);
}
