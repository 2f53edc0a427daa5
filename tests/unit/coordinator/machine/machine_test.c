/* SPDX-License-Identifier: Apache-2.0 */
/* Every transition of the machine, with a clock that the test holds. */
#include "coordinator/machine/machine.h"
#include "core/base/alloc.h"
#include "core/base/str.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static struct ls_machine *machine;
static struct ls_actions actions;
static int64_t now;

static void begin(int workers, const char *transport)
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
    now = 1000;
    cr_assert_eq(ls_machine_create(&options, now, &machine, NULL), LS_OK);
}

static void give(const struct ls_event *event)
{
    cr_assert_eq(ls_machine_step(machine, event, now, &actions), LS_OK);
}

static struct ls_wire_join join_of(int wanted)
{
    struct ls_wire_join join = {
        .numerics = LS_WIRE_NUMERICS, .known_answers = 0x1234, .replicas = 1, .wanted_index = wanted, .host = "node"};

    memset(join.fingerprint, 'a', 64);
    join.pid = 100 + wanted;
    join.ports[0] = (uint16_t)(5000 + wanted);
    return join;
}

static void give_join(const struct ls_wire_join *join, uint64_t connection, int child)
{
    struct ls_event event = {.kind = LS_EVENT_JOIN, .connection = connection};

    event.joined.join = join;
    event.joined.address = "127.0.0.1";
    event.joined.local_address = "127.0.0.1";
    event.joined.child = child;
    give(&event);
}

static void join(int wanted, int child)
{
    struct ls_wire_join wire = join_of(wanted);

    give_join(&wire, (uint64_t)(10 + wanted), child);
}

/* The n-th action of a kind, NULL where there are fewer. */
static const struct ls_action *nth(enum ls_action_kind kind, int n)
{
    for (int i = 0; i < actions.count; i++) {
        if (actions.items[i].kind == kind && n-- == 0)
            return &actions.items[i];
    }
    return NULL;
}

static int count(enum ls_action_kind kind)
{
    int found = 0;

    while (nth(kind, found) != NULL)
        found++;
    return found;
}

/* All workers of the job, each a watched child; worker ids are 1, 2, ... */
static void start(int workers)
{
    begin(workers, "auto");
    for (int i = 0; i < workers; i++)
        join(i, i);
    cr_assert_eq(ls_machine_state(machine), LS_RUNNING);
}

static void say(enum ls_event_kind kind, uint64_t worker, enum ls_status status, const char *text)
{
    struct ls_event event = {.kind = kind, .worker = worker, .generation = ls_machine_generation(machine)};

    event.said.status = status;
    event.said.text = text;
    give(&event);
}

static void beat(uint64_t worker, uint64_t step, enum ls_phase phase)
{
    struct ls_event event = {
        .kind = LS_EVENT_HEARTBEAT, .worker = worker, .generation = ls_machine_generation(machine)};

    event.heartbeat.step = step;
    event.heartbeat.phase = phase;
    give(&event);
}

static void report(uint64_t worker, uint64_t first, uint64_t last)
{
    struct ls_step_report made = {.step = last, .fingerprint = 1000 + last};
    struct ls_event event = {.kind = LS_EVENT_REPORT, .worker = worker, .generation = ls_machine_generation(machine)};

    event.reported.report = &made;
    event.reported.first_step = first;
    give(&event);
}

static void die(int child, int exit_status, int signal)
{
    struct ls_event event = {.kind = LS_EVENT_CHILD};

    event.child.index = child;
    event.child.pid = 100 + child;
    event.child.exit_status = exit_status;
    event.child.signal = signal;
    give(&event);
}

/* Moves the clock and ticks as often as the machine asks, keeping the given workers alive. */
static void pass_time(int64_t ms, uint64_t first, uint64_t last)
{
    struct ls_event tick = {.kind = LS_EVENT_TICK};
    int64_t until = now + ms;

    while (ls_machine_deadline(machine) <= until) {
        now = ls_machine_deadline(machine) > now ? ls_machine_deadline(machine) : now;
        for (uint64_t worker = first; worker <= last && worker > 0; worker++)
            beat(worker, 5, LS_PHASE_REDUCING);
        give(&tick);
        if (nth(LS_ACTION_END, 0) != NULL)
            return;
    }
    now = until;
}

static void end(void)
{
    ls_machine_destroy(machine);
}

