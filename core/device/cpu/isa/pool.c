/* SPDX-License-Identifier: Apache-2.0 */
/* Pooling, a register of channels at a time. Threads take rows of the output or whole samples. */
#include "core/device/cpu/isa/conv_family.h"
#include "core/device/cpu/isa/vec.h"

#include <string.h>

struct pool {
    const struct ls_pool2d_attrs *attrs;
    int64_t h, w, c, oh, ow;
    const float *x;  /* input */
    const float *dy; /* gradient: adjoint of the output */
    float *out;      /* output, or adjoint of the input */
    bool tiled;      /* the windows cover the input without overlap or padding */
};

static struct pool pool_of(const struct ls_op_call *call, const struct ls_view *y)
{
    const struct ls_pool2d_attrs *a = &call->attrs->pool2d;
    const int64_t *x = call->in[0].shape.dim;
    struct pool q = {.attrs = a, .h = x[1], .w = x[2], .c = x[3], .oh = y->shape.dim[1], .ow = y->shape.dim[2]};
    q.x = call->in[0].data;
    q.out = call->out[0].data;
    q.tiled = a->size[0] == a->stride[0] && a->size[1] == a->stride[1] && q.oh * a->stride[0] == q.h &&
              q.ow * a->stride[1] == q.w && a->pad_begin[0] == 0 && a->pad_begin[1] == 0;
    return q;
}

/* The elements of a window that exist: rows x columns of them from offset `at` of the sample. */
struct window {
    int64_t at, rows, columns;
};

/* Of [begin, begin + size), what lies in [0, end); size may become 0. */
static void clip(int64_t *begin, int64_t *size, int64_t end)
{
    int64_t stop = *begin + *size < end ? *begin + *size : end;
    *begin = *begin > 0 ? *begin : 0;
    *size = stop > *begin ? stop - *begin : 0;
}

static struct window window_of(const struct pool *q, int64_t oy, int64_t ox)
{
    int64_t y = oy * q->attrs->stride[0] - q->attrs->pad_begin[0];
    int64_t x = ox * q->attrs->stride[1] - q->attrs->pad_begin[1];
    struct window win = {.rows = q->attrs->size[0], .columns = q->attrs->size[1]};
    clip(&y, &win.rows, q->h);
    clip(&x, &win.columns, q->w);
    win.at = (y * q->w + x) * q->c;
    return win;
}

/* `lanes` channels; a whole register where full. */
static inline vec load(const float *from, int64_t lanes, bool full)
{
    return full ? vec_load(from) : vec_load_some(from, lanes);
}

static inline void store(float *to, vec v, int64_t lanes, bool full)
{
    if (full) {
        vec_store(to, v);
    } else {
        vec_store_some(to, v, lanes);
    }
}

/* Maxima of channels from x (where the window begins); a zero is +0. */
static inline __attribute__((always_inline)) vec maximum(const struct pool *q, const struct window *win, const float *x,
                                                         int64_t lanes, bool full)
{
    if (win->rows == 0 || win->columns == 0) {
        return vec_set(0.0f);
    }
    vec best = load(x, lanes, full);
    for (int64_t i = 0; i < win->rows; i++, x += q->w * q->c) {
        const float *from = x;
        for (int64_t j = 0; j < win->columns; j++, from += q->c) {
            best = vec_larger(best, load(from, lanes, full));
        }
    }
    return vec_add(best, vec_set(0.0f));
}

static void max_rows(void *state, int64_t begin, int64_t end, int thread)
{
    const struct pool *q = state;
    (void)thread;
    for (int64_t row = begin; row < end; row++) {
        const float *sample = q->x + row / q->oh * q->h * q->w * q->c;
        float *y = q->out + row * q->ow * q->c;
        for (int64_t ox = 0; ox < q->ow; ox++, y += q->c) {
            struct window win = window_of(q, row % q->oh, ox);
            const float *x = sample + win.at;
            int64_t c = 0;
            for (; c + VEC_LANES <= q->c; c += VEC_LANES) {
                vec_store(y + c, maximum(q, &win, x + c, VEC_LANES, true));
            }
            if (c < q->c) {
                vec_store_some(y + c, maximum(q, &win, x + c, q->c - c, false), q->c - c);
            }
        }
    }
}

/* Adds (or, where windows tile the input, writes) the adjoint of a window to its winners. */
static inline __attribute__((always_inline)) void give(const struct pool *q, const struct window *win, const float *x,
                                                       vec dy, float *dx, int64_t lanes, bool full)
{
    vec zero = vec_set(0.0f);
    vec best = load(x, lanes, full);
    vec at = zero; /* number of the winner in the window: exact in f32, see accepts_grad */
    float number = 0.0f;
    for (int64_t i = 0; i < win->rows; i++) {
        const float *from = x + i * q->w * q->c;
        for (int64_t j = 0; j < win->columns; j++, from += q->c, number += 1.0f) {
            vec v = load(from, lanes, full);
            vec_mask better = vec_wins_over(v, best);
            best = vec_choose(best, v, better);
            at = vec_choose(at, vec_set(number), better);
        }
    }
    number = 0.0f;
    for (int64_t i = 0; i < win->rows; i++) {
        float *to = dx + i * q->w * q->c;
        for (int64_t j = 0; j < win->columns; j++, to += q->c, number += 1.0f) {
            vec old = q->tiled ? zero : load(to, lanes, full);
            vec part = vec_choose(zero, dy, vec_equal(at, vec_set(number)));
            store(to, vec_add(old, part), lanes, full);
        }
    }
}

