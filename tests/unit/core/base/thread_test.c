/* SPDX-License-Identifier: Apache-2.0 */
/* Threads with names that take no signal, and waits that end. */
#include "core/base/thread.h"

#include "core/base/clock.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <time.h>

struct seen {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char name[LS_THREAD_NAME];
    bool blocks_int, blocks_fault, told, ended;
};

#define SEEN_INIT                                                              \
    {                                                                          \
        .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER \
    }

static void *look(void *state)
{
    struct seen *seen = state;
    sigset_t blocked;

    (void)pthread_mutex_lock(&seen->lock);
    while (!seen->told)
        ls_wait_idle("the test", &seen->changed, &seen->lock);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    seen->blocks_int = sigismember(&blocked, SIGINT) == 1 && sigismember(&blocked, SIGPIPE) == 1;
    seen->blocks_fault = sigismember(&blocked, SIGSEGV) == 1;
    (void)pthread_getname_np(pthread_self(), seen->name, sizeof seen->name);
    seen->ended = true;
    (void)pthread_cond_broadcast(&seen->changed);
    (void)pthread_mutex_unlock(&seen->lock);
    return NULL;
}

static void tell(struct seen *seen)
{
    (void)pthread_mutex_lock(&seen->lock);
    seen->told = true;
    (void)pthread_cond_broadcast(&seen->changed);
    (void)pthread_mutex_unlock(&seen->lock);
}

static void expect_seen(const struct seen *seen, const char *name)
{
    cr_expect_str_eq(seen->name, name);
    cr_expect(seen->blocks_int, "a signal of the program may reach it");
    cr_expect_not(seen->blocks_fault, "its own faults are kept from whoever looks into them");
}

/* The name is there, cut where it is long; signals are for the program's threads, whose mask stays as it was. */
Test(thread, has_a_name_and_takes_no_signal, .timeout = 60)
{
    const size_t stacks[] = {0, (size_t)256 * 1024, 1 /* too small for any: the usual one */};
    sigset_t before, after;

    for (size_t i = 0; i < sizeof stacks / sizeof stacks[0]; i++) {
        struct seen seen = SEEN_INIT;
        pthread_t thread;

        (void)pthread_sigmask(SIG_BLOCK, NULL, &before);
        cr_assert_eq(ls_thread_start("a name of many bytes", stacks[i], look, &seen, &thread, NULL), LS_OK);
        (void)pthread_sigmask(SIG_BLOCK, NULL, &after);
        tell(&seen);
        (void)pthread_join(thread, NULL);
        expect_seen(&seen, "a name of many ");
        for (int s = 1; s < NSIG; s++)
            cr_expect_eq(sigismember(&before, s), sigismember(&after, s), "signal %d", s);
    }
}

/* One that nobody joins. */
Test(thread, detached, .timeout = 60)
{
    static struct seen seen = SEEN_INIT;

    cr_assert_eq(ls_thread_start("alone", 0, look, &seen, NULL, NULL), LS_OK);
    tell(&seen);
    (void)pthread_mutex_lock(&seen.lock);
    while (!seen.ended)
        ls_wait_idle("a detached thread", &seen.changed, &seen.lock);
    (void)pthread_mutex_unlock(&seen.lock);
    expect_seen(&seen, "alone");
}

static uint64_t stopped(void *state)
{
    (void)state;
    return 0;
}

/* A wait ends at its deadline, not before, whatever clock the tests have put in. */
Test(wait, ends_at_its_deadline, .timeout = 60)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER, other = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t never = PTHREAD_COND_INITIALIZER;
    struct timespec begin, end;
    struct ls_wait wait;

    ls_clock_set(stopped, NULL);
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    wait = ls_wait_begin("nothing", 20000000);
    cr_expect_not(ls_wait_is_over(&wait));
    (void)pthread_mutex_lock(&lock);
    while (ls_wait_on(&wait, &never, &lock))
        ;
    (void)pthread_mutex_unlock(&lock);
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    cr_expect(ls_wait_is_over(&wait));
    cr_expect_geq((end.tv_sec - begin.tv_sec) * 1000000000 + end.tv_nsec - begin.tv_nsec, 20000000);
    cr_expect(ls_wait_lock(&wait, &other), "a free lock is taken even after the deadline");
    cr_expect_not(ls_wait_lock(&wait, &other));
    ls_wait_nap(&wait, 1000);
    cr_expect_not(ls_wait_is_over(&wait), "it says so once in ten seconds");
    ls_clock_set(NULL, NULL);
}
