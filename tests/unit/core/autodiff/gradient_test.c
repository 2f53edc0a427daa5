/* SPDX-License-Identifier: Apache-2.0 */
/* The walk: fan-out, shared and tied weights, the frontier's order, custom gradients, gradients of gradients. */
#include "core/autodiff/gradient.h"

#include "core/ops/tape.h"
#include "tests/support/gradcheck.h"

#include <criterion/criterion.h>
#include <string.h>

#define SAMPLE(...)                                                              \
    {                                                                            \
        .shape = LS_SHAPE(__VA_ARGS__), .per_sample = true, .low = -1, .high = 1 \
    }
#define WHOLE(...)                                           \
    {                                                        \
        .shape = LS_SHAPE(__VA_ARGS__), .low = -1, .high = 1 \
    }

static struct ls_value *dense(struct ls_context *context, struct ls_value *x, struct ls_value *w, bool transposed_w)
{
    struct ls_op_attrs attrs = {.dense = {.transposed_w = transposed_w}};
    struct ls_value *in[] = {x, w};

    return lst_apply(context, LS_OP_DENSE, &attrs, in, 2);
}

static struct ls_value *gradient_of(struct ls_context *context, struct ls_value *target, struct ls_value *source)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_value *grad = NULL;

    lst_ok(ls_gradient(context, &target, NULL, 1, &source, 1, &grad, &err), &err, "inner gradient");
    cr_assert_not_null(grad);
    return grad;
}

static struct ls_value *broadcast4(struct ls_context *context, struct ls_value *x)
{
    struct ls_op_attrs attrs = {.rows = {.count = 4}};

    return lst_apply(context, LS_OP_ROW_BROADCAST, &attrs, &x, 1);
}

/* w (3, 4) as a product, transposed by an op and by an attribute, as a scale and as a bias of (n, 3, 4). */
static struct ls_value *build_tied(struct ls_context *context, struct ls_value **sources, const void *arg)
{
    struct ls_value *x = sources[0], *w = sources[1], *h, *back;

    (void)arg;
    h = lst_op1(context, LS_OP_TANH, dense(context, x, w, false));
    back = dense(context, h, lst_op1(context, LS_OP_TRANSPOSE2D, w), false);
    h = dense(context, lst_op1(context, LS_OP_TANH, back), w, false);
    back = broadcast4(context, dense(context, h, w, true));
    back =
        lst_op2(context, LS_OP_MUL, back, lst_reshape(context, lst_reshape(context, w, LS_SHAPE(12)), LS_SHAPE(3, 4)));
    return lst_op2(context, LS_OP_ADD, back, w);
}

static struct ls_value *build_recurrent(struct ls_context *context, struct ls_value **sources, const void *arg)
{
    struct ls_value *h = sources[0];

    (void)arg;
    for (int step = 0; step < 40; step++)
        h = lst_op1(context, LS_OP_TANH, lst_op2(context, LS_OP_ADD, dense(context, h, sources[1], false), sources[2]));
    return h;
}

/* w also through a sample-free op, and x through two ways. */
static struct ls_value *build_frontier(struct ls_context *context, struct ls_value **sources, const void *arg)
{
    struct ls_value *x = sources[0], *w = sources[1], *sum;

    (void)arg;
    sum = lst_op2(context, LS_OP_ADD, dense(context, x, w, false),
                  dense(context, x, lst_op1(context, LS_OP_EXP, w), false));
    return lst_op2(context, LS_OP_MUL, sum, lst_op2(context, LS_OP_ADD, sum, dense(context, x, w, false)));
}

/* Shared weights in every form they can be used in have the derivative of the whole. */
Test(gradient, shared_weights)
{
    lst_gradcheck(&(struct lst_gradcheck){
        .what = "tied", .build = build_tied, .count = 2, .sources = {SAMPLE(1, 3), WHOLE(3, 4)}});
    lst_gradcheck(&(struct lst_gradcheck){
        .what = "recurrent", .build = build_recurrent, .count = 3, .sources = {SAMPLE(1, 3), WHOLE(3, 3), WHOLE(3)}});
    lst_gradcheck(&(struct lst_gradcheck){
        .what = "frontier", .build = build_frontier, .count = 2, .sources = {SAMPLE(1, 3), WHOLE(3, 4)}});
}