static void give_sample(const struct pool *q, const float *x, const float *dy, float *dx)
{
    for (int64_t oy = 0; oy < q->oh; oy++) {
        for (int64_t ox = 0; ox < q->ow; ox++, dy += q->c) {
            struct window win = window_of(q, oy, ox);
            const float *from = x + win.at;
            float *to = dx + win.at;
            int64_t c = 0;
            if (win.rows == 0 || win.columns == 0) {
                continue;
            }
            for (; c + VEC_LANES <= q->c; c += VEC_LANES) {
                give(q, &win, from + c, vec_load(dy + c), to + c, VEC_LANES, true);
            }
            if (c < q->c) {
                give(q, &win, from + c, vec_load_some(dy + c, q->c - c), to + c, q->c - c, false);
            }
        }
    }
}

static void max_grad_samples(void *state, int64_t begin, int64_t end, int thread)
{
    const struct pool *q = state;
    int64_t size = q->h * q->w * q->c;
    (void)thread;
    for (int64_t n = begin; n < end; n++) {
        if (!q->tiled) {
            memset(q->out + n * size, 0, (size_t)size * sizeof(float));
        }
        give_sample(q, q->x + n * size, q->dy + n * q->oh * q->ow * q->c, q->out + n * size);
    }
}

static enum ls_status max_pool2d(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    struct pool q = pool_of(call, &call->out[0]);
    (void)err;
    lsi_device_parallel(device, call->in[0].shape.dim[0] * q.oh, 1, max_rows, &q);
    return LS_OK;
}

static enum ls_status max_pool2d_grad(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    struct pool q = pool_of(call, &call->in[1]);
    (void)err;
    q.dy = call->in[1].data;
    lsi_device_parallel(device, call->in[0].shape.dim[0], 1, max_grad_samples, &q);
    return LS_OK;
}

struct average {
    const float *in;
    float *out;
    int64_t positions, channels;
};

static void average_samples(void *state, int64_t begin, int64_t end, int thread)
{
    const struct average *a = state;
    (void)thread;
    for (int64_t n = begin; n < end; n++) {
        const float *x = a->in + n * a->positions * a->channels;
        for (int64_t c = 0; c < a->channels; c += VEC_LANES) {
            vec sum = vec_set(0.0f);
            vec block = vec_set(0.0f);
            for (int64_t p = 0; p < a->positions; p++) {
                if (p > 0 && p % LSI_BLOCK == 0) {
                    sum = vec_add(sum, block);
                    block = vec_set(0.0f);
                }
                block = vec_add(block, vec_load_some(x + p * a->channels + c, a->channels - c));
            }
            sum = vec_divide(vec_add(sum, block), vec_set((float)a->positions));
            vec_store_some(a->out + n * a->channels + c, sum, a->channels - c);
        }
    }
}

static void spread_samples(void *state, int64_t begin, int64_t end, int thread)
{
    const struct average *a = state;
    (void)thread;
    for (int64_t n = begin; n < end; n++) {
        float *dx = a->out + n * a->positions * a->channels;
        for (int64_t c = 0; c < a->channels; c += VEC_LANES) {
            vec dy = vec_load_some(a->in + n * a->channels + c, a->channels - c);
            vec share = vec_divide(dy, vec_set((float)a->positions));
            for (int64_t p = 0; p < a->positions; p++) {
                vec_store_some(dx + p * a->channels + c, share, a->channels - c);
            }
        }
    }
}

static enum ls_status avg_pool_global(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    const int64_t *x = call->in[0].shape.dim;
    struct average a = {.in = call->in[0].data, .out = call->out[0].data, .positions = x[1] * x[2], .channels = x[3]};
    (void)err;
    lsi_device_parallel(device, x[0], 1, average_samples, &a);
    return LS_OK;
}

static enum ls_status avg_pool_global_grad(struct ls_device *device, const struct ls_op_call *call,
                                           struct ls_error *err)
{
    const int64_t *dy = call->in[0].shape.dim;
    struct average a = {.in = call->in[0].data,
                        .out = call->out[0].data,
                        .positions = (int64_t)call->attrs->avg_pool_grad.h * call->attrs->avg_pool_grad.w,
                        .channels = dy[1]};
    (void)err;
    lsi_device_parallel(device, dy[0], 1, spread_samples, &a);
    return LS_OK;
}

/* Winners are numbered in f32, which counts to 2^24. */
static bool accepts_grad(const struct ls_device *device, const struct ls_op_call *call)
{
    const int64_t *x = call->in[0].shape.dim;
    const int *size = call->attrs->pool2d.size;
    int64_t rows = size[0] < x[1] ? size[0] : x[1];
    int64_t columns = size[1] < x[2] ? size[1] : x[2];
    return lsi_conv_accepts(device, call) && rows * columns <= 1 << 24;
}

void LSI_ISA_NAME(lsi_cpu_pool)(struct lsi_kernel *table)
{
    table[LS_OP_MAX_POOL2D] = (struct lsi_kernel){.run = max_pool2d, .accepts = lsi_conv_accepts};
    table[LS_OP_MAX_POOL2D_GRAD] = (struct lsi_kernel){.run = max_pool2d_grad, .accepts = accepts_grad};
    table[LS_OP_AVG_POOL_GLOBAL] = (struct lsi_kernel){.run = avg_pool_global, .accepts = lsi_conv_accepts};
    table[LS_OP_AVG_POOL_GLOBAL_GRAD] = (struct lsi_kernel){.run = avg_pool_global_grad, .accepts = lsi_conv_accepts};
}