/* Ranks follow wanted indices, whatever the order of joining; others fill the gaps in join order. */
Test(machine, deals_ranks_by_wish_then_order)
{
    struct ls_wire_join any = join_of(-1);
    struct ls_wire_assignment assignment;

    begin(4, "auto");
    join(2, -1);
    give_join(&any, 50, -1);
    join(0, -1);
    cr_expect_eq(nth(LS_ACTION_WELCOME, 0)->worker, 3);
    cr_expect_eq(ls_machine_state(machine), LS_JOINING);
    give_join(&any, 51, -1);
    cr_expect_eq(ls_machine_state(machine), LS_RUNNING);
    cr_expect_eq(count(LS_ACTION_ASSIGN), 4);
    ls_machine_assignment(machine, 2, &assignment);
    cr_expect_eq(assignment.world, 4);
    cr_expect_eq(assignment.first_rank, 1);
    cr_expect_eq(assignment.members[0].worker, 3);
    cr_expect_eq(assignment.members[1].worker, 2);
    cr_expect_eq(assignment.members[2].worker, 1);
    cr_expect_eq(assignment.members[3].worker, 4);
    end();
}

/* The generation is told to the journal before any worker may work in it. */
Test(machine, journals_before_it_assigns)
{
    begin(1, "auto");
    join(0, -1);
    cr_expect_lt(nth(LS_ACTION_GENERATION, 0), nth(LS_ACTION_ASSIGN, 0));
    cr_expect_eq(nth(LS_ACTION_GENERATION, 0)->generation, 1);
    end();
}

/* A worker with several replicas takes neighbouring ranks. */
Test(machine, gives_replicas_neighbouring_ranks)
{
    struct ls_wire_join two = join_of(0);
    struct ls_wire_assignment assignment;

    begin(2, "auto");
    two.replicas = 2;
    two.ports[1] = 6001;
    give_join(&two, 1, -1);
    join(1, -1);
    ls_machine_assignment(machine, 2, &assignment);
    cr_expect_eq(assignment.world, 3);
    cr_expect_eq(assignment.first_rank, 2);
    cr_expect_eq(assignment.members[1].replica, 1);
    cr_expect_eq(assignment.members[1].port, 6001);
    end();
}

static const char *provider_of(const char *transport, const char *host, uint16_t port)
{
    static struct ls_wire_assignment assignment;
    struct ls_wire_join other = join_of(1);

    begin(2, transport);
    (void)ls_str_into(other.host, sizeof other.host, host);
    other.ports[0] = port;
    join(0, -1);
    give_join(&other, 2, -1);
    if (ls_machine_state(machine) == LS_FAILED)
        (void)ls_str_into(assignment.provider, sizeof assignment.provider, "failed");
    else
        ls_machine_assignment(machine, 1, &assignment);
    end();
    return assignment.provider;
}

/* One host: shared memory; several: tcp; a wish that cannot be met fails instead of hanging. */
Test(machine, chooses_the_provider)
{
    cr_expect_str_eq(provider_of("auto", "node", 0), "shm");
    cr_expect_str_eq(provider_of("auto", "other", 5001), "tcp");
    cr_expect_str_eq(provider_of("auto", "other", 0), "failed");
    cr_expect_str_eq(provider_of("shm", "node", 0), "shm");
    cr_expect_str_eq(provider_of("shm", "other", 5001), "failed");
    cr_expect_str_eq(provider_of("tcp", "node", 5001), "tcp");
    cr_expect_str_eq(provider_of("hybrid", "node", 5001), "hybrid");
    cr_expect_str_eq(provider_of("hybrid", "other", 5001), "hybrid");
    cr_expect_str_eq(provider_of("hybrid", "other", 0), "failed");
    cr_expect_str_eq(provider_of("nccl", "node", 5001), "nccl");
    cr_expect_str_eq(provider_of("nccl", "node", 0), "failed");
    cr_expect_str_eq(provider_of("mpi", "other", 0), "mpi");
}

