/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's life, the dispatch of events, and when it wants to be woken. What an event does is in on_<event>.c. */
#include "coordinator/machine/machine_internal.h"

#include "core/base/alloc.h"

#include <assert.h>
#include <string.h>

enum ls_status ls_machine_create(const struct ls_machine_options *options, int64_t now_ms, struct ls_machine **machine,
                                 struct ls_error *err)
{
    struct ls_machine *made;

    if (options->workers < 1 || options->workers > LS_WIRE_MAX_MEMBERS)
        return ls_error_set(err, LS_EINVAL, "a job has 1 to %d workers, not %d", LS_WIRE_MAX_MEMBERS, options->workers);
    made = ls_alloc_zeroed(1, sizeof *made);
    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for the coordinator");
    made->options = *options;
    made->state = LS_JOINING;
    made->next_worker = 1;
    made->joining_since = now_ms;
    made->tick_due = now_ms + options->heartbeat_ms;
    *machine = made;
    return LS_OK;
}

static void forget_actions(struct ls_machine *machine)
{
    for (int i = 0; i < machine->text_count; i++)
        ls_free(machine->texts[i]);
    machine->text_count = 0;
    machine->action_count = 0;
}

void ls_machine_destroy(struct ls_machine *machine)
{
    if (machine == NULL)
        return;
    forget_actions(machine);
    for (int i = 0; i < machine->worker_count; i++)
        ls_free(machine->workers[i].summary);
    ls_free(machine->workers);
    ls_free(machine->texts);
    ls_free(machine->actions);
    ls_free(machine);
}

static void dispatch(struct ls_machine *machine, const struct ls_event *event, int64_t now_ms)
{
    switch (event->kind) {
    case LS_EVENT_JOIN:
        lsi_on_join(machine, event, now_ms);
        break;
    case LS_EVENT_HEARTBEAT:
        lsi_on_heartbeat(machine, event, now_ms);
        break;
    case LS_EVENT_REPORT:
        lsi_on_report(machine, event, now_ms);
        break;
    case LS_EVENT_CHECKPOINT:
        lsi_on_checkpoint(machine, event, now_ms);
        break;
    case LS_EVENT_FINISH:
        lsi_on_finish(machine, event, now_ms);
        break;
    case LS_EVENT_CLOSED:
        lsi_on_closed(machine, event, now_ms);
        break;
    case LS_EVENT_CHILD:
        lsi_on_child(machine, event, now_ms);
        break;
    case LS_EVENT_STOP:
        lsi_on_stop(machine, now_ms);
        break;
    case LS_EVENT_BROKEN:
        lsi_fail(machine, event->said.status, event->said.text);
        break;
    case LS_EVENT_TICK:
        lsi_on_tick(machine, now_ms);
        break;
    }
}

enum ls_status ls_machine_step(struct ls_machine *machine, const struct ls_event *event, int64_t now_ms,
                               struct ls_actions *actions)
{
    assert(!machine->out_of_memory);
    forget_actions(machine);
    lsi_forgive(machine, now_ms);
    dispatch(machine, event, now_ms);
    if (machine->out_of_memory) {
        machine->state = LS_FAILED;
        return LS_ENOMEM;
    }
    actions->items = machine->actions;
    actions->count = machine->action_count;
    return LS_OK;
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t ls_machine_deadline(const struct ls_machine *machine)
{
    int64_t due = machine->tick_due;

    if (machine->state == LS_ENDED || machine->state == LS_FAILED)
        return LS_MACHINE_NEVER;
    if (machine->state == LS_JOINING)
        due = sooner(due, machine->joining_since + machine->options.join_deadline_ms);
    if (machine->state == LS_STOPPING)
        due = sooner(due, machine->stopping_since + machine->options.stop_deadline_ms);
    if (machine->has_symptom)
        due = sooner(due, machine->symptom_ms + LS_MACHINE_SYMPTOM_GRACE_MS);
    if (machine->has_range)
        due = sooner(due, machine->range_since + LS_MACHINE_LEDGER_MS);
    for (int i = 0; i < machine->worker_count; i++) {
        if (machine->workers[i].life == LSI_SUSPECT)
            due = sooner(due, machine->workers[i].suspect_ms + LS_MACHINE_CHILD_GRACE_MS);
    }
    return due;
}

enum ls_machine_state ls_machine_state(const struct ls_machine *machine)
{
    return machine->state;
}

uint64_t ls_machine_generation(const struct ls_machine *machine)
{
    return machine->generation;
}

int ls_machine_alive(const struct ls_machine *machine)
{
    int alive = 0;

    for (int i = 0; i < machine->worker_count; i++)
        alive += lsi_worker_alive(&machine->workers[i]);
    return alive;
}

bool lsi_worker_alive(const struct lsi_worker *worker)
{
    return worker->life == LSI_JOINED || worker->life == LSI_ACTIVE || worker->life == LSI_SUSPECT;
}

bool lsi_worker_began(const struct ls_machine *machine, const struct lsi_worker *worker)
{
    return worker->step > 0 || worker->phase != LS_PHASE_IDLE || (worker->index >= 0 && machine->committed > 0);
}

struct lsi_worker *lsi_worker_find(struct ls_machine *machine, uint64_t id)
{
    for (int i = 0; i < machine->worker_count; i++) {
        if (machine->workers[i].id == id)
            return &machine->workers[i];
    }
    return NULL;
}

bool lsi_event_current(struct ls_machine *machine, const struct ls_event *event, struct lsi_worker **worker)
{
    *worker = lsi_worker_find(machine, event->worker);
    return *worker != NULL && (*worker)->life == LSI_ACTIVE && event->generation == machine->generation &&
           (machine->state == LS_RUNNING || machine->state == LS_STOPPING);
}
