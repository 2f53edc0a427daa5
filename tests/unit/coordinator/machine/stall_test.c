/* SPDX-License-Identifier: Apache-2.0 */
/* Long waits: who keeps whom waiting, said once. */
#include "tests/unit/coordinator/machine/rig.h"

#include <criterion/criterion.h>
#include <string.h>

/* A wait of two seconds is said once: who waits for whom, in what, and what that one does. Not before. */
Test(machine, says_who_keeps_others_waiting)
{
    struct rig rig = {0};

    rig_start(&rig, 2);
    rig_beat_waiting(&rig, 2, -1, 0);
    rig_beat_waiting(&rig, 1, 1, 1999);
    cr_expect_null(rig_nth(&rig, LS_ACTION_LOG, 0));
    rig_beat_waiting(&rig, 1, 1, 2100);
    cr_assert_not_null(rig_nth(&rig, LS_ACTION_LOG, 0));
    cr_expect_str_eq(
        rig_nth(&rig, LS_ACTION_LOG, 0)->text,
        "rank 0 (worker 0 on node) waited 2.1 s in bucket 2 of step 812 for rank 1 (worker 1 on node), which "
        "is computing step 812");
    rig_beat_waiting(&rig, 1, 1, 2350);
    cr_expect_null(rig_nth(&rig, LS_ACTION_LOG, 0));
    rig_end(&rig);
}

/* The one at the end of the chain is named, once for all that wait. */
Test(machine, follows_waits_to_their_end)
{
    struct rig rig = {0};

    rig_start(&rig, 4);
    rig_beat_waiting(&rig, 4, -1, 0);
    rig_beat_waiting(&rig, 3, 3, 1900);
    rig_beat_waiting(&rig, 2, 2, 1950);
    rig_beat_waiting(&rig, 1, 1, 2000);
    cr_assert_eq(rig_count(&rig, LS_ACTION_LOG), 1);
    cr_expect_str_eq(
        rig_nth(&rig, LS_ACTION_LOG, 0)->text,
        "rank 0 (worker 0 on node) waited 2.0 s in bucket 2 of step 812 through rank 1 for rank 3 (worker 3 on "
        "node), which is computing step 812");
    rig_beat_waiting(&rig, 2, 2, 2200);
    cr_expect_null(rig_nth(&rig, LS_ACTION_LOG, 0));
    rig_beat_waiting(&rig, 2, 2, 10); /* it was rank 1 that took so long: it has only begun to wait */
    cr_assert_eq(rig_count(&rig, LS_ACTION_LOG), 1);
    cr_expect_not_null(strstr(rig_nth(&rig, LS_ACTION_LOG, 0)->text, "for rank 1 ("), "%s",
                       rig_nth(&rig, LS_ACTION_LOG, 0)->text);
    rig_end(&rig);
}

/* A circle has no end, and whoever is not known is not named: neither is a way to loop or to fall. */
Test(machine, stands_waits_without_an_end)
{
    struct rig rig = {0};

    rig_start(&rig, 2);
    rig_beat_waiting(&rig, 2, 0, 2500);
    rig_beat_waiting(&rig, 1, 1, 2500);
    rig_beat_waiting(&rig, 1, -1, 2500);
    cr_expect_null(rig_nth(&rig, LS_ACTION_LOG, 0));
    rig_beat_waiting(&rig, 1, 200, 2500);
    cr_expect_null(rig_nth(&rig, LS_ACTION_LOG, 0));
    rig_end(&rig);
}

/* A worker tells of its own replicas: a rank that is another's, or nobody's, is as if nothing had been said. */
Test(machine, believes_waits_of_own_ranks_only)
{
    struct rig rig = {0};
    struct ls_event event = {.kind = LS_EVENT_HEARTBEAT, .worker = 1};

    rig_start(&rig, 2);
    event.generation = ls_machine_generation(rig.machine);
    rig_beat_waiting(&rig, 2, -1, 0);
    for (int rank = 1; rank < 256; rank += 254) {
        event.heartbeat.wait =
            (struct ls_wait_report){.kind = LS_WAIT_VOTE, .rank = rank, .for_rank = 1, .waited_ms = 2500};
        rig_give(&rig, &event);
        cr_expect_null(rig_nth(&rig, LS_ACTION_LOG, 0), "rank %d", rank);
    }
    rig_end(&rig);
}

/* The next stall of the same worker is said again, half a minute later at the soonest. */
Test(machine, says_the_next_stall_after_a_while)
{
    struct rig rig = {0};

    rig_start(&rig, 2);
    for (int round = 0; round < 3; round++) {
        rig_beat_waiting(&rig, 2, -1, 0);
        rig_beat_waiting(&rig, 1, 1, 2000);
        cr_expect_eq(rig_count(&rig, LS_ACTION_LOG), round != 1, "round %d", round);
        rig_beat_waiting(&rig, 1, -1, 0);
        rig_pass_time(&rig, round == 0 ? 20000 : 10000, 1, 2);
    }
    rig_end(&rig);
}
