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

void lsi_on_child(struct ls_machine *machine, const struct ls_event *event, int64_t now_ms)
{
    char how[128], sentence[LS_WIRE_SENTENCE];
    struct lsi_worker *known = NULL;

    (void)now_ms;
    for (int i = 0; i < machine->worker_count; i++) {
        if (machine->workers[i].child == event->child.index)
            known = &machine->workers[i];
    }
    describe_end(event, how, sizeof how);
    if (known != NULL && lsi_worker_alive(known)) {
        lsi_lose(machine, known, how);
    } else if (known == NULL && machine->state == LS_JOINING) {
        (void)snprintf(sentence, sizeof sentence, "worker %d (pid %lld) %s before it joined", event->child.index,
                       (long long)event->child.pid, how);
        lsi_fail(machine, LS_EPEER, sentence);
    }
}
