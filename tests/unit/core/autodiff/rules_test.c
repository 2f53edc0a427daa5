/* SPDX-License-Identifier: Apache-2.0 */
/* Every op's gradient against central differences in f64: per-sample, replicated and mixed operands. */
#include "core/ops/batch_norm.h"
#include "tests/support/gradcheck.h"

#include <criterion/criterion.h>
#include <string.h>

#define SAMPLE(low_, high_, ...)                                                       \
    {                                                                                  \
        .shape = LS_SHAPE(__VA_ARGS__), .per_sample = true, .low = low_, .high = high_ \
    }
#define WHOLE(low_, high_, ...)                                    \
    {                                                              \
        .shape = LS_SHAPE(__VA_ARGS__), .low = low_, .high = high_ \
    }
#define LABELS(count_, ...)                                                  \
    {                                                                        \
        .shape = LS_SHAPE(__VA_ARGS__), .per_sample = true, .labels = count_ \
    }

struct op {
    enum ls_op op;
    struct ls_op_attrs attrs;
    int inputs;
};

static struct ls_value *build_op(struct ls_context *context, struct ls_value **sources, const void *arg)
{
    const struct op *op = arg;

    return lst_apply(context, op->op, &op->attrs, sources, op->inputs);
}

static void check_op(struct op op, const struct lst_source *sources)
{
    struct lst_gradcheck check = {.what = ls_op_name(op.op), .build = build_op, .arg = &op, .count = op.inputs};

    for (int i = 0; i < op.inputs; i++)
        check.sources[i] = sources[i];
    lst_gradcheck(&check);
}
#define CHECK(op_, inputs_, attrs_, ...) \
    check_op((struct op){.op = op_, .inputs = inputs_, .attrs = attrs_}, (const struct lst_source[]){__VA_ARGS__})
static const struct ls_op_attrs no_attrs;
#define NO_ATTRS no_attrs
#define ATTRS(...) ((struct ls_op_attrs){__VA_ARGS__})

/* Each op of one operand has the derivative of its formula, over samples and over a replicated value. */
Test(rules, unary)
{
    static const struct {
        enum ls_op op;
        double low, high;
    } ops[] = {{LS_OP_NEG, -2, 2},     {LS_OP_EXP, -2, 2},     {LS_OP_LOG, 0.3, 3},
               {LS_OP_TANH, -2, 2},    {LS_OP_SQRT, 0.3, 3},   {LS_OP_RELU, -2, 2},
               {LS_OP_SIGMOID, -3, 3}, {LS_OP_SOFTMAX, -2, 2}, {LS_OP_ROW_REDUCE_SUM, -2, 2}};

    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        CHECK(ops[i].op, 1, NO_ATTRS, SAMPLE(ops[i].low, ops[i].high, 1, 3, 5));
        CHECK(ops[i].op, 1, NO_ATTRS, WHOLE(ops[i].low, ops[i].high, 3, 5));
    }
    CHECK(LS_OP_AFFINE, 1, ATTRS(.affine = {.scale = 1.5f, .offset = -0.25f}), SAMPLE(-2, 2, 1, 5));
    CHECK(LS_OP_DROPOUT, 1, ATTRS(.dropout = {.rate = 0.4f, .stream = 3, .call = 1}), SAMPLE(-2, 2, 1, 9));
    CHECK(LS_OP_ROW_BROADCAST, 1, ATTRS(.rows = {.count = 4}), SAMPLE(-2, 2, 1, 3));
    CHECK(LS_OP_ROW_BROADCAST, 1, ATTRS(.rows = {.count = 4}), WHOLE(-2, 2, 3));
}

/* The gradient of a sum over an axis that holds nothing is an array that holds nothing. */
Test(rules, sum_of_nothing)
{
    CHECK(LS_OP_ROW_REDUCE_SUM, 1, NO_ATTRS, SAMPLE(-2, 2, 1, 3, 0));
    CHECK(LS_OP_ROW_REDUCE_SUM, 1, NO_ATTRS, WHOLE(-2, 2, 3, 0));
    CHECK(LS_OP_ROW_BROADCAST, 1, ATTRS(.rows = {.count = 0}), SAMPLE(-2, 2, 1, 3));
    CHECK(LS_OP_ROW_BROADCAST, 1, ATTRS(.rows = {.count = 0}), WHOLE(-2, 2, 3));
}