/* Squared gradient with respect to the samples, of a smooth network. */
static struct ls_value *build_penalty(struct ls_context *context, struct ls_value **sources, const void *arg)
{
    struct ls_value *h = lst_op1(context, LS_OP_SIGMOID, dense(context, sources[0], sources[1], false));
    struct ls_value *y = lst_op1(context, LS_OP_SOFTMAX, dense(context, h, sources[2], false)), *g;

    (void)arg;
    y = lst_op2(context, LS_OP_MUL, y, y);
    g = gradient_of(context, y, sources[0]);
    return lst_op2(context, LS_OP_MUL, g, g);
}

/* Squared gradient with respect to a weight: the second derivative passes through REDUCE and the weight gradient. */
static struct ls_value *build_curvature(struct ls_context *context, struct ls_value **sources, const void *arg)
{
    struct ls_value *h = lst_op1(context, LS_OP_TANH, dense(context, sources[0], sources[1], false));
    struct ls_value *y = lst_op2(context, LS_OP_ADD, dense(context, h, sources[1], true), sources[2]), *g;

    (void)arg;
    y = lst_op1(context, LS_OP_EXP, y);
    g = gradient_of(context, y, sources[1]);
    return lst_op2(context, LS_OP_MUL, g, g);
}

/* Gradients of gradients, with respect to samples and to weights. */
Test(gradient, nested)
{
    lst_gradcheck(&(struct lst_gradcheck){
        .what = "penalty", .build = build_penalty, .count = 3, .sources = {SAMPLE(1, 3), WHOLE(3, 4), WHOLE(4, 3)}});
    lst_gradcheck(&(struct lst_gradcheck){.what = "curvature",
                                          .build = build_curvature,
                                          .count = 3,
                                          .sources = {SAMPLE(1, 3), WHOLE(3, 4), WHOLE(3)},
                                          .tolerance = 1e-3});
}

/* ---- what is recorded ---- */

struct fixture {
    struct ls_device *device;
    struct ls_context *context;
    struct ls_error err;
};

static struct fixture traced(void)
{
    struct fixture f = {.err = LS_ERROR_INIT};
    struct ls_device_options device = LS_DEVICE_OPTIONS_DEFAULT;
    struct ls_context_options options = {.traced = true, .shards = ls_shards_of(8, 4, 0, 4)};

    lst_ok(ls_device_open("ref", &device, &options.device, &f.err), &f.err, "device");
    f.device = options.device;
    lst_ok(ls_context_create(&options, &f.context, &f.err), &f.err, "context");
    return f;
}

static void finish(struct fixture *f)
{
    ls_context_destroy(f->context);
    ls_device_close(f->device);
}

static struct ls_value *sample(struct fixture *f, int index, struct ls_shape shape)
{
    struct ls_value *value = NULL;

    lst_ok(ls_value_input(f->context, index, LS_F32, &shape, LS_PER_SAMPLE, 1, NULL, &value, &f->err), &f->err,
           "input");
    return value;
}

static struct ls_value *variable(struct fixture *f, int index, struct ls_shape shape)
{
    struct ls_value *value = NULL;

    lst_ok(ls_value_variable(f->context, index, LS_F32, &shape, NULL, &value, &f->err), &f->err, "variable");
    return value;
}

/* Names of the nodes recorded from `first` on, joined by spaces. */
static const char *recorded(struct fixture *f, int first)
{
    static char text[1024];

    text[0] = 0;
    for (int i = first; i < ls_tape_count(f->context); i++) {
        strncat(text, i > first ? " " : "", sizeof(text) - strlen(text) - 1);
        strncat(text, ls_op_name(ls_tape_node(f->context, i)->op), sizeof(text) - strlen(text) - 1);
    }
    return text;
}

/* An MLP's backward pass: one reduction a variable, last layer first, each reduced as soon as it is ready, and no
 * adjoint of the data. */
