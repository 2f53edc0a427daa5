/* SPDX-License-Identifier: Apache-2.0 */
/* A generation: indices and ranks are dealt, the provider is chosen, every worker gets its assignment. */
#include "coordinator/machine/machine_internal.h"

#include "core/base/str.h"
#include "core/job/transport.h"

#include <stdio.h>
#include <string.h>

static bool is_free(const struct lsi_worker *worker)
{
    return worker->life == LSI_JOINED && worker->wanted < 0;
}

/* Whether no free worker of its host has joined before. */
static bool first_of_host(const struct ls_machine *machine, int i)
{
    for (int k = 0; k < i; k++)
        if (is_free(&machine->workers[k]) && strcmp(machine->workers[k].host, machine->workers[i].host) == 0)
            return false;
    return true;
}

/* order[index] = the worker that holds it: wishes first, then the lowest free ones in join order, those of one host one
 * after another: neighbours in the tree of sums then share memory. */
static void deal(struct ls_machine *machine, struct lsi_worker **order)
{
    int next = 0;

    memset(order, 0, (size_t)machine->options.workers * sizeof *order);
    for (int i = 0; i < machine->worker_count; i++) {
        struct lsi_worker *worker = &machine->workers[i];

        if (worker->life == LSI_JOINED && worker->wanted >= 0)
            order[worker->wanted] = worker;
    }
    for (int i = 0; i < machine->worker_count; i++) {
        if (!is_free(&machine->workers[i]) || !first_of_host(machine, i))
            continue;
        for (int k = i; k < machine->worker_count; k++) {
            if (!is_free(&machine->workers[k]) || strcmp(machine->workers[k].host, machine->workers[i].host) != 0)
                continue;
            while (order[next] != NULL)
                next++;
            order[next] = &machine->workers[k];
        }
    }
}

static bool loopback(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
}

/* Where others reach this worker. One beside the coordinator is seen as 127.0.0.1; as soon as somebody comes from
 * elsewhere it must be called by the address under which that one reached the coordinator. */
static const char *reachable(const struct ls_machine *machine, const struct lsi_worker *worker)
{
    if (!loopback(worker->address))
        return worker->address;
    for (int i = 0; i < machine->worker_count; i++) {
        const struct lsi_worker *other = &machine->workers[i];

        if (other->life == LSI_JOINED && !loopback(other->address))
            return other->local_address;
    }
    return worker->address;
}

static void list_members(struct ls_machine *machine, struct lsi_worker **order)
{
    machine->world = 0;
    for (int i = 0; i < machine->options.workers; i++) {
        struct lsi_worker *worker = order[i];

        worker->index = i;
        worker->first_rank = machine->world;
        for (int r = 0; r < worker->replicas; r++) {
            struct ls_wire_member *member = &machine->members[machine->world++];

            *member = (struct ls_wire_member){
                .worker = worker->id, .incarnation = worker->incarnation, .replica = r, .port = worker->ports[r]};
            (void)ls_str_into(member->host, sizeof member->host, worker->host);
            (void)ls_str_into(member->address, sizeof member->address, reachable(machine, worker));
        }
    }
}

/* First member that is not on the host of the rendezvous, NULL where all are. */
static const struct ls_wire_member *elsewhere(const struct ls_machine *machine)
{
    for (int i = 0; i < machine->world; i++) {
        if (strcmp(machine->members[i].host, machine->options.host) != 0)
            return &machine->members[i];
    }
    return NULL;
}

/* First member without a listener, NULL where all have one. */
static const struct ls_wire_member *deaf(const struct ls_machine *machine)
{
    for (int i = 0; i < machine->world; i++) {
        if (machine->members[i].port == 0)
            return &machine->members[i];
    }
    return NULL;
}

/* Whether two members stand on one host. */
static bool some_share(const struct ls_machine *machine)
{
    for (int i = 1; i < machine->world; i++)
        for (int k = 0; k < i; k++)
            if (strcmp(machine->members[i].host, machine->members[k].host) == 0)
                return true;
    return false;
}

/* Between hosts: what is asked for by name; else shared memory where members have a host in common. */
static const char *between_hosts(const struct ls_machine *machine)
{
    const char *wanted = machine->options.transport;

    if (strcmp(wanted, "auto") != 0)
        return wanted;
    return some_share(machine) ? "hybrid" : "tcp";
}

/* Fills machine->provider; false, and the job has failed, where the workers cannot be joined that way. */
static bool choose_provider(struct ls_machine *machine)
{
    const char *wanted = machine->options.transport;
    const char *provider = between_hosts(machine);
    const struct ls_transport *transport = ls_transport_find(wanted);
    const struct ls_wire_member *member = elsewhere(machine);
    char sentence[LS_WIRE_SENTENCE];

    if (transport != NULL && transport->launched)
        return ls_str_into(machine->provider, sizeof machine->provider, wanted);
    if (machine->world == 1)
        return ls_str_into(machine->provider, sizeof machine->provider, "self");
    if (strcmp(wanted, "shm") == 0 && member != NULL) {
        (void)snprintf(sentence, sizeof sentence,
                       "transport shm needs every worker on the coordinator's host %s, and one is on %s; use hybrid or "
                       "tcp",
                       machine->options.host, member->host);
        lsi_fail(machine, LS_EINVAL, sentence);
        return false;
    }
    if (member == NULL && (strcmp(wanted, "auto") == 0 || strcmp(wanted, "shm") == 0))
        return ls_str_into(machine->provider, sizeof machine->provider, "shm");
    member = deaf(machine);
    if (member != NULL) {
        (void)snprintf(sentence, sizeof sentence,
                       "transport %s needs a listener of every replica, and replica %d on %s "
                       "has none",
                       provider, member->replica, member->host);
        lsi_fail(machine, LS_EINVAL, sentence);
        return false;
    }
    return ls_str_into(machine->provider, sizeof machine->provider, provider);
}

void lsi_assign(struct ls_machine *machine, int64_t now_ms)
{
    struct lsi_worker *order[LS_WIRE_MAX_MEMBERS];

    (void)now_ms;
    deal(machine, order);
    list_members(machine, order);
    if (!choose_provider(machine))
        return;
    machine->generation = (machine->generation > 0 ? machine->generation : machine->options.last_generation) + 1;
    machine->state = LS_RUNNING;
    (void)lsi_act(machine, LS_ACTION_GENERATION);
    for (int i = 0; i < machine->options.workers; i++) {
        order[i]->life = LSI_ACTIVE;
        lsi_act(machine, LS_ACTION_ASSIGN)->worker = order[i]->id;
    }
    (void)lsi_act(machine, LS_ACTION_READY);
}

void ls_machine_assignment(const struct ls_machine *machine, uint64_t worker, struct ls_wire_assignment *assignment)
{
    *assignment = (struct ls_wire_assignment){.generation = machine->generation,
                                              .worker = worker,
                                              .world = machine->world,
                                              .members = (struct ls_wire_member *)(uintptr_t)machine->members};
    (void)ls_str_into(assignment->provider, sizeof assignment->provider, machine->provider);
    (void)ls_str_into(assignment->rendezvous, sizeof assignment->rendezvous, machine->options.rendezvous);
    for (int i = 0; i < machine->worker_count; i++) {
        if (machine->workers[i].id == worker)
            assignment->first_rank = machine->workers[i].first_rank;
    }
}