/* Each op of two operands: of one shape, with a replicated suffix or scalar, and both replicated. */
Test(rules, binary)
{
    static const enum ls_op ops[] = {LS_OP_ADD, LS_OP_SUB, LS_OP_MUL, LS_OP_DIV, LS_OP_MAXIMUM, LS_OP_MINIMUM};

    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        CHECK(ops[i], 2, NO_ATTRS, SAMPLE(0.5, 2, 1, 2, 3), SAMPLE(0.5, 2, 1, 2, 3));
        CHECK(ops[i], 2, NO_ATTRS, SAMPLE(0.5, 2, 1, 2, 3), WHOLE(0.5, 2, 3));
        CHECK(ops[i], 2, NO_ATTRS, SAMPLE(0.5, 2, 1, 2, 3), WHOLE(0.5, 2, 2, 3));
        CHECK(ops[i], 2, NO_ATTRS, SAMPLE(0.5, 2, 2, 4), {.shape = {.rank = 0}, .low = 0.5, .high = 2});
        CHECK(ops[i], 2, NO_ATTRS, WHOLE(0.5, 2, 4, 3), WHOLE(0.5, 2, 4, 3));
        CHECK(ops[i], 2, NO_ATTRS, WHOLE(0.5, 2, 4, 3), WHOLE(0.5, 2, 3));
    }
    CHECK(LS_OP_RELU_GRAD, 2, NO_ATTRS, SAMPLE(1, 2, 1, 3), SAMPLE(-1, 1, 1, 3));
}

/* Chosen elements of rows, and the rows that hold nothing else. */
Test(rules, gather)
{
    CHECK(LS_OP_GATHER_ROWS, 2, NO_ATTRS, SAMPLE(-2, 2, 1, 5), LABELS(5, 1));
    CHECK(LS_OP_SCATTER_ROWS, 2, ATTRS(.rows = {.count = 5}), SAMPLE(-2, 2, 1), LABELS(5, 1));
}

/* Products with and without bias and activation, in both layouts of w, over samples, positions and replicated rows. */
Test(rules, dense)
{
    for (int activation = 0; activation <= LS_ACTIVATION_RELU; activation++)
        for (int transposed = 0; transposed < 2; transposed++) {
            struct ls_op_attrs attrs = {.dense = {.transposed_w = transposed, .activation = activation}};
            int64_t k = 3, n = 4, w0 = transposed ? n : k, w1 = transposed ? k : n;

            CHECK(LS_OP_DENSE, 2, attrs, SAMPLE(-1, 1, 1, k), WHOLE(-1, 1, w0, w1));
            CHECK(LS_OP_DENSE, 3, attrs, SAMPLE(-1, 1, 1, k), WHOLE(-1, 1, w0, w1), WHOLE(-1, 1, n));
            CHECK(LS_OP_DENSE, 3, attrs, SAMPLE(-1, 1, 2, 2, k), WHOLE(-1, 1, w0, w1), WHOLE(-1, 1, n));
            CHECK(LS_OP_DENSE, 3, attrs, WHOLE(-1, 1, 5, k), WHOLE(-1, 1, w0, w1), WHOLE(-1, 1, n));
        }
}

/* Convolution with stride, dilation, padding, bias and activation; its adjoint with respect to the image; pooling. */
Test(rules, images)
{
    struct ls_conv2d_attrs conv = {.stride = {1, 2},
                                   .dilation = {2, 1},
                                   .pad_begin = {1, 0},
                                   .pad_end = {1, 1},
                                   .kernel = {2, 3},
                                   .x_size = {5, 6}};
    struct ls_pool2d_attrs pool = {.size = {2, 3}, .stride = {2, 1}, .pad_begin = {0, 1}, .pad_end = {1, 1}};

    CHECK(LS_OP_CONV2D, 2, ATTRS(.conv2d = conv), SAMPLE(-1, 1, 1, 5, 6, 2), WHOLE(-1, 1, 2, 3, 2, 3));
    conv.activation = LS_ACTIVATION_RELU;
    CHECK(LS_OP_CONV2D, 3, ATTRS(.conv2d = conv), SAMPLE(-1, 1, 1, 5, 6, 2), WHOLE(-1, 1, 2, 3, 2, 3), WHOLE(-1, 1, 3));
    conv.activation = LS_ACTIVATION_NONE;
    CHECK(LS_OP_CONV2D_XGRAD, 2, ATTRS(.conv2d = conv), SAMPLE(-1, 1, 1, 5, 3, 3), WHOLE(-1, 1, 2, 3, 2, 3));
    CHECK(LS_OP_MAX_POOL2D, 1, ATTRS(.pool2d = pool), SAMPLE(-1, 1, 1, 5, 6, 2));
    CHECK(LS_OP_AVG_POOL_GLOBAL, 1, NO_ATTRS, SAMPLE(-1, 1, 1, 3, 4, 2));
    CHECK(LS_OP_AVG_POOL_GLOBAL_GRAD, 1, ATTRS(.avg_pool_grad = {.h = 2, .w = 3}), SAMPLE(-1, 1, 1, 4));
}