/* Workers of one host get neighbouring ranks, whatever the order in which they came. */
Test(machine, deals_hosts_together)
{
    static const char *const hosts[] = {"far", "node", "far", "node"}, *const dealt[] = {"far", "far", "node", "node"};
    struct ls_wire_assignment assignment;

    begin(4, "auto");
    for (int i = 0; i < 4; i++) {
        struct ls_wire_join other = join_of(-1);

        other.pid = 200 + i;
        other.ports[0] = (uint16_t)(5001 + i);
        (void)ls_str_into(other.host, sizeof other.host, hosts[i]);
        give_join(&other, 1 + (uint64_t)i, -1);
    }
    ls_machine_assignment(machine, 1, &assignment);
    cr_assert_eq(assignment.world, 4);
    for (int r = 0; r < 4; r++)
        cr_expect_str_eq(assignment.members[r].host, dealt[r]);
    cr_expect_str_eq(assignment.provider, "hybrid");
    end();
}

/* Several hosts of which one holds two members: shared memory there and tcp between them, unless tcp is asked for. */
Test(machine, composes_hosts)
{
    static const char *const wanted[] = {"auto", "tcp", "hybrid"}, *const given[] = {"hybrid", "tcp", "hybrid"};

    for (int i = 0; i < 3; i++) {
        struct ls_wire_join other = join_of(1);
        struct ls_wire_assignment assignment;

        begin(2, wanted[i]);
        (void)ls_str_into(other.host, sizeof other.host, "other");
        other.replicas = 2;
        other.ports[0] = 5001;
        other.ports[1] = 5002;
        join(0, -1);
        give_join(&other, 2, -1);
        ls_machine_assignment(machine, 1, &assignment);
        cr_expect_str_eq(assignment.provider, given[i]);
        end();
    }
}

/* A worker beside the coordinator is called by the address that workers elsewhere can reach. */
Test(machine, replaces_loopback_addresses)
{
    struct ls_wire_join far = join_of(1);
    struct ls_event event = {.kind = LS_EVENT_JOIN};
    struct ls_wire_assignment assignment;

    begin(2, "tcp");
    join(0, -1);
    (void)ls_str_into(far.host, sizeof far.host, "far");
    event.joined.join = &far;
    event.joined.address = "10.0.0.9";
    event.joined.local_address = "10.0.0.1";
    event.joined.child = -1;
    give(&event);
    ls_machine_assignment(machine, 1, &assignment);
    cr_expect_str_eq(assignment.members[0].address, "10.0.0.1");
    cr_expect_str_eq(assignment.members[1].address, "10.0.0.9");
    end();
}

/* Each refusal says what is wrong, has its own status, and changes nothing. */
Test(machine, refuses_with_a_sentence)
{
    struct ls_wire_join wrong = join_of(0);

    begin(2, "auto");
    wrong.fingerprint[0] = 'b';
    give_join(&wrong, 1, -1);
    cr_expect_eq(nth(LS_ACTION_REFUSE, 0)->status, LS_EAUTH);
    cr_expect_not_null(strstr(nth(LS_ACTION_REFUSE, 0)->text, "fingerprint"));
    wrong = join_of(0);
    wrong.numerics = 9;
    give_join(&wrong, 1, -1);
    cr_expect_not_null(strstr(nth(LS_ACTION_REFUSE, 0)->text, "numerics version 9"));
    wrong = join_of(0);
    wrong.known_answers = 0x1235;
    give_join(&wrong, 1, -1);
    cr_expect_eq(nth(LS_ACTION_REFUSE, 0)->status, LS_EAUTH);
    cr_expect_not_null(strstr(nth(LS_ACTION_REFUSE, 0)->text, "known answers (0000000000001235)"));
    cr_expect_not_null(strstr(nth(LS_ACTION_REFUSE, 0)->text, "same build"));
    join(2, -1);
    cr_expect_eq(nth(LS_ACTION_REFUSE, 0)->status, LS_EINVAL);
    join(0, -1);
    cr_expect_null(nth(LS_ACTION_REFUSE, 0));
    join(0, -1);
    cr_expect_eq(nth(LS_ACTION_REFUSE, 0)->status, LS_EBUSY);
    cr_expect_not_null(strstr(nth(LS_ACTION_REFUSE, 0)->text, "worker 0 is already there"));
    cr_expect_eq(ls_machine_alive(machine), 1);
    join(1, -1);
    join(-1, -1);
    cr_expect_str_eq(nth(LS_ACTION_REFUSE, 0)->text, "the job already has its 2 workers");
    cr_expect_eq(ls_machine_alive(machine), 2);
    end();
}

