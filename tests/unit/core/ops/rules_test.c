/* SPDX-License-Identifier: Apache-2.0 */
/* The op table: what comes out of an op, and that whatever would mix samples is refused by name. */
#include "core/ops/ops.h"
#include "core/ops/tape.h"
#include "tests/support/gradcheck.h"

#include <criterion/criterion.h>
#include <string.h>

struct fixture {
    struct ls_device *device;
    struct ls_context *context;
    struct ls_error err;
    struct ls_value *x; /* (6, 4), 6 samples */
    struct ls_value *image;
    struct ls_value *w; /* (4, 3) */
    struct ls_value *b; /* (4) */
    struct ls_value *partial;
};

static struct fixture setup(void)
{
    struct fixture f = {.err = LS_ERROR_INIT};
    struct ls_device_options device = LS_DEVICE_OPTIONS_DEFAULT;
    struct ls_context_options options = {.traced = true, .shards = ls_shards_of(6, 4, 0, 4)};

    lst_ok(ls_device_open("ref", &device, &options.device, &f.err), &f.err, "device");
    f.device = options.device;
    lst_ok(ls_context_create(&options, &f.context, &f.err), &f.err, "context");
    lst_ok(ls_value_input(f.context, 0, LS_F32, &LS_SHAPE(6, 4), LS_PER_SAMPLE, 1, NULL, &f.x, &f.err), &f.err, "x");
    lst_ok(ls_value_input(f.context, 1, LS_F32, &LS_SHAPE(6, 2, 2, 4), LS_PER_SAMPLE, 1, NULL, &f.image, &f.err),
           &f.err, "image");
    lst_ok(ls_value_variable(f.context, 0, LS_F32, &LS_SHAPE(4, 3), NULL, &f.w, &f.err), &f.err, "w");
    lst_ok(ls_value_variable(f.context, 1, LS_F32, &LS_SHAPE(4), NULL, &f.b, &f.err), &f.err, "b");
    f.partial = lst_op1(f.context, LS_OP_ROW_SUM, f.x);
    return f;
}

static void finish(struct fixture *f)
{
    ls_context_destroy(f->context);
    ls_device_close(f->device);
}

static void refused(struct fixture *f, enum ls_op op, const struct ls_op_attrs *attrs, struct ls_value *const *in,
                    int count)
{
    struct ls_value *out = NULL;
    int nodes = ls_tape_count(f->context);

    cr_assert_eq(ls_apply(f->context, op, attrs, in, count, &out, &f->err), LS_EINVAL, "%s was taken", ls_op_name(op));
    cr_assert_eq(strncmp(f->err.message, ls_op_name(op), strlen(ls_op_name(op))), 0, "%s", f->err.message);
    cr_assert_null(out);
    cr_assert_eq(ls_tape_count(f->context), nodes);
}
#define REFUSED(f, op, attrs, ...)                                 \
    refused(f, op, attrs, (struct ls_value *const[]){__VA_ARGS__}, \
            (int)(sizeof((struct ls_value *[]){__VA_ARGS__}) / sizeof(struct ls_value *)))

/* Every op has a name that leads back to it. */
Test(rules, names)
{
    for (int op = 0; op < LS_OP_COUNT; op++)
        cr_assert_eq(ls_op_from_name(ls_op_name(op)), (enum ls_op)op);
    cr_assert_eq(ls_op_from_name("convolve"), LS_OP_COUNT);
    cr_assert_str_eq(ls_op_name(LS_OP_COUNT), "?");
}

/* What would mix samples is an error that names the op. */
Test(rules, mixing_samples)
{
    struct fixture f = setup();
    struct ls_op_attrs along = {.slice = {.axis = 0, .begin = 0, .count = 2}};
    struct ls_op_attrs flat = {.reshape = {.shape = LS_SHAPE(4, 6)}}, none = {.reshape = {.shape = LS_SHAPE(24)}};
    struct ls_value *whole = NULL, *each = NULL;

    lst_ok(ls_value_variable(f.context, 2, LS_F32, &LS_SHAPE(6, 4), NULL, &whole, &f.err), &f.err, "variable");
    each = lst_op1(f.context, LS_OP_ROW_REDUCE_SUM, f.x);
    REFUSED(&f, LS_OP_SLICE, &along, f.x);
    REFUSED(&f, LS_OP_CONCAT, &along, f.x, f.x);
    REFUSED(&f, LS_OP_TRANSPOSE2D, NULL, f.x);
    REFUSED(&f, LS_OP_RESHAPE, &flat, f.x);
    REFUSED(&f, LS_OP_ADD, NULL, f.x, whole);
    REFUSED(&f, LS_OP_ADD, NULL, whole, f.x);
    REFUSED(&f, LS_OP_SOFTMAX, NULL, each);
    REFUSED(&f, LS_OP_ROW_REDUCE_SUM, NULL, each);
    REFUSED(&f, LS_OP_DENSE, NULL, f.x, f.x);
    REFUSED(&f, LS_OP_DENSE_WGRAD, NULL, f.x, whole);
    REFUSED(&f, LS_OP_ROW_SUM, NULL, whole);
    cr_assert_eq(ls_value_info(lst_apply(f.context, LS_OP_RESHAPE, &none, &f.x, 1))->rows_per_sample, 4);
    finish(&f);
}

