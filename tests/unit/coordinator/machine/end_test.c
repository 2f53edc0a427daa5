/* SPDX-License-Identifier: Apache-2.0 */
/* How a job ends that no worker is lost from: when all have finished, by an error of one, by an order. */
#include "tests/unit/coordinator/machine/rig.h"

#include <criterion/criterion.h>
#include <string.h>

/* The job ends when the last worker has finished, with rank 0's summary; each finish is acknowledged. */
Test(machine, ends_when_all_have_finished)
{
    struct rig rig = {0};

    rig_start(&rig, 2);
    rig_say(&rig, LS_EVENT_FINISH, 1, LS_OK, "{\"a\":1}");
    cr_expect_eq(rig_nth(&rig, LS_ACTION_ACK_FINISH, 0)->worker, 1);
    cr_expect_eq(ls_machine_state(rig.machine), LS_RUNNING);
    rig_say(&rig, LS_EVENT_CLOSED, 1, LS_OK, "closed");
    rig_die(&rig, 0, 0, -1);
    cr_expect_eq(ls_machine_state(rig.machine), LS_RUNNING);
    rig_say(&rig, LS_EVENT_FINISH, 2, LS_OK, NULL);
    cr_expect_eq(ls_machine_state(rig.machine), LS_ENDED);
    cr_expect_eq(rig_nth(&rig, LS_ACTION_END, 0)->status, LS_OK);
    cr_expect_str_eq(rig_nth(&rig, LS_ACTION_END, 0)->summary, "{\"a\":1}");
    cr_expect_eq(ls_machine_deadline(rig.machine), LS_MACHINE_NEVER);
    rig_end(&rig);
}

/* A worker's own error is the job's; the others are told. */
Test(machine, passes_a_workers_error_on)
{
    struct rig rig = {0};

    rig_start(&rig, 3);
    rig_say(&rig, LS_EVENT_FINISH, 3, LS_EINVAL, "label 12 is out of range");
    cr_expect_eq(ls_machine_state(rig.machine), LS_FAILED);
    cr_expect_eq(rig_nth(&rig, LS_ACTION_END, 0)->status, LS_EINVAL);
    cr_expect_str_eq(rig_nth(&rig, LS_ACTION_END, 0)->text, "label 12 is out of range");
    cr_expect_eq(rig_count(&rig, LS_ACTION_ORDER), 2);
    rig_say(&rig, LS_EVENT_FINISH, 1, LS_EPEER, "aborted");
    cr_expect_eq(rig_count(&rig, LS_ACTION_ACK_FINISH), 1);
    cr_expect_null(rig_nth(&rig, LS_ACTION_END, 0));
    rig_end(&rig);
}

/* "My peer is gone" waits for the peer's own fate: the death is the sentence, not the symptom. */
Test(machine, prefers_the_cause_to_the_symptom)
{
    struct rig rig = {0};

    rig_start(&rig, 2);
    rig_say(&rig, LS_EVENT_FINISH, 1, LS_EPEER, "rank 1 is gone");
    cr_expect_eq(ls_machine_state(rig.machine), LS_RUNNING);
    rig.now += 400;
    rig_die(&rig, 1, -1, 11);
    cr_expect_not_null(strstr(rig_nth(&rig, LS_ACTION_END, 0)->text, "worker 1 (pid 101) was killed by signal 11"));
    rig_end(&rig);
    rig_start(&rig, 2);
    rig_say(&rig, LS_EVENT_FINISH, 1, LS_EPEER, "rank 1 is gone");
    rig_pass_time(&rig, LS_MACHINE_SYMPTOM_GRACE_MS, 2, 2);
    cr_assert_not_null(rig_nth(&rig, LS_ACTION_END, 0));
    cr_expect_str_eq(rig_nth(&rig, LS_ACTION_END, 0)->text, "rank 1 is gone");
    rig_end(&rig);
    rig_start(&rig, 2);
    rig_say(&rig, LS_EVENT_FINISH, 1, LS_ETIMEOUT, "rank 1 is waited for");
    rig_say(&rig, LS_EVENT_FINISH, 2, LS_EPEER, "rank 0 is gone");
    cr_expect_str_eq(rig_nth(&rig, LS_ACTION_END, 0)->text, "rank 1 is waited for",
                     "nobody is left who could be the cause");
    rig_end(&rig);
}

