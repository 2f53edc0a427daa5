/* SPDX-License-Identifier: Apache-2.0 */
/* What the first steps try, and what is chosen. */
#include "worker/step/tune.h"

#include <criterion/criterion.h>

/* Tells `steps` times, each as long as `cost` says of its arrangement; the step at which the choice was made, or -1. */
static int tell(struct ls_tuner *tuner, int steps, uint64_t (*cost)(const struct ls_arrangement *arrangement, int step))
{
    for (int s = 0; s < steps; s++)
        if (ls_tuner_tell(tuner, cost(ls_tuner_arrangement(tuner), s)))
            return s;
    return -1;
}

static uint64_t beside_is_slow(const struct ls_arrangement *arrangement, int step)
{
    return (arrangement->beside ? 1000 : 700) + (step % 7 == 0 ? 5000 : 0) + (uint64_t)step % 3;
}

static uint64_t large_is_a_little_better(const struct ls_arrangement *arrangement, int step)
{
    (void)step;
    return arrangement->bucket_bytes > ((size_t)8 << 20) ? 970 : 1000;
}

/* One that is clearly better is taken, whatever disturbed single steps, and stays. */
Test(tuner, takes_the_best)
{
    struct ls_tuner tuner;

    ls_tuner_init(&tuner, &(struct ls_tuner_options){.world = 2, .beside = true});
    cr_expect(ls_tuner_arrangement(&tuner)->beside, "the first is the usual one");
    cr_assert_geq(tell(&tuner, 100, beside_is_slow), 0);
    cr_expect_not(ls_tuner_arrangement(&tuner)->beside);
    cr_expect_not(ls_tuner_tell(&tuner, 1), "the choice is made once");
    cr_expect_not(ls_tuner_arrangement(&tuner)->beside);
}

/* Where the difference is small the first one stays, so that most runs go alike. */
Test(tuner, stays_with_the_first_in_doubt)
{
    struct ls_tuner tuner;

    ls_tuner_init(&tuner, &(struct ls_tuner_options){.world = 4});
    cr_assert_geq(tell(&tuner, 100, large_is_a_little_better), 0);
    cr_expect_eq(ls_tuner_arrangement(&tuner), &tuner.candidate[0]);
}

/* Alone, or where buckets must stay, nothing is tried; ways that the user chose are left alone, and
 * all that could move a bit where sums may go in any order. */
Test(tuner, leaves_alone_what_is_fixed)
{
    struct ls_tuner tuner;

    ls_tuner_init(&tuner, &(struct ls_tuner_options){.world = 1, .beside = true});
    cr_expect_eq(tell(&tuner, 100, beside_is_slow), -1);
    cr_expect(ls_tuner_arrangement(&tuner)->beside);
    ls_tuner_init(&tuner, &(struct ls_tuner_options){.world = 2, .fixed = true});
    cr_expect_eq(tell(&tuner, 100, large_is_a_little_better), -1);
    ls_tuner_init(&tuner, &(struct ls_tuner_options){.world = 2, .beside = true, .ways_chosen = true});
    for (int i = 0; i < tuner.count; i++)
        cr_expect_null(tuner.candidate[i].way);
    ls_tuner_init(&tuner, &(struct ls_tuner_options){.world = 2, .beside = true, .any_order = true});
    for (int i = 0; i < tuner.count; i++)
        cr_expect(tuner.candidate[i].way == NULL && tuner.candidate[i].bucket_bytes == tuner.candidate[0].bucket_bytes);
}
