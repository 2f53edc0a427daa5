/* SPDX-License-Identifier: Apache-2.0 */
/* Products, convolution, pooling, batch reductions and normalisation in f64, each the shortest loop there is. */
#include "tests/support/f64_eval_internal.h"

#include <math.h>
#include <string.h>

static const struct ls_shape *shape_of(const struct ls_value *value)
{
    return &ls_value_info(value)->shape;
}

static int64_t last_of(const struct ls_value *value)
{
    const struct ls_shape *shape = shape_of(value);

    return shape->rank > 0 ? shape->dim[shape->rank - 1] : 1;
}

static void clear(const struct ls_value *value, double *data)
{
    memset(data, 0, (size_t)ls_shape_count(shape_of(value)) * sizeof(double));
}

static double activate(enum ls_activation activation, double x)
{
    return activation == LS_ACTIVATION_RELU && !(x > 0) ? 0 : x;
}

static void dense(const struct ls_node *node, const double *const *in, double *y)
{
    int64_t n = last_of(node->out), k = last_of(node->in[0]), rows = ls_shape_count(shape_of(node->in[0])) / k;

    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < n; c++) {
            double sum = node->in_count == 3 ? in[2][c] : 0;

            for (int64_t i = 0; i < k; i++)
                sum += in[0][r * k + i] * in[1][node->attrs.dense.transposed_w ? c * k + i : i * n + c];
            y[r * n + c] = activate(node->attrs.dense.activation, sum);
        }
}

/* Running sums (shards, ...) hold all in the first shard: only their sum means something here. */
static int begin_batch(const struct ls_node *node, const struct ls_batch_reduction *batch, const double *const *in,
                       double *out, const struct ls_shards *shards)
{
    int64_t count = ls_shape_count(shape_of(node->out)) / (batch->per_shard ? shards->count : 1);

    clear(node->out, out);
    for (int64_t i = 0; batch->accumulate && i < count * shards->count; i++)
        out[i % count] += in[0][i];
    return batch->accumulate ? 1 : 0;
}

static void dense_wgrad(const struct ls_node *node, const double *const *in, double *out,
                        const struct ls_shards *shards)
{
    for (int p = begin_batch(node, &node->attrs.batch, in, out, shards); p < node->in_count; p += 2) {
        int64_t k = last_of(node->in[p]), n = last_of(node->in[p + 1]);

        for (int64_t r = 0; r < ls_shape_count(shape_of(node->in[p])) / k; r++)
            for (int64_t i = 0; i < k * n; i++)
                out[i] += in[p][r * k + i / n] * in[p + 1][r * n + i % n];
    }
}

static void row_reduction(const struct ls_node *node, const double *const *in, double *out,
                          const struct ls_shards *shards)
{
    int width = node->op == LS_OP_ROW_DOT ? 2 : 1;

    for (int p = begin_batch(node, &node->attrs.batch, in, out, shards); p < node->in_count; p += width)
        for (int64_t i = 0; i < ls_shape_count(shape_of(node->in[p])); i++)
            out[i % last_of(node->in[p])] += in[p][i] * (width == 2 ? in[p + 1][i] : 1);
}

/* One multiply-add of a convolution: offsets into x, w and y of tap (n, oy, ox, ky, kx, ci, co). */
struct tap {
    int64_t x, w, y;
};

typedef void (*tap_fn)(const double *const *in, double *out, struct tap tap);

static void forward_tap(const double *const *in, double *out, struct tap tap)
{
    out[tap.y] += in[0][tap.x] * in[1][tap.w];
}
static void xgrad_tap(const double *const *in, double *out, struct tap tap)
{
    out[tap.x] += in[0][tap.y] * in[1][tap.w];
}
static void wgrad_tap(const double *const *in, double *out, struct tap tap)
{
    out[tap.w] += in[0][tap.x] * in[1][tap.y];
}

static void convolve(const struct ls_conv2d_attrs *a, const struct ls_shape *x, const struct ls_shape *y, tap_fn fn,
                     const double *const *in, double *out)
{
    int64_t ci = x->dim[3], co = y->dim[3], taps = (int64_t)a->kernel[0] * a->kernel[1] * ci * co;

    for (int64_t place = 0; place < x->dim[0] * y->dim[1] * y->dim[2]; place++)
        for (int64_t t = 0; t < taps; t++) {
            int64_t ox = place % y->dim[2], oy = place / y->dim[2] % y->dim[1], n = place / (y->dim[2] * y->dim[1]);
            int64_t o = t % co, i = t / co % ci, kx = t / (co * ci) % a->kernel[1], ky = t / (co * ci * a->kernel[1]);
            int64_t ix = ox * a->stride[1] + kx * a->dilation[1] - a->pad_begin[1];
            int64_t iy = oy * a->stride[0] + ky * a->dilation[0] - a->pad_begin[0];

            if (ix >= 0 && ix < x->dim[2] && iy >= 0 && iy < x->dim[1])
                fn(in, out,
                   (struct tap){.x = ((n * x->dim[1] + iy) * x->dim[2] + ix) * ci + i, .w = t, .y = place * co + o});
        }
}

static void conv2d(const struct ls_node *node, const double *const *in, double *out, const struct ls_shards *shards)
{
    const struct ls_conv2d_attrs *a = &node->attrs.conv2d;

    if (node->op == LS_OP_CONV2D_WGRAD) {
        for (int p = begin_batch(node, &a->batch, in, out, shards); p < node->in_count; p += 2)
            convolve(a, shape_of(node->in[p]), shape_of(node->in[p + 1]), wgrad_tap, in + p, out);
        return;
    }
    clear(node->out, out);
    if (node->op == LS_OP_CONV2D_XGRAD) {
        convolve(a, shape_of(node->out), shape_of(node->in[0]), xgrad_tap, in, out);
        return;
    }
    convolve(a, shape_of(node->in[0]), shape_of(node->out), forward_tap, in, out);
    for (int64_t i = 0; i < ls_shape_count(shape_of(node->out)); i++)
        out[i] = activate(a->activation, out[i] + (node->in_count == 3 ? in[2][i % last_of(node->out)] : 0));
}

