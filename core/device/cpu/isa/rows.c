/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Softmax, cross-entropies and row sums by the row rule: 32 lanes are two (AVX-512) or four registers. Lanes beyond
 * the row add +0, which changes nothing, since a running sum is never -0. Formulas: core/device/ref/rows.c.
 */
#include "core/device/cpu/isa/isa.h"
#include "core/device/cpu/isa/math_vec.h"
#include "core/device/ref/call.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#define LANES 32
#define REGISTERS (LANES / VEC_LANES)
/* Elements that a thread takes at least. */
#define GRAIN 4096

struct lanes {
    vec part[REGISTERS];
};

static inline struct lanes lanes_zero(void)
{
    struct lanes lanes;

    for (int k = 0; k < REGISTERS; k++)
        lanes.part[k] = vec_set(0.0f);
    return lanes;
}

/* Halving 16, 8, 4, 2, 1, then + (+0). */
static inline float lanes_fold(struct lanes lanes)
{
    for (int half = REGISTERS / 2; half; half /= 2) {
        for (int k = 0; k < half; k++)
            lanes.part[k] = lanes.part[k] + lanes.part[k + half];
    }
    return vec_fold(lanes.part[0]) + 0.0f;
}

/* For each register of a row: c its first column, part its place in the lanes, n the columns left. */
#define EACH_PART(width)                                    \
    for (int64_t c = 0, part = 0, n = (width); c < (width); \
         c += VEC_LANES, part = (part + 1) % REGISTERS, n -= VEC_LANES)

static inline vec keep_first(vec x, int64_t n)
{
    return n >= VEC_LANES ? x : vec_choose(vec_set(0.0f), x, mask_first(n));
}

static float row_sum(const float *x, int64_t width)
{
    struct lanes sum = lanes_zero();

    EACH_PART(width)
    sum.part[part] = sum.part[part] + vec_load_some(x + c, n);
    return lanes_fold(sum);
}

static float row_dot(const float *x, const float *y, int64_t width)
{
    struct lanes sum = lanes_zero();

    EACH_PART(width)
    sum.part[part] = vec_multiply_add(vec_load_some(x + c, n), vec_load_some(y + c, n), sum.part[part]);
    return lanes_fold(sum);
}

/* NaN where the row has one; a zero is +0. */
static float row_max(const float *x, int64_t width)
{
    vec most = vec_set(x[0]), nan = vec_set(0.0f);
    float lane[VEC_LANES], result;

    EACH_PART(width)
    {
        vec v = n >= VEC_LANES ? vec_load(x + c) : vec_choose(vec_set(x[0]), vec_load_some(x + c, n), mask_first(n));

        most = vec_max(most, v);
        nan = nan + (v - v); /* NaN for an infinity too: then decided below */
    }
    vec_store(lane, most);
    result = lane[0];
    for (int i = 1; i < VEC_LANES; i++)
        result = lane[i] > result ? lane[i] : result;
    if (mask_any(vec_is_nan(nan))) {
        for (int64_t c = 0; c < width; c++)
            if (x[c] != x[c])
                return x[c];
    }
    return result + 0.0f;
}

/* Sum of exp(x - m); the exponentials to e, where that is not NULL. */
static float exp_sum(const float *x, float m, int64_t width, float *e)
{
    struct lanes sum = lanes_zero();
    vec most = vec_set(m);

    EACH_PART(width)
    {
        vec v = keep_first(vec_exp(vec_load_some(x + c, n) - most), n);

        if (e)
            vec_store_some(e + c, v, n);
        sum.part[part] = sum.part[part] + v;
    }
    return lanes_fold(sum);
}

/* One run of an op over its rows; a label that is out of range stops the row and is remembered, the lowest first. */
struct job {
    const struct ls_op_call *call;
    int64_t rows, width, dloss_count;
    atomic_int_least64_t bad_row; /* rows: none */
};

static inline const float *row_of(const struct job *job, int k, int64_t r)
{
    return (const float *)job->call->in[k].data + r * job->width;
}

static inline float *out_of(const struct job *job, int64_t r, int64_t width)
{
    return (float *)job->call->out[0].data + r * width;
}

static void softmax_row(struct job *job, int64_t r)
{
    const float *x = row_of(job, 0, r);
    float *y = out_of(job, r, job->width);
    vec s = vec_set(exp_sum(x, row_max(x, job->width), job->width, y));

    EACH_PART(job->width)
    vec_store_some(y + c, vec_load_some(y + c, n) / s, n);
}

static void softmax_grad_row(struct job *job, int64_t r)
{
    const float *y = row_of(job, 0, r), *dy = row_of(job, 1, r);
    float *dx = out_of(job, r, job->width);
    vec s = vec_set(row_dot(dy, y, job->width));

    EACH_PART(job->width)
    vec_store_some(dx + c, vec_load_some(y + c, n) * (vec_load_some(dy + c, n) - s), n);
}

static void sum_row(struct job *job, int64_t r)
{
    *out_of(job, r, 1) = row_sum(row_of(job, 0, r), job->width);
}

static int32_t label_of(struct job *job, int64_t r)
{
    int32_t label = ((const int32_t *)job->call->in[1].data)[r];
    int64_t seen = atomic_load(&job->bad_row);

    if (label >= 0 && label < job->width)
        return label;
    while (r < seen && !atomic_compare_exchange_weak(&job->bad_row, &seen, r))
        ;
    return -1;
}

