/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the unit tests where Criterion's library cannot: it maps memory at addresses that the thread sanitizer keeps for
 * itself. Stands in for the library's symbols behind its headers and runs every test in a forked process of its own.
 * usage: PROGRAM [PART_OF_SUITE/TEST]    exit status 0: no test failed
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_SKIPPED 77
#define SLOWER 10 /* times a test may take longer than its limit says */

/* The linker's names for the ends of the sections that Test and TestSuite write pointers into. */
extern struct criterion_test *__start_cr_tst[], *__stop_cr_tst[];
extern struct criterion_suite *__start_cr_sts[] __attribute__((weak)), *__stop_cr_sts[] __attribute__((weak));

struct criterion_options criterion_options;

static const struct criterion_test_extra_data *suite_data, *test_data;
static atomic_int failed_checks;

void criterion_internal_test_setup(void)
{
    if (suite_data != NULL && suite_data->init != NULL)
        suite_data->init();
    if (test_data->init != NULL)
        test_data->init();
}

void criterion_internal_test_main(void (*test)(void))
{
    test();
}

void criterion_internal_test_teardown(void)
{
    if (test_data->fini != NULL)
        test_data->fini();
    if (suite_data != NULL && suite_data->fini != NULL)
        suite_data->fini();
}

void criterion_send_assert(struct criterion_assert_stats *check)
{
    fprintf(stderr, "%s:%u: failed: %s\n", check->file, check->line, check->message);
}

void criterion_continue_test(void)
{
    atomic_fetch_add(&failed_checks, 1);
}

void criterion_abort_test(void)
{
    exit(EXIT_FAILURE);
}

void criterion_skip_test(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(EXIT_SKIPPED);
}

void cri_asserts_passed_incr(void)
{
}

int cr_asprintf(char **text, const char *format, ...)
{
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vasprintf(text, format, arguments);
    va_end(arguments);
    return length;
}

void cr_asprintf_free(char *text)
{
    free(text);
}

/* The condition's own text comes first after every kind of message but that of cr_assert_fail, where it is empty. */
char *cr_translate_assert_msg(int kind, ...)
{
    char *text = NULL;
    va_list arguments;

    (void)kind;
    va_start(arguments, kind);
    text = strdup(va_arg(arguments, const char *));
    va_end(arguments);
    return text;
}

static const struct criterion_test_extra_data *find_suite(const char *name)
{
    for (struct criterion_suite **suite = __start_cr_sts; suite < __stop_cr_sts; suite++) {
        if (*suite != NULL && strcmp((*suite)->name, name) == 0)
            return (*suite)->data;
    }
    return NULL;
}

/* The child: never returns. exit, not _exit, so that a sanitizer reports. */
static void run(const struct criterion_test *test)
{
    double limit = test_data->timeout > 0 ? test_data->timeout : suite_data != NULL ? suite_data->timeout : 0;

    (void)setpgid(0, 0);
    (void)alarm((unsigned)(limit * SLOWER));
    test->test();
    exit(atomic_load(&failed_checks) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* The exit status of the test's process, 128 and the signal where one ended it. */
static int run_forked(const struct criterion_test *test)
{
    int status = 0;
    pid_t child;

    fflush(NULL);
    suite_data = find_suite(test->category);
    test_data = test->data;
    child = fork();
    if (child == 0)
        run(test);
    if (child < 0)
        return EXIT_FAILURE;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    (void)kill(-child, SIGKILL); /* whatever a failed test has left */
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
    int ran = 0, failed = 0, skipped = 0;

    for (struct criterion_test **test = __start_cr_tst; test < __stop_cr_tst; test++) {
        char name[256];
        int status;

        if (*test == NULL)
            continue;
        (void)snprintf(name, sizeof name, "%s/%s", (*test)->category, (*test)->name);
        if (argc > 1 && strstr(name, argv[1]) == NULL)
            continue;
        ran++;
        status = run_forked(*test);
        if (status == EXIT_SKIPPED)
            skipped++;
        else if (status == 128 + SIGALRM)
            fprintf(stderr, "%s: took longer than %d times its limit\n", name, SLOWER);
        else if (status != 0)
            fprintf(stderr, "%s: ended with status %d\n", name, status);
        failed += status != 0 && status != EXIT_SKIPPED;
    }
    printf("%d tests, %d failed, %d skipped\n", ran, failed, skipped);
    return failed != 0 || ran == 0;
}
