/* SPDX-License-Identifier: Apache-2.0 */
#include "strategies/plan.h"

#include <criterion/criterion.h>

static struct ls_plan plan_of(int64_t n, int v, int world, int64_t micro)
{
    struct ls_plan_options options = {.batch_samples = n, .v_total = v, .world = world, .micro_shards = micro};
    struct ls_plan plan;
    struct ls_error err = LS_ERROR_INIT;

    cr_assert_eq(ls_plan_build(&options, &plan, &err), LS_OK, "%s", err.message);
    return plan;
}

/* Every sample is evaluated exactly once, by aligned leaves, whatever the world, V and batch. */
Test(plan, covers_every_shard_once)
{
    for (int v = 1; v <= 64; v *= 2)
        for (int world = 1; world <= 70; world++)
            for (int64_t n = 1; n <= 3 * v; n += 1 + v / 5) {
                struct ls_plan plan = plan_of(n, v, world, 0);
                int64_t samples = 0;
                int next = 0;

                for (int i = 0; i < plan.layout.range_count; i++) {
                    struct ls_range leaf = plan.layout.ranges[i];

                    cr_assert_geq(leaf.first, next);
                    cr_assert_eq(leaf.first % leaf.count, 0);
                    cr_assert_eq(leaf.count & (leaf.count - 1), 0);
                    samples += ls_shard_begin(n, v, leaf.first + leaf.count) - ls_shard_begin(n, v, leaf.first);
                    next = leaf.first + leaf.count;
                }
                cr_assert_eq(samples, n);
                cr_assert_eq(plan.layout.first_range[world], plan.layout.range_count);
            }
}

/* No rank has more shards than the ceiling of V / world, so compute is as balanced as it can be. */
Test(plan, balances_the_largest_share)
{
    for (int world = 1; world <= 64; world++) {
        struct ls_plan plan = plan_of(640, 64, world, 0);

        for (int r = 0; r < world; r++) {
            int shards = 0;

            for (int i = 0; i < ls_plan_leaf_count(&plan, r); i++)
                shards += ls_plan_leaf(&plan, r, i).count;
            cr_assert_leq(shards, (64 + world - 1) / world);
        }
    }
}

/* A world larger than V leaves spares without leaves. */
Test(plan, leaves_spares)
{
    struct ls_plan plan = plan_of(256, 8, 11, 0);

    cr_assert_eq(plan.active, 8);
    cr_assert_eq(ls_plan_leaf_count(&plan, 10), 0);
}

/* Micro-shards cut a leaf into aligned calls that cover it; calls without samples are left out. */
Test(plan, cuts_calls_at_shards)
{
    struct ls_plan plan = plan_of(3, 8, 1, 3);
    struct ls_range calls[LS_MAX_SHARDS];
    int count = ls_plan_calls(&plan, ls_plan_leaf(&plan, 0, 0), calls);

    cr_assert_eq(plan.call_shards, 2);
    cr_assert_eq(count, 3);
    for (int i = 0; i < count; i++)
        cr_assert_eq(calls[i].first % calls[i].count, 0);
}

/* Every element of every variable has exactly one owner, in whole chunks. */
Test(plan, owns_every_element_once)
{
    for (int world = 1; world <= 9; world++)
        for (int64_t elements = 1; elements < 200000; elements = elements * 3 + 1) {
            int64_t next = 0;

            for (int r = 0; r < world; r++) {
                int64_t begin, count;

                ls_plan_owned(elements, 5, world, r, &begin, &count);
                if (count == 0)
                    continue;
                cr_assert_eq(begin, next);
                cr_assert_eq(begin % 4096, 0);
                next = begin + count;
            }
            cr_assert_eq(next, elements);
        }
}

/* Wrong options are refused with a sentence. */
Test(plan, refuses_what_cannot_be)
{
    struct ls_plan plan;
    struct ls_error err = LS_ERROR_INIT;

    cr_assert_eq(ls_plan_build(&(struct ls_plan_options){.batch_samples = 1, .v_total = 6, .world = 1}, &plan, &err),
                 LS_EINVAL);
    cr_assert_neq(strstr(err.message, "batch.shards"), NULL);
    cr_assert_eq(ls_plan_build(&(struct ls_plan_options){.batch_samples = 1, .v_total = 8, .world = 0}, &plan, &err),
                 LS_EINVAL);
}
