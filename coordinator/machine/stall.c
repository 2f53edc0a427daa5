/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waits that are long: heartbeats tell who waits for whom, and here the chain is followed to the one that itself waits
 * for nobody. It is said once for each stall who keeps whom waiting, in what, for how long, and what it does meanwhile.
 */
#include "coordinator/machine/machine_internal.h"

#include <stdio.h>

struct lsi_worker *lsi_rank_owner(struct ls_machine *machine, int rank)
{
    if (rank < 0 || rank >= machine->world)
        return NULL;
    return lsi_worker_find(machine, machine->members[rank].worker);
}

static bool waits(const struct lsi_worker *worker)
{
    return worker->life == LSI_ACTIVE && worker->wait.kind != LS_WAIT_NONE;
}

/* The rank at the end of the chain that begins with the worker's wait; -1: not known. */
static int culprit_of(struct ls_machine *machine, const struct lsi_worker *worker)
{
    int rank = worker->wait.for_rank;

    for (int hops = 0; hops < machine->world; hops++) {
        const struct lsi_worker *next = lsi_rank_owner(machine, rank);

        /* A worker tells one wait: where it is that of another of its replicas, this rank may be anywhere. One that has
         * begun to wait only lately is itself what took so long. */
        if (next == NULL || !waits(next) || next->wait.rank != rank || next->wait.for_rank < 0 ||
            next->wait.waited_ms < worker->wait.waited_ms / 2 || lsi_rank_owner(machine, next->wait.for_rank) == worker)
            break;
        rank = next->wait.for_rank;
    }
    return rank;
}

static void describe_rank(struct ls_machine *machine, int rank, char *text, size_t size)
{
    const struct lsi_worker *worker = lsi_rank_owner(machine, rank);

    (void)snprintf(text, size, "rank %d (worker %d on %s)", rank, worker->index, worker->host);
}

static void describe_operation(const struct lsi_worker *worker, char *text, size_t size)
{
    static const char *const in[] = {
        [LS_WAIT_VOTE] = "the vote", [LS_WAIT_MOMENTS] = "the statistics", [LS_WAIT_OTHER] = "an exchange"};

    if (worker->wait.kind == LS_WAIT_BUCKET)
        (void)snprintf(text, size, "bucket %u of step %llu", worker->wait.number, (unsigned long long)worker->step);
    else
        (void)snprintf(text, size, "%s of step %llu", in[worker->wait.kind], (unsigned long long)worker->step);
}

/* What the rank does that is waited for, or that it waits as well (in a circle). */
static void describe_meanwhile(const struct ls_machine *machine, const struct lsi_worker *culprit, int rank, char *text,
                               size_t size)
{
    char place[64];

    if (waits(culprit) && culprit->wait.rank == rank) {
        describe_operation(culprit, place, sizeof place);
        (void)snprintf(text, size, "which waits itself in %s", place);
        return;
    }
    lsi_describe_place(machine, culprit, place, sizeof place);
    (void)snprintf(text, size, "which is %s", place);
}

static void say(struct ls_machine *machine, const struct lsi_worker *waiter, int rank, int waiters)
{
    char who[128], whom[128], operation[96], others[48] = "", through[48] = "", meanwhile[128];

    describe_rank(machine, waiter->wait.rank, who, sizeof who);
    describe_rank(machine, rank, whom, sizeof whom);
    describe_operation(waiter, operation, sizeof operation);
    describe_meanwhile(machine, lsi_rank_owner(machine, rank), rank, meanwhile, sizeof meanwhile);
    if (waiters > 1)
        (void)snprintf(others, sizeof others, " and %d more", waiters - 1);
    if (rank != waiter->wait.for_rank)
        (void)snprintf(through, sizeof through, "through rank %d ", waiter->wait.for_rank);
    lsi_log(machine, "%s%s waited %.1f s in %s %sfor %s, %s", who, waiters > 1 ? others : "",
            (double)waiter->wait.waited_ms / 1000, operation, through, whom, meanwhile);
}

void lsi_look_at_waits(struct ls_machine *machine, int64_t now_ms)
{
    if (machine->state != LS_RUNNING && machine->state != LS_STOPPING)
        return;
    machine->stalls = 0;
    for (int i = 0; i < machine->worker_count; i++) {
        struct lsi_worker *culprit = &machine->workers[i];
        const struct lsi_worker *longest = NULL;
        int rank = -1, waiters = 0;

        if (culprit->life != LSI_ACTIVE)
            continue;
        for (int k = 0; k < machine->worker_count; k++) {
            const struct lsi_worker *waiter = &machine->workers[k];
            int found;

            if (!waits(waiter) || waiter->wait.waited_ms < LS_MACHINE_STALL_MS)
                continue;
            found = culprit_of(machine, waiter);
            if (found < 0 || lsi_rank_owner(machine, found) != culprit)
                continue;
            waiters++;
            if (longest == NULL || waiter->wait.waited_ms > longest->wait.waited_ms) {
                longest = waiter;
                rank = found;
            }
        }
        if (longest != NULL && !culprit->stalls &&
            (culprit->stall_ms == 0 || now_ms - culprit->stall_ms >= LS_MACHINE_STALL_AGAIN_MS)) {
            say(machine, longest, rank, waiters);
            culprit->stall_ms = now_ms;
            culprit->stalls = true;
        }
        culprit->stalls = culprit->stalls && longest != NULL;
        machine->stalls += culprit->stalls;
    }
}
