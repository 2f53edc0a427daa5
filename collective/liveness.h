/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notices at once that a process of this host was killed, however much memory it has. A keeper thread holds the robust
 * futex word of its member, in memory that the others map, and sleeps on that of the next member: the kernel marks the
 * words of a dead process before it frees its memory (man 2 get_robust_list) and wakes one sleeper.
 */
#ifndef LOCKSTEP_COLLECTIVE_LIVENESS_H
#define LOCKSTEP_COLLECTIVE_LIVENESS_H

#include "core/base/status.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* In shared memory, zeroed at first. The list node of the kernel's robust futexes; its pointer means something to its
 * own process only. */
struct lsi_robust {
    struct lsi_robust *next;
    _Atomic uint32_t word; /* thread id of the owner's keeper */
    _Atomic uint32_t left; /* it went in good order */
};

struct lsi_keeper {
    /* Filled in before the start. */
    int rank;
    int world;
    struct lsi_robust *(*of)(void *argument, int rank); /* NULL: cannot be watched, or not yet. The own one never is. */
    void (*died)(void *argument, int rank);             /* once, from the keeper's thread; must not wait */
    void *argument;
    /* Its own. */
    pthread_t thread;
    bool runs;
    _Atomic int state; /* 0 starts, 1 holds its word, 2 has ended */
    _Atomic int stop;
    _Atomic uint32_t changed;
};

/* Returns once the keeper holds the own word. LS_ENOMEM: the system starts no more threads. */
enum ls_status lsi_keeper_start(struct lsi_keeper *keeper, struct ls_error *err);
/* `of` says something else now. */
void lsi_keeper_look(struct lsi_keeper *keeper);
/* Says that the member left in good order, and ends the thread. Accepts one that was not started. */
void lsi_keeper_stop(struct lsi_keeper *keeper);

/* Sleeps on a word of shared memory while it holds value, at most timeout_ns; returns early too. Gives what the system
 * call gives: 0 or -1 with errno. Wake: at most `count` sleepers. */
long lsi_futex_wait(_Atomic uint32_t *word, uint32_t value, int64_t timeout_ns);
void lsi_futex_wake(_Atomic uint32_t *word, int count);

#endif
