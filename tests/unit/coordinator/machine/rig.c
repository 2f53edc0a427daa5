/* SPDX-License-Identifier: Apache-2.0 */
/* Events for the machine under test. */
#include "tests/unit/coordinator/machine/rig.h"

#include "core/base/str.h"

#include <criterion/criterion.h>
#include <string.h>

void rig_begin(struct rig *rig, int workers, const char *transport)
{
    struct ls_machine_options options = {.workers = workers,
                                         .known_answers = 0x1234,
                                         .host = "node",
                                         .rendezvous = "/run/x/group",
                                         .join_deadline_ms = 30000,
                                         .heartbeat_ms = 250,
                                         .stop_deadline_ms = 60000};

    memset(options.fingerprint, 'a', 64);
    (void)ls_str_into(options.transport, sizeof options.transport, transport);
    rig->now = 1000;
    cr_assert_eq(ls_machine_create(&options, rig->now, &rig->machine, NULL), LS_OK);
}

void rig_give(struct rig *rig, const struct ls_event *event)
{
    cr_assert_eq(ls_machine_step(rig->machine, event, rig->now, &rig->actions), LS_OK);
}

struct ls_wire_join rig_join_of(int wanted)
{
    struct ls_wire_join join = {
        .numerics = LS_WIRE_NUMERICS, .known_answers = 0x1234, .replicas = 1, .wanted_index = wanted, .host = "node"};

    memset(join.fingerprint, 'a', 64);
    join.pid = 100 + wanted;
    join.ports[0] = (uint16_t)(5000 + wanted);
    return join;
}

void rig_give_join(struct rig *rig, const struct ls_wire_join *join, uint64_t connection, int child)
{
    struct ls_event event = {.kind = LS_EVENT_JOIN, .connection = connection};

    event.joined.join = join;
    event.joined.address = "127.0.0.1";
    event.joined.local_address = "127.0.0.1";
    event.joined.child = child;
    rig_give(rig, &event);
}

void rig_join(struct rig *rig, int wanted, int child)
{
    struct ls_wire_join wire = rig_join_of(wanted);

    rig_give_join(rig, &wire, (uint64_t)(10 + wanted), child);
}

const struct ls_action *rig_nth(const struct rig *rig, enum ls_action_kind kind, int n)
{
    for (int i = 0; i < rig->actions.count; i++) {
        if (rig->actions.items[i].kind == kind && n-- == 0)
            return &rig->actions.items[i];
    }
    return NULL;
}

int rig_count(const struct rig *rig, enum ls_action_kind kind)
{
    int found = 0;

    while (rig_nth(rig, kind, found) != NULL)
        found++;
    return found;
}

void rig_start(struct rig *rig, int workers)
{
    rig_begin(rig, workers, "auto");
    for (int i = 0; i < workers; i++)
        rig_join(rig, i, i);
    cr_assert_eq(ls_machine_state(rig->machine), LS_RUNNING);
}

void rig_say(struct rig *rig, enum ls_event_kind kind, uint64_t worker, enum ls_status status, const char *text)
{
    struct ls_event event = {.kind = kind, .worker = worker, .generation = ls_machine_generation(rig->machine)};

    event.said.status = status;
    event.said.text = text;
    rig_give(rig, &event);
}

void rig_beat(struct rig *rig, uint64_t worker, uint64_t step, enum ls_phase phase)
{
    struct ls_event event = {
        .kind = LS_EVENT_HEARTBEAT, .worker = worker, .generation = ls_machine_generation(rig->machine)};

    event.heartbeat.step = step;
    event.heartbeat.phase = phase;
    rig_give(rig, &event);
}

void rig_report(struct rig *rig, uint64_t worker, uint64_t first, uint64_t last)
{
    struct ls_step_report made = {.step = last, .fingerprint = 1000 + last};
    struct ls_event event = {
        .kind = LS_EVENT_REPORT, .worker = worker, .generation = ls_machine_generation(rig->machine)};

    event.reported.report = &made;
    event.reported.first_step = first;
    rig_give(rig, &event);
}

void rig_die(struct rig *rig, int child, int exit_status, int signal)
{
    struct ls_event event = {.kind = LS_EVENT_CHILD};

    event.child.index = child;
    event.child.pid = 100 + child;
    event.child.exit_status = exit_status;
    event.child.signal = signal;
    rig_give(rig, &event);
}

void rig_pass_time(struct rig *rig, int64_t ms, uint64_t first, uint64_t last)
{
    struct ls_event tick = {.kind = LS_EVENT_TICK};
    int64_t until = rig->now + ms;

    while (ls_machine_deadline(rig->machine) <= until) {
        rig->now = ls_machine_deadline(rig->machine) > rig->now ? ls_machine_deadline(rig->machine) : rig->now;
        for (uint64_t worker = first; worker <= last && worker > 0; worker++)
            rig_beat(rig, worker, 5, LS_PHASE_REDUCING);
        rig_give(rig, &tick);
        if (rig_nth(rig, LS_ACTION_END, 0) != NULL)
            return;
    }
    rig->now = until;
}

void rig_end(struct rig *rig)
{
    ls_machine_destroy(rig->machine);
}

void rig_beat_waiting(struct rig *rig, uint64_t worker, int rank, uint32_t ms)
{
    struct ls_event event = {
        .kind = LS_EVENT_HEARTBEAT, .worker = worker, .generation = ls_machine_generation(rig->machine)};

    event.heartbeat.step = 812;
    event.heartbeat.phase = ms > 0 ? LS_PHASE_REDUCING : LS_PHASE_COMPUTING;
    if (ms > 0)
        event.heartbeat.wait = (struct ls_wait_report){
            .kind = LS_WAIT_BUCKET, .rank = (int)worker - 1, .for_rank = rank, .number = 2, .waited_ms = ms};
    rig_give(rig, &event);
}