static struct ls_value *build_sparse(struct ls_context *context, struct ls_value **sources, const void *arg)
{
    (void)arg;
    return lst_op2(context, LS_OP_SPARSE_SOFTMAX_XENT, sources[0], sources[1]);
}

static struct ls_value *build_targets(struct ls_context *context, struct ls_value **sources, const void *arg)
{
    const enum ls_op *op = arg;
    const struct ls_value_info *info = ls_value_info(sources[0]);
    struct ls_error err = LS_ERROR_INIT;
    struct ls_value *fixed = NULL;

    lst_ok(ls_fill(context, &info->shape, LS_PER_SAMPLE, info->rows_per_sample, 0.3f, &fixed, &err), &err, "fill");
    return lst_op2(context, *op, sources[0], fixed);
}

/* Losses with respect to their logits. */
Test(rules, losses)
{
    static const enum ls_op dense = LS_OP_SOFTMAX_XENT, binary = LS_OP_SIGMOID_XENT;

    lst_gradcheck(&(struct lst_gradcheck){.what = "sparse_softmax_xent",
                                          .build = build_sparse,
                                          .count = 2,
                                          .sources = {SAMPLE(-2, 2, 2, 6), LABELS(6, 2)}});
    lst_gradcheck(&(struct lst_gradcheck){
        .what = "softmax_xent", .build = build_targets, .arg = &dense, .count = 1, .sources = {SAMPLE(-2, 2, 1, 6)}});
    lst_gradcheck(&(struct lst_gradcheck){
        .what = "sigmoid_xent", .build = build_targets, .arg = &binary, .count = 1, .sources = {SAMPLE(-2, 2, 1, 6)}});
}

static struct ls_value *build_select_ge(struct ls_context *context, struct ls_value **sources, const void *arg)
{
    /* what is compared gets no adjoint: its derivative is 0 wherever there is one */
    struct ls_value *in[] = {lst_op2(context, LS_OP_SUB, sources[0], sources[1]), sources[1], sources[0], sources[1]};

    (void)arg;
    return lst_apply(context, LS_OP_SELECT_GE, NULL, in, 4);
}

static struct ls_value *build_layout(struct ls_context *context, struct ls_value **sources, const void *arg)
{
    struct ls_op_attrs concat = {.slice = {.axis = 2}}, slice = {.slice = {.axis = 2, .begin = 1, .count = 5}};
    struct ls_op_attrs pad = {.slice = {.axis = 1, .begin = 1, .total = 4}};
    struct ls_value *joined = lst_apply(context, LS_OP_CONCAT, &concat, sources, 2);
    struct ls_value *cut = lst_apply(context, LS_OP_SLICE, &slice, &joined, 1);
    struct ls_value *padded = lst_apply(context, LS_OP_PAD_SLICE, &pad, &cut, 1);

    (void)arg;
    return lst_reshape(context, padded, LS_SHAPE(ls_value_info(padded)->shape.dim[0] * 2, 10));
}

/* Joining, cutting, padding and reshaping samples; transposing and slicing what is replicated. */
Test(rules, layout)
{
    lst_gradcheck(&(struct lst_gradcheck){.what = "concat, slice, pad_slice, reshape",
                                          .build = build_layout,
                                          .count = 2,
                                          .sources = {SAMPLE(-2, 2, 1, 2, 4), SAMPLE(-2, 2, 1, 2, 3)}});
    CHECK(LS_OP_TRANSPOSE2D, 1, NO_ATTRS, WHOLE(-2, 2, 3, 4));
    CHECK(LS_OP_SLICE, 1, ATTRS(.slice = {.axis = 0, .begin = 1, .count = 2}), WHOLE(-2, 2, 4, 3));
    lst_gradcheck(&(struct lst_gradcheck){.what = "select_ge",
                                          .build = build_select_ge,
                                          .count = 2,
                                          .sources = {SAMPLE(-1, 1, 1, 3), SAMPLE(-1, 1, 1, 3)}});
}

static struct ls_value *build_reduced(struct ls_context *context, struct ls_value **sources, const void *arg)
{
    const struct op *op = arg;
    struct ls_value *partial = lst_apply(context, op->op, &op->attrs, sources, op->inputs);

    return lst_op1(context, LS_OP_REDUCE, partial);
}

static void check_reduced(struct op op, const struct lst_source *sources)
{
    struct lst_gradcheck check = {.what = ls_op_name(op.op), .build = build_reduced, .arg = &op, .count = op.inputs};

    for (int i = 0; i < op.inputs; i++)
        check.sources[i] = sources[i];
    lst_gradcheck(&check);
}
#define CHECK_REDUCED(op_, inputs_, attrs_, ...) \
    check_reduced((struct op){.op = op_, .inputs = inputs_, .attrs = attrs_}, (const struct lst_source[]){__VA_ARGS__})

