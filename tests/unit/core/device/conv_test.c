/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution: every kernel of this processor equals the reference under memcmp, and the reference is a convolution
 * with the gradients, blocks, shards and tree that docs/numerics.md says.
 */
#include "core/base/alloc.h"
#include "core/device/device.h"
#include "tests/support/kernels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_IN 5

/* ---- random numbers and values ---- */

static uint64_t draw(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * 0x2545f4914f6cdd1dULL >> 32;
}

static int64_t draw_range(uint64_t *state, int64_t low, int64_t high)
{
    return low + (int64_t)(draw(state) % (uint64_t)(high - low + 1));
}

enum values { PLAIN, WILD, DENORMAL };

static float draw_value(uint64_t *state, enum values values)
{
    float plain = (float)((double)draw(state) / 2147483648.0 - 1.0);
    switch (values == WILD ? draw(state) % 400 : 100) {
    case 0:
        return INFINITY;
    case 1:
        return -INFINITY;
    case 2:
        return NAN;
    case 3:
        return 3e38f;
    default:
        break;
    }
    switch (values == PLAIN ? 100 : draw(state) % 10) {
    case 0:
        return -0.0f;
    case 1:
        return plain * 1e-39f;
    case 2:
        return plain * 1e-22f;
    case 3:
        return 0.0f;
    default:
        return plain;
    }
}

static struct ls_view view_of(int64_t a, int64_t b, int64_t c, int64_t d)
{
    struct ls_view view = {.dtype = LS_F32, .shape = {.rank = 4, .dim = {a, b, c, d}}};
    view.data = ls_alloc_aligned(ls_view_bytes(&view) + 64);
    cr_assert(view.data != NULL);
    return view;
}

static void fill(const struct ls_view *view, uint64_t *state, enum values values)
{
    for (int64_t i = 0; i < ls_shape_count(&view->shape); i++) {
        ((float *)view->data)[i] = draw_value(state, values);
    }
}

/* ---- one convolution ---- */

struct conv {
    struct ls_op_attrs attrs;
    struct ls_shards shards;
    struct ls_view x, w, bias, y, dy, dx, dw;
};

static int64_t out_size(const struct ls_conv2d_attrs *a, int axis)
{
    int64_t span = (int64_t)(a->kernel[axis] - 1) * a->dilation[axis] + 1;
    return (a->x_size[axis] + a->pad_begin[axis] + a->pad_end[axis] - span) / a->stride[axis] + 1;
}

/* dims: n, h, w, ci, co */
static struct conv conv_create(const struct ls_conv2d_attrs *a, const int64_t dims[5], uint64_t *state,
                               enum values values)
{
    struct conv c = {.attrs.conv2d = *a};
    c.attrs.conv2d.x_size[0] = (int)dims[1];
    c.attrs.conv2d.x_size[1] = (int)dims[2];
    c.x = view_of(dims[0], dims[1], dims[2], dims[3]);
    c.w = view_of(a->kernel[0], a->kernel[1], dims[3], dims[4]);
    c.bias = view_of(1, 1, 1, dims[4]);
    c.y = view_of(dims[0], out_size(&c.attrs.conv2d, 0), out_size(&c.attrs.conv2d, 1), dims[4]);
    c.dy = view_of(dims[0], c.y.shape.dim[1], c.y.shape.dim[2], dims[4]);
    c.dx = view_of(dims[0], dims[1], dims[2], dims[3]);
    c.dw = view_of(a->kernel[0], a->kernel[1], dims[3], dims[4]);
    fill(&c.x, state, values);
    fill(&c.w, state, values == WILD && draw(state) % 2 ? DENORMAL : values);
    fill(&c.bias, state, values);
    fill(&c.dy, state, values);
    c.shards = ls_shards_of(dims[0], 1, 0, 1);
    return c;
}

static void conv_destroy(struct conv *c)
{
    struct ls_view *views[] = {&c->x, &c->w, &c->bias, &c->y, &c->dy, &c->dx, &c->dw};
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        ls_free(views[i]->data);
    }
}

static struct ls_op_call forward_call(const struct conv *c, struct ls_view in[MAX_IN], bool bias)
{
    in[0] = c->x;
    in[1] = c->w;
    in[2] = c->bias;
    return (struct ls_op_call){.op = LS_OP_CONV2D,
                               .attrs = &c->attrs,
                               .in = in,
                               .in_count = bias ? 3 : 2,
                               .out = &c->y,
                               .out_count = 1,
                               .shards = &c->shards};
}

