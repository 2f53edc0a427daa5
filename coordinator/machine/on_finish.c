/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker says that its part is over. "A peer of mine is gone" is a symptom: the peer's own fate, when it becomes
 * known within a short while, is the better sentence. Any other error is the job's.
 */
#include "coordinator/machine/machine_internal.h"

#include "core/base/alloc.h"
#include "core/base/str.h"

#include <stdio.h>

static bool symptom(enum ls_status status)
{
    return status == LS_EPEER || status == LS_ETIMEOUT;
}

static void finish_badly(struct ls_machine *machine, struct lsi_worker *worker, const struct ls_event *event,
                         int64_t now_ms)
{
    char who[128], sentence[LS_WIRE_SENTENCE];

    lsi_describe(worker, who, sizeof who);
    if (event->said.text != NULL && event->said.text[0] != '\0')
        (void)ls_str_into(sentence, sizeof sentence, event->said.text);
    else
        (void)snprintf(sentence, sizeof sentence, "%s failed: %s", who, ls_status_sentence(event->said.status));
    if (!symptom(event->said.status)) {
        lsi_fail(machine, event->said.status, sentence);
        return;
    }
    if (!machine->has_symptom) {
        machine->has_symptom = true;
        machine->symptom_ms = now_ms;
        machine->symptom_status = event->said.status;
        (void)ls_str_into(machine->symptom, sizeof machine->symptom, sentence);
    }
}

/* The group stopped in order: all of it, since its ranks agree on the step. Rank 0 gives the summary so far. */
static void finish_early(struct ls_machine *machine, const struct ls_event *event)
{
    machine->interrupted = true;
    if (event->said.text != NULL && event->said.text[0] != '{')
        (void)ls_str_into(machine->interruption, sizeof machine->interruption, event->said.text);
}

static void keep_summary(struct lsi_worker *worker, const struct ls_event *event)
{
    bool orderly = event->said.status == LS_OK || event->said.status == LS_EINTERRUPTED;

    if (orderly && worker->summary == NULL && event->said.text != NULL && event->said.text[0] == '{')
        worker->summary = ls_str_copy(event->said.text);
}

void lsi_on_finish(struct ls_machine *machine, const struct ls_event *event, int64_t now_ms)
{
    struct lsi_worker *worker = lsi_worker_find(machine, event->worker);
    bool counts;

    if (worker == NULL || worker->life == LSI_GONE || worker->life == LSI_SUSPECT)
        return;
    if (worker->life == LSI_JOINED) {
        lsi_lose(machine, worker, "gave up");
        return;
    }
    counts = lsi_event_current(machine, event, &worker);
    if (!counts && machine->state != LS_ENDED && machine->state != LS_FAILED)
        return; /* an older generation's end is not this one's */
    /* Whatever has become of the job, a worker that waits for its answer gets it. */
    lsi_act(machine, LS_ACTION_ACK_FINISH)->worker = worker->id;
    worker->life = LSI_FINISHED;
    if (!counts)
        return;
    keep_summary(worker, event);
    if (event->said.status == LS_EINTERRUPTED)
        finish_early(machine, event);
    else if (event->said.status != LS_OK)
        finish_badly(machine, worker, event, now_ms);
    lsi_end_if_done(machine);
}
