/* SPDX-License-Identifier: Apache-2.0 */
/* What the runner must tell apart: a test that passes, one that fails, one that races, one that is skipped. */
#include <criterion/criterion.h>
#include <pthread.h>

static int shared;

static void *add(void *unused)
{
    shared++;
    return unused;
}

Test(selftest, passes)
{
    cr_assert_eq(1, 1);
}

Test(selftest, fails)
{
    cr_expect_str_eq("one", "two", "meant to fail");
}

Test(selftest, races)
{
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, add, NULL), 0);
    shared++;
    pthread_join(thread, NULL);
}

Test(selftest, is_skipped)
{
    cr_skip_test("meant to be skipped");
}
