/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a job as a person reads it. */
#include "cli/host.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char shown[2048];

static void show(const char *summary, bool json)
{
    FILE *file = tmpfile();
    int before = dup(STDOUT_FILENO);

    cr_assert_neq(file, NULL);
    (void)fflush(stdout);
    cr_assert_neq(dup2(fileno(file), STDOUT_FILENO), -1);
    ls_summary_print(summary, json, "job.yaml");
    (void)fflush(stdout);
    (void)dup2(before, STDOUT_FILENO);
    (void)close(before);
    rewind(file);
    shown[fread(shown, 1, sizeof shown - 1, file)] = '\0';
    (void)fclose(file);
}

/* A loss that became NaN or infinite (null in the JSON) stands in the summary: training ends with status 0 all the same. */
Test(summary, not_finite)
{
    show("{\"steps\":3,\"workers\":1,\"finished\":true,\"device\":\"cpu\",\"transport\":\"self\",\"loss\":null,"
         "\"val_loss\":null,\"val_accuracy\":0.5,\"first_step_s\":0.1}",
         false);
    cr_expect_neq(strstr(shown, "Finished after 3 steps on 1 replica (cpu, self)"), NULL, "%s", shown);
    cr_expect_neq(strstr(shown, "\n  loss             not a finite number\n"), NULL, "%s", shown);
    cr_expect_neq(strstr(shown, "\n  val_loss         not a finite number\n"), NULL, "%s", shown);
    cr_expect_neq(strstr(shown, "\n  val_accuracy     0.5\n"), NULL, "%s", shown);
}

/* With --json the line is passed on as it is. */
Test(summary, json)
{
    show("{\"steps\":3,\"loss\":null}", true);
    cr_expect_str_eq(shown, "{\"steps\":3,\"loss\":null}\n");
}