/* Index of the maximum that place (of the pooled image) takes. */
static int64_t winner(const struct ls_pool2d_attrs *a, const struct ls_shape *x, const struct ls_shape *y,
                      const double *data, int64_t place)
{
    int64_t c = place % y->dim[3], ox = place / y->dim[3] % y->dim[2], oy = place / (y->dim[3] * y->dim[2]) % y->dim[1];
    int64_t n = place / (y->dim[3] * y->dim[2] * y->dim[1]), best = -1;

    for (int64_t t = 0; t < (int64_t)a->size[0] * a->size[1]; t++) {
        int64_t iy = oy * a->stride[0] + t / a->size[1] - a->pad_begin[0];
        int64_t ix = ox * a->stride[1] + t % a->size[1] - a->pad_begin[1];
        int64_t at = ((n * x->dim[1] + iy) * x->dim[2] + ix) * x->dim[3] + c;

        if (ix >= 0 && ix < x->dim[2] && iy >= 0 && iy < x->dim[1] && (best < 0 || data[at] > data[best]))
            best = at;
    }
    return best;
}

static void max_pool(const struct ls_node *node, const double *const *in, double *out)
{
    bool grad = node->op == LS_OP_MAX_POOL2D_GRAD;
    const struct ls_shape *x = shape_of(node->in[0]), *y = shape_of(grad ? node->in[1] : node->out);

    if (grad)
        clear(node->out, out);
    for (int64_t place = 0; place < ls_shape_count(y); place++) {
        int64_t at = winner(&node->attrs.pool2d, x, y, in[0], place);

        if (grad)
            out[at] += in[1][place];
        else
            out[place] = in[0][at];
    }
}

static void avg_pool(const struct ls_node *node, const double *const *in, double *out)
{
    bool grad = node->op == LS_OP_AVG_POOL_GLOBAL_GRAD;
    const struct ls_shape *x = shape_of(grad ? node->out : node->in[0]);
    int64_t area = x->dim[1] * x->dim[2], c = x->dim[3];

    if (!grad)
        clear(node->out, out);
    for (int64_t i = 0; i < ls_shape_count(x); i++) {
        int64_t to = i / (area * c) * c + i % c;

        if (grad)
            out[i] = in[0][to] / (double)area;
        else
            out[to] += in[0][i] / (double)area;
    }
}

static void moments(const struct ls_node *node, const double *const *in, double *out)
{
    int64_t c = last_of(node->in[0]), rows = ls_shape_count(shape_of(node->in[0])) / c;

    clear(node->out, out);
    for (int64_t i = 0; i < rows * c; i++) {
        out[i % c] += 1;
        out[c + i % c] += in[0][i] / (double)rows;
    }
    for (int64_t i = 0; i < rows * c; i++)
        out[2 * c + i % c] += (in[0][i] - out[c + i % c]) * (in[0][i] - out[c + i % c]);
}

static void batch_norm(const struct ls_node *node, const double *const *in, double *out)
{
    int64_t c = last_of(node->in[0]);

    for (int64_t i = 0; i < ls_shape_count(shape_of(node->out)); i++) {
        int64_t k = i % c;
        double inv = 1 / sqrt(in[2][k] + (double)node->attrs.bn.epsilon);

        if (node->op == LS_OP_BN_XGRAD)
            out[i] = in[3][k] * inv * (in[1][i] - in[4][k] / in[6][k] - in[0][i] * in[5][k] / in[6][k]);
        else if (node->op == LS_OP_BN_XHAT)
            out[i] = (in[0][i] - in[1][k]) * inv;
        else
            out[i] = (in[0][i] - in[1][k]) * inv * in[3][k] + in[4][k];
    }
}

bool lst_f64_images(const struct ls_context *context, const struct ls_node *node, const double *const *in, double *out)
{
    const struct ls_shards *shards = ls_context_shards(context);

    switch (node->op) {
    case LS_OP_DENSE:
        dense(node, in, out);
        return true;
    case LS_OP_DENSE_WGRAD:
        dense_wgrad(node, in, out, shards);
        return true;
    case LS_OP_CONV2D:
    case LS_OP_CONV2D_XGRAD:
    case LS_OP_CONV2D_WGRAD:
        conv2d(node, in, out, shards);
        return true;
    case LS_OP_ROW_SUM:
    case LS_OP_ROW_DOT:
        row_reduction(node, in, out, shards);
        return true;
    case LS_OP_MAX_POOL2D:
    case LS_OP_MAX_POOL2D_GRAD:
        max_pool(node, in, out);
        return true;
    case LS_OP_AVG_POOL_GLOBAL:
    case LS_OP_AVG_POOL_GLOBAL_GRAD:
        avg_pool(node, in, out);
        return true;
    case LS_OP_SUM_F64:
    case LS_OP_SUM_I64:
        out[0] = 0;
        for (int64_t i = 0; i < ls_shape_count(shape_of(node->in[0])); i++)
            out[0] += in[0][i];
        return true;
    case LS_OP_MOMENTS:
        moments(node, in, out);
        return true;
    case LS_OP_BN_APPLY:
    case LS_OP_BN_XHAT:
    case LS_OP_BN_XGRAD:
        batch_norm(node, in, out);
        return true;
    default:
        return false;
    }
}
