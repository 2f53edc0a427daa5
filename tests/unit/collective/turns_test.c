/* SPDX-License-Identifier: Apache-2.0 */
/* Turns of threads that use one group. */
#include "collective/turns.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdatomic.h>

#define THREADS 4
#define ROUNDS 500

static struct lsi_turns turns;
static int plain; /* which the thread sanitizer watches */

static void make(void)
{
    lsi_turns_init(&turns);
}

static void discard(void)
{
    lsi_turns_deinit(&turns);
}

/* A group that one thread uses has no turns. */
Test(turns, unshared, .init = make, .fini = discard)
{
    bool turn = lsi_turn_take(&turns);

    cr_assert_not(turn);
    cr_assert_not(lsi_turn_pass(&turns));
    lsi_turn_give(&turns, turn);
    cr_assert_eq(atomic_load(&turns.next), 0);
}

static void *use(void *state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        bool turn = lsi_turn_take(&turns), nested = lsi_turn_take(&turns);

        plain++;
        cr_assert_not(lsi_turn_pass(&turns)); /* not in the middle of a nested use */
        lsi_turn_give(&turns, nested);
        (void)lsi_turn_pass(&turns);
        plain++;
        lsi_turn_give(&turns, turn);
    }
    return NULL;
}

/* One thread at a time, also where one takes the turn twice or passes it on between. */
Test(turns, exclude_each_other, .init = make, .fini = discard)
{
    pthread_t threads[THREADS];

    lsi_turns_share(&turns);
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, use, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(plain, 2 * THREADS * ROUNDS);
    cr_assert_not(lsi_turn_pass(&turns));
}

static void *use_once(void *state)
{
    bool turn = lsi_turn_take(&turns);

    *(int *)state = ++plain;
    lsi_turn_give(&turns, turn);
    return NULL;
}

/* Who passes his turn on has it again behind those who were waiting, not before. */
Test(turns, in_the_order_of_coming, .init = make, .fini = discard)
{
    pthread_t threads[2];
    int order[2] = {0, 0};
    bool turn;

    lsi_turns_share(&turns);
    turn = lsi_turn_take(&turns);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, use_once, &order[i]), 0);
        while (atomic_load(&turns.next) < (uint64_t)i + 2)
            (void)sched_yield();
    }
    cr_assert(lsi_turn_pass(&turns));
    cr_assert_eq(plain, 2);
    cr_assert_eq(order[0], 1);
    cr_assert_eq(order[1], 2);
    lsi_turn_give(&turns, turn);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}
