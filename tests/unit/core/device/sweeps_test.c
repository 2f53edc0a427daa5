/* SPDX-License-Identifier: Apache-2.0 */
/* Optimizer sweeps and tree sums: formulas on few values, then every device against the reference. */
#include "tests/support/kernels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

struct slices {
    int64_t count;
    struct ls_view in[4], expected[3], out[3];
};

static void make_slices(struct slices *s, int64_t count, enum lst_values values)
{
    s->count = count;
    for (int k = 0; k < 4; k++)
        s->in[k] = lst_view(LS_F32, LS_SHAPE(count), values);
    for (int64_t i = 0; i < count; i++) /* second moments are not negative */
        ((float *)s->in[3].data)[i] = fabsf(((float *)s->in[3].data)[i]);
    for (int k = 0; k < 3; k++) {
        s->expected[k] = lst_view_empty(LS_F32, LS_SHAPE(count));
        s->out[k] = lst_view_empty(LS_F32, LS_SHAPE(count));
    }
}

static void free_slices(struct slices *s)
{
    for (int k = 0; k < 4; k++)
        lst_view_free(&s->in[k]);
    for (int k = 0; k < 3; k++) {
        lst_view_free(&s->expected[k]);
        lst_view_free(&s->out[k]);
    }
}

static struct ls_adam_args adam_args(struct slices *s, struct ls_view *out)
{
    return (struct ls_adam_args){s->count,    s->in[0].data, s->in[1].data, s->in[2].data, s->in[3].data, out[0].data,
                                 out[1].data, out[2].data,   0.00316f,      0.1f,          0.001f,        1e-7f};
}

static void adam_on(struct ls_device *device, const char *name, void *state)
{
    struct slices *s = state;
    struct ls_adam_args args = adam_args(s, s->out);

    ls_device_adam(device, &args);
    for (int k = 0; k < 3; k++)
        cr_assert(lst_view_same(&s->out[k], &s->expected[k]), "adam output %d on %s", k, name);
    /* The same in place. */
    for (int k = 0; k < 3; k++)
        memcpy(s->out[k].data, s->in[k ? k + 1 : 0].data, ls_view_bytes(&s->out[k]));
    args.w = args.w_out;
    args.m = args.m_out;
    args.v = args.v_out;
    ls_device_adam(device, &args);
    for (int k = 0; k < 3; k++)
        cr_assert(lst_view_same(&s->out[k], &s->expected[k]), "adam in place, output %d on %s", k, name);
}

/* Adam gives the reference's bits on every device, out of place and in place. */
Test(sweeps, adam_equals_the_reference)
{
    for (int round = 0; round < 60; round++) {
        struct slices s;
        struct ls_adam_args args;

        make_slices(&s, round % 6 ? lst_between(1, 300) : lst_between(9000, 50000), (enum lst_values)(round % 3));
        args = adam_args(&s, s.expected);
        ls_device_adam(lst_ref(), &args);
        lst_each_device(adam_on, &s);
        free_slices(&s);
    }
}

static int sgd_kind; /* 0 plain, 1 momentum, 2 Nesterov */

static struct ls_sgd_args sgd_args(struct slices *s, struct ls_view *out)
{
    return (struct ls_sgd_args){s->count,      s->in[0].data,
                                s->in[1].data, sgd_kind ? s->in[2].data : NULL,
                                out[0].data,   sgd_kind ? out[1].data : NULL,
                                0.01f,         0.9f,
                                sgd_kind == 2};
}

static void sgd_on(struct ls_device *device, const char *name, void *state)
{
    struct slices *s = state;
    struct ls_sgd_args args = sgd_args(s, s->out);

    ls_device_sgd(device, &args);
    for (int k = 0; k < (sgd_kind ? 2 : 1); k++)
        cr_assert(lst_view_same(&s->out[k], &s->expected[k]), "sgd kind %d output %d on %s", sgd_kind, k, name);
}

/* SGD, with momentum and with Nesterov's, gives the reference's bits on every device. */
Test(sweeps, sgd_equals_the_reference)
{
    for (int round = 0; round < 90; round++) {
        struct slices s;
        struct ls_sgd_args args;

        sgd_kind = round % 3;
        make_slices(&s, round % 6 ? lst_between(1, 300) : lst_between(9000, 50000), (enum lst_values)(round / 3 % 3));
        args = sgd_args(&s, s.expected);
        ls_device_sgd(lst_ref(), &args);
        lst_each_device(sgd_on, &s);
        free_slices(&s);
    }
}