/* A partial sum is taken by what finishes it and by nothing else. */
Test(rules, partial_sums)
{
    struct fixture f = setup();
    struct ls_op_attrs begin = {.batch = {.per_shard = true}}, go_on = {.batch = {.accumulate = true}};
    struct ls_value *running = lst_apply(f.context, LS_OP_ROW_SUM, &begin, &f.x, 1), *both[] = {running, f.x}, *end;

    cr_assert_eq(ls_value_info(f.partial)->distribution, LS_PARTIAL);
    REFUSED(&f, LS_OP_EXP, NULL, f.partial);
    REFUSED(&f, LS_OP_ADD, NULL, f.x, f.partial);
    REFUSED(&f, LS_OP_DENSE, NULL, f.x, f.w, f.partial);
    REFUSED(&f, LS_OP_SHARD_TREE, NULL, f.partial);
    REFUSED(&f, LS_OP_REDUCE, NULL, f.x);
    REFUSED(&f, LS_OP_REDUCE, NULL, running);
    REFUSED(&f, LS_OP_ROW_SUM, &go_on, f.partial, f.x);
    cr_assert(ls_value_is_per_shard(running));
    cr_assert(ls_shape_equal(&ls_value_info(running)->shape, &LS_SHAPE(4, 4)));
    end = lst_apply(f.context, LS_OP_ROW_SUM, &go_on, both, 2);
    cr_assert_not(ls_value_is_per_shard(end));
    cr_assert(ls_shape_equal(&ls_value_info(end)->shape, &LS_SHAPE(4)));
    end = lst_op1(f.context, LS_OP_REDUCE, lst_op1(f.context, LS_OP_SHARD_TREE, running));
    cr_assert_eq(ls_value_info(end)->distribution, LS_REPLICATED);
    finish(&f);
}

/* Wrong numbers of inputs, shapes and dtypes are errors that name the op. */
Test(rules, wrong_operands)
{
    struct fixture f = setup();
    struct ls_op_attrs to_i32 = {.cast = {.dtype = LS_I32}}, rate = {.dropout = {.rate = 1.0f}};
    struct ls_op_attrs conv = {.conv2d = {.stride = {1, 1}, .dilation = {1, 1}, .kernel = {3, 3}, .x_size = {2, 2}}};
    struct ls_op_attrs pool = {.pool2d = {.size = {3, 3}, .stride = {1, 1}}};
    struct ls_value *labels = lst_apply(f.context, LS_OP_CAST, &to_i32, &f.x, 1), *kernel = NULL, *flat = NULL;

    lst_ok(ls_value_variable(f.context, 3, LS_F32, &LS_SHAPE(3, 3, 4, 2), NULL, &kernel, &f.err), &f.err, "kernel");
    REFUSED(&f, LS_OP_EXP, NULL, f.x, f.x);
    REFUSED(&f, LS_OP_EXP, NULL, labels);
    REFUSED(&f, LS_OP_ADD, NULL, f.x, f.w);
    REFUSED(&f, LS_OP_DENSE, NULL, f.x, f.b);
    REFUSED(&f, LS_OP_DENSE, NULL, f.x, f.w, f.b);
    REFUSED(&f, LS_OP_CONV2D, &conv, f.image, kernel);
    REFUSED(&f, LS_OP_MAX_POOL2D, &pool, f.image);
    lst_ok(ls_value_input(f.context, 2, LS_F32, &LS_SHAPE(6, 0, 2, 4), LS_PER_SAMPLE, 1, NULL, &flat, &f.err), &f.err,
           "flat");
    REFUSED(&f, LS_OP_AVG_POOL_GLOBAL, NULL, flat);
    REFUSED(&f, LS_OP_SPARSE_SOFTMAX_XENT, NULL, f.x, labels);
    REFUSED(&f, LS_OP_DROPOUT, &rate, f.x);
    finish(&f);
}

/* A result whose elements cannot be counted is refused where it would be recorded. */
Test(rules, results_too_large)
{
    struct fixture f = setup();
    struct ls_op_attrs wide = {.rows = {.count = INT64_C(1) << 40}}, along = {.slice = {.axis = 1}};
    struct ls_value *once = lst_apply(f.context, LS_OP_ROW_BROADCAST, &wide, &f.x, 1), *huge = NULL;
    struct ls_value *parts[16];

    REFUSED(&f, LS_OP_ROW_BROADCAST, &wide, once);
    lst_ok(ls_value_variable(f.context, 4, LS_F32, &LS_SHAPE(1, INT64_C(1) << 60), NULL, &huge, &f.err), &f.err,
           "huge");
    for (int i = 0; i < 16; i++)
        parts[i] = huge;
    refused(&f, LS_OP_CONCAT, &along, parts, 16);
    finish(&f);
}

/* Rows of a sample: products keep them, pooling ends them, broadcasts of suffixes leave them alone. */
Test(rules, rows_of_a_sample)
{
    struct fixture f = setup();
    struct ls_value *rows = lst_reshape(f.context, f.image, LS_SHAPE(24, 4)), *in[] = {rows, f.w}, *y;

    cr_assert_eq(ls_value_info(rows)->rows_per_sample, 4);
    y = lst_apply(f.context, LS_OP_DENSE, NULL, in, 2);
    cr_assert_eq(ls_value_info(y)->rows_per_sample, 4);
    cr_assert(ls_shape_equal(&ls_value_info(y)->shape, &LS_SHAPE(24, 3)));
    y = lst_op1(f.context, LS_OP_AVG_POOL_GLOBAL, f.image);
    cr_assert(ls_shape_equal(&ls_value_info(y)->shape, &LS_SHAPE(6, 4)));
    y = lst_op2(f.context, LS_OP_MUL, f.image, f.b);
    cr_assert_eq(ls_value_info(y)->distribution, LS_PER_SAMPLE);
    REFUSED(&f, LS_OP_ADD, NULL, rows, lst_reshape(f.context, f.image, LS_SHAPE(48, 2)));
    finish(&f);
}
