/* SPDX-License-Identifier: Apache-2.0 */
/* bf16: what is rounded off, on the way and in the sum, is kept. */
#include "tests/unit/worker/compress/team.h"

#include <criterion/criterion.h>

/* 1 + 2^-9 is between two bf16 values, nearer to 1. */
static float just_above_one(int rank, int leaf, int step, int item, int64_t element)
{
    (void)rank;
    (void)leaf;
    (void)item;
    (void)element;
    return step == 0 ? 1.0f + 0x1p-9f : 0;
}

Test(compress, bf16_rounds_and_keeps_the_rest)
{
    struct team t = {.options = team_methods[0], .leaves = 1, .steps = 1, .gradient = just_above_one};

    t.options.world = 2;
    team_run(&t);
    for (int i = 0; i < TEAM_ITEMS; i++)
        for (int64_t e = 0; e < ls_shape_count(&team_items[i].shape); e++) {
            cr_assert_eq(t.applied[0][i][e], 2.0f);
            cr_assert_eq(t.residual[0][i][e], 0x1p-9f);
            cr_assert_eq(t.residual[1][i][e], 0x1p-9f);
        }
    team_discard(&t);
}

/* 1 and 2^-8: each is a bf16 value, their sum is none. Its owner keeps what is over. */
static float one_and_little(int rank, int leaf, int step, int item, int64_t element)
{
    (void)leaf;
    (void)step;
    (void)item;
    (void)element;
    return rank == 0 ? 1.0f : 0x1p-9f;
}

Test(compress, bf16_the_owner_keeps_what_the_sum_loses)
{
    struct team t = {.options = team_methods[0], .leaves = 1, .steps = 1, .gradient = one_and_little};
    int64_t owners = 0;

    t.options.world = 2;
    team_run(&t);
    for (int64_t e = 0; e < TEAM_MOST; e++) {
        cr_assert_eq(t.applied[0][0][e], 1.0f);
        cr_assert_eq(team_kept(&t, 0, e), 0x1p-9);
        owners += t.residual[1][0][e] != 0;
    }
    cr_expect_eq(owners, TEAM_MOST - 8192); /* of its 4 chunks rank 1 owns the last two */
    team_discard(&t);
}