/* One step of Adam from zero slots moves a weight by nearly the learning rate; a slot below 2^-126 becomes +0. */
Test(sweeps, adam_formula)
{
    float w[2] = {1.0f, 1.0f}, g[2] = {0.5f, -0x1p-140f}, m[2] = {0}, v[2] = {0};
    struct ls_adam_args args = {2,    w,      g,    m, v, w, m, v, 0.01f * sqrtf(1.0f - 0.999f) / (1.0f - 0.9f),
                                0.1f, 0.001f, 1e-7f};

    ls_device_adam(lst_ref(), &args);
    cr_assert_float_eq(w[0], 0.99f, 1e-6f);
    cr_assert_float_eq(m[0], 0.05f, 1e-7f);
    cr_assert_float_eq(v[0], 0.00025f, 1e-7f);
    cr_assert(w[1] == 1.0f && m[1] == 0.0f && !signbit(m[1]) && v[1] == 0.0f);
}

/* SGD follows Keras: v = momentum v - lr g, w + v; Nesterov adds momentum v - lr g. */
Test(sweeps, sgd_formula)
{
    float w = 1.0f, g = 2.0f, v = 0.5f, w_out, v_out;
    struct ls_sgd_args args = {1, &w, &g, NULL, &w_out, NULL, 0.25f, 0.5f, false};

    ls_device_sgd(lst_ref(), &args);
    cr_assert_eq(w_out, 0.5f);
    args.v = &v;
    args.v_out = &v_out;
    ls_device_sgd(lst_ref(), &args);
    cr_assert(v_out == -0.25f && w_out == 0.75f);
    args.nesterov = true;
    ls_device_sgd(lst_ref(), &args);
    cr_assert(v_out == -0.25f && w_out == 0.375f);
}

struct tree_case {
    struct ls_tree_program program;
    const void *leaves[LS_MAX_SHARDS];
    struct ls_view expected, out;
};

static void tree_on(struct ls_device *device, const char *name, void *state)
{
    struct tree_case *t = state;

    ls_device_tree_sum(device, LS_F32, &t->program, t->leaves, t->out.data, t->out.shape.dim[0]);
    cr_assert(lst_view_same(&t->out, &t->expected), "tree of %d codes on %s", t->program.length, name);
}

/* Tree sums over any set of leaves give the reference's bits on every device. */
Test(sweeps, tree_sums_equal_the_reference)
{
    static struct tree_case t;

    for (int round = 0; round < 80; round++) {
        int total = 1 << lst_random(8), leaves = 0;
        int64_t count = round % 5 ? lst_between(1, 300) : lst_between(5000, 30000);
        struct ls_range ranges[LS_MAX_SHARDS];
        struct ls_view views[LS_MAX_SHARDS];

        for (int v = 0; v < total; v++) {
            if (lst_random(4) || (leaves == 0 && v == total - 1))
                ranges[leaves++] = (struct ls_range){v, 1};
        }
        ls_tree_program_build(ranges, leaves, total, &t.program);
        for (int k = 0; k < leaves; k++) {
            views[k] = lst_view(LS_F32, LS_SHAPE(count), (enum lst_values)(round % 3));
            t.leaves[k] = views[k].data;
        }
        t.expected = lst_view_empty(LS_F32, LS_SHAPE(count));
        t.out = lst_view_empty(LS_F32, LS_SHAPE(count));
        ls_device_tree_sum(lst_ref(), LS_F32, &t.program, t.leaves, t.expected.data, count);
        lst_each_device(tree_on, &t);
        for (int k = 0; k < leaves; k++)
            lst_view_free(&views[k]);
        lst_view_free(&t.expected);
        lst_view_free(&t.out);
    }
}

/* Four leaves of very different size show the order: (a + b) + (c + d). */
Test(sweeps, tree_order)
{
    float a = 1.0f, b = 0x1p-24f, c = 0x1p-24f, d = 0x1p-24f, out;
    const void *leaves[] = {&a, &b, &c, &d};
    struct ls_range ranges[] = {{0, 1}, {1, 1}, {2, 1}, {3, 1}};
    struct ls_tree_program program;

    ls_tree_program_build(ranges, 4, 4, &program);
    ls_device_tree_sum(lst_ref(), LS_F32, &program, leaves, &out, 1);
    cr_assert_eq(out, 1.0f + 0x1p-23f);
}
