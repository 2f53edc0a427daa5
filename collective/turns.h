/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns: threads that use one group, or groups split from it, one at a time and in the order in which they come. Only
 * where a group is shared, which it is once a fence was made of a request or a stream was handed one; before that all
 * costs one load.
 */
#ifndef LOCKSTEP_COLLECTIVE_TURNS_H
#define LOCKSTEP_COLLECTIVE_TURNS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct lsi_turns {
    _Atomic bool shared;
    _Atomic uint64_t next;       /* the number that the next thread draws */
    uint64_t now;                /* whose turn it is; under the lock, or by whoever has it */
    _Atomic(const void *) owner; /* what lsi_turn_take knows its thread by; NULL: nobody */
    int depth;                   /* of the owner's takes */
    pthread_mutex_t lock;
    pthread_cond_t moved;
};

void lsi_turns_init(struct lsi_turns *turns);
void lsi_turns_deinit(struct lsi_turns *turns);
/* From now on more than one thread uses the groups. Thread: the only one that did so far. */
void lsi_turns_share(struct lsi_turns *turns);
/* Waits for the turn, which whoever has it gives on within a round of his wait, some 5 ms; where memory is registered
 * or a group split, when that is done. May be nested. What it returns goes to lsi_turn_give. */
bool lsi_turn_take(struct lsi_turns *turns);
void lsi_turn_give(struct lsi_turns *turns, bool taken);
/* Lets those who wait for the turn have it first; false: nobody does, or it is a nested take. */
bool lsi_turn_pass(struct lsi_turns *turns);

#endif
