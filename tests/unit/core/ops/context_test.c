/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts: eager results, recording, constants, the reduce hook, starting over, and memory that runs short. */
#include "core/ops/context.h"

#include "core/base/alloc.h"
#include "core/ops/batch_norm.h"
#include "core/ops/tape.h"
#include "tests/support/gradcheck.h"

#include <criterion/criterion.h>
#include <string.h>

static const float data[] = {1, 2, 3, 4, 5, 6, 7, 8};

struct fixture {
    struct ls_context_options options;
    struct ls_context *context;
    struct ls_error err;
};

static struct fixture setup(void)
{
    struct fixture f = {.options = {.shards = ls_shards_of(4, 2, 0, 2)}, .err = LS_ERROR_INIT};
    struct ls_device_options device = LS_DEVICE_OPTIONS_DEFAULT;

    lst_ok(ls_device_open("ref", &device, &f.options.device, &f.err), &f.err, "device");
    lst_ok(ls_context_create(&f.options, &f.context, &f.err), &f.err, "context");
    return f;
}

static void finish(struct fixture *f)
{
    ls_context_destroy(f->context);
    ls_device_close(f->options.device);
}

static struct ls_value *input(struct fixture *f)
{
    struct ls_value *x = NULL;

    lst_ok(
        ls_value_input(f->context, 0, LS_F32, &LS_SHAPE(4, 2), LS_PER_SAMPLE, 1, (void *)(uintptr_t)data, &x, &f->err),
        &f->err, "input");
    return x;
}

/* An eager op's result is there at once, and a reshape is the same memory. */
Test(context, eager)
{
    struct fixture f = setup();
    struct ls_value *y = lst_op1(f.context, LS_OP_NEG, input(&f)), *z = lst_reshape(f.context, y, LS_SHAPE(8, 1));

    for (int i = 0; i < 8; i++)
        cr_assert_eq(((const float *)ls_value_view(y).data)[i], -data[i]);
    cr_assert_eq(ls_value_view(y).data, ls_value_view(z).data);
    finish(&f);
}

/* Recording can be stopped and resumed; a traced context always records and has no bytes. */
Test(context, recording)
{
    struct fixture f = setup();
    struct ls_value *x = input(&f);

    lst_op1(f.context, LS_OP_NEG, x);
    ls_context_record(f.context, false);
    lst_op1(f.context, LS_OP_NEG, x);
    cr_assert_eq(ls_tape_count(f.context), 1);
    ls_context_record(f.context, true);
    lst_op1(f.context, LS_OP_NEG, x);
    cr_assert_eq(ls_tape_count(f.context), 2);
    ls_context_destroy(f.context);
    f.options.traced = true;
    lst_ok(ls_context_create(&f.options, &f.context, &f.err), &f.err, "context");
    ls_context_record(f.context, false);
    x = lst_op1(f.context, LS_OP_NEG, input(&f));
    cr_assert_eq(ls_tape_count(f.context), 1);
    cr_assert_null(ls_value_view(x).data);
    finish(&f);
}

static enum ls_status doubled(void *state, bool moments, const struct ls_view *partial, const struct ls_view *reduced,
                              struct ls_error *err)
{
    (void)err;
    *(int *)state += moments ? 10 : 1;
    for (int64_t i = 0; i < ls_shape_count(&partial->shape); i++)
        ((float *)reduced->data)[i] = 2 * ((const float *)partial->data)[i];
    return LS_OK;
}

/* A REDUCE goes through the hook; without one the partial is the value. */
Test(context, reduce_hook)
{
    struct fixture f = setup();
    struct ls_value *sum = lst_op1(f.context, LS_OP_REDUCE, lst_op1(f.context, LS_OP_ROW_SUM, input(&f)));
    int calls = 0;

    cr_assert_eq(((const float *)ls_value_view(sum).data)[1], 20);
    ls_context_destroy(f.context);
    f.options.reduce = doubled;
    f.options.reduce_state = &calls;
    lst_ok(ls_context_create(&f.options, &f.context, &f.err), &f.err, "context");
    sum = lst_op1(f.context, LS_OP_REDUCE, lst_op1(f.context, LS_OP_ROW_SUM, input(&f)));
    cr_assert_eq(((const float *)ls_value_view(sum).data)[1], 40);
    cr_assert_eq(calls, 1);
    finish(&f);
}

/* A constant keeps the bytes it was given; values that do not fit the call are refused. */
Test(context, entering)
{
    struct fixture f = setup();
    struct ls_value *value = NULL;
    float number = 7;

    lst_ok(ls_value_constant(f.context, LS_F32, &LS_SHAPE_SCALAR, &number, &value, &f.err), &f.err, "constant");
    number = 0;
    cr_assert_eq(*(const float *)ls_value_view(value).data, 7);
    cr_assert_eq(ls_value_input(f.context, 3, LS_F32, &LS_SHAPE(5, 2), LS_PER_SAMPLE, 1, &number, &value, &f.err),
                 LS_EINVAL);
    cr_assert(strstr(f.err.message, "input 3") != NULL, "%s", f.err.message);
    /* 2^62 + 1 rows for each of 4 samples are not 4 rows */
    cr_assert_eq(ls_value_input(f.context, 0, LS_F32, &LS_SHAPE(4, 2), LS_PER_SAMPLE, (INT64_C(1) << 62) + 1, &number,
                                &value, &f.err),
                 LS_EINVAL);
    cr_assert_eq(ls_value_input(f.context, 0, LS_F32, &LS_SHAPE(2), LS_PARTIAL, 0, &number, &value, &f.err), LS_EINVAL);
    cr_assert_eq(ls_value_variable(f.context, 0, LS_F32, &LS_SHAPE(2), NULL, &value, &f.err), LS_EINVAL);
    finish(&f);
}

/* A context starts over with another call's shards. */
Test(context, restart)
{
    struct fixture f = setup();
    struct ls_shards shards = ls_shards_of(1, 2, 0, 2);
    struct ls_step_info step = {.step = 8};
    struct ls_value *x = NULL;

    lst_op1(f.context, LS_OP_NEG, input(&f));
    ls_context_restart(f.context, &shards, &step);
    cr_assert_eq(ls_tape_count(f.context), 0);
    cr_assert_eq(ls_context_step(f.context)->step, 8);
    lst_ok(ls_value_input(f.context, 0, LS_F32, &LS_SHAPE(1, 2), LS_PER_SAMPLE, 1, (void *)(uintptr_t)data, &x, &f.err),
           &f.err, "input");
    finish(&f);
}

/* Applying ops survives any allocation that fails, with an error and nothing lost. */
Test(context, out_of_memory)
{
    struct fixture f = setup();
    float ones[] = {1, 1};
    enum ls_status status = LS_ENOMEM;

    for (uint64_t nth = 1; status != LS_OK; nth++) {
        struct ls_value *x, *w = NULL, *y = NULL, *mean = NULL, *var = NULL;

        ls_context_destroy(f.context);
        lst_ok(ls_context_create(&f.options, &f.context, &f.err), &f.err, "context");
        x = input(&f);
        ls_alloc_fail_after(nth);
        status = ls_value_variable(f.context, 0, LS_F32, &LS_SHAPE(2), ones, &w, &f.err);
        if (status == LS_OK)
            status = ls_batch_norm_train(f.context, x, w, w, 1e-3f, &y, &mean, &var, &f.err);
        ls_alloc_fail_after(0);
        cr_assert(status == LS_OK || status == LS_ENOMEM, "%s", f.err.message);
        cr_assert_lt(nth, 200);
    }
    finish(&f);
}
