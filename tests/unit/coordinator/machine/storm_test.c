/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seeded storms: random events in random order against the machine, with what must hold whatever happens. A failure
 * names its seed; the same seed gives the same storm.
 */
#include "coordinator/machine/machine.h"
#include "core/base/alloc.h"
#include "core/base/hash.h"
#include "core/base/philox.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define SEEDS 3000
#define EVENTS 300
#define MAX_WORKERS 9
#define MAX_IDS 400

struct storm {
    struct ls_machine *machine;
    struct ls_philox_key key;
    uint64_t seed, drawn;
    int64_t now;
    int workers;
    /* What the outside has seen so far. */
    uint64_t generation, committed, newest_id;
    bool ended, stop_told[MAX_IDS], abort_told[MAX_IDS], assigned[MAX_IDS], dropped[MAX_IDS], finished[MAX_IDS];
    uint64_t trace;
};

static uint32_t draw(struct storm *storm, uint32_t below)
{
    uint32_t words[4];

    ls_philox_block(storm->key, storm->drawn++, 0, 0, words);
    return words[0] % below;
}

static void must(const struct storm *storm, bool holds, const char *what)
{
    cr_assert(holds, "seed %llu after %llu draws: %s", (unsigned long long)storm->seed,
              (unsigned long long)storm->drawn, what);
}

static void see_order(struct storm *storm, const struct ls_action *action)
{
    must(storm, !storm->dropped[action->worker], "an order to a worker that was dropped");
    must(storm, !storm->finished[action->worker], "an order to a worker that has finished");
    must(storm, !storm->abort_told[action->worker], "an order after an abort");
    if (action->order == LS_WIRE_ORDER_STOP) {
        must(storm, !storm->stop_told[action->worker], "a second stop");
        storm->stop_told[action->worker] = true;
    } else {
        must(storm, action->status != LS_OK && action->text[0] != '\0', "an abort without a reason");
        storm->abort_told[action->worker] = true;
    }
}

static void see(struct storm *storm, const struct ls_action *action)
{
    switch (action->kind) {
    case LS_ACTION_WELCOME:
        must(storm, action->worker > storm->newest_id, "a worker id was used again");
        must(storm, ls_machine_generation(storm->machine) == 0 || action->generation <= 1, "a late worker came in");
        storm->newest_id = action->worker;
        break;
    case LS_ACTION_GENERATION:
        must(storm, action->generation > storm->generation, "a generation was used again");
        storm->generation = action->generation;
        break;
    case LS_ACTION_ASSIGN:
        must(storm, action->generation == storm->generation, "an assignment before its journal record");
        must(storm, !storm->assigned[action->worker], "a second assignment in one generation");
        storm->assigned[action->worker] = true;
        break;
    case LS_ACTION_ORDER:
        see_order(storm, action);
        break;
    case LS_ACTION_STEPS:
        must(storm, action->first_step <= action->last_step, "an empty range");
        must(storm, action->first_step > storm->committed, "a step was entered twice");
        storm->committed = action->last_step;
        break;
    case LS_ACTION_ACK_FINISH:
        must(storm, !storm->dropped[action->worker], "a dropped worker was answered");
        storm->finished[action->worker] = true;
        break;
    case LS_ACTION_DROP:
        storm->dropped[action->worker] = true;
        break;
    case LS_ACTION_END:
        must(storm, !storm->ended, "a second end");
        must(storm, action->status == LS_OK || (action->text != NULL && action->text[0] != '\0'),
             "a failure without a sentence");
        storm->ended = true;
        break;
    case LS_ACTION_READY:
        must(storm, !storm->ended, "ready after the end");
        break;
    default:
        break;
    }
}

static void give(struct storm *storm, const struct ls_event *event)
{
    bool was_ended = storm->ended;
    struct ls_actions actions;

    cr_assert_eq(ls_machine_step(storm->machine, event, storm->now, &actions), LS_OK);
    for (int i = 0; i < actions.count; i++) {
        enum ls_action_kind kind = actions.items[i].kind;

        see(storm, &actions.items[i]);
        must(storm,
             !was_ended || kind == LS_ACTION_REFUSE || kind == LS_ACTION_LOG || kind == LS_ACTION_ACK ||
                 kind == LS_ACTION_ACK_FINISH || kind == LS_ACTION_DROP,
             "something was decided after the end");
        storm->trace = ls_xxh3(&kind, sizeof kind, storm->trace ^ actions.items[i].worker);
    }
    must(storm, storm->ended == (ls_machine_state(storm->machine) >= LS_ENDED), "the end was not told");
}

static void random_join(struct storm *storm, struct ls_event *event, struct ls_wire_join *join)
{
    *join = (struct ls_wire_join){.numerics = LS_WIRE_NUMERICS, .host = "node"};
    memset(join->fingerprint, draw(storm, 20) == 0 ? 'b' : 'a', 64);
    join->replicas = 1 + (int)draw(storm, 2);
    join->wanted_index = (int)draw(storm, (uint32_t)storm->workers + 2) - 1;
    join->pid = 100 + join->wanted_index;
    event->kind = LS_EVENT_JOIN;
    event->connection = storm->drawn;
    event->joined.join = join;
    event->joined.address = "127.0.0.1";
    event->joined.local_address = "127.0.0.1";
    event->joined.child = draw(storm, 2) == 0 ? join->wanted_index : -1;
}