/* Batch reductions behind a REDUCE, as gradients of gradients meet them. */
Test(rules, reductions)
{
    struct ls_conv2d_attrs conv = {.stride = {1, 1}, .dilation = {1, 1}, .kernel = {2, 2}, .x_size = {3, 4}};

    CHECK_REDUCED(LS_OP_ROW_SUM, 2, NO_ATTRS, SAMPLE(-1, 1, 1, 3), SAMPLE(-1, 1, 2, 3));
    CHECK_REDUCED(LS_OP_ROW_DOT, 2, NO_ATTRS, SAMPLE(-1, 1, 2, 3), SAMPLE(-1, 1, 2, 3));
    CHECK_REDUCED(LS_OP_DENSE_WGRAD, 4, NO_ATTRS, SAMPLE(-1, 1, 1, 3), SAMPLE(-1, 1, 1, 2), SAMPLE(-1, 1, 2, 3),
                  SAMPLE(-1, 1, 2, 2));
    CHECK_REDUCED(LS_OP_CONV2D_WGRAD, 2, ATTRS(.conv2d = conv), SAMPLE(-1, 1, 1, 3, 4, 2), SAMPLE(-1, 1, 1, 2, 3, 3));
}

static struct ls_value *build_batch_norm(struct ls_context *context, struct ls_value **sources, const void *arg)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_value *y = NULL, *mean = NULL, *var = NULL;

    (void)arg;
    lst_ok(ls_batch_norm_train(context, sources[0], sources[1], sources[2], 1e-3f, &y, &mean, &var, &err), &err, "bn");
    return y;
}

/* Batch normalisation with given statistics, and with those of the batch (through which its gradient passes). */
Test(rules, batch_norm)
{
    CHECK(LS_OP_BN_APPLY, 5, ATTRS(.bn = {.epsilon = 1e-3f}), SAMPLE(-2, 2, 2, 3), WHOLE(-1, 1, 3), WHOLE(0.5, 2, 3),
          WHOLE(0.5, 2, 3), WHOLE(-1, 1, 3));
    lst_gradcheck(&(struct lst_gradcheck){.what = "batch_norm_train",
                                          .build = build_batch_norm,
                                          .count = 3,
                                          .sources = {SAMPLE(-2, 2, 1, 2, 3), WHOLE(0.5, 2, 3), WHOLE(-1, 1, 3)}});
}

static enum ls_status count_sums(void *state, bool moments, const struct ls_view *partial,
                                 const struct ls_view *reduced, struct ls_error *err)
{
    (void)err;
    *(int *)state += !moments;
    memcpy(reduced->data, partial->data, ls_view_bytes(partial));
    return LS_OK;
}

/* Sums over the batch that the gradients of the given sources (x 1, gamma 2, beta 4) cost. */
static int sums_of(int sources)
{
    static float data[8] = {1, 2, 3, 4, 5, 6, 7, 9}, weights[4] = {1, 2, 3, 4};
    struct ls_device_options options = LS_DEVICE_OPTIONS_DEFAULT;
    struct ls_error err = LS_ERROR_INIT;
    int sums = 0, count = 0;
    struct ls_context_options made = {.shards = ls_shards_of(4, 2, 0, 2), .reduce = count_sums, .reduce_state = &sums};
    struct ls_context *context = NULL;
    struct ls_value *in[3] = {NULL}, *wanted[3], *grads[3], *y;

    lst_ok(ls_device_open("ref", &options, &made.device, &err), &err, "device");
    lst_ok(ls_context_create(&made, &context, &err), &err, "context");
    lst_ok(ls_value_input(context, 0, LS_F32, &LS_SHAPE(4, 2), LS_PER_SAMPLE, 1, data, &in[0], &err), &err, "x");
    for (int i = 1; i < 3; i++)
        lst_ok(ls_value_variable(context, i - 1, LS_F32, &LS_SHAPE(2), weights + 2 * (i - 1), &in[i], &err), &err, "w");
    y = build_batch_norm(context, in, NULL);
    for (int i = 0; i < 3; i++)
        if ((sources & 1 << i) != 0)
            wanted[count++] = in[i];
    lst_ok(ls_gradient(context, &y, NULL, 1, wanted, count, grads, &err), &err, "gradient");
    ls_context_destroy(context);
    ls_device_close(made.device);
    return sums;
}

/* Only the sums that a wanted gradient needs are reduced: a traced step drops the others, and an eager one waits for
 * the same reductions as its traced program. */
Test(rules, batch_norm_reduces_what_is_wanted)
{
    static const int expected[8] = {0, 2, 1, 2, 1, 2, 2, 2};

    for (int sources = 1; sources < 8; sources++)
        cr_expect_eq(sums_of(sources), expected[sources], "sources %d", sources);
}
