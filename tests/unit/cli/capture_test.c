/* SPDX-License-Identifier: Apache-2.0 */
/* Commands whose output is read: what they print, how they end, and those that do not. */
#include "cli/capture.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *shell[4] = {"sh", "-c", NULL, NULL};

static enum ls_status capture(char *words, int64_t deadline_ms, struct ls_buf *out, struct ls_error *err)
{
    shell[2] = words;
    return ls_capture(shell, deadline_ms, out, err);
}

/* All of the output, terminated; a status other than 0 is an error that names it. */
Test(capture, output_and_status)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_buf out = {0};

    cr_expect_eq(capture("echo one; echo two", 60000, &out, &err), LS_OK, "%s", err.message);
    cr_expect_str_eq((const char *)out.data, "one\ntwo\n");
    cr_expect_eq(capture("exit 7", 60000, &out, &err), LS_EIO);
    cr_expect_str_eq(err.message, "sh -c ended with status 7");
    ls_buf_deinit(&out);
}

/* One that hangs is killed at the deadline and named, whether it still holds its output open, has closed it, or never
 * stops to write to it. */
Test(capture, deadline, .timeout = 60)
{
    char *const hangs[] = {"echo $$; exec sleep 1000", "echo $$; exec sleep 1000 >&-",
                           "echo $$; while :; do echo more; done"};

    for (size_t i = 0; i < sizeof hangs / sizeof hangs[0]; i++) {
        struct ls_error err = LS_ERROR_INIT;
        struct ls_buf out = {0};
        long pid;

        cr_expect_eq(capture(hangs[i], 1000, &out, &err), LS_ETIMEOUT);
        cr_expect_str_eq(err.message, "sh -c did not end within 1 s and was killed");
        cr_assert_eq(ls_buf_append(&out, "", 1), LS_OK);
        pid = strtol((const char *)out.data, NULL, 10);
        cr_expect_gt(pid, 0);
        cr_expect_eq(kill((pid_t)pid, 0), -1, "it was left behind");
        ls_buf_deinit(&out);
    }
}

/* What a command prints without end does not fill the memory. */
Test(capture, too_much, .timeout = 60)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_buf out = {0};

    cr_expect_eq(capture("exec yes", 60000, &out, &err), LS_EIO);
    cr_expect_str_eq(err.message, "sh -c printed more than 16 MiB and was killed");
    cr_expect_leq(out.length, (size_t)17 << 20);
    ls_buf_deinit(&out);
}
