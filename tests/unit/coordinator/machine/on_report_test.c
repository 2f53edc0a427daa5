/* SPDX-License-Identifier: Apache-2.0 */
/* Reports: the ledger of committed steps, the loss, what is too old. */
#include "tests/unit/coordinator/machine/rig.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* Steps become ranges, each step once, whoever reports it; rank 0's numbers are shown. */
Test(machine, keeps_a_ledger_of_ranges)
{
    struct rig rig = {0};

    rig_start(&rig, 2);
    rig_report(&rig, 1, 1, 3);
    cr_expect_eq(rig_nth(&rig, LS_ACTION_REPORT, 0)->report.step, 3);
    rig_report(&rig, 2, 1, 2);
    cr_expect_null(rig_nth(&rig, LS_ACTION_REPORT, 0));
    rig_report(&rig, 2, 3, 5);
    rig_report(&rig, 1, 4, 9);
    rig_pass_time(&rig, LS_MACHINE_LEDGER_MS, 1, 2);
    cr_assert_not_null(rig_nth(&rig, LS_ACTION_STEPS, 0));
    cr_expect_eq(rig_nth(&rig, LS_ACTION_STEPS, 0)->first_step, 1);
    cr_expect_eq(rig_nth(&rig, LS_ACTION_STEPS, 0)->last_step, 9);
    cr_expect_eq(rig_nth(&rig, LS_ACTION_STEPS, 0)->fingerprint, 1009);
    rig_report(&rig, 1, 10, 12);
    rig_say(&rig, LS_EVENT_CHECKPOINT, 1, LS_OK, "/out/step-12");
    cr_expect_eq(rig_nth(&rig, LS_ACTION_STEPS, 0)->first_step, 10);
    cr_expect_lt(rig_nth(&rig, LS_ACTION_STEPS, 0), rig_nth(&rig, LS_ACTION_CHECKPOINT, 0));
    cr_expect_str_eq(rig_nth(&rig, LS_ACTION_CHECKPOINT, 0)->text, "/out/step-12");
    rig_report(&rig, 1, 13, 13);
    rig_die(&rig, 1, -1, 9);
    cr_expect_eq(rig_nth(&rig, LS_ACTION_STEPS, 0)->last_step, 13, "a failure does not lose what was committed");
    rig_end(&rig);
}

/* The step at which the loss stops being a finite number is said once, before the report is shown. */
Test(machine, says_once_that_the_loss_is_not_finite)
{
    struct rig rig = {0};
    struct ls_step_report made = {.step = 4, .loss = 0.5};
    struct ls_event event = {.kind = LS_EVENT_REPORT, .worker = 1};

    rig_start(&rig, 2);
    event.generation = ls_machine_generation(rig.machine);
    event.reported.report = &made;
    event.reported.first_step = 1;
    rig_give(&rig, &event);
    cr_expect_null(rig_nth(&rig, LS_ACTION_LOG, 0));
    made = (struct ls_step_report){.step = 7, .loss = NAN};
    event.reported.first_step = 5;
    event.worker = 2;
    rig_give(&rig, &event);
    cr_expect_null(rig_nth(&rig, LS_ACTION_LOG, 0), "rank 0 speaks for all");
    event.worker = 1;
    rig_give(&rig, &event);
    cr_assert_not_null(rig_nth(&rig, LS_ACTION_LOG, 0));
    cr_expect_not_null(strstr(rig_nth(&rig, LS_ACTION_LOG, 0)->text, "the loss is not a number from step 5 on"), "%s",
                       rig_nth(&rig, LS_ACTION_LOG, 0)->text);
    cr_expect(rig_nth(&rig, LS_ACTION_LOG, 0)->warns);
    cr_expect_lt(rig_nth(&rig, LS_ACTION_LOG, 0), rig_nth(&rig, LS_ACTION_REPORT, 0));
    made = (struct ls_step_report){.step = 8, .loss = INFINITY};
    event.reported.first_step = 8;
    rig_give(&rig, &event);
    cr_expect_null(rig_nth(&rig, LS_ACTION_LOG, 0));
    rig_end(&rig);
}

/* What an older generation says changes nothing. */
Test(machine, ignores_an_older_generation)
{
    struct rig rig = {0};
    struct ls_step_report old = {.step = 99};
    struct ls_event event = {.kind = LS_EVENT_REPORT, .worker = 1, .generation = 0};

    rig_start(&rig, 2);
    event.reported.report = &old;
    event.reported.first_step = 99;
    rig_give(&rig, &event);
    cr_expect_eq(rig.actions.count, 0);
    event = (struct ls_event){.kind = LS_EVENT_FINISH, .worker = 1, .generation = 0};
    rig_give(&rig, &event);
    cr_expect_eq(ls_machine_state(rig.machine), LS_RUNNING);
    rig_end(&rig);
}
