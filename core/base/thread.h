/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads of the libraries, and how they wait for one another: each thread has a name that ps -L and a debugger show,
 * each wait says what it waits for and until when.
 */
#ifndef LOCKSTEP_CORE_BASE_THREAD_H
#define LOCKSTEP_CORE_BASE_THREAD_H

#include "core/base/status.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Bytes of a thread's name, the end included. */
#define LS_THREAD_NAME 16

/* Starts run(state) in a thread that takes no signal, which are for the program's own threads, save those that a fault
 * of its own raises. stack_bytes: 0 for the usual stack; less may be asked for, and the usual one is taken where that
 * does not suffice. thread NULL: detached, it ends by itself. LS_ENOMEM: the system starts no more. */
enum ls_status ls_thread_start(const char *name, size_t stack_bytes, void *(*run)(void *state), void *state,
                               pthread_t *thread, struct ls_error *err);

/* A wait for other threads. The clock is the system's that never goes back: neither a clock that is set nor the virtual
 * one of tests moves it. */
struct ls_wait {
    const char *what; /* is waited for: "the next parcel". Borrowed. */
    uint64_t until_ns;
};
struct ls_wait ls_wait_begin(const char *what, uint64_t patience_ns);
bool ls_wait_is_over(const struct ls_wait *wait);
/* Sleeps on the condition until it is signalled, or for no reason at all; false once the deadline has passed. The lock
 * is held before and after. The caller looks, in a loop, whether what it waits for has come. */
bool ls_wait_on(const struct ls_wait *wait, pthread_cond_t *condition, pthread_mutex_t *lock);
/* One sleep of a thread that has nothing to do, or that waits for what has a deadline of its own: it returns after 10 s
 * at the latest, so that a lost signal delays and never hangs. Called in a loop. */
void ls_wait_idle(const char *what, pthread_cond_t *condition, pthread_mutex_t *lock);
/* One nap in a wait for a thread of this process, which only the machine can hold up and nothing can replace: once
 * the wait's deadline has passed the log says so, every 10 s from then on. Called in a loop. */
void ls_wait_nap(struct ls_wait *wait, uint64_t nap_ns);
/* Takes the lock; false where that takes longer. */
bool ls_wait_lock(const struct ls_wait *wait, pthread_mutex_t *lock);

#endif
