/* SPDX-License-Identifier: Apache-2.0 */
/* power_sgd: a matrix of its rank is found whole. */
#include "tests/unit/worker/compress/team.h"

#include <criterion/criterion.h>
#include <math.h>

/* Of rank one, the same directions on each rank. */
static float outer(int rank, int leaf, int step, int item, int64_t element)
{
    (void)leaf;
    (void)step;
    (void)item;
    return (float)(rank + 1) * cosf((float)(element / 64)) * (1 + (float)(element % 64));
}

Test(compress, power_sgd_finds_a_matrix_of_its_rank)
{
    struct team t = {
        .options = {.method = "power_sgd", .rank_of_matrix = 1}, .leaves = 1, .steps = 1, .gradient = outer};

    t.options.world = 2;
    team_run(&t);
    for (int i = 0; i < TEAM_ITEMS; i++)
        for (int64_t e = 0; e < ls_shape_count(&team_items[i].shape); e++)
            cr_assert_float_eq(t.applied[0][i][e], outer(0, 0, 0, i, e) + outer(1, 0, 0, i, e), 2e-3);
    team_discard(&t);
    t.options.rank_of_matrix = 4; /* of which three columns depend on the first */
    t.steps = 3;
    team_run(&t);
    for (int64_t e = 0; e < TEAM_MOST; e++)
        cr_assert_float_eq(t.applied[0][0][e], outer(0, 0, 0, 0, e) + outer(1, 0, 0, 0, e), 2e-2);
    team_discard(&t);
}

static float nothing_at_first(int rank, int leaf, int step, int item, int64_t element)
{
    return step < 2 ? 0 : outer(rank, leaf, step, item, element);
}

/* A factor of zeros would find nothing ever again. */
Test(compress, power_sgd_after_gradients_of_zero)
{
    struct team t = {
        .options = {.method = "power_sgd", .rank_of_matrix = 2}, .leaves = 1, .steps = 3, .gradient = nothing_at_first};

    t.options.world = 3;
    team_run(&t);
    for (int64_t e = 0; e < TEAM_MOST; e++)
        cr_assert_float_eq(t.applied[0][0][e], outer(0, 0, 0, 0, e) + outer(1, 0, 0, 0, e), 2e-2);
    team_discard(&t);
}
