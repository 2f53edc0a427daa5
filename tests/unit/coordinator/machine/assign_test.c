/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks, providers and addresses: what a generation gives its members. */
#include "tests/unit/coordinator/machine/rig.h"

#include "core/base/str.h"

#include <criterion/criterion.h>
#include <string.h>

/* Ranks follow wanted indices, whatever the order of joining; others fill the gaps in join order. */
Test(machine, deals_ranks_by_wish_then_order)
{
    struct rig rig = {0};
    struct ls_wire_join any = rig_join_of(-1);
    struct ls_wire_assignment assignment;

    rig_begin(&rig, 4, "auto");
    rig_join(&rig, 2, -1);
    rig_give_join(&rig, &any, 50, -1);
    rig_join(&rig, 0, -1);
    cr_expect_eq(rig_nth(&rig, LS_ACTION_WELCOME, 0)->worker, 3);
    cr_expect_eq(ls_machine_state(rig.machine), LS_JOINING);
    rig_give_join(&rig, &any, 51, -1);
    cr_expect_eq(ls_machine_state(rig.machine), LS_RUNNING);
    cr_expect_eq(rig_count(&rig, LS_ACTION_ASSIGN), 4);
    ls_machine_assignment(rig.machine, 2, &assignment);
    cr_expect_eq(assignment.world, 4);
    cr_expect_eq(assignment.first_rank, 1);
    cr_expect_eq(assignment.members[0].worker, 3);
    cr_expect_eq(assignment.members[1].worker, 2);
    cr_expect_eq(assignment.members[2].worker, 1);
    cr_expect_eq(assignment.members[3].worker, 4);
    rig_end(&rig);
}

/* The generation is told to the journal before any worker may work in it. */
Test(machine, journals_before_it_assigns)
{
    struct rig rig = {0};

    rig_begin(&rig, 1, "auto");
    rig_join(&rig, 0, -1);
    cr_expect_lt(rig_nth(&rig, LS_ACTION_GENERATION, 0), rig_nth(&rig, LS_ACTION_ASSIGN, 0));
    cr_expect_eq(rig_nth(&rig, LS_ACTION_GENERATION, 0)->generation, 1);
    rig_end(&rig);
}

/* A worker with several replicas takes neighbouring ranks. */
Test(machine, gives_replicas_neighbouring_ranks)
{
    struct rig rig = {0};
    struct ls_wire_join two = rig_join_of(0);
    struct ls_wire_assignment assignment;

    rig_begin(&rig, 2, "auto");
    two.replicas = 2;
    two.ports[1] = 6001;
    rig_give_join(&rig, &two, 1, -1);
    rig_join(&rig, 1, -1);
    ls_machine_assignment(rig.machine, 2, &assignment);
    cr_expect_eq(assignment.world, 3);
    cr_expect_eq(assignment.first_rank, 2);
    cr_expect_eq(assignment.members[1].replica, 1);
    cr_expect_eq(assignment.members[1].port, 6001);
    rig_end(&rig);
}

static const char *provider_of(const char *transport, const char *host, uint16_t port)
{
    static struct ls_wire_assignment assignment;
    struct rig rig = {0};
    struct ls_wire_join other = rig_join_of(1);

    rig_begin(&rig, 2, transport);
    (void)ls_str_into(other.host, sizeof other.host, host);
    other.ports[0] = port;
    rig_join(&rig, 0, -1);
    rig_give_join(&rig, &other, 2, -1);
    if (ls_machine_state(rig.machine) == LS_FAILED)
        (void)ls_str_into(assignment.provider, sizeof assignment.provider, "failed");
    else
        ls_machine_assignment(rig.machine, 1, &assignment);
    rig_end(&rig);
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
    cr_expect_str_eq(provider_of("hybrid-mpi", "other", 0), "hybrid-mpi");
    cr_expect_str_eq(provider_of("hybrid-nccl", "other", 5001), "hybrid-nccl");
    cr_expect_str_eq(provider_of("hybrid-nccl", "other", 0), "failed");
}

/* Workers of one host get neighbouring ranks, whatever the order in which they came. */
Test(machine, deals_hosts_together)
{
    static const char *const hosts[] = {"far", "node", "far", "node"}, *const dealt[] = {"far", "far", "node", "node"};
    struct rig rig = {0};
    struct ls_wire_assignment assignment;

    rig_begin(&rig, 4, "auto");
    for (int i = 0; i < 4; i++) {
        struct ls_wire_join other = rig_join_of(-1);

        other.pid = 200 + i;
        other.ports[0] = (uint16_t)(5001 + i);
        (void)ls_str_into(other.host, sizeof other.host, hosts[i]);
        rig_give_join(&rig, &other, 1 + (uint64_t)i, -1);
    }
    ls_machine_assignment(rig.machine, 1, &assignment);
    cr_assert_eq(assignment.world, 4);
    for (int r = 0; r < 4; r++)
        cr_expect_str_eq(assignment.members[r].host, dealt[r]);
    cr_expect_str_eq(assignment.provider, "hybrid");
    rig_end(&rig);
}

/* Several hosts of which one holds two members: shared memory there and tcp between them, unless tcp is asked for. */
Test(machine, composes_hosts)
{
    static const char *const wanted[] = {"auto", "tcp", "hybrid"}, *const given[] = {"hybrid", "tcp", "hybrid"};
    struct rig rig = {0};

    for (int i = 0; i < 3; i++) {
        struct ls_wire_join other = rig_join_of(1);
        struct ls_wire_assignment assignment;

        rig_begin(&rig, 2, wanted[i]);
        (void)ls_str_into(other.host, sizeof other.host, "other");
        other.replicas = 2;
        other.ports[0] = 5001;
        other.ports[1] = 5002;
        rig_join(&rig, 0, -1);
        rig_give_join(&rig, &other, 2, -1);
        ls_machine_assignment(rig.machine, 1, &assignment);
        cr_expect_str_eq(assignment.provider, given[i]);
        rig_end(&rig);
    }
}

/* A worker beside the coordinator is called by the address that workers elsewhere can reach. */
Test(machine, replaces_loopback_addresses)
{
    struct rig rig = {0};
    struct ls_wire_join far = rig_join_of(1);
    struct ls_event event = {.kind = LS_EVENT_JOIN};
    struct ls_wire_assignment assignment;

    rig_begin(&rig, 2, "tcp");
    rig_join(&rig, 0, -1);
    (void)ls_str_into(far.host, sizeof far.host, "far");
    event.joined.join = &far;
    event.joined.address = "10.0.0.9";
    event.joined.local_address = "10.0.0.1";
    event.joined.child = -1;
    rig_give(&rig, &event);
    ls_machine_assignment(rig.machine, 1, &assignment);
    cr_expect_str_eq(assignment.members[0].address, "10.0.0.1");
    cr_expect_str_eq(assignment.members[1].address, "10.0.0.9");
    rig_end(&rig);
}

/* Generations go on from the journal's last one. */
Test(machine, never_repeats_a_generation)
{
    struct rig rig = {0};
    struct ls_machine_options options = {.workers = 1, .last_generation = 41, .heartbeat_ms = 250};

    memset(options.fingerprint, 'a', 64);
    cr_assert_eq(ls_machine_create(&options, 0, &rig.machine, NULL), LS_OK);
    rig_join(&rig, 0, -1);
    cr_expect_eq(ls_machine_generation(rig.machine), 42);
    rig_end(&rig);
}
