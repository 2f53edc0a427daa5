/* SPDX-License-Identifier: Apache-2.0 */
/* A connection that has proved the secret wants to be a worker of this job. */
#include "coordinator/machine/machine_internal.h"

#include "core/base/alloc.h"
#include "core/base/str.h"

#include <string.h>

static void refuse(struct ls_machine *machine, const struct ls_event *event, enum ls_status status, const char *why)
{
    struct ls_action *action = lsi_act(machine, LS_ACTION_REFUSE);

    action->connection = event->connection;
    action->status = status;
    action->text = why;
    lsi_log(machine, "refused a worker on %s (pid %lld): %s", event->joined.join->host,
            (long long)event->joined.join->pid, why);
}

/* Why this worker cannot be of this job, or NULL. */
static const char *wrong_job(struct ls_machine *machine, const struct ls_wire_join *join)
{
    if (join->numerics != LS_WIRE_NUMERICS)
        return lsi_text(machine,
                        "the worker computes numerics version %u and the coordinator version %u: "
                        "use the same build of lockstep",
                        join->numerics, LS_WIRE_NUMERICS);
    if (strcmp(join->fingerprint, machine->options.fingerprint) != 0)
        return lsi_text(machine,
                        "the worker has another job: its fingerprint is %.12s..., the coordinator's %.12s...; "
                        "give both the same job file, overrides and data",
                        join->fingerprint, machine->options.fingerprint);
    if (machine->options.known_answers != 0 && join->known_answers != machine->options.known_answers)
        return lsi_text(machine,
                        "the worker's kernels give other known answers (%016llx) than this build expects (%016llx): "
                        "use the same build of lockstep on every machine",
                        (unsigned long long)join->known_answers, (unsigned long long)machine->options.known_answers);
    return NULL;
}

static const struct lsi_worker *holder_of(const struct ls_machine *machine, int index)
{
    for (int i = 0; i < machine->worker_count; i++) {
        const struct lsi_worker *worker = &machine->workers[i];

        if (lsi_worker_alive(worker) && (worker->wanted == index || worker->index == index))
            return worker;
    }
    return NULL;
}

/* Members that the workers waiting now will bring. */
static int members_waiting(const struct ls_machine *machine)
{
    int members = 0;

    for (int i = 0; i < machine->worker_count; i++)
        members += machine->workers[i].life == LSI_JOINED ? machine->workers[i].replicas : 0;
    return members;
}

static bool admissible(struct ls_machine *machine, const struct ls_event *event)
{
    const struct ls_wire_join *join = event->joined.join;
    const char *why = wrong_job(machine, join);
    const struct lsi_worker *holder;

    if (machine->state != LS_JOINING && machine->state != LS_RUNNING) {
        refuse(machine, event, LS_EINTERRUPTED, "the job is ending");
        return false;
    }
    if (why != NULL) {
        refuse(machine, event, LS_EAUTH, why);
        return false;
    }
    if (join->wanted_index >= machine->options.workers) {
        refuse(machine, event, LS_EINVAL,
               lsi_text(machine, "there is no worker %d: the job has %d, counted from 0", join->wanted_index,
                        machine->options.workers));
        return false;
    }
    holder = join->wanted_index < 0 ? NULL : holder_of(machine, join->wanted_index);
    if (holder != NULL) {
        refuse(machine, event, LS_EBUSY,
               lsi_text(machine, "worker %d is already there: pid %lld on %s", join->wanted_index,
                        (long long)holder->pid, holder->host));
        return false;
    }
    if (machine->state != LS_JOINING) {
        refuse(machine, event, LS_EBUSY,
               lsi_text(machine, "the job already has its %d worker%s", machine->options.workers,
                        machine->options.workers == 1 ? "" : "s"));
        return false;
    }
    if (members_waiting(machine) + join->replicas > LS_WIRE_MAX_MEMBERS) {
        refuse(
            machine, event, LS_EINVAL,
            lsi_text(machine, "a job has at most %d replicas, and this worker would bring more", LS_WIRE_MAX_MEMBERS));
        return false;
    }
    return true;
}

static struct lsi_worker *add_worker(struct ls_machine *machine)
{
    if (machine->worker_count == machine->worker_capacity) {
        int capacity = machine->worker_capacity == 0 ? 16 : 2 * machine->worker_capacity;
        struct lsi_worker *grown = ls_realloc(machine->workers, (size_t)capacity, sizeof *grown);

        if (grown == NULL) {
            machine->out_of_memory = true;
            return NULL;
        }
        machine->workers = grown;
        machine->worker_capacity = capacity;
    }
    machine->workers[machine->worker_count] = (struct lsi_worker){.id = machine->next_worker++, .index = -1};
    return &machine->workers[machine->worker_count++];
}

/* How often somebody came for this index before. */
static uint32_t earlier(const struct ls_machine *machine, int wanted)
{
    uint32_t count = 0;

    for (int i = 0; i < machine->worker_count; i++)
        count += wanted >= 0 && machine->workers[i].wanted == wanted;
    return count;
}

static int joined(const struct ls_machine *machine)
{
    int count = 0;

    for (int i = 0; i < machine->worker_count; i++)
        count += machine->workers[i].life == LSI_JOINED;
    return count;
}

void lsi_on_join(struct ls_machine *machine, const struct ls_event *event, int64_t now_ms)
{
    const struct ls_wire_join *join = event->joined.join;
    uint32_t before = earlier(machine, join->wanted_index);
    struct lsi_worker *worker;
    struct ls_action *welcome;

    if (!admissible(machine, event))
        return;
    worker = add_worker(machine);
    if (worker == NULL)
        return;
    worker->incarnation = before + 1;
    worker->life = LSI_JOINED;
    worker->wanted = join->wanted_index;
    worker->replicas = join->replicas;
    worker->pid = join->pid;
    worker->child = event->joined.child;
    worker->heard_ms = now_ms;
    memcpy(worker->ports, join->ports, sizeof worker->ports);
    (void)ls_str_into(worker->host, sizeof worker->host, join->host);
    (void)ls_str_into(worker->address, sizeof worker->address, event->joined.address);
    (void)ls_str_into(worker->local_address, sizeof worker->local_address, event->joined.local_address);
    welcome = lsi_act(machine, LS_ACTION_WELCOME);
    welcome->connection = event->connection;
    welcome->worker = worker->id;
    welcome->incarnation = worker->incarnation;
    if (worker->child < 0)
        lsi_log(machine, "a worker on %s (pid %lld) joined, %d of %d", worker->host, (long long)worker->pid,
                joined(machine), machine->options.workers);
    if (joined(machine) == machine->options.workers)
        lsi_assign(machine, now_ms);
}
