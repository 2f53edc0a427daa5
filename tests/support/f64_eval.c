/* SPDX-License-Identifier: Apache-2.0 */
/* Values of a tape in f64, and the ops along elements, rows and layout; products and images: f64_eval_images.c. */
#include "tests/support/f64_eval.h"

#include "core/base/alloc.h"
#include "core/base/philox.h"
#include "tests/support/f64_eval_internal.h"

#include <math.h>
#include <string.h>

struct lst_f64 {
    const struct ls_context *context;
    double **data;
    int count, node_count; /* when it was made: what is recorded later is left alone */
};

static int64_t count_of(const struct ls_value *value)
{
    return ls_shape_count(&ls_value_info(value)->shape);
}

static int64_t last_of(const struct ls_value *value)
{
    const struct ls_shape *shape = &ls_value_info(value)->shape;

    return shape->rank > 0 ? shape->dim[shape->rank - 1] : 1;
}

static double element(const struct ls_view *view, int64_t i)
{
    switch (view->dtype) {
    case LS_F32:
        return (double)((const float *)view->data)[i];
    case LS_F64:
        return ((const double *)view->data)[i];
    case LS_I32:
        return ((const int32_t *)view->data)[i];
    case LS_I64:
        return (double)((const int64_t *)view->data)[i];
    default:
        return ((const uint8_t *)view->data)[i];
    }
}

static void load(struct lst_f64 *eval, const struct ls_value *value)
{
    struct ls_view view = ls_value_view(value);
    int id = ls_value_id(value);

    if (eval->data[id] != NULL)
        return;
    eval->data[id] = ls_alloc_zeroed((size_t)count_of(value), sizeof(double));
    for (int64_t i = 0; i < count_of(value); i++)
        eval->data[id][i] = element(&view, i);
}

struct lst_f64 *lst_f64_create(const struct ls_context *context)
{
    struct lst_f64 *eval = ls_alloc_zeroed(1, sizeof(*eval));

    eval->context = context;
    eval->count = ls_value_count(context);
    eval->node_count = ls_tape_count(context);
    eval->data = ls_alloc_zeroed((size_t)eval->count, sizeof(double *));
    for (int i = 0; i < eval->node_count; i++) {
        const struct ls_node *node = ls_tape_node(context, i);

        for (int j = 0; j < node->in_count; j++)
            load(eval, node->in[j]);
        load(eval, node->out);
    }
    return eval;
}

void lst_f64_destroy(struct lst_f64 *eval)
{
    for (int i = 0; i < eval->count; i++)
        ls_free(eval->data[i]);
    ls_free(eval->data);
    ls_free(eval);
}

double *lst_f64_of(struct lst_f64 *eval, const struct ls_value *value)
{
    load(eval, value);
    return eval->data[ls_value_id(value)];
}

/* ---- elements ---- */

static double softplus_of_minus_abs(double x)
{
    return log1p(exp(-fabs(x)));
}

static double unary(const struct ls_node *node, double x)
{
    switch (node->op) {
    case LS_OP_NEG:
        return -x;
    case LS_OP_EXP:
        return exp(x);
    case LS_OP_LOG:
        return log(x);
    case LS_OP_TANH:
        return tanh(x);
    case LS_OP_SQRT:
        return sqrt(x);
    case LS_OP_RELU:
        return x > 0 ? x : 0;
    case LS_OP_SIGMOID:
        return 1 / (1 + exp(-x));
    case LS_OP_AFFINE:
        return x * (double)node->attrs.affine.scale + (double)node->attrs.affine.offset;
    case LS_OP_FILL:
        return (double)node->attrs.fill.value;
    default:
        return x; /* CAST, RESHAPE, REDUCE */
    }
}

static double binary(const struct ls_node *node, double x, double y)
{
    switch (node->op) {
    case LS_OP_ADD:
        return x + y;
    case LS_OP_SUB:
        return x - y;
    case LS_OP_MUL:
        return x * y;
    case LS_OP_DIV:
        return x / y;
    case LS_OP_MAXIMUM:
        return x >= y ? x : y;
    case LS_OP_MINIMUM:
        return y >= x ? x : y;
    case LS_OP_RELU_GRAD:
        return x > 0 ? y : 0;
    default: /* SIGMOID_XENT */
        return (x > 0 ? x : 0) - x * y + softplus_of_minus_abs(x);
    }
}

