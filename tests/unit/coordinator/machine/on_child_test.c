/* SPDX-License-Identifier: Apache-2.0 */
/* Losses: an exit status, a closed connection, a silence, each told with what the worker was doing. */
#include "tests/unit/coordinator/machine/rig.h"

#include <criterion/criterion.h>
#include <string.h>

/* A killed child is named with its signal and what it was doing; the others get the order with the same words. */
Test(machine, names_a_killed_worker)
{
    struct rig rig = {0};

    rig_start(&rig, 3);
    rig_beat(&rig, 2, 57, LS_PHASE_COMPUTING);
    rig_beat(&rig, 1, 57, LS_PHASE_REDUCING);
    rig_die(&rig, 1, -1, 9);
    cr_expect_eq(ls_machine_state(rig.machine), LS_FAILED);
    cr_expect_eq(rig_nth(&rig, LS_ACTION_END, 0)->status, LS_EPEER);
    cr_expect_str_eq(
        rig_nth(&rig, LS_ACTION_END, 0)->text,
        "worker 1 (pid 101) was killed by signal 9 (Killed) while computing step 57; worker 0 was reducing "
        "step 57, worker 2 was before its first report");
    cr_expect_eq(rig_count(&rig, LS_ACTION_ORDER), 2);
    cr_expect_eq(rig_nth(&rig, LS_ACTION_ORDER, 0)->order, LS_WIRE_ORDER_ABORT);
    cr_expect_str_eq(rig_nth(&rig, LS_ACTION_ORDER, 1)->text,
                     "worker 1 (pid 101) was killed by signal 9 (Killed) while computing step 57");
    rig_end(&rig);
}

/* A worker that leaves because it was told to, before its first step, is no death: the job ends as if it had been told
 * itself. Later, or by another signal, it is one. */
Test(machine, takes_a_told_worker_for_an_order)
{
    struct rig rig = {0};

    rig_start(&rig, 3);
    rig_say(&rig, LS_EVENT_FINISH, 1, LS_EPEER, "rank 1 is gone");
    rig_die(&rig, 1, 130, -1);
    cr_expect_eq(rig_nth(&rig, LS_ACTION_END, 0)->status, LS_EINTERRUPTED);
    cr_expect_str_eq(rig_nth(&rig, LS_ACTION_END, 0)->text,
                     "the job was stopped before training began; the same command goes on");
    rig_end(&rig);
    rig_begin(&rig, 2, "auto");
    rig_die(&rig, 0, -1, 15);
    cr_expect_eq(rig_nth(&rig, LS_ACTION_END, 0)->status, LS_EINTERRUPTED);
    rig_end(&rig);
    rig_begin(&rig, 2, "auto");
    rig_die(&rig, 0, -1, 9);
    cr_expect_eq(rig_nth(&rig, LS_ACTION_END, 0)->status, LS_EPEER);
    rig_end(&rig);
    rig_start(&rig, 3);
    rig_beat(&rig, 2, 57, LS_PHASE_COMPUTING);
    rig_die(&rig, 1, 130, -1);
    cr_expect_eq(rig_nth(&rig, LS_ACTION_END, 0)->status, LS_EPEER);
    rig_end(&rig);
}

/* A closed connection waits a moment for the exit status, and then speaks for itself. */
Test(machine, waits_for_the_exit_status)
{
    struct rig rig = {0};

    rig_start(&rig, 2);
    rig_say(&rig, LS_EVENT_CLOSED, 2, LS_OK, "the connection was closed");
    cr_expect_eq(ls_machine_state(rig.machine), LS_RUNNING);
    rig_die(&rig, 1, 3, -1);
    cr_expect_not_null(strstr(rig_nth(&rig, LS_ACTION_END, 0)->text, "worker 1 (pid 101) ended with exit status 3"));
    rig_end(&rig);
    rig_start(&rig, 2);
    rig_say(&rig, LS_EVENT_CLOSED, 2, LS_OK, "the connection was closed");
    rig_pass_time(&rig, LS_MACHINE_CHILD_GRACE_MS, 1, 1);
    cr_assert_not_null(rig_nth(&rig, LS_ACTION_END, 0));
    cr_expect_not_null(strstr(rig_nth(&rig, LS_ACTION_END, 0)->text, "closed its connection without finishing"));
    rig_end(&rig);
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
    struct rig rig = {0};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        bool joining = all[i].joined == 1;

        rig_begin(&rig, 2, "auto");
        for (int w = 0; w < all[i].joined; w++)
            rig_join(&rig, w, -1);
        if (all[i].told > 0)
            rig_beat(&rig, 1, (uint64_t)all[i].told, LS_PHASE_COMPUTING);
        if (all[i].committed > 0)
            rig_report(&rig, 2, 1, (uint64_t)all[i].committed);
        rig_say(&rig, LS_EVENT_CLOSED, 1, LS_OK, "it closed");
        cr_expect_eq(ls_machine_state(rig.machine), joining ? LS_JOINING : LS_FAILED);
        cr_expect_str_eq(rig_nth(&rig, joining ? LS_ACTION_LOG : LS_ACTION_END, 0)->text +
                             strlen("worker 0 (pid 100) "),
                         all[i].said);
        rig_end(&rig);
    }
}

/* Eight missed heartbeats lose a worker, seven do not. */
Test(machine, misses_heartbeats)
{
    struct rig rig = {0};

    rig_start(&rig, 2);
    rig_beat(&rig, 1, 4, LS_PHASE_LOADING);
    rig_pass_time(&rig, 7 * 250, 2, 2);
    cr_expect_eq(ls_machine_state(rig.machine), LS_RUNNING);
    rig_pass_time(&rig, 3 * 250, 2, 2);
    cr_expect_eq(ls_machine_state(rig.machine), LS_FAILED);
    cr_expect_not_null(strstr(rig_nth(&rig, LS_ACTION_END, 0)->text, "worker 0 (pid 100) has not answered for 2."));
    cr_expect_not_null(strstr(rig_nth(&rig, LS_ACTION_END, 0)->text, "while loading the data of step 4"));
    rig_end(&rig);
}

/* When the coordinator itself stood still, nobody is blamed for the silence. */
Test(machine, forgives_its_own_stall)
{
    struct rig rig = {0};
    struct ls_event tick = {.kind = LS_EVENT_TICK};

    rig_start(&rig, 2);
    rig_pass_time(&rig, 1000, 1, 2);
    rig.now += 60000;
    rig_give(&rig, &tick);
    cr_expect_eq(ls_machine_state(rig.machine), LS_RUNNING);
    rig_pass_time(&rig, 1000, 1, 2);
    cr_expect_eq(ls_machine_state(rig.machine), LS_RUNNING);
    rig_end(&rig);
}
