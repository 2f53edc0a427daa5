/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a job as a person reads it. */
#include "cli/host.h"
#include "cli/outcome.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char shown[2048];

static void show(const char *summary, const struct ls_summary_view *view, enum ls_status status,
                 const struct ls_error *err)
{
    FILE *file = tmpfile();
    int before = dup(STDOUT_FILENO);

    cr_assert_neq(file, NULL);
    (void)fflush(stdout);
    cr_assert_neq(dup2(fileno(file), STDOUT_FILENO), -1);
    if (view != NULL)
        ls_summary_print(summary, view, status, err);
    else
        ls_outcome_tell(status, err);
    (void)fflush(stdout);
    (void)dup2(before, STDOUT_FILENO);
    (void)close(before);
    rewind(file);
    shown[fread(shown, 1, sizeof shown - 1, file)] = '\0';
    (void)fclose(file);
}

/* A loss that became NaN or infinite (null in the JSON) stands in the summary: training ends with status 0 all the
 * same. */
Test(summary, not_finite)
{
    struct ls_summary_view view = {.path = "job.yaml"};

    show("{\"steps\":3,\"workers\":1,\"finished\":true,\"device\":\"cpu\",\"transport\":\"self\",\"loss\":null,"
         "\"val_loss\":null,\"val_accuracy\":0.5,\"first_step_s\":0.1}",
         &view, LS_OK, NULL);
    cr_expect_neq(strstr(shown, "Finished after 3 steps on 1 replica (cpu, self)"), NULL, "%s", shown);
    cr_expect_neq(strstr(shown, "\n  loss             not a finite number\n"), NULL, "%s", shown);
    cr_expect_neq(strstr(shown, "\n  val_loss         not a finite number\n"), NULL, "%s", shown);
    cr_expect_neq(strstr(shown, "\n  val_accuracy     0.5\n"), NULL, "%s", shown);
}

/* With --json the line is passed on, with the outcome at its end. */
Test(summary, json)
{
    struct ls_summary_view view = {.json = true};
    struct ls_error err = LS_ERROR_INIT;

    show("{\"steps\":3,\"loss\":null}", &view, LS_OK, NULL);
    cr_expect_str_eq(shown, "{\"steps\":3,\"loss\":null,\"status\":\"ok\",\"exit_status\":0}\n");
    (void)ls_error_set(&err, LS_EINTERRUPTED, "stopped \"in order\" in \xff");
    show("{\"steps\":3}", &view, LS_EINTERRUPTED, &err);
    cr_expect_str_eq(shown, "{\"steps\":3,\"status\":\"interrupted\",\"exit_status\":130,"
                            "\"error\":\"stopped \\\"in order\\\" in ?\"}\n");
}

/* What to do next can be typed as it stands: the program as it was typed, the job's overrides, words quoted. */
Test(summary, next)
{
    struct ls_list set = {.items = {"epochs=3", "run.checkpoint.directory=my runs/a'b"}, .count = 2};
    struct ls_summary_view view = {.path = "a/job.yaml", .set = &set};

    ls_outcome_begin("build/release/lockstep");
    show("{\"steps\":3,\"workers\":1,\"finished\":true,\"device\":\"cpu\",\"transport\":\"self\",\"first_step_s\":0.1,"
         "\"checkpoint\":\"my runs/a'b\"}",
         &view, LS_OK, NULL);
    cr_expect_neq(strstr(shown, "\nNext: build/release/lockstep evaluate a/job.yaml --set epochs=3 "
                                "--set 'run.checkpoint.directory=my runs/a'\\''b'\n"
                                "  or: build/release/lockstep inspect 'my runs/a'\\''b'\n"),
                  NULL, "%s", shown);
}

/* Where the job has no validation set, the data that evaluate would look for is named. */
Test(summary, next_without_validation)
{
    struct ls_summary_view view = {.path = "b.yaml", .data = "train"};

    ls_outcome_begin("lockstep");
    show("{\"steps\":3,\"workers\":1,\"finished\":true,\"device\":\"cpu\",\"transport\":\"self\",\"first_step_s\":0.1,"
         "\"checkpoint\":\"out\"}",
         &view, LS_OK, NULL);
    cr_expect_neq(strstr(shown, "\nNext: lockstep evaluate b.yaml --data train\n"), NULL, "%s", shown);
}

/* A failure without a summary is an object of its own. */
Test(summary, failure)
{
    struct ls_error err = LS_ERROR_INIT;

    (void)ls_error_set(&err, LS_EUSAGE, "what?");
    ls_outcome_set_json(true);
    show(NULL, NULL, LS_EUSAGE, &err);
    cr_expect_str_eq(shown, "{\"status\":\"usage\",\"exit_status\":2,\"error\":\"what?\"}\n");
}

/* A `wire: bf16` that comes to nothing is said; one that is in force stands among the rest. */
Test(summary, wire)
{
    static const char form[] = "{\"steps\":3,\"workers\":%d,\"finished\":true,\"device\":\"cpu\","
                               "\"transport\":\"%s\",\"loss\":1,\"first_step_s\":0.1,\"wire\":\"%s\"}";
    static const struct {
        int workers;
        const char *transport, *wire, *said;
    } all[] = {{2, "tcp", "bf16", "\n  wire             bf16\n"},
               {2, "shm", "f32", "\nwire: bf16 has no effect over shm; tcp and mpi take it"},
               {2, "hybrid", "f32", "\nwire: bf16 has no effect over hybrid on one host"},
               {1, "self", "f32", "\nwire: bf16 has no effect with one replica"}};
    struct ls_summary_view view = {.path = "job.yaml"};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char summary[256];

        (void)snprintf(summary, sizeof summary, form, all[i].workers, all[i].transport, all[i].wire);
        show(summary, &view, LS_OK, NULL);
        cr_expect_neq(strstr(shown, all[i].said), NULL, "%s", shown);
    }
}
