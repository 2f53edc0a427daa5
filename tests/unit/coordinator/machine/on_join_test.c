/* SPDX-License-Identifier: Apache-2.0 */
/* Who may join, and what happens where somebody does not. */
#include "tests/unit/coordinator/machine/rig.h"

#include <criterion/criterion.h>
#include <string.h>

/* Each refusal says what is wrong, has its own status, and changes nothing. */
Test(machine, refuses_with_a_sentence)
{
    struct rig rig = {0};
    struct ls_wire_join wrong = rig_join_of(0);

    rig_begin(&rig, 2, "auto");
    wrong.fingerprint[0] = 'b';
    rig_give_join(&rig, &wrong, 1, -1);
    cr_expect_eq(rig_nth(&rig, LS_ACTION_REFUSE, 0)->status, LS_EAUTH);
    cr_expect_not_null(strstr(rig_nth(&rig, LS_ACTION_REFUSE, 0)->text, "fingerprint"));
    wrong = rig_join_of(0);
    wrong.numerics = 9;
    rig_give_join(&rig, &wrong, 1, -1);
    cr_expect_not_null(strstr(rig_nth(&rig, LS_ACTION_REFUSE, 0)->text, "numerics version 9"));
    wrong = rig_join_of(0);
    wrong.known_answers = 0x1235;
    rig_give_join(&rig, &wrong, 1, -1);
    cr_expect_eq(rig_nth(&rig, LS_ACTION_REFUSE, 0)->status, LS_EAUTH);
    cr_expect_not_null(strstr(rig_nth(&rig, LS_ACTION_REFUSE, 0)->text, "known answers (0000000000001235)"));
    cr_expect_not_null(strstr(rig_nth(&rig, LS_ACTION_REFUSE, 0)->text, "same build"));
    rig_join(&rig, 2, -1);
    cr_expect_eq(rig_nth(&rig, LS_ACTION_REFUSE, 0)->status, LS_EINVAL);
    rig_join(&rig, 0, -1);
    cr_expect_null(rig_nth(&rig, LS_ACTION_REFUSE, 0));
    rig_join(&rig, 0, -1);
    cr_expect_eq(rig_nth(&rig, LS_ACTION_REFUSE, 0)->status, LS_EBUSY);
    cr_expect_not_null(strstr(rig_nth(&rig, LS_ACTION_REFUSE, 0)->text, "worker 0 is already there"));
    cr_expect_eq(ls_machine_alive(rig.machine), 1);
    rig_join(&rig, 1, -1);
    rig_join(&rig, -1, -1);
    cr_expect_str_eq(rig_nth(&rig, LS_ACTION_REFUSE, 0)->text, "the job already has its 2 workers");
    cr_expect_eq(ls_machine_alive(rig.machine), 2);
    rig_end(&rig);
}

/* The missing are named at the join deadline. */
Test(machine, names_the_missing)
{
    struct rig rig = {0};

    rig_begin(&rig, 5, "auto");
    rig_join(&rig, 1, -1);
    rig_join(&rig, 3, -1);
    rig_pass_time(&rig, 29000, 1, 2);
    cr_expect_eq(ls_machine_state(rig.machine), LS_JOINING);
    rig_pass_time(&rig, 1000, 1, 2);
    cr_expect_eq(ls_machine_state(rig.machine), LS_FAILED);
    cr_expect_eq(rig_nth(&rig, LS_ACTION_END, 0)->status, LS_ETIMEOUT);
    cr_expect_str_eq(rig_nth(&rig, LS_ACTION_END, 0)->text, "workers 0, 2 and 4 of 5 did not join within 30 s");
    cr_expect_eq(rig_count(&rig, LS_ACTION_ORDER), 2);
    rig_end(&rig);
}

/* Before the start a lost remote worker makes room for another; a dead child ends the job. */
Test(machine, lets_another_take_a_place)
{
    struct rig rig = {0};

    rig_begin(&rig, 2, "auto");
    rig_join(&rig, 0, -1);
    rig_say(&rig, LS_EVENT_CLOSED, 1, LS_OK, "closed");
    cr_expect_eq(ls_machine_state(rig.machine), LS_JOINING);
    rig_join(&rig, 0, -1);
    cr_expect_eq(rig_nth(&rig, LS_ACTION_WELCOME, 0)->worker, 2);
    cr_expect_eq(rig_nth(&rig, LS_ACTION_WELCOME, 0)->incarnation, 2);
    rig_die(&rig, 1, 7, -1);
    cr_expect_eq(ls_machine_state(rig.machine), LS_FAILED);
    cr_expect_str_eq(rig_nth(&rig, LS_ACTION_END, 0)->text,
                     "worker 1 (pid 101) ended with exit status 7 before it joined");
    rig_end(&rig);
}