static struct ls_op_call xgrad_call(const struct conv *c, struct ls_view in[MAX_IN])
{
    in[0] = c->dy;
    in[1] = c->w;
    return (struct ls_op_call){.op = LS_OP_CONV2D_XGRAD,
                               .attrs = &c->attrs,
                               .in = in,
                               .in_count = 2,
                               .out = &c->dx,
                               .out_count = 1,
                               .shards = &c->shards};
}

static struct ls_op_call wgrad_call(const struct conv *c, struct ls_view in[MAX_IN])
{
    in[0] = c->x;
    in[1] = c->dy;
    return (struct ls_op_call){.op = LS_OP_CONV2D_WGRAD,
                               .attrs = &c->attrs,
                               .in = in,
                               .in_count = 2,
                               .out = &c->dw,
                               .out_count = 1,
                               .shards = &c->shards};
}

/* ---- equality with the reference ---- */

static void check_same(struct ls_op_call *call, const char *what)
{
    cr_assert_eq(lst_compare(call, what), LS_OK);
}

static void check_conv(struct conv *c, uint64_t *state)
{
    struct ls_view in[MAX_IN];
    struct ls_op_call call;
    const struct ls_conv2d_attrs *a = &c->attrs.conv2d;
    const int64_t *x = c->x.shape.dim;
    char what[320];
    snprintf(what, sizeof what,
             "n %d h %d w %d ci %d co %d kernel %dx%d stride %dx%d dilation %dx%d pad %d,%d %d,%d shards %d", (int)x[0],
             (int)x[1], (int)x[2], (int)x[3], (int)c->w.shape.dim[3], a->kernel[0], a->kernel[1], a->stride[0],
             a->stride[1], a->dilation[0], a->dilation[1], a->pad_begin[0], a->pad_begin[1], a->pad_end[0],
             a->pad_end[1], c->shards.count);
    c->attrs.conv2d.activation = draw(state) % 2 ? LS_ACTIVATION_RELU : LS_ACTIVATION_NONE;
    call = forward_call(c, in, draw(state) % 2);
    check_same(&call, what);
    call = xgrad_call(c, in);
    check_same(&call, what);
    call = wgrad_call(c, in);
    check_same(&call, what);
}

/* Sums per shard, continued from given ones, over two pairs. */
static void check_wgrad_sums(struct conv *c, uint64_t *state, enum values values)
{
    int shards = c->shards.count;
    const int64_t *w = c->w.shape.dim;
    struct ls_view acc = view_of((int64_t)shards * w[0], w[1], w[2], w[3]);
    struct ls_view out = view_of((int64_t)shards * w[0], w[1], w[2], w[3]);
    struct ls_view in[MAX_IN] = {acc, c->x, c->dy, c->x, c->dy};
    struct ls_op_call call = wgrad_call(c, in);
    fill(&acc, state, values == PLAIN ? PLAIN : DENORMAL);
    for (int64_t i = 0; i < ls_shape_count(&acc.shape); i++) {
        ((float *)acc.data)[i] += 0.0f; /* a running sum is never -0 */
    }
    memcpy(in, (struct ls_view[MAX_IN]){acc, c->x, c->dy, c->x, c->dy}, sizeof in);
    call.in_count = draw(state) % 2 ? 5 : 3;
    c->attrs.conv2d.batch.accumulate = true;
    c->attrs.conv2d.batch.per_shard = true;
    call.out = &out;
    check_same(&call, "sums of shards, continued");
    c->attrs.conv2d.batch.per_shard = false;
    call.out = &c->dw;
    check_same(&call, "tree of sums, continued");
    c->attrs.conv2d.batch.accumulate = false;
    ls_free(acc.data);
    ls_free(out.data);
}

