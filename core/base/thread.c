/* SPDX-License-Identifier: Apache-2.0 */
/* The one place that starts threads, and that sleeps on conditions. See thread.h. */
#include "core/base/thread.h"

#include "core/base/log.h"
#include "core/base/str.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define IDLE_NS UINT64_C(10000000000)
#define LOCK_LOOK_NS 100000

/* A fault that is blocked ends the process without a word of whoever looks into it. */
static void block_signals(sigset_t *before)
{
    static const int of_the_thread[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    sigset_t all;

    (void)sigfillset(&all);
    for (size_t i = 0; i < sizeof of_the_thread / sizeof of_the_thread[0]; i++)
        (void)sigdelset(&all, of_the_thread[i]);
    (void)pthread_sigmask(SIG_BLOCK, &all, before);
}

/* A program with many thread-local variables has no room for them on a small stack. */
static int create(size_t stack_bytes, void *(*run)(void *state), void *state, pthread_t *thread)
{
    pthread_attr_t attributes;
    int failed = EINVAL;

    if (stack_bytes > 0 && pthread_attr_init(&attributes) == 0) {
        if (pthread_attr_setstacksize(&attributes, stack_bytes) == 0)
            failed = pthread_create(thread, &attributes, run, state);
        (void)pthread_attr_destroy(&attributes);
    }
    return failed == EINVAL ? pthread_create(thread, NULL, run, state) : failed;
}

enum ls_status ls_thread_start(const char *name, size_t stack_bytes, void *(*run)(void *state), void *state,
                               pthread_t *thread, struct ls_error *err)
{
    char shown[LS_THREAD_NAME];
    pthread_t made;
    sigset_t before;
    int failed;

    (void)ls_str_into(shown, sizeof shown, name);
    block_signals(&before);
    failed = create(stack_bytes, run, state, thread != NULL ? thread : &made);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0)
        return ls_error_set(err, LS_ENOMEM,
                            "cannot start the thread \"%s\": %s; raise the limit on threads (ulimit -u, pids.max)",
                            shown, strerror(failed));
    /* Until it is detached the id stays valid, however soon the thread ends. */
    (void)pthread_setname_np(thread != NULL ? *thread : made, shown);
    if (thread == NULL)
        (void)pthread_detach(made);
    return LS_OK;
}

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct ls_wait ls_wait_begin(const char *what, uint64_t patience_ns)
{
    return (struct ls_wait){what, now_ns() + patience_ns};
}

bool ls_wait_is_over(const struct ls_wait *wait)
{
    return now_ns() >= wait->until_ns;
}

bool ls_wait_on(const struct ls_wait *wait, pthread_cond_t *condition, pthread_mutex_t *lock)
{
    struct timespec until = {(time_t)(wait->until_ns / 1000000000u), (long)(wait->until_ns % 1000000000u)};

    return pthread_cond_clockwait(condition, lock, CLOCK_MONOTONIC, &until) != ETIMEDOUT;
}

void ls_wait_idle(const char *what, pthread_cond_t *condition, pthread_mutex_t *lock)
{
    struct ls_wait wait = ls_wait_begin(what, IDLE_NS);

    (void)ls_wait_on(&wait, condition, lock);
}

void ls_wait_nap(struct ls_wait *wait, uint64_t nap_ns)
{
    const struct timespec pause = {0, (long)nap_ns};

    if (ls_wait_is_over(wait)) {
        ls_log(LS_LOG_WARN, "wait.long", "still waits for %s; the machine gives this process no time", wait->what);
        *wait = ls_wait_begin(wait->what, IDLE_NS);
    }
    (void)nanosleep(&pause, NULL);
}

bool ls_wait_lock(const struct ls_wait *wait, pthread_mutex_t *lock)
{
    const struct timespec pause = {0, LOCK_LOOK_NS};

    while (pthread_mutex_trylock(lock) != 0) {
        if (ls_wait_is_over(wait))
            return false;
        (void)nanosleep(&pause, NULL);
    }
    return true;
}