Test(gradient, order_of_reduces)
{
    struct fixture f = traced();
    struct ls_value *x = sample(&f, 0, LS_SHAPE(8, 5)), *h, *y, *grads[4];
    struct ls_value *w[] = {variable(&f, 0, LS_SHAPE(5, 4)), variable(&f, 1, LS_SHAPE(4)),
                            variable(&f, 2, LS_SHAPE(4, 3)), variable(&f, 3, LS_SHAPE(3))};
    int first;

    lst_ok(ls_dense(f.context, x, w[0], w[1], LS_ACTIVATION_RELU, &h, &f.err), &f.err, "dense");
    lst_ok(ls_dense(f.context, h, w[2], w[3], LS_ACTIVATION_NONE, &y, &f.err), &f.err, "dense");
    first = ls_tape_count(f.context);
    lst_ok(ls_gradient(f.context, &y, NULL, 1, w, 4, grads, &f.err), &f.err, "gradient");
    cr_assert_str_eq(recorded(&f, first), "fill dense row_sum reduce dense_wgrad reduce "
                                          "relu_grad row_sum reduce dense_wgrad reduce");
    finish(&f);
}

/* Three uses of one weight, one of them transposed, become one fused reduction whose pairs come last use first. */
Test(gradient, fused_pairs)
{
    struct fixture f = traced();
    struct ls_value *x = sample(&f, 0, LS_SHAPE(8, 3)), *w = variable(&f, 0, LS_SHAPE(3, 3)), *a, *b, *c, *grad = NULL;
    const struct ls_node *node = NULL;
    int first;

    a = dense(f.context, x, w, false);
    b = dense(f.context, a, lst_op1(f.context, LS_OP_TRANSPOSE2D, w), false);
    c = dense(f.context, b, w, true);
    first = ls_tape_count(f.context);
    lst_ok(ls_gradient(f.context, &c, NULL, 1, &w, 1, &grad, &f.err), &f.err, "gradient");
    for (int i = first; i < ls_tape_count(f.context); i++)
        if (ls_tape_node(f.context, i)->op == LS_OP_DENSE_WGRAD) {
            cr_assert_null(node, "more than one reduction");
            node = ls_tape_node(f.context, i);
        }
    cr_assert_eq(node->in_count, 6);
    cr_assert_eq(node->in[1], b); /* (dy, x): the last product takes w transposed */
    cr_assert_eq(node->in[3], a);
    cr_assert_eq(node->in[4], x);
    finish(&f);
}

/* Uses of different kinds continue one running sum a shard, then the tree, then one REDUCE. */
Test(gradient, chain_of_kinds)
{
    struct fixture f = traced();
    struct ls_value *x = sample(&f, 0, LS_SHAPE(8, 3)), *w = variable(&f, 0, LS_SHAPE(3, 4)), *grad = NULL;
    struct ls_value *targets[2];
    int first;

    targets[0] = dense(f.context, x, w, false);
    targets[1] = lst_op2(f.context, LS_OP_ADD, broadcast4(f.context, x), w);
    first = ls_tape_count(f.context);
    lst_ok(ls_gradient(f.context, targets, NULL, 2, &w, 1, &grad, &f.err), &f.err, "gradient");
    cr_assert_str_eq(recorded(&f, first), "fill fill reshape row_sum reshape dense_wgrad reduce");
    cr_assert(ls_tape_node(f.context, first + 3)->attrs.batch.per_shard);
    cr_assert(ls_tape_node(f.context, first + 5)->attrs.batch.accumulate);
    cr_assert_not(ls_tape_node(f.context, first + 5)->attrs.batch.per_shard);
    finish(&f);
}

/* What comes through a sample-free op is reduced where that op begins and added after the tree. */
Test(gradient, sample_free_op)
{
    struct fixture f = traced();
    struct ls_value *x = sample(&f, 0, LS_SHAPE(8, 3)), *w = variable(&f, 0, LS_SHAPE(3, 4)), *y, *grad = NULL;
    int first;

    y = dense(f.context, x, w, false);
    y = lst_op2(f.context, LS_OP_ADD, y, dense(f.context, x, lst_op1(f.context, LS_OP_EXP, w), false));
    first = ls_tape_count(f.context);
    lst_ok(ls_gradient(f.context, &y, NULL, 1, &w, 1, &grad, &f.err), &f.err, "gradient");
    cr_assert_str_eq(recorded(&f, first), "fill dense_wgrad reduce mul dense_wgrad reduce add");
    finish(&f);
}