static void check_random(uint64_t *state, enum values values, int64_t channels)
{
    struct ls_conv2d_attrs a = {0};
    int64_t dims[5] = {draw_range(state, 1, 6), 0, 0, draw_range(state, 1, channels), draw_range(state, 1, channels)};
    for (int i = 0; i < 2; i++) {
        a.kernel[i] = (int)draw_range(state, 1, 4);
        a.stride[i] = (int)draw_range(state, 1, 3);
        a.dilation[i] = (int)draw_range(state, 1, 3);
        int span = (a.kernel[i] - 1) * a.dilation[i] + 1;
        a.pad_begin[i] = draw(state) % 2 ? 0 : (int)draw_range(state, 0, span);
        a.pad_end[i] = draw(state) % 2 ? 0 : (int)draw_range(state, 0, span);
        dims[1 + i] = draw_range(state, 1, i == 1 && draw(state) % 2 ? 40 : 13);
        int missing = span - (int)dims[1 + i] - a.pad_begin[i] - a.pad_end[i];
        dims[1 + i] += missing > 0 ? missing : 0;
    }
    struct conv c = conv_create(&a, dims, state, values);
    int total = 1 << draw_range(state, 0, 4);
    c.shards = ls_shards_of(dims[0], total, 0, total);
    check_conv(&c, state);
    check_wgrad_sums(&c, state, values);
    conv_destroy(&c);
}

/* Random shapes, strides, dilations, paddings and shards of plain numbers give the reference's bits. */
Test(conv, equals_reference_on_random_shapes)
{
    uint64_t state = 0x9e3779b97f4a7c15ULL;
    for (int i = 0; i < 150; i++) {
        check_random(&state, PLAIN, i % 3 == 0 ? 40 : 9);
    }
}

/* Denormals, zeros of both signs and values whose products underflow give the reference's bits. */
Test(conv, equals_reference_on_denormals)
{
    uint64_t state = 0xd1b54a32d192ed03ULL;
    for (int i = 0; i < 100; i++) {
        check_random(&state, DENORMAL, 20);
    }
}

/* Infinities and NaN, in any operand and beside padding, give the reference's bits. */
Test(conv, equals_reference_on_infinities_and_nan)
{
    uint64_t state = 0x2545f4914f6cdd1dULL;
    for (int i = 0; i < 150; i++) {
        check_random(&state, WILD, i % 4 == 0 ? 30 : 6);
    }
}

/* Shapes of real models: several blocks of 256 terms and positions, full and partial tiles, strides, dilation. */
Test(conv, equals_reference_on_model_shapes)
{
    static const struct {
        int64_t dims[5];
        struct ls_conv2d_attrs attrs;
        int shards;
    } cases[] = {
        {{4, 28, 28, 1, 32}, {.kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}}, 4},
        {{3, 26, 26, 32, 64}, {.kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}}, 2},
        {{2, 12, 12, 64, 48},
         {.kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .pad_begin = {1, 1}, .pad_end = {1, 1}},
         2},
        {{3, 15, 15, 35, 70},
         {.kernel = {3, 3}, .stride = {2, 2}, .dilation = {1, 1}, .pad_begin = {1, 1}, .pad_end = {1, 1}},
         2},
        {{2, 17, 20, 20, 17},
         {.kernel = {3, 3}, .stride = {1, 1}, .dilation = {2, 3}, .pad_begin = {2, 3}, .pad_end = {2, 3}},
         2},
        {{6, 7, 7, 300, 33}, {.kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}}, 1},
        {{1, 21, 21, 3, 16},
         {.kernel = {7, 7}, .stride = {2, 2}, .dilation = {1, 1}, .pad_begin = {3, 3}, .pad_end = {2, 2}},
         1},
        {{2, 9, 9, 40, 270}, {.kernel = {3, 3}, .stride = {3, 2}, .dilation = {1, 1}}, 2},
    };
    uint64_t state = 77;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct conv c = conv_create(&cases[i].attrs, cases[i].dims, &state, PLAIN);
        c.shards = ls_shards_of(cases[i].dims[0], cases[i].shards, 0, cases[i].shards);
        check_conv(&c, &state);
        conv_destroy(&c);
    }
}

/* ---- what the reference means ---- */

static double dot(const struct ls_view *a, const struct ls_view *b)
{
    double sum = 0.0;
    for (int64_t i = 0; i < ls_shape_count(&a->shape); i++) {
        sum += (double)((float *)a->data)[i] * (double)((float *)b->data)[i];
    }
    return sum;
}

