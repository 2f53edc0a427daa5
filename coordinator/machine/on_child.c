/* SPDX-License-Identifier: Apache-2.0 */
/* A watched process ended. Only one that has finished its part, or whose job is over, may. */
#include "coordinator/machine/machine_internal.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static void describe_end(const struct ls_event *event, char *how, size_t size)
{
    if (event->child.signal > 0)
        (void)snprintf(how, size, "was killed by signal %d (%s)", event->child.signal,
                       sigdescr_np(event->child.signal) == NULL ? "unknown" : sigdescr_np(event->child.signal));
    else if (event->child.exit_status >= 0)
        (void)snprintf(how, size, "ended with exit status %d", event->child.exit_status);
    else
        (void)snprintf(how, size, "ended");
}

/* It left because it was told to, before it made a step: nothing is lost, and the whole job ends as it would if we had
 * been told. Workers that have begun stop with the others and say so. */
static bool told_to_stop(const struct ls_machine *machine, const struct ls_event *event, const struct lsi_worker *known)
{
    bool told = event->child.exit_status == ls_status_exit(LS_EINTERRUPTED) || event->child.signal == SIGTERM ||
                event->child.signal == SIGINT;

    if (known == NULL)
        return told && machine->state == LS_JOINING;
    return told && lsi_worker_alive(known) && known->step == 0;
}

void lsi_on_child(struct ls_machine *machine, const struct ls_event *event, int64_t now_ms)
{
    char how[128], sentence[LS_WIRE_SENTENCE];
    struct lsi_worker *known = NULL;

    (void)now_ms;
    for (int i = 0; i < machine->worker_count; i++) {
        if (machine->workers[i].child == event->child.index)
            known = &machine->workers[i];
    }
    if (told_to_stop(machine, event, known)) {
        if (known != NULL)
            known->life = LSI_GONE;
        lsi_fail(machine, LS_EINTERRUPTED, "the job was stopped before training began; the same command goes on");
        return;
    }
    if (event->child.signal > 0)
        machine->stood_ms = 0; /* it did not leave, so the cause is another */
    describe_end(event, how, sizeof how);
    if (known != NULL && lsi_worker_alive(known)) {
        lsi_lose(machine, known, how);
    } else if (known == NULL && machine->state == LS_JOINING) {
        (void)snprintf(sentence, sizeof sentence, "worker %d (pid %lld) %s before it joined", event->child.index,
                       (long long)event->child.pid, how);
        lsi_fail(machine, LS_EPEER, sentence);
    }
}