/* Generations go on from the journal's last one. */
Test(machine, never_repeats_a_generation)
{
    struct ls_machine_options options = {.workers = 1, .last_generation = 41, .heartbeat_ms = 250};

    memset(options.fingerprint, 'a', 64);
    cr_assert_eq(ls_machine_create(&options, 0, &machine, NULL), LS_OK);
    join(0, -1);
    cr_expect_eq(ls_machine_generation(machine), 42);
    end();
}

/* A killed child is named with its signal and what it was doing; the others get the order with the same words. */
Test(machine, names_a_killed_worker)
{
    start(3);
    beat(2, 57, LS_PHASE_COMPUTING);
    beat(1, 57, LS_PHASE_REDUCING);
    die(1, -1, 9);
    cr_expect_eq(ls_machine_state(machine), LS_FAILED);
    cr_expect_eq(nth(LS_ACTION_END, 0)->status, LS_EPEER);
    cr_expect_str_eq(
        nth(LS_ACTION_END, 0)->text,
        "worker 1 (pid 101) was killed by signal 9 (Killed) while computing step 57; worker 0 was reducing "
        "step 57, worker 2 was before its first report");
    cr_expect_eq(count(LS_ACTION_ORDER), 2);
    cr_expect_eq(nth(LS_ACTION_ORDER, 0)->order, LS_WIRE_ORDER_ABORT);
    cr_expect_str_eq(nth(LS_ACTION_ORDER, 1)->text,
                     "worker 1 (pid 101) was killed by signal 9 (Killed) while computing step 57");
    end();
}

/* A worker that leaves because it was told to, before its first step, is no death: the job ends as if it had been told
 * itself. Later, or by another signal, it is one. */
Test(machine, takes_a_told_worker_for_an_order)
{
    start(3);
    say(LS_EVENT_FINISH, 1, LS_EPEER, "rank 1 is gone");
    die(1, 130, -1);
    cr_expect_eq(nth(LS_ACTION_END, 0)->status, LS_EINTERRUPTED);
    cr_expect_str_eq(nth(LS_ACTION_END, 0)->text,
                     "the job was stopped before training began; the same command goes on");
    end();
    begin(2, "auto");
    die(0, -1, 15);
    cr_expect_eq(nth(LS_ACTION_END, 0)->status, LS_EINTERRUPTED);
    end();
    begin(2, "auto");
    die(0, -1, 9);
    cr_expect_eq(nth(LS_ACTION_END, 0)->status, LS_EPEER);
    end();
    start(3);
    beat(2, 57, LS_PHASE_COMPUTING);
    die(1, 130, -1);
    cr_expect_eq(nth(LS_ACTION_END, 0)->status, LS_EPEER);
    end();
}

/* A closed connection waits a moment for the exit status, and then speaks for itself. */
Test(machine, waits_for_the_exit_status)
{
    start(2);
    say(LS_EVENT_CLOSED, 2, LS_OK, "the connection was closed");
    cr_expect_eq(ls_machine_state(machine), LS_RUNNING);
    die(1, 3, -1);
    cr_expect_not_null(strstr(nth(LS_ACTION_END, 0)->text, "worker 1 (pid 101) ended with exit status 3"));
    end();
    start(2);
    say(LS_EVENT_CLOSED, 2, LS_OK, "the connection was closed");
    pass_time(LS_MACHINE_CHILD_GRACE_MS, 1, 1);
    cr_assert_not_null(nth(LS_ACTION_END, 0));
    cr_expect_not_null(strstr(nth(LS_ACTION_END, 0)->text, "closed its connection without finishing"));
    end();
}

/* A worker that is nobody's child is lost with its connection, at once; one that is not needed yet has left. */
Test(machine, loses_a_remote_worker_at_once)
{
    static const struct {
        int joined, told, committed;
        const char *said;
    } all[] = {{2, 0, 0, "was lost (it closed) before its first report; worker 1 was before its first report"},
               {2, 3, 0, "was lost (it closed) while computing step 3; worker 1 was before its first report"},
               {2, 0, 35, "was lost (it closed) while near step 36; worker 1 was between steps, at step 35"},
               {2, 3, 35, "was lost (it closed) while near step 36; worker 1 was between steps, at step 35"},
               {1, 0, 0, "left (it closed) before training began; another may take its place"}};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        bool joining = all[i].joined == 1;

        begin(2, "auto");
        for (int w = 0; w < all[i].joined; w++)
            join(w, -1);
        if (all[i].told > 0)
            beat(1, (uint64_t)all[i].told, LS_PHASE_COMPUTING);
        if (all[i].committed > 0)
            report(2, 1, (uint64_t)all[i].committed);
        say(LS_EVENT_CLOSED, 1, LS_OK, "it closed");
        cr_expect_eq(ls_machine_state(machine), joining ? LS_JOINING : LS_FAILED);
        cr_expect_str_eq(nth(joining ? LS_ACTION_LOG : LS_ACTION_END, 0)->text + strlen("worker 0 (pid 100) "),
                         all[i].said);
        end();
    }
}