/* A convolution is linear in x and in w: both gradients must be its adjoints, in f64 up to rounding. */
Test(conv, gradients_are_adjoints)
{
    struct ls_conv2d_attrs a = {
        .kernel = {3, 2}, .stride = {2, 1}, .dilation = {1, 2}, .pad_begin = {1, 0}, .pad_end = {0, 2}};
    uint64_t state = 5;
    struct conv c = conv_create(&a, (int64_t[]){3, 9, 8, 5, 7}, &state, PLAIN);
    struct ls_view in[MAX_IN];
    struct ls_op_call call = forward_call(&c, in, false);
    lst_run_ref(&call);
    call = xgrad_call(&c, in);
    lst_run_ref(&call);
    call = wgrad_call(&c, in);
    lst_run_ref(&call);
    double expected = dot(&c.y, &c.dy);
    cr_assert(fabs(expected) > 1e-3);
    cr_assert(fabs(dot(&c.x, &c.dx) - expected) < 1e-4, "%g", dot(&c.x, &c.dx) - expected);
    cr_assert(fabs(dot(&c.w, &c.dw) - expected) < 1e-4, "%g", dot(&c.w, &c.dw) - expected);
    conv_destroy(&c);
}

static void widen(struct ls_view *view)
{
    int64_t count = ls_shape_count(&view->shape);
    double *wide = ls_alloc_aligned((size_t)count * sizeof *wide);
    cr_assert(wide != NULL);
    for (int64_t i = 0; i < count; i++) {
        wide[i] = ((float *)view->data)[i];
    }
    ls_free(view->data);
    view->data = wide;
    view->dtype = LS_F64;
}

static double dot_f64(const struct ls_view *a, const struct ls_view *b)
{
    double sum = 0.0;
    for (int64_t i = 0; i < ls_shape_count(&a->shape); i++) {
        sum += ((double *)a->data)[i] * ((double *)b->data)[i];
    }
    return sum;
}

/* The same holds in f64 to f64's rounding, on a fast device too, which leaves f64 to the reference. */
Test(conv, gradients_are_adjoints_in_f64)
{
    struct ls_conv2d_attrs a = {
        .kernel = {2, 3}, .stride = {1, 2}, .dilation = {2, 1}, .pad_begin = {1, 1}, .pad_end = {0, 1}};
    uint64_t state = 10;
    struct conv c = conv_create(&a, (int64_t[]){3, 8, 9, 4, 40}, &state, PLAIN);
    struct ls_view *views[] = {&c.x, &c.w, &c.bias, &c.y, &c.dy, &c.dx, &c.dw};
    struct ls_view in[MAX_IN];
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        widen(views[i]);
    }
    c.shards = ls_shards_of(3, 2, 0, 2);
    struct ls_op_call call = forward_call(&c, in, false);
    check_same(&call, "f64");
    call = xgrad_call(&c, in);
    check_same(&call, "f64");
    call = wgrad_call(&c, in);
    check_same(&call, "f64");
    double expected = dot_f64(&c.y, &c.dy);
    cr_assert(fabs(expected) > 1e-3);
    cr_assert(fabs(dot_f64(&c.x, &c.dx) - expected) < 1e-11);
    cr_assert(fabs(dot_f64(&c.w, &c.dw) - expected) < 1e-11);
    conv_destroy(&c);
}

/* Terms are added in blocks of 256: 1 followed by 300 halves of its last bit keeps only what a block gathers. */
Test(conv, terms_are_added_in_blocks_of_256)
{
    struct ls_conv2d_attrs a = {.kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}};
    uint64_t state = 6;
    struct conv c = conv_create(&a, (int64_t[]){1, 1, 1, 301, 1}, &state, PLAIN);
    struct ls_view in[MAX_IN];
    struct ls_op_call call = forward_call(&c, in, false);
    for (int i = 0; i < 301; i++) {
        ((float *)c.x.data)[i] = 1.0f;
        ((float *)c.w.data)[i] = i == 0 ? 1.0f : 0x1p-24f;
    }
    lst_run_ref(&call);
    cr_assert_eq(((float *)c.y.data)[0], 1.0f + 45.0f * 0x1p-24f - 0x1p-24f, "%a", (double)((float *)c.y.data)[0]);
    conv_destroy(&c);
}

