/* SPDX-License-Identifier: Apache-2.0 */
/* top_k: which elements are sent. */
#include "tests/unit/worker/compress/team.h"

#include <criterion/criterion.h>
#include <math.h>

/* Sizes fall with the element's number; equal ones in pairs. */
static float falling(int rank, int leaf, int step, int item, int64_t element)
{
    (void)leaf;
    (void)item;
    return step > 0 ? 0 : (rank == 0 ? 1.0f : -1.0f) * (float)(20000 - element / 2 * 2 - (rank == 1 ? 1 : 0));
}

Test(compress, top_k_sends_the_largest_and_the_first_of_equals)
{
    struct team t = {.options = {.method = "top_k", .ratio = 0.0002}, .leaves = 1, .steps = 1, .gradient = falling};

    t.options.world = 2;
    team_run(&t); /* ceil(12,800 x 0.0002) = 3 of a/kernel: elements 0, 1, 2 and not 3, which is as large */
    for (int64_t e = 0; e < TEAM_MOST; e++) {
        cr_assert_eq(t.applied[0][0][e], e < 3 ? 1.0f : 0.0f, "%lld", (long long)e);
        cr_assert_eq(t.residual[0][0][e], e < 3 ? 0.0f : falling(0, 0, 0, 0, e));
    }
    for (int64_t e = 0; e < 64; e++) { /* a/bias goes whole */
        cr_assert_eq(t.applied[0][1][e], 1.0f);
        cr_assert_eq(t.residual[0][1][e], 0.0f);
    }
    team_discard(&t);
    t.steps = 2;
    team_run(&t); /* the next three largest are sent by a gradient of zero */
    for (int64_t e = 0; e < TEAM_MOST; e++)
        cr_assert_eq(t.applied[0][0][e], e >= 3 && e < 6 ? 1.0f : 0.0f, "%lld", (long long)e);
    team_discard(&t);
}

static float noise_of_one(int rank, int leaf, int step, int item, int64_t element)
{
    return rank == 0 ? team_noise(rank, leaf, step, item, element) : 0;
}

/* Whatever was sent is at least as large as whatever was not, and there are as many as the ratio says. */
Test(compress, top_k_sends_nothing_smaller_than_it_keeps)
{
    static const double ratios[] = {0.0001, 0.003, 0.02, 0.3};

    for (size_t k = 0; k < sizeof ratios / sizeof *ratios; k++) {
        struct team t = {
            .options = {.method = "top_k", .ratio = ratios[k]}, .leaves = 1, .steps = 1, .gradient = noise_of_one};
        float least = INFINITY, most = 0;
        int64_t sent = 0;

        t.options.world = 2;
        team_run(&t);
        for (int64_t e = 0; e < TEAM_MOST; e++)
            if (t.applied[0][0][e] != 0) {
                sent++;
                least = fminf(least, fabsf(t.applied[0][0][e]));
            } else {
                most = fmaxf(most, fabsf(t.residual[0][0][e]));
            }
        cr_expect_eq(sent, (int64_t)ceil(ratios[k] * TEAM_MOST), "%g sends %lld", ratios[k], (long long)sent);
        cr_expect_geq(least, most);
        team_discard(&t);
    }
}
