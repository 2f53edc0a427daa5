/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for every method: nothing is lost, a step begun again leaves no trace, the figures. */
#include "tests/unit/worker/compress/team.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define STEPS 12

/* Applied + kept = the sum of all gradients, after any number of steps. */
Test(compress, nothing_is_lost)
{
    static const int worlds[] = {2, 3, 4, 7};

    for (size_t k = 0; k < TEAM_METHODS; k++)
        for (size_t w = 0; w < sizeof worlds / sizeof *worlds; w++) {
            struct team t = {.options = team_methods[k], .leaves = 2, .steps = STEPS, .gradient = team_noise};
            double worst = 0, largest = 0;

            t.options.world = worlds[w];
            team_run(&t);
            for (int i = 0; i < TEAM_ITEMS; i++)
                for (int64_t e = 0; e < ls_shape_count(&team_items[i].shape); e++) {
                    double given = 0;

                    for (int r = 0; r < worlds[w]; r++)
                        for (int l = 0; l < team_leaves(&t, r); l++)
                            for (int s = 0; s < STEPS; s++)
                                given += (double)team_noise(r, l, s, i, e);
                    worst = fmax(worst, fabs(given - t.total[i][e] - team_kept(&t, i, e)));
                    largest = fmax(largest, fabs(team_kept(&t, i, e)));
                }
            cr_expect_lt(worst, 1e-4, "%s, %d ranks: %g is lost", team_methods[k].method, worlds[w], worst);
            cr_expect_gt(largest, 1e-4, "%s keeps something", team_methods[k].method);
            cr_expect_eq(t.allocations, 0, "%s: %llu allocations in steady steps", team_methods[k].method,
                         (unsigned long long)t.allocations);
            team_discard(&t);
        }
}

/* A step that was not committed leaves no trace. */
Test(compress, a_step_begun_again)
{
    for (size_t k = 0; k < TEAM_METHODS; k++) {
        struct team once = {.options = team_methods[k], .leaves = 1, .steps = 4, .gradient = team_noise}, again = once;

        once.options.world = again.options.world = 3;
        again.twice = true;
        team_run(&once);
        team_run(&again);
        for (int i = 0; i < TEAM_ITEMS; i++) {
            cr_expect_eq(memcmp(once.applied[0][i], again.applied[0][i], TEAM_MOST * sizeof(float)), 0);
            for (int r = 0; r < 3; r++)
                cr_expect_eq(memcmp(once.residual[r][i], again.residual[r][i], TEAM_MOST * sizeof(float)), 0);
        }
        team_discard(&once);
        team_discard(&again);
    }
}

Test(compress, figures_without_a_group)
{
    struct ls_compress_options o = {.method = "top_k",
                                    .ratio = 0.01,
                                    .world = 3,
                                    .reduce_count = TEAM_REDUCES,
                                    .item_count = TEAM_ITEMS,
                                    .items = team_items};
    struct ls_compress *c = NULL;

    cr_assert_eq(ls_compress_create(&o, NULL, &c, NULL), LS_OK);
    cr_expect_eq(ls_compress_elements(c), 12800 + 64 + 4160);
    cr_expect_eq(ls_compress_moved_bytes(c), 2 * (128 * 8 + 64 * 4 + 42 * 8));
    cr_expect(ls_compress_takes(c, 4));
    cr_expect_not(ls_compress_takes(c, 3));
    cr_expect_not(ls_compress_takes(NULL, 1));
    ls_compress_destroy(c);
    o.method = "gzip";
    cr_expect_eq(ls_compress_create(&o, NULL, &c, NULL), LS_EINVAL);
}
