/* SPDX-License-Identifier: Apache-2.0 */
/* Ctrl-C and SIGTERM, see told.h. */
#include "cli/told.h"

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

static _Atomic(ls_told_fn *) handler;
static _Atomic int64_t first_ms; /* 0: none came */
static _Atomic int first_number;

/* CLOCK_MONOTONIC, never 0. clock_gettime may be called in a signal handler. */
static int64_t clock_ms(void)
{
    struct timespec t = {0, 0};

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 + 1;
}

static void on_signal(int number)
{
    int64_t now = clock_ms(), first = 0;
    bool again = !atomic_compare_exchange_strong(&first_ms, &first, now);
    ls_told_fn *fn;

    if (again && now - first < LS_TOLD_AGAIN_MS)
        return;
    if (!again)
        atomic_store(&first_number, number);
    fn = atomic_load(&handler);
    if (fn != NULL)
        fn(number, again);
    else if (again)
        _exit(128 + number);
}

void ls_told_begin(void)
{
    (void)signal(SIGINT, on_signal);
    (void)signal(SIGTERM, on_signal);
}

void ls_told_attach(ls_told_fn *fn)
{
    atomic_store(&handler, fn);
    if (fn != NULL && ls_told())
        fn(atomic_load(&first_number), false);
}

bool ls_told(void)
{
    return atomic_load(&first_ms) != 0;
}

void ls_told_signals(sigset_t *set)
{
    (void)sigemptyset(set);
    (void)sigaddset(set, SIGINT);
    (void)sigaddset(set, SIGTERM);
}

void ls_told_let_in(void)
{
    sigset_t set;

    ls_told_signals(&set);
    (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
}
