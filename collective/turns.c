/* SPDX-License-Identifier: Apache-2.0 */
/* Turns, see turns.h: numbers are drawn as at a counter, so that one who waits gets his turn before one who had it. */
#include "collective/turns.h"

#include "core/base/thread.h"

#include <stdatomic.h>
#include <stddef.h>

/* Its address is what a thread is known by. */
static _Thread_local char self;

void lsi_turns_init(struct lsi_turns *turns)
{
    (void)pthread_mutex_init(&turns->lock, NULL);
    (void)pthread_cond_init(&turns->moved, NULL);
}

void lsi_turns_deinit(struct lsi_turns *turns)
{
    (void)pthread_cond_destroy(&turns->moved);
    (void)pthread_mutex_destroy(&turns->lock);
}

void lsi_turns_share(struct lsi_turns *turns)
{
    atomic_store(&turns->shared, true);
}

static void take(struct lsi_turns *turns)
{
    uint64_t number;

    (void)pthread_mutex_lock(&turns->lock);
    number = atomic_fetch_add(&turns->next, 1);
    /* Bounded: every wait of a group passes the turn on, and has a deadline of its own. */
    while (turns->now != number)
        ls_wait_idle("a turn at a group", &turns->moved, &turns->lock);
    (void)pthread_mutex_unlock(&turns->lock);
    turns->depth = 1;
    atomic_store(&turns->owner, &self);
}

static void give(struct lsi_turns *turns)
{
    atomic_store(&turns->owner, NULL);
    (void)pthread_mutex_lock(&turns->lock);
    turns->now++;
    (void)pthread_cond_broadcast(&turns->moved);
    (void)pthread_mutex_unlock(&turns->lock);
}

bool lsi_turn_take(struct lsi_turns *turns)
{
    if (!atomic_load_explicit(&turns->shared, memory_order_acquire))
        return false;
    if (atomic_load(&turns->owner) == &self)
        turns->depth++;
    else
        take(turns);
    return true;
}

void lsi_turn_give(struct lsi_turns *turns, bool taken)
{
    if (taken && --turns->depth == 0)
        give(turns);
}

bool lsi_turn_pass(struct lsi_turns *turns)
{
    if (!atomic_load_explicit(&turns->shared, memory_order_relaxed) || atomic_load(&turns->owner) != &self ||
        turns->depth > 1 || atomic_load(&turns->next) == turns->now + 1)
        return false;
    give(turns);
    take(turns);
    return true;
}
