/* SPDX-License-Identifier: Apache-2.0 */
/* Pooling: every kernel of this processor equals the reference, and the reference breaks ties as documented. */
#include "core/base/alloc.h"
#include "core/device/device.h"
#include "tests/support/kernels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static uint64_t draw(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * 0x2545f4914f6cdd1dULL >> 32;
}

static int draw_range(uint64_t *state, int low, int high)
{
    return low + (int)(draw(state) % (uint64_t)(high - low + 1));
}

/* Few different values, so that ties are common; wild: zeros of both signs, denormals, infinities and NaN too. */
static void fill(const struct ls_view *view, uint64_t *state, bool wild)
{
    static const float values[] = {0.0f, -0.0f, 1e-40f, -1e-40f, INFINITY, -INFINITY, NAN};
    for (int64_t i = 0; i < ls_shape_count(&view->shape); i++) {
        uint64_t kind = draw(state) % 24;
        float plain = (float)draw_range(state, -4, 4) / 3.0f;
        ((float *)view->data)[i] = wild && kind < 7 ? values[kind] : plain;
    }
}

static struct ls_view view_of(int64_t a, int64_t b, int64_t c, int64_t d)
{
    struct ls_view view = {.dtype = LS_F32, .shape = {.rank = 4, .dim = {a, b, c, d}}};
    view.data = ls_alloc_aligned(ls_view_bytes(&view) + 64);
    cr_assert(view.data != NULL);
    return view;
}

static void check_same(struct ls_op_call *call, const char *what)
{
    cr_assert_eq(lst_compare(call, what), LS_OK);
}

static void check_pool(const struct ls_pool2d_attrs *a, const int dims[4], uint64_t *state, bool wild)
{
    struct ls_op_attrs attrs = {.pool2d = *a};
    int64_t size[2];
    for (int i = 0; i < 2; i++) {
        size[i] = (dims[1 + i] + a->pad_begin[i] + a->pad_end[i] - a->size[i]) / a->stride[i] + 1;
    }
    struct ls_view in[2] = {view_of(dims[0], dims[1], dims[2], dims[3]), view_of(dims[0], size[0], size[1], dims[3])};
    struct ls_view y = view_of(dims[0], size[0], size[1], dims[3]);
    struct ls_view dx = view_of(dims[0], dims[1], dims[2], dims[3]);
    struct ls_op_call call = {
        .op = LS_OP_MAX_POOL2D, .attrs = &attrs, .in = in, .in_count = 1, .out = &y, .out_count = 1};
    fill(&in[0], state, wild);
    fill(&in[1], state, wild);
    check_same(&call, "max_pool2d");
    call.op = LS_OP_MAX_POOL2D_GRAD;
    call.in_count = 2;
    call.out = &dx;
    check_same(&call, "max_pool2d_grad");
    ls_free(in[0].data);
    ls_free(in[1].data);
    ls_free(y.data);
    ls_free(dx.data);
}

/* Random windows, strides, paddings and values, overlapping or not, give the reference's bits. */
Test(pool, maximum_equals_reference)
{
    uint64_t state = 0x9e3779b97f4a7c15ULL;
    for (int i = 0; i < 120; i++) {
        struct ls_pool2d_attrs a = {0};
        int dims[4] = {draw_range(&state, 1, 4), 0, 0, draw_range(&state, 1, 40)};
        for (int j = 0; j < 2; j++) {
            a.size[j] = draw_range(&state, 1, 4);
            a.stride[j] = draw_range(&state, 1, 4);
            a.pad_begin[j] = draw(&state) % 2 ? draw_range(&state, 0, a.size[j]) : 0;
            a.pad_end[j] = draw(&state) % 2 ? draw_range(&state, 0, a.size[j]) : 0;
            dims[1 + j] = draw_range(&state, a.size[j], 12);
        }
        check_pool(&a, dims, &state, i % 2);
    }
}

/* Windows that tile the input, whose gradient is written without being added, give the reference's bits. */
Test(pool, tiled_maximum_equals_reference)
{
    uint64_t state = 3;
    struct ls_pool2d_attrs a = {.size = {2, 2}, .stride = {2, 2}};
    check_pool(&a, (int[]){3, 24, 24, 64}, &state, false);
    check_pool(&a, (int[]){3, 8, 6, 17}, &state, true);
}

static void one_window(const float x[4], float dy, float *y, float dx[4])
{
    struct ls_op_attrs attrs = {.pool2d = {.size = {2, 2}, .stride = {2, 2}}};
    struct ls_view in[2] = {{LS_F32, LS_SHAPE(1, 2, 2, 1), (void *)x}, {LS_F32, LS_SHAPE(1, 1, 1, 1), &dy}};
    struct ls_view out[2] = {{LS_F32, LS_SHAPE(1, 1, 1, 1), y}, {LS_F32, LS_SHAPE(1, 2, 2, 1), dx}};
    struct ls_op_call call = {
        .op = LS_OP_MAX_POOL2D, .attrs = &attrs, .in = in, .in_count = 1, .out = out, .out_count = 1};
    lst_run_ref(&call);
    call.op = LS_OP_MAX_POOL2D_GRAD;
    call.in_count = 2;
    call.out = &out[1];
    lst_run_ref(&call);
}