static void sparse_xent_row(struct job *job, int64_t r)
{
    const float *x = row_of(job, 0, r);
    int32_t label = label_of(job, r);
    float m = row_max(x, job->width);

    if (label >= 0)
        *out_of(job, r, 1) = lsi_log_f32(exp_sum(x, m, job->width, NULL)) - (x[label] - m);
}

static float dloss_of(const struct job *job, int64_t r)
{
    return ((const float *)job->call->in[2].data)[r % job->dloss_count];
}

static void sparse_xent_grad_row(struct job *job, int64_t r)
{
    const float *x = row_of(job, 0, r);
    float *dx = out_of(job, r, job->width);
    int32_t label = label_of(job, r);
    float sum = exp_sum(x, row_max(x, job->width), job->width, dx), hit;
    vec s = vec_set(sum), dloss = vec_set(dloss_of(job, r));

    if (label < 0)
        return;
    hit = (dx[label] / sum - 1.0f) * dloss_of(job, r);
    EACH_PART(job->width)
    vec_store_some(dx + c, vec_load_some(dx + c, n) / s * dloss, n);
    dx[label] = hit;
}

static void softmax_xent_row(struct job *job, int64_t r)
{
    const float *x = row_of(job, 0, r), *t = row_of(job, 1, r);
    float m = row_max(x, job->width);
    vec most = vec_set(m), log_sum = vec_set(lsi_log_f32(exp_sum(x, m, job->width, NULL)));
    struct lanes sum = lanes_zero();

    EACH_PART(job->width)
    {
        vec v = keep_first(log_sum - (vec_load_some(x + c, n) - most), n);

        sum.part[part] = vec_multiply_add(vec_load_some(t + c, n), v, sum.part[part]);
    }
    *out_of(job, r, 1) = lanes_fold(sum);
}

static void softmax_xent_grad_row(struct job *job, int64_t r)
{
    const float *x = row_of(job, 0, r), *t = row_of(job, 1, r);
    float *dx = out_of(job, r, job->width);
    vec s = vec_set(exp_sum(x, row_max(x, job->width), job->width, dx));
    vec total = vec_set(row_sum(t, job->width)), dloss = vec_set(dloss_of(job, r));

    EACH_PART(job->width)
    {
        vec q = vec_load_some(dx + c, n) / s;

        vec_store_some(dx + c, vec_multiply_add(q, total, vec_negate(vec_load_some(t + c, n))) * dloss, n);
    }
}

static void rows_range(void *state, int64_t begin, int64_t end, int thread)
{
    struct job *job = state;
    void (*row)(struct job *, int64_t) = NULL;

    (void)thread;
    switch (job->call->op) {
    case LS_OP_SOFTMAX:
        row = softmax_row;
        break;
    case LS_OP_SOFTMAX_GRAD:
        row = softmax_grad_row;
        break;
    case LS_OP_ROW_REDUCE_SUM:
        row = sum_row;
        break;
    case LS_OP_SPARSE_SOFTMAX_XENT:
        row = sparse_xent_row;
        break;
    case LS_OP_SPARSE_SOFTMAX_XENT_GRAD:
        row = sparse_xent_grad_row;
        break;
    case LS_OP_SOFTMAX_XENT:
        row = softmax_xent_row;
        break;
    default:
        row = softmax_xent_grad_row;
    }
    for (int64_t r = begin; r < end; r++)
        row(job, r);
}

static enum ls_status run_rows(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    struct job job = {.call = call, .rows = lsi_row_count(&call->in[0]), .width = lsi_row_length(&call->in[0])};

    job.dloss_count = call->in_count == 3 ? ls_shape_count(&call->in[2].shape) : 1;
    atomic_init(&job.bad_row, job.rows);
    lsi_device_parallel(device, job.rows, 1 + GRAIN / job.width, rows_range, &job);
    if (atomic_load(&job.bad_row) < job.rows) {
        int64_t row = atomic_load(&job.bad_row);

        return lsi_call_bad_label(call, job.rows, row, lsi_label(&call->in[1], row), job.width, err);
    }
    return LS_OK;
}

static bool accepts(const struct ls_device *device, const struct ls_op_call *call)
{
    bool labels = call->op == LS_OP_SPARSE_SOFTMAX_XENT || call->op == LS_OP_SPARSE_SOFTMAX_XENT_GRAD;

    (void)device;
    for (int k = 0; k < call->in_count; k++) {
        if (call->in[k].dtype != (labels && k == 1 ? LS_I32 : LS_F32))
            return false;
    }
    return call->out[0].dtype == LS_F32 && lsi_row_length(&call->in[0]) > 0;
}

void LSI_ISA_NAME(lsi_cpu_rows)(struct lsi_kernel *table)
{
    static const enum ls_op ops[] = {LS_OP_SOFTMAX,
                                     LS_OP_SOFTMAX_GRAD,
                                     LS_OP_ROW_REDUCE_SUM,
                                     LS_OP_SPARSE_SOFTMAX_XENT,
                                     LS_OP_SPARSE_SOFTMAX_XENT_GRAD,
                                     LS_OP_SOFTMAX_XENT,
                                     LS_OP_SOFTMAX_XENT_GRAD};

    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        table[ops[i]] = (struct lsi_kernel){.run = run_rows, .accepts = accepts};
}