static void dropout(const struct ls_context *context, const struct ls_node *node, const double *x, double *y)
{
    const struct ls_shards *shards = ls_context_shards(context);
    const struct ls_step_info *step = ls_context_step(context);
    int64_t samples = shards->offset[shards->count], each = count_of(node->out) / samples;
    float rate = node->attrs.dropout.rate;
    struct ls_philox_key key = ls_philox_key_of(step->seed, node->attrs.dropout.stream, node->attrs.dropout.call);

    for (int64_t i = 0; i < count_of(node->out); i++) {
        uint32_t words[4];

        ls_philox_block(key, step->step, (uint64_t)(shards->first_sample + i / each), (uint32_t)(i % each / 4), words);
        y[i] = ls_philox_unit(words[i % each % 4]) >= rate ? x[i] / (1 - (double)rate) : 0;
    }
}

static bool elements(const struct ls_context *context, const struct ls_node *node, const double *const *in, double *out)
{
    int64_t count = count_of(node->out), b_count = node->in_count > 1 ? count_of(node->in[1]) : 1;

    if (node->op == LS_OP_DROPOUT) {
        dropout(context, node, in[0], out);
        return true;
    }
    for (int64_t i = 0; i < count; i++)
        switch (node->op) {
        case LS_OP_FILL:
            out[i] = unary(node, 0);
            break;
        case LS_OP_NEG:
        case LS_OP_EXP:
        case LS_OP_LOG:
        case LS_OP_TANH:
        case LS_OP_SQRT:
        case LS_OP_RELU:
        case LS_OP_SIGMOID:
        case LS_OP_AFFINE:
        case LS_OP_CAST:
        case LS_OP_RESHAPE:
        case LS_OP_REDUCE:
            out[i] = unary(node, in[0][i]);
            break;
        case LS_OP_ADD:
        case LS_OP_SUB:
        case LS_OP_MUL:
        case LS_OP_DIV:
        case LS_OP_MAXIMUM:
        case LS_OP_MINIMUM:
        case LS_OP_RELU_GRAD:
        case LS_OP_SIGMOID_XENT:
            out[i] = binary(node, in[0][i], in[1][i % b_count]);
            break;
        case LS_OP_SELECT_GE:
            out[i] = in[0][i] >= in[1][i] ? in[2][i] : in[3][i];
            break;
        case LS_OP_SIGMOID_XENT_GRAD:
            out[i] = (1 / (1 + exp(-in[0][i])) - in[1][i]) * in[2][i];
            break;
        default:
            return false;
        }
    return true;
}

/* ---- rows ---- */

static void softmax_row(const double *x, double *y, int64_t count)
{
    double most = x[0], sum = 0;

    for (int64_t c = 1; c < count; c++)
        most = x[c] > most ? x[c] : most;
    for (int64_t c = 0; c < count; c++)
        sum += exp(x[c] - most);
    for (int64_t c = 0; c < count; c++)
        y[c] = exp(x[c] - most) / sum;
}

static void xent_row(const struct ls_node *node, const double *const *in, double *out, int64_t r)
{
    int64_t count = last_of(node->in[0]);
    bool sparse = node->op == LS_OP_SPARSE_SOFTMAX_XENT || node->op == LS_OP_SPARSE_SOFTMAX_XENT_GRAD;
    double y[64], weight = 0, loss = 0;

    softmax_row(in[0] + r * count, y, count);
    for (int64_t c = 0; c < count; c++) {
        double target = sparse ? (double)((int64_t)in[1][r] == c) : in[1][r * count + c];

        weight += target;
        loss -= target > 0 ? target * log(y[c]) : 0;
    }
    if (node->op == LS_OP_SPARSE_SOFTMAX_XENT || node->op == LS_OP_SOFTMAX_XENT) {
        out[r] = loss;
        return;
    }
    for (int64_t c = 0; c < count; c++) {
        double target = sparse ? (double)((int64_t)in[1][r] == c) : in[1][r * count + c];

        out[r * count + c] = (y[c] * weight - target) * in[2][r];
    }
}

static void softmax_grad_row(const double *y, const double *dy, double *dx, int64_t count)
{
    double sum = 0;

    for (int64_t c = 0; c < count; c++)
        sum += dy[c] * y[c];
    for (int64_t c = 0; c < count; c++)
        dx[c] = y[c] * (dy[c] - sum);
}