/* Eight missed heartbeats lose a worker, seven do not. */
Test(machine, misses_heartbeats)
{
    start(2);
    beat(1, 4, LS_PHASE_LOADING);
    pass_time(7 * 250, 2, 2);
    cr_expect_eq(ls_machine_state(machine), LS_RUNNING);
    pass_time(3 * 250, 2, 2);
    cr_expect_eq(ls_machine_state(machine), LS_FAILED);
    cr_expect_not_null(strstr(nth(LS_ACTION_END, 0)->text, "worker 0 (pid 100) has not answered for 2."));
    cr_expect_not_null(strstr(nth(LS_ACTION_END, 0)->text, "while loading the data of step 4"));
    end();
}

/* When the coordinator itself stood still, nobody is blamed for the silence. */
Test(machine, forgives_its_own_stall)
{
    struct ls_event tick = {.kind = LS_EVENT_TICK};

    start(2);
    pass_time(1000, 1, 2);
    now += 60000;
    give(&tick);
    cr_expect_eq(ls_machine_state(machine), LS_RUNNING);
    pass_time(1000, 1, 2);
    cr_expect_eq(ls_machine_state(machine), LS_RUNNING);
    end();
}

/* The missing are named at the join deadline. */
Test(machine, names_the_missing)
{
    begin(5, "auto");
    join(1, -1);
    join(3, -1);
    now += 29000;
    beat(1, 0, LS_PHASE_IDLE);
    beat(2, 0, LS_PHASE_IDLE);
    pass_time(1000, 1, 2);
    cr_expect_eq(ls_machine_state(machine), LS_FAILED);
    cr_expect_eq(nth(LS_ACTION_END, 0)->status, LS_ETIMEOUT);
    cr_expect_str_eq(nth(LS_ACTION_END, 0)->text, "workers 0, 2 and 4 of 5 did not join within 30 s");
    cr_expect_eq(count(LS_ACTION_ORDER), 2);
    end();
}

/* Before the start a lost remote worker makes room for another; a dead child ends the job. */
Test(machine, lets_another_take_a_place)
{
    begin(2, "auto");
    join(0, -1);
    say(LS_EVENT_CLOSED, 1, LS_OK, "closed");
    cr_expect_eq(ls_machine_state(machine), LS_JOINING);
    join(0, -1);
    cr_expect_eq(nth(LS_ACTION_WELCOME, 0)->worker, 2);
    cr_expect_eq(nth(LS_ACTION_WELCOME, 0)->incarnation, 2);
    die(1, 7, -1);
    cr_expect_eq(ls_machine_state(machine), LS_FAILED);
    cr_expect_str_eq(nth(LS_ACTION_END, 0)->text, "worker 1 (pid 101) ended with exit status 7 before it joined");
    end();
}

/* The job ends when the last worker has finished, with rank 0's summary; each finish is acknowledged. */
Test(machine, ends_when_all_have_finished)
{
    start(2);
    say(LS_EVENT_FINISH, 1, LS_OK, "{\"a\":1}");
    cr_expect_eq(nth(LS_ACTION_ACK_FINISH, 0)->worker, 1);
    cr_expect_eq(ls_machine_state(machine), LS_RUNNING);
    say(LS_EVENT_CLOSED, 1, LS_OK, "closed");
    die(0, 0, -1);
    cr_expect_eq(ls_machine_state(machine), LS_RUNNING);
    say(LS_EVENT_FINISH, 2, LS_OK, NULL);
    cr_expect_eq(ls_machine_state(machine), LS_ENDED);
    cr_expect_eq(nth(LS_ACTION_END, 0)->status, LS_OK);
    cr_expect_str_eq(nth(LS_ACTION_END, 0)->summary, "{\"a\":1}");
    cr_expect_eq(ls_machine_deadline(machine), LS_MACHINE_NEVER);
    end();
}

