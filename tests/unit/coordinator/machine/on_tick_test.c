/* SPDX-License-Identifier: Apache-2.0 */
/* A coordinator that was stopped and goes on: the time in which it stood still is held against nobody. */
#include "coordinator/machine/machine.h"
#include "tests/unit/coordinator/machine/rig.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct ls_event tick = {.kind = LS_EVENT_TICK};

static void sleep_for(struct rig *rig, int64_t ms)
{
    rig->now += ms;
    rig_give(rig, &tick);
}

static const char *end_text(const struct rig *rig)
{
    const struct ls_action *end = rig_nth(rig, LS_ACTION_END, 0);

    return end == NULL ? "it goes on" : end->text;
}

/* Those who were on their way to join get what was left of their time. */
Test(on_tick, forgives_those_who_join)
{
    struct rig rig = {0};

    rig_begin(&rig, 2, "auto");
    rig_join(&rig, 0, -1);
    rig_pass_time(&rig, 10000, 1, 1);
    sleep_for(&rig, 60000);
    cr_expect_eq(ls_machine_state(rig.machine), LS_JOINING, "%s", end_text(&rig));
    rig_pass_time(&rig, 19000, 1, 1);
    cr_expect_eq(ls_machine_state(rig.machine), LS_JOINING, "%s", end_text(&rig));
    rig_pass_time(&rig, 2000, 1, 1);
    cr_expect_not_null(strstr(end_text(&rig), "worker 1 of 2 did not join within 30 s"), "%s", end_text(&rig));
    rig_end(&rig);
}

/* Those who are to stop have their minute. */
Test(on_tick, forgives_those_who_stop)
{
    struct ls_event stop = {.kind = LS_EVENT_STOP};
    struct rig rig = {0};

    rig_start(&rig, 2);
    rig_give(&rig, &stop);
    rig_pass_time(&rig, 1000, 1, 2);
    sleep_for(&rig, 120000);
    cr_expect_eq(ls_machine_state(rig.machine), LS_STOPPING, "%s", end_text(&rig));
    rig_end(&rig);
}

/* The cause of a symptom, and the exit status of a child, still come before what was seen of them. */
Test(on_tick, waits_for_the_cause)
{
    struct rig rig = {0};

    rig_start(&rig, 2);
    rig_pass_time(&rig, 1000, 1, 2);
    rig_say(&rig, LS_EVENT_FINISH, 1, LS_EPEER, "rank 1 is gone");
    rig_say(&rig, LS_EVENT_CLOSED, 2, LS_OK, "the connection was closed");
    sleep_for(&rig, 5000);
    cr_expect_eq(ls_machine_state(rig.machine), LS_RUNNING, "%s", end_text(&rig));
    rig_die(&rig, 1, -1, 9);
    cr_expect_not_null(strstr(end_text(&rig), "worker 1 (pid 101) was killed by signal 9"), "%s", end_text(&rig));
    rig_end(&rig);
}

/* Workers leave a coordinator that is silent for long. It says that it was, and not only who left first. */
Test(on_tick, says_that_it_stood_still)
{
    for (int first = 0; first < 3; first++) {
        struct rig rig = {0};

        rig_start(&rig, 2);
        rig_pass_time(&rig, 1000, 1, 2);
        rig.now += 15000;
        if (first == 1)
            rig_give(&rig, &tick);
        rig_say(&rig, LS_EVENT_CLOSED, 1, LS_OK, "the connection was closed");
        rig_die(&rig, 0, first == 2 ? -1 : 6, first == 2 ? 9 : -1);
        cr_expect_eq(ls_machine_state(rig.machine), LS_FAILED);
        cr_expect_not_null(strstr(end_text(&rig), "worker 0 (pid 100)"), "%s", end_text(&rig));
        cr_expect_eq(strstr(end_text(&rig), "the coordinator itself stood still for 1") != NULL, first < 2, "%s",
                     end_text(&rig));
        rig_end(&rig);
    }
}

/* A while later it is no reason any more. */
Test(on_tick, forgets_that_it_stood_still)
{
    struct rig rig = {0};

    rig_start(&rig, 2);
    rig_pass_time(&rig, 1000, 1, 2);
    sleep_for(&rig, 15000);
    rig_pass_time(&rig, 5000, 1, 2);
    rig_die(&rig, 0, 6, -1);
    cr_expect_null(strstr(end_text(&rig), "stood still"), "%s", end_text(&rig));
    rig_end(&rig);
}