static bool rows(const struct ls_node *node, const double *const *in, double *out)
{
    int64_t width = node->in_count > 0 ? last_of(node->in[0]) : 1;
    int64_t wide = last_of(node->out), count = node->in_count > 0 && width > 0 ? count_of(node->in[0]) / width : 0;

    switch (node->op) {
    case LS_OP_SOFTMAX:
        for (int64_t r = 0; r < count; r++)
            softmax_row(in[0] + r * width, out + r * width, width);
        return true;
    case LS_OP_SOFTMAX_GRAD:
        for (int64_t r = 0; r < count; r++)
            softmax_grad_row(in[0] + r * width, in[1] + r * width, out + r * width, width);
        return true;
    case LS_OP_ROW_REDUCE_SUM:
        memset(out, 0, (size_t)count * sizeof(double));
        for (int64_t i = 0; i < count * width; i++)
            out[i / width] += in[0][i];
        return true;
    case LS_OP_ROW_BROADCAST:
        for (int64_t i = 0; i < count_of(node->out); i++)
            out[i] = in[0][i / wide];
        return true;
    case LS_OP_SPARSE_SOFTMAX_XENT:
    case LS_OP_SPARSE_SOFTMAX_XENT_GRAD:
    case LS_OP_SOFTMAX_XENT:
    case LS_OP_SOFTMAX_XENT_GRAD:
        for (int64_t r = 0; r < count; r++)
            xent_row(node, in, out, r);
        return true;
    case LS_OP_GATHER_ROWS:
        for (int64_t r = 0; r < count; r++)
            out[r] = in[0][r * width + (int64_t)in[1][r]];
        return true;
    case LS_OP_SCATTER_ROWS:
        for (int64_t i = 0; i < count_of(node->out); i++)
            out[i] = i % wide == (int64_t)in[1][i / wide] ? in[0][i / wide] : 0;
        return true;
    default:
        return false;
    }
}

/* ---- layout ---- */

/* Copies the part [begin, begin + |part|) of an axis out of the whole or into it. */
static void part(const struct ls_node *node, const struct ls_value *of, int64_t begin, double *whole, double *piece,
                 bool out_of)
{
    const struct ls_value *big = out_of ? node->in[0] : node->out;
    const struct ls_shape *shape = &ls_value_info(big)->shape;
    int axis = node->attrs.slice.axis;
    int64_t inner = 1, total = shape->dim[axis], count = ls_value_info(of)->shape.dim[axis];

    for (int d = axis + 1; d < shape->rank; d++)
        inner *= shape->dim[d];
    for (int64_t i = 0; i < count_of(of); i++) {
        int64_t outer = i / (inner * count), place = i / inner % count + begin, rest = i % inner;
        int64_t at = (outer * total + place) * inner + rest;

        if (out_of)
            piece[i] = whole[at];
        else
            whole[at] = piece[i];
    }
}

static bool layout(const struct ls_node *node, double *const *in, double *out)
{
    int64_t begin = 0;

    switch (node->op) {
    case LS_OP_TRANSPOSE2D: {
        int64_t rows_in = ls_value_info(node->in[0])->shape.dim[0], columns = ls_value_info(node->in[0])->shape.dim[1];

        for (int64_t i = 0; i < rows_in * columns; i++)
            out[i % columns * rows_in + i / columns] = in[0][i];
        return true;
    }
    case LS_OP_CONCAT:
        for (int i = 0; i < node->in_count; i++) {
            part(node, node->in[i], begin, out, in[i], false);
            begin += ls_value_info(node->in[i])->shape.dim[node->attrs.slice.axis];
        }
        return true;
    case LS_OP_SLICE:
        part(node, node->out, node->attrs.slice.begin, in[0], out, true);
        return true;
    case LS_OP_PAD_SLICE:
        memset(out, 0, (size_t)count_of(node->out) * sizeof(double));
        part(node, node->in[0], node->attrs.slice.begin, out, in[0], false);
        return true;
    default:
        return false;
    }
}

void lst_f64_run(struct lst_f64 *eval)
{
    for (int i = 0; i < eval->node_count; i++) {
        const struct ls_node *node = ls_tape_node(eval->context, i);
        double *in[LS_MAX_INPUTS], *out = lst_f64_of(eval, node->out);

        for (int j = 0; j < node->in_count; j++)
            in[j] = lst_f64_of(eval, node->in[j]);
        if (!elements(eval->context, node, (const double *const *)in, out) &&
            !rows(node, (const double *const *)in, out) && !layout(node, in, out) &&
            !lst_f64_images(eval->context, node, (const double *const *)in, out))
            memset(out, 0xff, (size_t)count_of(node->out) * sizeof(double)); /* NaN: no test can pass with it */
    }
}