/* A worker's own error is the job's; the others are told. */
Test(machine, passes_a_workers_error_on)
{
    start(3);
    say(LS_EVENT_FINISH, 3, LS_EINVAL, "label 12 is out of range");
    cr_expect_eq(ls_machine_state(machine), LS_FAILED);
    cr_expect_eq(nth(LS_ACTION_END, 0)->status, LS_EINVAL);
    cr_expect_str_eq(nth(LS_ACTION_END, 0)->text, "label 12 is out of range");
    cr_expect_eq(count(LS_ACTION_ORDER), 2);
    say(LS_EVENT_FINISH, 1, LS_EPEER, "aborted");
    cr_expect_eq(count(LS_ACTION_ACK_FINISH), 1);
    cr_expect_null(nth(LS_ACTION_END, 0));
    end();
}

/* "My peer is gone" waits for the peer's own fate: the death is the sentence, not the symptom. */
Test(machine, prefers_the_cause_to_the_symptom)
{
    start(2);
    say(LS_EVENT_FINISH, 1, LS_EPEER, "rank 1 is gone");
    cr_expect_eq(ls_machine_state(machine), LS_RUNNING);
    now += 400;
    die(1, -1, 11);
    cr_expect_not_null(strstr(nth(LS_ACTION_END, 0)->text, "worker 1 (pid 101) was killed by signal 11"));
    end();
    start(2);
    say(LS_EVENT_FINISH, 1, LS_EPEER, "rank 1 is gone");
    pass_time(LS_MACHINE_SYMPTOM_GRACE_MS, 2, 2);
    cr_assert_not_null(nth(LS_ACTION_END, 0));
    cr_expect_str_eq(nth(LS_ACTION_END, 0)->text, "rank 1 is gone");
    end();
    start(2);
    say(LS_EVENT_FINISH, 1, LS_ETIMEOUT, "rank 1 is waited for");
    say(LS_EVENT_FINISH, 2, LS_EPEER, "rank 0 is gone");
    cr_expect_str_eq(nth(LS_ACTION_END, 0)->text, "rank 1 is waited for", "nobody is left who could be the cause");
    end();
}

/* A stop goes to every worker once; finishing early is then what was wanted. */
Test(machine, stops_in_order)
{
    struct ls_event stop = {.kind = LS_EVENT_STOP};

    start(2);
    give(&stop);
    cr_expect_eq(ls_machine_state(machine), LS_STOPPING);
    cr_expect_eq(count(LS_ACTION_ORDER), 2);
    cr_expect_eq(nth(LS_ACTION_ORDER, 0)->order, LS_WIRE_ORDER_STOP);
    give(&stop);
    cr_expect_eq(count(LS_ACTION_ORDER), 0);
    say(LS_EVENT_FINISH, 1, LS_EINTERRUPTED, "{\"steps\":7}");
    say(LS_EVENT_FINISH, 2, LS_EINTERRUPTED, "stopped in order after step 7");
    cr_expect_eq(nth(LS_ACTION_END, 0)->status, LS_OK);
    cr_expect_str_eq(nth(LS_ACTION_END, 0)->summary, "{\"steps\":7}");
    end();
}

/* A group that stopped because a worker was told to is an interruption, with the summary so far. */
Test(machine, tells_an_interruption)
{
    start(2);
    say(LS_EVENT_FINISH, 1, LS_EINTERRUPTED, "{\"steps\":7}");
    say(LS_EVENT_FINISH, 2, LS_EINTERRUPTED, "stopped in order after step 7");
    cr_expect_eq(nth(LS_ACTION_END, 0)->status, LS_EINTERRUPTED);
    cr_expect_str_eq(nth(LS_ACTION_END, 0)->text, "stopped in order after step 7");
    cr_expect_str_eq(nth(LS_ACTION_END, 0)->summary, "{\"steps\":7}");
    end();
}

/* A stop that does not come to its end names who holds it up; before the start it ends the job at once. */
Test(machine, bounds_a_stop)
{
    struct ls_event stop = {.kind = LS_EVENT_STOP};

    start(2);
    give(&stop);
    say(LS_EVENT_FINISH, 1, LS_OK, NULL);
    pass_time(60000, 2, 2);
    cr_assert_not_null(nth(LS_ACTION_END, 0));
    cr_expect_str_eq(nth(LS_ACTION_END, 0)->text,
                     "worker 1 (pid 101) did not stop within 60 s, it was reducing step 5");
    end();
    begin(2, "auto");
    join(0, -1);
    give(&stop);
    cr_expect_eq(nth(LS_ACTION_END, 0)->status, LS_EINTERRUPTED);
    end();
}

