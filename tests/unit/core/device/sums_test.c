/* SPDX-License-Identifier: Apache-2.0 */
/* Trees over f64, i64 and moments, and fingerprints: the sweeps that are plain C on every device. */
#include "core/base/hash.h"
#include "tests/support/kernels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static struct ls_device *two_threads(void)
{
    struct ls_device_options options = {.threads = 2};
    struct ls_device *device = NULL;

    cr_assert_eq(ls_device_open("cpu", &options, &device, NULL), LS_OK);
    return device;
}

static void first_shards(int count, struct ls_tree_program *program)
{
    struct ls_range ranges[LS_MAX_SHARDS];

    for (int i = 0; i < count; i++)
        ranges[i] = (struct ls_range){i, 1};
    ls_tree_program_build(ranges, count, 8, program);
}

/* An f64 tree of five of eight shards is ((0 + 1) + (2 + 3)) + 4 for every element; out may be leaf 0. */
Test(sums, tree_f64)
{
    static struct ls_tree_program program;
    struct ls_device *device = two_threads();
    enum { COUNT = 10000 };
    struct ls_view leaf[5];
    const void *leaves[5];
    double *expected = lst_view_empty(LS_F64, LS_SHAPE(COUNT)).data;

    first_shards(5, &program);
    for (int i = 0; i < 5; i++) {
        leaf[i] = lst_view(LS_F64, LS_SHAPE(COUNT), LST_ZEROS);
        leaves[i] = leaf[i].data;
    }
    for (int e = 0; e < COUNT; e++) {
        const double *const *l = (const double *const *)leaves;

        expected[e] = ((l[0][e] + l[1][e]) + (l[2][e] + l[3][e])) + l[4][e];
    }
    ls_device_tree_sum(device, LS_F64, &program, leaves, leaf[0].data, COUNT);
    cr_assert_eq(memcmp(leaf[0].data, expected, COUNT * sizeof(double)), 0);
    ls_device_close(device);
}

/* i64 sums wrap; a tree without leaves gives zeros of any dtype. */
Test(sums, tree_i64_and_empty)
{
    static struct ls_tree_program program;
    struct ls_device *device = two_threads();
    int64_t a[3] = {INT64_MAX, -5, 1}, b[3] = {1, 7, 2}, out[3];
    const void *leaves[2] = {a, b};
    float nothing[3] = {1, 2, 3};

    first_shards(2, &program);
    ls_device_tree_sum(device, LS_I64, &program, leaves, out, 3);
    cr_assert_eq(out[0], INT64_MIN);
    cr_assert_eq(out[1], 2);
    cr_assert_eq(out[2], 3);
    first_shards(0, &program);
    ls_device_tree_sum(device, LS_F32, &program, NULL, nothing, 3);
    cr_assert(nothing[0] == 0.0f && nothing[1] == 0.0f && nothing[2] == 0.0f);
    ls_device_close(device);
}

/* Moments merge by the formula; a part without samples passes the other on. */
Test(sums, tree_moments)
{
    static struct ls_tree_program program;
    struct ls_device *device = two_threads();
    float a[6] = {3, 0, 1.5f, 9, 0.25f, 9}, b[6] = {2, 4, -0.3f, 7, 0.7f, 2}, out[6];
    const void *leaves[2] = {a, b};
    float n = 5.0f, d = -0.3f - 1.5f, r = 2.0f / n;

    first_shards(2, &program);
    ls_device_tree_moments(device, &program, leaves, out, 2);
    cr_assert_eq(out[0], n);
    cr_assert_eq(out[2], fmaf(d, r, 1.5f));
    cr_assert_eq(out[4], (0.25f + 0.7f) + (d * d) * (3.0f * r));
    cr_assert_eq(out[1], 4.0f);
    cr_assert_eq(out[3], 7.0f);
    cr_assert_eq(out[5], 2.0f);
    ls_device_close(device);
}

/* A fingerprint is the sum of its chunks' hashes, whoever computes which, and takes every NaN for the same. */
Test(sums, fingerprint)
{
    struct ls_device *device = two_threads();
    struct ls_view view = lst_view(LS_F32, LS_SHAPE(3 * 4096 + 100), LST_TAME);
    float *data = view.data;
    uint32_t nan = 0xffc12345, canonical = 0x7fc00000;
    uint64_t expected = 0, with_nan;

    for (uint64_t i = 0; i < 4; i++)
        expected += ls_xxh3(data + 4096 * i, (i < 3 ? 4096 : 100) * sizeof(float), 7 + i);
    cr_assert_eq(ls_device_fingerprint_f32(device, data, 3 * 4096 + 100, 7), expected);
    cr_assert_eq(ls_device_fingerprint_f32(lst_ref(), data, 4096, 7) +
                     ls_device_fingerprint_f32(device, data + 4096, 2 * 4096 + 100, 8),
                 expected);
    memcpy(&data[5000], &canonical, 4);
    with_nan = ls_device_fingerprint_f32(device, data, 3 * 4096 + 100, 7);
    memcpy(&data[5000], &nan, 4);
    cr_assert_eq(ls_device_fingerprint_f32(device, data, 3 * 4096 + 100, 7), with_nan);
    cr_assert_neq(with_nan, expected);
    cr_assert_eq(ls_device_fingerprint_f32(device, data, 0, 7), 0);
    for (int at = 0; at < 100; at++) { /* whatever the vectors and the rest after them */
        float value = data[at];

        memcpy(&data[at], &nan, 4);
        with_nan = ls_device_fingerprint_f32(device, data, 100, 7);
        cr_expect_eq(ls_device_fingerprint_f32(lst_ref(), data, 100, 7), with_nan, "NaN at %d", at);
        memcpy(&data[at], &canonical, 4);
        cr_expect_eq(ls_device_fingerprint_f32(device, data, 100, 7), with_nan, "NaN at %d", at);
        data[at] = value;
    }
    lst_view_free(&view);
    ls_device_close(device);
}
