/* SPDX-License-Identifier: Apache-2.0 */
/* Sentences about workers: who, doing what, and who waits for whom. */
#include "coordinator/machine/machine_internal.h"

#include <stdio.h>
#include <string.h>

#define NAMED 3 /* how many of the others, or of the missing, are named one by one */

void lsi_describe(const struct lsi_worker *worker, char *text, size_t size)
{
    int index = worker->index >= 0 ? worker->index : worker->wanted;

    if (index >= 0)
        (void)snprintf(text, size, "worker %d (pid %lld)", index, (long long)worker->pid);
    else
        (void)snprintf(text, size, "a worker on %s (pid %lld)", worker->host, (long long)worker->pid);
}

void lsi_describe_place(const struct ls_machine *machine, const struct lsi_worker *worker, char *text, size_t size)
{
    static const char *const doing[] = {
        [LS_PHASE_IDLE] = "between steps, at step",
        [LS_PHASE_LOADING] = "loading the data of step",
        [LS_PHASE_COMPUTING] = "computing step",
        [LS_PHASE_REDUCING] = "reducing step",
        [LS_PHASE_CHECKPOINT] = "writing the checkpoint of step",
    };

    if (!lsi_worker_began(machine, worker))
        (void)snprintf(text, size, "before its first report");
    else if (worker->step < machine->committed) /* it has made what the group has committed since it told */
        (void)snprintf(text, size, "near step %llu", (unsigned long long)machine->committed + 1);
    else
        (void)snprintf(text, size, "%s %llu", doing[worker->phase], (unsigned long long)worker->step);
}

void lsi_describe_others(const struct ls_machine *machine, const struct lsi_worker *except, char *text, size_t size)
{
    size_t used = 0;
    int more = 0, named = 0;

    text[0] = '\0';
    for (int i = 0; i < machine->worker_count; i++) {
        const struct lsi_worker *worker = &machine->workers[i];
        char place[64];

        if (worker == except || worker->life != LSI_ACTIVE)
            continue;
        if (named == NAMED) {
            more++;
            continue;
        }
        lsi_describe_place(machine, worker, place, sizeof place);
        used += (size_t)snprintf(text + used, size - used, "%s worker %d was %s", named == 0 ? ";" : ",", worker->index,
                                 place);
        named++;
        if (used >= size)
            return;
    }
    if (more > 0)
        (void)snprintf(text + used, size - used, ", and %d more were waiting", more);
}

static bool taken(const struct ls_machine *machine, int index)
{
    for (int i = 0; i < machine->worker_count; i++) {
        if (lsi_worker_alive(&machine->workers[i]) && machine->workers[i].wanted == index)
            return true;
    }
    return false;
}

void lsi_describe_missing(const struct ls_machine *machine, char *text, size_t size)
{
    int any = 0, missing = 0, seen = 0;
    size_t used;

    /* Whoever came without a wish will get the lowest free index. */
    for (int i = 0; i < machine->worker_count; i++)
        any += lsi_worker_alive(&machine->workers[i]) && machine->workers[i].wanted < 0;
    for (int i = 0; i < machine->options.workers; i++)
        missing += !taken(machine, i);
    missing -= any;
    used = (size_t)snprintf(text, size, missing == 1 ? "worker" : "workers");
    for (int i = 0; i < machine->options.workers && used < size; i++) {
        const char *before = seen == 0 ? " " : seen == missing - 1 ? " and " : ", ";

        if (taken(machine, i))
            continue;
        if (any > 0) {
            any--;
            continue;
        }
        if (seen == 8) {
            (void)snprintf(text + used, size - used, " and %d others", missing - seen);
            return;
        }
        used += (size_t)snprintf(text + used, size - used, "%s%d", before, i);
        seen++;
    }
}