/* Strides far beyond the image leave one position, and cost no more than the image has. */
Test(conv, far_strides)
{
    struct ls_conv2d_attrs a = {.kernel = {2, 3}, .stride = {1 << 16, 1 << 16}, .dilation = {1, 1}, .pad_end = {1, 1}};
    uint64_t state = 10;
    struct conv c = conv_create(&a, (int64_t[]){2, 5, 6, 3, 4}, &state, PLAIN);
    check_conv(&c, &state);
    conv_destroy(&c);
}

/* A tap in the padding is skipped, not multiplied: an infinite weight there does no harm. */
Test(conv, padding_is_not_multiplied)
{
    struct ls_conv2d_attrs a = {.kernel = {1, 3}, .stride = {1, 1}, .dilation = {1, 1}, .pad_begin = {0, 1}};
    uint64_t state = 7;
    struct conv c = conv_create(&a, (int64_t[]){1, 1, 4, 1, 1}, &state, PLAIN);
    struct ls_view in[MAX_IN];
    struct ls_op_call call = forward_call(&c, in, false);
    ((float *)c.w.data)[0] = INFINITY;
    check_same(&call, "an infinite weight");
    cr_assert(isfinite(((float *)c.y.data)[0]));
    cr_assert(!isfinite(((float *)c.y.data)[1]));
    conv_destroy(&c);
}

/* One call over shards 0..7 equals the tree over the sums of eight calls of one shard. */
Test(conv, wgrad_of_a_range_is_the_tree_over_its_shards)
{
    struct ls_conv2d_attrs a = {.kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}};
    uint64_t state = 8;
    struct conv c = conv_create(&a, (int64_t[]){13, 7, 7, 4, 5}, &state, PLAIN);
    struct ls_view in[MAX_IN];
    struct ls_op_call call = wgrad_call(&c, in);
    float sums[8][180];
    float whole[180];
    for (int v = 0; v < 8; v++) {
        c.shards = ls_shards_of(13, 8, v, 1);
        int64_t begin = ls_shard_begin(13, 8, v);
        int64_t count = ls_shard_begin(13, 8, v + 1) - begin;
        in[0].data = (float *)c.x.data + begin * 49 * 4;
        in[1].data = (float *)c.dy.data + begin * 25 * 5;
        in[0].shape.dim[0] = in[1].shape.dim[0] = count;
        lst_run_ref(&call);
        memcpy(sums[v], c.dw.data, sizeof sums[v]);
    }
    for (int i = 0; i < 180; i++) {
        whole[i] = ((sums[0][i] + sums[1][i]) + (sums[2][i] + sums[3][i])) +
                   ((sums[4][i] + sums[5][i]) + (sums[6][i] + sums[7][i]));
    }
    c.shards = ls_shards_of(13, 8, 0, 8);
    call = wgrad_call(&c, in);
    check_same(&call, "eight shards");
    cr_assert(memcmp(whole, c.dw.data, sizeof whole) == 0);
    conv_destroy(&c);
}

/* Two pairs in one call give the bits of two calls, the second continuing the sums of the first. */
Test(conv, wgrad_continues_sums)
{
    struct ls_conv2d_attrs a = {.kernel = {2, 2}, .stride = {1, 1}, .dilation = {1, 1}, .batch.per_shard = true};
    uint64_t state = 9;
    struct conv c = conv_create(&a, (int64_t[]){3, 6, 6, 3, 4}, &state, PLAIN);
    struct conv e = conv_create(&a, (int64_t[]){3, 6, 6, 3, 4}, &state, PLAIN);
    struct ls_view first = view_of(2, 2, 3, 4);
    struct ls_view in[MAX_IN];
    struct ls_op_call call = wgrad_call(&c, in);
    call.out = &first;
    lst_run_ref(&call);
    memcpy(in, (struct ls_view[]){first, e.x, e.dy}, 3 * sizeof in[0]);
    call.in_count = 3;
    call.out = &e.dw;
    c.attrs.conv2d.batch.accumulate = true;
    check_same(&call, "continued");
    c.attrs.conv2d.batch.accumulate = false;
    memcpy(in, (struct ls_view[]){c.x, c.dy, e.x, e.dy}, 4 * sizeof in[0]);
    call.in_count = 4;
    call.out = &c.dw;
    check_same(&call, "two pairs");
    cr_assert(memcmp(c.dw.data, e.dw.data, ls_view_bytes(&c.dw)) == 0);
    ls_free(first.data);
    conv_destroy(&e);
    conv_destroy(&c);
}
