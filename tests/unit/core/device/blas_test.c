/* SPDX-License-Identifier: Apache-2.0 */
/* math: fast. The plug-in lies in the build's plugins folder where OpenBLAS was found. */
#include "tests/support/kernels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct ls_device *open_fast(void)
{
    struct ls_device_options options = {.threads = 1, .fast = true};
    struct ls_device *device = NULL;

    if (access(LS_BINARY_DIR "/plugins/lockstep_openblas.so", R_OK) != 0)
        cr_skip_test("this build has no OpenBLAS plug-in");
    setenv("LOCKSTEP_PLUGINS", LS_BINARY_DIR "/plugins", 1);
    cr_assert_eq(ls_device_open("cpu", &options, &device, NULL), LS_OK);
    return device;
}

static void assert_near(const struct ls_view *a, const struct ls_view *b)
{
    for (int64_t i = 0; i < ls_shape_count(&a->shape); i++) {
        float x = ((const float *)a->data)[i], y = ((const float *)b->data)[i];

        cr_assert_lt(fabsf(x - y), 1e-3f + 1e-5f * fabsf(x), "element %d: %g, %g", (int)i, (double)x, (double)y);
    }
}

/* Runs the call on the reference and on the library: near, and for once not compared bit for bit. */
static void check(struct ls_device *device, struct ls_op_call *call)
{
    const struct ls_view *out = call->out;
    struct ls_view other = lst_view_empty(LS_F32, out->shape);

    cr_assert_eq(ls_device_run(lst_ref(), call, NULL), LS_OK);
    call->out = &other;
    cr_assert_eq(ls_device_workspace(device, call), 0);
    cr_assert_eq(ls_device_run(device, call, NULL), LS_OK);
    assert_near(out, &other);
    call->out = out;
    lst_view_free(&other);
}

/* The library's products follow the same formulas, up to rounding. */
Test(blas, dense)
{
    struct ls_device *device = open_fast();

    for (int options = 0; options < 4; options++) {
        struct ls_op_attrs attrs = {.dense = {.transposed_w = options & 1,
                                              .activation = options & 2 ? LS_ACTIVATION_RELU : LS_ACTIVATION_NONE}};
        struct ls_view in[3] = {lst_view(LS_F32, LS_SHAPE(20, 30), LST_TAME),
                                lst_view(LS_F32, options & 1 ? LS_SHAPE(17, 30) : LS_SHAPE(30, 17), LST_TAME),
                                lst_view(LS_F32, LS_SHAPE(17), LST_TAME)};
        struct ls_view out = lst_view_empty(LS_F32, LS_SHAPE(20, 17));
        struct ls_op_call call = {
            .op = LS_OP_DENSE, .attrs = &attrs, .in = in, .in_count = 2 + (options & 1), .out = &out, .out_count = 1};

        check(device, &call);
    }
    ls_device_close(device);
}

/* Weight gradients too: continued or not, per shard or their sum, of several uses. */
Test(blas, wgrad)
{
    struct ls_device *device = open_fast();
    struct ls_shards shards = ls_shards_of(7, 8, 0, 8);

    for (int options = 0; options < 4; options++) {
        struct ls_op_attrs attrs = {.batch = {.accumulate = options & 1, .per_shard = options & 2}};
        struct ls_view in[5] = {lst_view(LS_F32, LS_SHAPE(8, 6, 9), LST_TAME),
                                lst_view(LS_F32, LS_SHAPE(7, 6), LST_TAME), lst_view(LS_F32, LS_SHAPE(7, 9), LST_TAME),
                                lst_view(LS_F32, LS_SHAPE(7, 3, 6), LST_TAME),
                                lst_view(LS_F32, LS_SHAPE(7, 3, 9), LST_TAME)};
        struct ls_view out = lst_view_empty(LS_F32, options & 2 ? LS_SHAPE(8, 6, 9) : LS_SHAPE(6, 9));
        struct ls_op_call call = {.op = LS_OP_DENSE_WGRAD,
                                  .attrs = &attrs,
                                  .in = options & 1 ? in : in + 1,
                                  .in_count = options & 1 ? 5 : 4,
                                  .out = &out,
                                  .out_count = 1,
                                  .shards = &shards};

        check(device, &call);
    }
    ls_device_close(device);
}

/* A missing plug-in is named, with what it would have given and what to do. */
Test(blas, missing)
{
    struct ls_device_options options = {.threads = 1, .fast = true};
    struct ls_device *device = NULL;
    struct ls_error err = LS_ERROR_INIT;

    setenv("LOCKSTEP_PLUGINS", "/nowhere", 1);
    cr_assert_eq(ls_device_open("cpu", &options, &device, &err), LS_EUNSUPPORTED);
    cr_assert_not_null(strstr(err.message, "lockstep_openblas.so"));
    cr_assert_not_null(strstr(err.message, "math: exact"));
    cr_assert_null(device);
}

/* A file of that name that is no plug-in is refused with the loader's reason. */
Test(blas, not_a_plugin)
{
    struct ls_device_options options = {.threads = 1, .fast = true};
    struct ls_device *device = NULL;
    struct ls_error err = LS_ERROR_INIT;
    char directory[] = "/tmp/lockstep-blas-XXXXXX", path[128];
    FILE *file;

    cr_assert_not_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/lockstep_openblas.so", directory);
    file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs("not a library", file);
    fclose(file);
    setenv("LOCKSTEP_PLUGINS", directory, 1);
    cr_assert_eq(ls_device_open("cpu", &options, &device, &err), LS_EUNSUPPORTED);
    cr_assert_not_null(strstr(err.message, path), "%s", err.message);
    unlink(path);
    rmdir(directory);
}