/* A stop goes to every worker once; finishing early is then what was wanted. */
Test(machine, stops_in_order)
{
    struct rig rig = {0};
    struct ls_event stop = {.kind = LS_EVENT_STOP};

    rig_start(&rig, 2);
    rig_give(&rig, &stop);
    cr_expect_eq(ls_machine_state(rig.machine), LS_STOPPING);
    cr_expect_eq(rig_count(&rig, LS_ACTION_ORDER), 2);
    cr_expect_eq(rig_nth(&rig, LS_ACTION_ORDER, 0)->order, LS_WIRE_ORDER_STOP);
    rig_give(&rig, &stop);
    cr_expect_eq(rig_count(&rig, LS_ACTION_ORDER), 0);
    rig_say(&rig, LS_EVENT_FINISH, 1, LS_EINTERRUPTED, "{\"steps\":7}");
    rig_say(&rig, LS_EVENT_FINISH, 2, LS_EINTERRUPTED, "stopped in order after step 7");
    cr_expect_eq(rig_nth(&rig, LS_ACTION_END, 0)->status, LS_OK);
    cr_expect_str_eq(rig_nth(&rig, LS_ACTION_END, 0)->summary, "{\"steps\":7}");
    rig_end(&rig);
}

/* A group that stopped because a worker was told to is an interruption, with the summary so far. */
Test(machine, tells_an_interruption)
{
    struct rig rig = {0};

    rig_start(&rig, 2);
    rig_say(&rig, LS_EVENT_FINISH, 1, LS_EINTERRUPTED, "{\"steps\":7}");
    rig_say(&rig, LS_EVENT_FINISH, 2, LS_EINTERRUPTED, "stopped in order after step 7");
    cr_expect_eq(rig_nth(&rig, LS_ACTION_END, 0)->status, LS_EINTERRUPTED);
    cr_expect_str_eq(rig_nth(&rig, LS_ACTION_END, 0)->text, "stopped in order after step 7");
    cr_expect_str_eq(rig_nth(&rig, LS_ACTION_END, 0)->summary, "{\"steps\":7}");
    rig_end(&rig);
}

/* A stop that does not come to its end names who holds it up; before the start it ends the job at once. */
Test(machine, bounds_a_stop)
{
    struct rig rig = {0};
    struct ls_event stop = {.kind = LS_EVENT_STOP};

    rig_start(&rig, 2);
    rig_give(&rig, &stop);
    rig_say(&rig, LS_EVENT_FINISH, 1, LS_OK, NULL);
    rig_pass_time(&rig, 60000, 2, 2);
    cr_assert_not_null(rig_nth(&rig, LS_ACTION_END, 0));
    cr_expect_str_eq(rig_nth(&rig, LS_ACTION_END, 0)->text,
                     "worker 1 (pid 101) did not stop within 60 s, it was reducing step 5");
    rig_end(&rig);
    rig_begin(&rig, 2, "auto");
    rig_join(&rig, 0, -1);
    rig_give(&rig, &stop);
    cr_expect_eq(rig_nth(&rig, LS_ACTION_END, 0)->status, LS_EINTERRUPTED);
    rig_end(&rig);
}

/* A journal that cannot be written ends the job with that sentence. */
Test(machine, ends_when_the_shell_is_broken)
{
    struct rig rig = {0};

    rig_start(&rig, 1);
    rig_say(&rig, LS_EVENT_BROKEN, 0, LS_EIO, "cannot write /out/journal: no space left");
    cr_expect_eq(rig_nth(&rig, LS_ACTION_END, 0)->status, LS_EIO);
    cr_expect_eq(rig_count(&rig, LS_ACTION_ORDER), 1);
    rig_end(&rig);
}