/* Steps become ranges, each step once, whoever reports it; rank 0's numbers are shown. */
Test(machine, keeps_a_ledger_of_ranges)
{
    start(2);
    report(1, 1, 3);
    cr_expect_eq(nth(LS_ACTION_REPORT, 0)->report.step, 3);
    report(2, 1, 2);
    cr_expect_null(nth(LS_ACTION_REPORT, 0));
    report(2, 3, 5);
    report(1, 4, 9);
    pass_time(LS_MACHINE_LEDGER_MS, 1, 2);
    cr_assert_not_null(nth(LS_ACTION_STEPS, 0));
    cr_expect_eq(nth(LS_ACTION_STEPS, 0)->first_step, 1);
    cr_expect_eq(nth(LS_ACTION_STEPS, 0)->last_step, 9);
    cr_expect_eq(nth(LS_ACTION_STEPS, 0)->fingerprint, 1009);
    report(1, 10, 12);
    say(LS_EVENT_CHECKPOINT, 1, LS_OK, "/out/step-12");
    cr_expect_eq(nth(LS_ACTION_STEPS, 0)->first_step, 10);
    cr_expect_lt(nth(LS_ACTION_STEPS, 0), nth(LS_ACTION_CHECKPOINT, 0));
    cr_expect_str_eq(nth(LS_ACTION_CHECKPOINT, 0)->text, "/out/step-12");
    report(1, 13, 13);
    die(1, -1, 9);
    cr_expect_eq(nth(LS_ACTION_STEPS, 0)->last_step, 13, "a failure does not lose what was committed");
    end();
}

/* The step at which the loss stops being a finite number is said once, before the report is shown. */
Test(machine, says_once_that_the_loss_is_not_finite)
{
    struct ls_step_report made = {.step = 4, .loss = 0.5};
    struct ls_event event = {.kind = LS_EVENT_REPORT, .worker = 1};

    start(2);
    event.generation = ls_machine_generation(machine);
    event.reported.report = &made;
    event.reported.first_step = 1;
    give(&event);
    cr_expect_null(nth(LS_ACTION_LOG, 0));
    made = (struct ls_step_report){.step = 7, .loss = NAN};
    event.reported.first_step = 5;
    event.worker = 2;
    give(&event);
    cr_expect_null(nth(LS_ACTION_LOG, 0), "rank 0 speaks for all");
    event.worker = 1;
    give(&event);
    cr_assert_not_null(nth(LS_ACTION_LOG, 0));
    cr_expect_not_null(strstr(nth(LS_ACTION_LOG, 0)->text, "the loss is not a number from step 5 on"), "%s",
                       nth(LS_ACTION_LOG, 0)->text);
    cr_expect(nth(LS_ACTION_LOG, 0)->warns);
    cr_expect_lt(nth(LS_ACTION_LOG, 0), nth(LS_ACTION_REPORT, 0));
    made = (struct ls_step_report){.step = 8, .loss = INFINITY};
    event.reported.first_step = 8;
    give(&event);
    cr_expect_null(nth(LS_ACTION_LOG, 0));
    end();
}

/* What an older generation says changes nothing. */
Test(machine, ignores_an_older_generation)
{
    struct ls_step_report old = {.step = 99};
    struct ls_event event = {.kind = LS_EVENT_REPORT, .worker = 1, .generation = 0};

    start(2);
    event.reported.report = &old;
    event.reported.first_step = 99;
    give(&event);
    cr_expect_eq(actions.count, 0);
    event = (struct ls_event){.kind = LS_EVENT_FINISH, .worker = 1, .generation = 0};
    give(&event);
    cr_expect_eq(ls_machine_state(machine), LS_RUNNING);
    end();
}

/* A journal that cannot be written ends the job with that sentence. */
Test(machine, ends_when_the_shell_is_broken)
{
    start(1);
    say(LS_EVENT_BROKEN, 0, LS_EIO, "cannot write /out/journal: no space left");
    cr_expect_eq(nth(LS_ACTION_END, 0)->status, LS_EIO);
    cr_expect_eq(count(LS_ACTION_ORDER), 1);
    end();
}