/* Among equals the first wins and takes the adjoint; zeros are equal, and a zero maximum is +0. */
Test(pool, first_of_equals_wins)
{
    float y = 7.0f;
    float dx[4];
    one_window((float[]){1.0f, 3.0f, 3.0f, 2.0f}, 5.0f, &y, dx);
    cr_assert(y == 3.0f && dx[0] == 0.0f && dx[1] == 5.0f && dx[2] == 0.0f && dx[3] == 0.0f);
    one_window((float[]){-1.0f, -0.0f, 0.0f, -0.0f}, 5.0f, &y, dx);
    cr_assert(y == 0.0f && !signbit(y) && dx[1] == 5.0f && dx[2] == 0.0f);
}

/* NaN wins over everything, the first of several takes the adjoint. */
Test(pool, first_nan_wins)
{
    float y = 7.0f;
    float dx[4];
    one_window((float[]){INFINITY, NAN, NAN, 2.0f}, -2.0f, &y, dx);
    cr_assert(isnan(y) && dx[0] == 0.0f && dx[1] == -2.0f && dx[2] == 0.0f && dx[3] == 0.0f);
}

/* Global average pooling and its gradient give the reference's bits, also over more than a block of positions. */
Test(pool, average_equals_reference)
{
    static const int cases[][4] = {{3, 7, 7, 64}, {2, 5, 3, 19}, {1, 17, 16, 5}, {2, 23, 31, 33}, {2, 1, 1, 1}};
    uint64_t state = 11;
    for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        const int *d = cases[i / 2];
        struct ls_op_attrs attrs = {.avg_pool_grad = {.h = d[1], .w = d[2]}};
        struct ls_view x = view_of(d[0], d[1], d[2], d[3]);
        struct ls_view y = view_of(1, 1, d[0], d[3]);
        struct ls_op_call call = {
            .op = LS_OP_AVG_POOL_GLOBAL, .attrs = &attrs, .in = &x, .in_count = 1, .out = &y, .out_count = 1};
        y.shape = LS_SHAPE(d[0], d[3]);
        fill(&x, &state, i % 2);
        check_same(&call, "avg_pool_global");
        fill(&y, &state, i % 2);
        call.op = LS_OP_AVG_POOL_GLOBAL_GRAD;
        call.in = &y;
        call.out = &x;
        check_same(&call, "avg_pool_global_grad");
        ls_free(x.data);
        ls_free(y.data);
    }
}

/* The average is the sum of blocks of 256 positions divided by their number. */
Test(pool, average_adds_blocks)
{
    float x[512];
    float y = 0.0f;
    struct ls_view in = {LS_F32, LS_SHAPE(1, 2, 256, 1), x};
    struct ls_view out = {LS_F32, LS_SHAPE(1, 1), &y};
    struct ls_op_call call = {.op = LS_OP_AVG_POOL_GLOBAL, .in = &in, .in_count = 1, .out = &out, .out_count = 1};
    for (int i = 0; i < 512; i++) {
        x[i] = i == 0 ? 1.0f : 0x1p-24f; /* lost beside 1, kept in the second block */
    }
    lst_run_ref(&call);
    cr_assert_eq(y, (1.0f + 0x1p-16f) / 512.0f);
}

/* The winner of a window of more elements than f32 can number takes the adjoint, alone. */
Test(pool, far_winner)
{
    const int columns = (1 << 24) + 3;
    struct ls_op_attrs attrs = {.pool2d = {.size = {1, columns}, .stride = {1, columns}}};
    float dy = 3.0f;
    struct ls_view in[2] = {view_of(1, 1, columns, 1), {LS_F32, LS_SHAPE(1, 1, 1, 1), &dy}};
    struct ls_view out = view_of(1, 1, columns, 1);
    struct ls_op_call call = {
        .op = LS_OP_MAX_POOL2D_GRAD, .attrs = &attrs, .in = in, .in_count = 2, .out = &out, .out_count = 1};
    float *x = in[0].data, *dx = out.data;

    x[columns - 2] = 1.0f;
    cr_assert_eq(lst_compare(&call, "a window of 2^24 + 3 elements"), LS_OK);
    cr_assert(dx[columns - 2] == 3.0f && dx[columns - 1] == 0.0f && dx[columns - 3] == 0.0f);
    ls_free(in[0].data);
    ls_free(out.data);
}