/* A source that no target depends on has no gradient, and nothing is recorded for it. */
Test(gradient, no_influence)
{
    struct fixture f = traced();
    struct ls_value *x = sample(&f, 0, LS_SHAPE(8, 3)), *w = variable(&f, 0, LS_SHAPE(3, 4)), *y, *grad = x;
    int first;

    y = lst_op1(f.context, LS_OP_EXP, x);
    dense(f.context, x, w, false);
    first = ls_tape_count(f.context);
    lst_ok(ls_gradient(f.context, &y, NULL, 1, &w, 1, &grad, &f.err), &f.err, "gradient");
    cr_assert_null(grad);
    cr_assert_eq(ls_tape_count(f.context), first);
    finish(&f);
}

/* An op without a gradient is an error that names it. */
Test(gradient, unsupported)
{
    struct fixture f = traced();
    struct ls_op_attrs attrs = {.pool2d = {.size = {2, 2}, .stride = {2, 2}}};
    struct ls_value *in[] = {sample(&f, 0, LS_SHAPE(8, 4, 4, 1)), sample(&f, 1, LS_SHAPE(8, 2, 2, 1))}, *grad = NULL;
    struct ls_value *y = lst_apply(f.context, LS_OP_MAX_POOL2D_GRAD, &attrs, in, 2);

    cr_assert_eq(ls_gradient(f.context, &y, NULL, 1, &in[1], 1, &grad, &f.err), LS_EUNSUPPORTED);
    cr_assert(strstr(f.err.message, "max_pool2d_grad") != NULL, "%s", f.err.message);
    finish(&f);
}

/* A partial sum is no target, and a seed must be like its target. */
Test(gradient, wrong_ends)
{
    struct fixture f = traced();
    struct ls_value *x = sample(&f, 0, LS_SHAPE(8, 3)), *w = variable(&f, 0, LS_SHAPE(3, 4)), *grad = NULL;
    struct ls_value *y = dense(f.context, x, w, false), *partial = lst_op1(f.context, LS_OP_ROW_SUM, y);

    cr_assert_eq(ls_gradient(f.context, &partial, NULL, 1, &w, 1, &grad, &f.err), LS_EINVAL);
    cr_assert_eq(ls_gradient(f.context, &y, &x, 1, &w, 1, &grad, &f.err), LS_EINVAL);
    cr_assert(strstr(f.err.message, "seed 0") != NULL, "%s", f.err.message);
    finish(&f);
}

/* ---- custom gradients ---- */

static enum ls_status clip_rule(void *state, struct ls_context *context, struct ls_value *in, struct ls_value *adjoint,
                                struct ls_value **in_adjoint, struct ls_error *err)
{
    const float *scale = state;

    (void)in;
    return ls_affine(context, adjoint, *scale, 0.0f, in_adjoint, err);
}

/* A custom gradient changes nothing forward and everything backward. */
Test(gradient, custom)
{
    struct ls_device_options device = LS_DEVICE_OPTIONS_DEFAULT;
    struct ls_context_options options = {.shards = ls_shards_of(2, 2, 0, 2)};
    struct ls_error err = LS_ERROR_INIT;
    struct ls_context *context = NULL;
    struct ls_value *x = NULL, *same = NULL, *y, *grad;
    float data[] = {1, -2, 3, 4}, scale = -10;

    lst_ok(ls_device_open("ref", &device, &options.device, &err), &err, "device");
    lst_ok(ls_context_create(&options, &context, &err), &err, "context");
    lst_ok(ls_value_input(context, 0, LS_F32, &LS_SHAPE(2, 2), LS_PER_SAMPLE, 1, data, &x, &err), &err, "input");
    lst_ok(ls_value_custom_gradient(context, x, clip_rule, &scale, &same, &err), &err, "custom");
    y = lst_op2(context, LS_OP_MUL, same, same);
    cr_assert_eq(memcmp(ls_value_view(same).data, data, sizeof(data)), 0);
    grad = gradient_of(context, y, x);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(((float *)ls_value_view(grad).data)[i], -20 * data[i]);
    ls_context_destroy(context);
    ls_device_close(options.device);
}