static void random_saying(struct storm *storm, struct ls_event *event, struct ls_step_report *report)
{
    static const enum ls_status results[] = {LS_OK, LS_OK, LS_OK, LS_EINTERRUPTED, LS_EPEER, LS_EINVAL};

    event->worker = 1 + draw(storm, (uint32_t)storm->newest_id + 1);
    event->generation = draw(storm, 10) == 0 ? 0 : ls_machine_generation(storm->machine);
    switch (draw(storm, 12)) {
    case 0:
        event->kind = LS_EVENT_FINISH;
        event->said.status = results[draw(storm, 6)];
        event->said.text = draw(storm, 2) == 0 ? NULL : "{}";
        break;
    case 1:
        event->kind = draw(storm, 4) == 0 ? LS_EVENT_CLOSED : LS_EVENT_CHECKPOINT;
        event->said.text = "/p";
        break;
    case 2:
    case 3:
    case 4:
        report->step = storm->committed + draw(storm, 10);
        event->kind = LS_EVENT_REPORT;
        event->reported.report = report;
        event->reported.first_step = report->step - draw(storm, 1 + (uint32_t)(report->step > 3 ? 3 : report->step));
        break;
    default:
        event->kind = LS_EVENT_HEARTBEAT;
        event->heartbeat.step = storm->committed;
        event->heartbeat.phase = (enum ls_phase)draw(storm, 5);
        break;
    }
}

static void random_event(struct storm *storm)
{
    struct ls_event event = {.kind = LS_EVENT_TICK};
    struct ls_step_report report = {.fingerprint = 1};
    struct ls_wire_join join;
    uint32_t what = draw(storm, 100);

    storm->now += draw(storm, 4) == 0 ? (int64_t)draw(storm, 400) : 0;
    if (what < 15 || (storm->generation == 0 && what < 50)) {
        random_join(storm, &event, &join);
    } else if (what < 85) {
        random_saying(storm, &event, &report);
    } else if (what == 85) {
        event.kind = draw(storm, 4) == 0 ? LS_EVENT_STOP : LS_EVENT_TICK;
    } else if (what == 86) {
        event.kind = LS_EVENT_CHILD;
        event.child.index = (int)draw(storm, (uint32_t)storm->workers);
        event.child.exit_status = -1;
        event.child.signal = 9;
    }
    give(storm, &event);
}

static void open_storm(struct storm *storm, uint64_t seed)
{
    struct ls_machine_options options = {
        .host = "node", .join_deadline_ms = 5000, .heartbeat_ms = 250, .stop_deadline_ms = 3000};

    memset(storm, 0, sizeof *storm);
    storm->seed = seed;
    storm->key = ls_philox_key_of(seed, 1, 0);
    storm->workers = options.workers = 1 + (int)draw(storm, MAX_WORKERS);
    memset(options.fingerprint, 'a', 64);
    memcpy(options.transport, "auto", 5);
    cr_assert_eq(ls_machine_create(&options, 0, &storm->machine, NULL), LS_OK);
}

/* Once nobody speaks any more, the machine comes to an end by its own deadlines, within a bound. */
static void fall_silent(struct storm *storm)
{
    struct ls_event tick = {.kind = LS_EVENT_TICK};

    for (int i = 0; i < 1000 && !storm->ended; i++) {
        int64_t due = ls_machine_deadline(storm->machine);

        must(storm, due != LS_MACHINE_NEVER, "it waits for nothing and has not ended");
        storm->now = due > storm->now ? due : storm->now;
        give(storm, &tick);
    }
    must(storm, storm->ended, "it does not end although nobody is left");
}

static uint64_t run_storm(uint64_t seed)
{
    struct storm storm;

    open_storm(&storm, seed);
    for (int i = 0; i < EVENTS; i++)
        random_event(&storm);
    fall_silent(&storm);
    ls_machine_destroy(storm.machine);
    return storm.trace;
}

/* At most one generation, no order after an abort or an end, no step twice, no id twice, one end, and always an end. */
Test(storm, keeps_its_invariants)
{
    const char *more = getenv("LOCKSTEP_STORM_SEEDS");
    uint64_t seeds = more == NULL ? SEEDS : strtoull(more, NULL, 10);

    for (uint64_t seed = 1; seed <= seeds; seed++)
        (void)run_storm(seed);
}

/* The same seed gives the same decisions: nothing from outside goes into them. */
Test(storm, is_a_function_of_its_seed)
{
    for (uint64_t seed = 1; seed <= 100; seed++)
        cr_expect_eq(run_storm(seed), run_storm(seed));
}

/* Any allocation may fail: the step says so, and the machine can be ended. */
Test(storm, survives_short_memory)
{
    for (uint64_t nth = 1; nth < 120; nth++) {
        struct storm storm;
        enum ls_status status = LS_OK;

        open_storm(&storm, 5);
        ls_alloc_fail_after(nth);
        for (int i = 0; i < 100 && status == LS_OK; i++) {
            struct ls_event event = {.kind = LS_EVENT_TICK};
            struct ls_wire_join join;
            struct ls_actions actions;

            random_join(&storm, &event, &join);
            status = ls_machine_step(storm.machine, &event, storm.now, &actions);
        }
        ls_alloc_fail_after(0);
        cr_expect(status == LS_OK || status == LS_ENOMEM);
        ls_machine_destroy(storm.machine);
    }
}