/* A heartbeat of a worker with one replica, which waits in bucket 2 for a rank; ms 0: it does not wait. */
static void beat_waiting(uint64_t worker, int rank, uint32_t ms)
{
    struct ls_event event = {
        .kind = LS_EVENT_HEARTBEAT, .worker = worker, .generation = ls_machine_generation(machine)};

    event.heartbeat.step = 812;
    event.heartbeat.phase = ms > 0 ? LS_PHASE_REDUCING : LS_PHASE_COMPUTING;
    if (ms > 0)
        event.heartbeat.wait = (struct ls_wait_report){
            .kind = LS_WAIT_BUCKET, .rank = (int)worker - 1, .for_rank = rank, .number = 2, .waited_ms = ms};
    give(&event);
}

/* A wait of two seconds is said once: who waits for whom, in what, and what that one does. Not before. */
Test(machine, says_who_keeps_others_waiting)
{
    start(2);
    beat_waiting(2, -1, 0);
    beat_waiting(1, 1, 1999);
    cr_expect_null(nth(LS_ACTION_LOG, 0));
    beat_waiting(1, 1, 2100);
    cr_assert_not_null(nth(LS_ACTION_LOG, 0));
    cr_expect_str_eq(
        nth(LS_ACTION_LOG, 0)->text,
        "rank 0 (worker 0 on node) waited 2.1 s in bucket 2 of step 812 for rank 1 (worker 1 on node), which "
        "is computing step 812");
    beat_waiting(1, 1, 2350);
    cr_expect_null(nth(LS_ACTION_LOG, 0));
    end();
}

/* The one at the end of the chain is named, once for all that wait. */
Test(machine, follows_waits_to_their_end)
{
    start(4);
    beat_waiting(4, -1, 0);
    beat_waiting(3, 3, 1900);
    beat_waiting(2, 2, 1950);
    beat_waiting(1, 1, 2000);
    cr_assert_eq(count(LS_ACTION_LOG), 1);
    cr_expect_str_eq(
        nth(LS_ACTION_LOG, 0)->text,
        "rank 0 (worker 0 on node) waited 2.0 s in bucket 2 of step 812 through rank 1 for rank 3 (worker 3 on "
        "node), which is computing step 812");
    beat_waiting(2, 2, 2200);
    cr_expect_null(nth(LS_ACTION_LOG, 0));
    beat_waiting(2, 2, 10); /* it was rank 1 that took so long: it has only begun to wait */
    cr_assert_eq(count(LS_ACTION_LOG), 1);
    cr_expect_not_null(strstr(nth(LS_ACTION_LOG, 0)->text, "for rank 1 ("), "%s", nth(LS_ACTION_LOG, 0)->text);
    end();
}

/* A circle has no end, and whoever is not known is not named: neither is a way to loop or to fall. */
Test(machine, stands_waits_without_an_end)
{
    start(2);
    beat_waiting(2, 0, 2500);
    beat_waiting(1, 1, 2500);
    beat_waiting(1, -1, 2500);
    cr_expect_null(nth(LS_ACTION_LOG, 0));
    beat_waiting(1, 200, 2500);
    cr_expect_null(nth(LS_ACTION_LOG, 0));
    end();
}

/* A worker tells of its own replicas: a rank that is another's, or nobody's, is as if nothing had been said. */
Test(machine, believes_waits_of_own_ranks_only)
{
    struct ls_event event = {.kind = LS_EVENT_HEARTBEAT, .worker = 1};

    start(2);
    event.generation = ls_machine_generation(machine);
    beat_waiting(2, -1, 0);
    for (int rank = 1; rank < 256; rank += 254) {
        event.heartbeat.wait =
            (struct ls_wait_report){.kind = LS_WAIT_VOTE, .rank = rank, .for_rank = 1, .waited_ms = 2500};
        give(&event);
        cr_expect_null(nth(LS_ACTION_LOG, 0), "rank %d", rank);
    }
    end();
}

/* The next stall of the same worker is said again, half a minute later at the soonest. */
Test(machine, says_the_next_stall_after_a_while)
{
    start(2);
    for (int round = 0; round < 3; round++) {
        beat_waiting(2, -1, 0);
        beat_waiting(1, 1, 2000);
        cr_expect_eq(count(LS_ACTION_LOG), round != 1, "round %d", round);
        beat_waiting(1, -1, 0);
        pass_time(round == 0 ? 20000 : 10000, 1, 2);
    }
    end();
}
