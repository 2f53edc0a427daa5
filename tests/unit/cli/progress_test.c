/* SPDX-License-Identifier: Apache-2.0 */
/* Progress off a terminal: a line per epoch and validation, none for steps between, whatever a worker reports. */
#include "cli/progress.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const metrics[] = {"accuracy"};
static char shown[4096];
static int columns = 100;

/* Runs reports through a view with 5 steps an epoch, 2 epochs, and keeps what stands on standard error. */
static void show(const struct ls_step_report *reports, int count, bool quiet, bool terminal)
{
    struct ls_progress_view view = {.metric_names = metrics,
                                    .metric_count = 1,
                                    .steps_per_epoch = 5,
                                    .total_steps = 10,
                                    .epochs = 2,
                                    .quiet = quiet,
                                    .columns = columns};
    FILE *file = tmpfile();
    int before = dup(STDERR_FILENO);
    size_t length;

    cr_assert_neq(file, NULL);
    (void)fflush(stderr);
    cr_assert_neq(dup2(fileno(file), STDERR_FILENO), -1);
    ls_progress_begin(&view);
    view.terminal = terminal;
    for (int i = 0; i < count; i++)
        ls_progress_report(&view, &reports[i]);
    ls_progress_say(&view, "a sentence");
    ls_progress_end(&view);
    (void)fflush(stderr);
    (void)dup2(before, STDERR_FILENO);
    (void)close(before);
    rewind(file);
    length = fread(shown, 1, sizeof shown - 1, file);
    shown[length] = '\0';
    (void)fclose(file);
}

static struct ls_step_report at(uint64_t step, bool validation)
{
    return (struct ls_step_report){.step = step,
                                   .epoch = (step - 1) / 5,
                                   .loss = 0.5,
                                   .metric_count = 1,
                                   .metrics = {0.75},
                                   .validation = validation};
}

/* Plain lines: the epoch's end and its validation, by their names. */
Test(progress, plain_lines)
{
    struct ls_step_report reports[] = {at(1, false), at(2, false), at(5, false), at(5, true), at(7, false)};

    show(reports, 5, false, false);
    cr_expect_eq(strstr(shown, "step 2/5"), NULL, "%s", shown);
    cr_expect_neq(strstr(shown, "epoch 1/2  step 5/5  loss 0.5000  accuracy 0.7500"), NULL, "%s", shown);
    cr_expect_neq(strstr(shown, "val_loss 0.5000  val_accuracy 0.7500"), NULL, "%s", shown);
    cr_expect_neq(strstr(shown, "\na sentence\n"), NULL, "%s", shown);
    cr_expect_eq(strchr(shown, '\r'), NULL);
}

/* A NaN has no sign that means anything. */
Test(progress, not_a_number)
{
    struct ls_step_report report = at(5, false);

    report.loss = -(double)NAN;
    report.metrics[0] = -(double)NAN;
    show(&report, 1, false, false);
    cr_expect_neq(strstr(shown, "loss nan  accuracy nan"), NULL, "%s", shown);
}

/* Numbers that four digits behind the point would hide, or that would fill the line. */
Test(progress, large_and_small_numbers)
{
    struct ls_step_report report = at(5, false);

    report.loss = 4.3244594962873527e34;
    report.metrics[0] = 0.00004567;
    show(&report, 1, false, false);
    cr_expect_neq(strstr(shown, "loss 4.324e+34  accuracy 4.567e-05"), NULL, "%s", shown);
    report.loss = 0;
    report.metrics[0] = 1234567.25;
    show(&report, 1, false, false);
    cr_expect_neq(strstr(shown, "loss 0.0000  accuracy 1234567.2500"), NULL, "%s", shown);
}

/* Quiet is silent. */
Test(progress, quiet)
{
    struct ls_step_report reports[] = {at(5, false), at(5, true)};

    show(reports, 2, true, false);
    cr_expect_str_eq(shown, "");
}

/* A report that cannot be (an epoch beyond its step) draws a bar of no length, and nothing else happens. */
Test(progress, impossible_report)
{
    struct ls_step_report wrong[] = {at(5, true), at(9, true)};

    wrong[0].epoch = 1000;
    wrong[1].epoch = 0;
    show(wrong, 2, false, true);
    cr_expect_neq(strstr(shown, "[........................]"), NULL, "%s", shown);
    cr_expect_neq(strstr(shown, "[========================]"), NULL, "%s", shown);
}

/* No drawn line is as long as the terminal is wide, for a line that wraps cannot be drawn over; the bar gives way. */
Test(progress, narrow_terminal)
{
    static const int widths[] = {120, 80, 60, 20, 1};
    struct ls_step_report reports[] = {at(4, false), at(5, false), at(5, true), at(10, false)};

    reports[1].samples_per_s = reports[3].samples_per_s = 1234567;
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        columns = widths[w];
        show(reports, 4, false, true);
        for (char *line = strstr(shown, "\033[K"); line != NULL; line = strstr(line, "\033[K")) {
            line += strlen("\033[K");
            cr_expect_lt(strcspn(line, "\r\n"), (size_t)columns, "%d columns: %s", columns, shown);
        }
        cr_expect_eq(strchr(shown, '[') != NULL && strstr(shown, "[==") != NULL, columns >= 60, "%d columns: %s",
                     columns, shown);
    }
    columns = 100;
}
