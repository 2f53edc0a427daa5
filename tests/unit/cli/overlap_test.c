/* SPDX-License-Identifier: Apache-2.0 */
/* The bound that a trace gives: ready times and what still has to travel. */
#include "cli/overlap.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>

static void event(json_t *trace, int rank, int step, const char *kind, double begin, double end, int number)
{
    (void)json_array_append_new(trace, json_pack("{s:s, s:i, s:f, s:f, s:{s:i, s:i, s:i}}", "cat", kind, "pid", rank,
                                                 "ts", begin, "dur", end - begin, "args", "step", step, "number",
                                                 number, "bytes", strcmp(kind, "bucket") == 0 ? 1000 : 0));
}

/* Steps of 20 ms by two ranks, the second of which is a millisecond behind. Bucket 0 is ready at 4, bucket 1 at 11;
 * each needs 3 ms, and bucket 1 is late by `lateness`. */
static json_t *make(int steps, double lateness)
{
    json_t *trace = json_array();

    for (int s = 0; s < steps; s++)
        for (int r = 0; r < 2; r++) {
            double at = 20000.0 * s + 1000 * r, all = 20000.0 * s + 1000;
            double late = s == 0 ? 0 : lateness;

            event(trace, r, s, "forward", at, at + 2000, 0);
            event(trace, r, s, "backward", at + 2000, at + 11000, 0);
            event(trace, r, s, "bucket", at + 4000, all + 7000, 0);
            event(trace, r, s, "bucket", at + 11000, all + 14000 + late, 1);
            event(trace, r, s, "commit", all + 14000 + late, all + 15000 + late, -1);
            event(trace, r, s, "step", at, all + 15000 + late, -1);
        }
    event(trace, 0, steps, "checkpoint", 1e9, 1e9 + 1, -1); /* behind the last step */
    return trace;
}

/* Nothing can be better than compute to its end, then the last bucket, then the commit; lateness shows in the ratio. */
Test(overlap, measures_against_the_bound)
{
    struct ls_overlap o;
    struct ls_error err = LS_ERROR_INIT;
    json_t *trace = make(9, 3000);

    cr_assert_eq(ls_overlap_measure(trace, 2, 0, &o, &err), LS_OK, "%s", err.message);
    cr_expect_eq(o.steps, 9);
    cr_expect_eq(o.buckets, 2);
    cr_expect_float_eq(o.bytes, 2000, 1e-9);
    cr_expect_float_eq(o.compute, 11, 1e-6);
    cr_expect_float_eq(o.communication, 6, 1e-6);
    cr_expect_float_eq(o.after, 1, 1e-6);
    cr_expect_float_eq(o.bound, 15, 1e-6);
    cr_expect_float_eq(o.step, 18, 1e-6);
    cr_expect_float_eq(o.ratio, 18.0 / 15.0, 1e-6);
    json_decref(trace);
}

/* Steps that a rank does not have, and those before the first that is asked for, do not count. */
Test(overlap, leaves_out_what_is_not_whole)
{
    struct ls_overlap o;
    struct ls_error err = LS_ERROR_INIT;
    json_t *trace = make(6, 0);

    event(trace, 0, 6, "step", 130000, 140000, -1);
    event(trace, 0, 6, "backward", 130000, 140000, 0);
    event(trace, 0, 6, "bucket", 130000, 140000, 0);
    event(trace, 0, 6, "bucket", 130000, 140000, 1);
    cr_assert_eq(ls_overlap_measure(trace, 2, 2, &o, &err), LS_OK);
    cr_expect_eq(o.steps, 4);
    cr_expect_float_eq(o.ratio, 1, 1e-6);
    cr_expect_eq(ls_overlap_measure(trace, 2, 6, &o, &err), LS_EINVAL);
    cr_expect_eq(ls_overlap_measure(trace, 3, 0, &o, &err), LS_EINVAL);
    json_decref(trace);
}

/* No step and no bucket is left out because there are many; a step whose first bucket is lost is no whole one. */
Test(overlap, however_many)
{
    const int steps = 9000, buckets = 70, base = 5000;
    struct ls_overlap o;
    struct ls_error err = LS_ERROR_INIT;
    json_t *trace = json_array();

    for (int s = 0; s < 5; s++)
        for (int r = 0; r < 2; r++) {
            double at = 20000.0 * s;

            event(trace, r, steps - 5 + s, "backward", at, at + 10000, 0);
            for (int b = r == 0 && s == 0; b < buckets; b++)
                event(trace, r, steps - 5 + s, "bucket", at + 100 * b, at + 11000 + 100 * b, b);
            event(trace, r, steps - 5 + s, "commit", at + 18000, at + 19000, -1);
            event(trace, r, steps - 5 + s, "step", at, at + 19000, -1);
        }
    cr_assert_eq(ls_overlap_measure(trace, 2, base, &o, &err), LS_OK, "%s", err.message);
    cr_expect_eq(o.steps, 4);
    cr_expect_eq(o.buckets, buckets);
    cr_expect_float_eq(o.bytes, 1000.0 * buckets, 1e-6);
    json_decref(trace);
}
