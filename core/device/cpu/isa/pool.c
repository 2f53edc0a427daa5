/* SPDX-License-Identifier: Apache-2.0 */
/* Pooling, a register of channels at a time. Threads take rows of the output or whole samples. */
#include "core/device/cpu/isa/conv_family.h"
#include "core/device/cpu/isa/conv_vec.h"

#include <string.h>

#define BLOCK 256 /* terms of one block of a sum */

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

/* The elements of a window that exist: [y0, y1) x [x0, x1). */
struct window {
    int64_t y0, y1, x0, x1;
};

static void clip(int64_t *begin, int64_t *end, int64_t size)
{
    *begin = *begin > 0 ? *begin : 0;
    *end = *end < size ? *end : size;
    *end = *end > *begin ? *end : *begin;
}

static struct window window_of(const struct pool *q, int64_t oy, int64_t ox)
{
    struct window win = {.y0 = oy * q->attrs->stride[0] - q->attrs->pad_begin[0],
                         .x0 = ox * q->attrs->stride[1] - q->attrs->pad_begin[1]};
    win.y1 = win.y0 + q->attrs->size[0];
    win.x1 = win.x0 + q->attrs->size[1];
    clip(&win.y0, &win.y1, q->h);
    clip(&win.x0, &win.x1, q->w);
    return win;
}

/* Where b, which comes later in the window, takes the place of a. */
static inline vec_mask wins_over(vec b, vec a)
{
    return mask_or(vec_greater(b, a), mask_without(vec_is_nan(b), vec_is_nan(a)));
}

/* Maxima of `lanes` channels from x (of the sample); a zero is +0. */
static inline vec maximum(const struct pool *q, const struct window *win, const float *x, int64_t lanes)
{
    if (win->y0 == win->y1 || win->x0 == win->x1) {
        return vec_set(0.0f);
    }
    vec best = vec_load_some(x + (win->y0 * q->w + win->x0) * q->c, lanes);
    for (int64_t iy = win->y0; iy < win->y1; iy++) {
        for (int64_t ix = win->x0; ix < win->x1; ix++) {
            vec v = vec_load_some(x + (iy * q->w + ix) * q->c, lanes);
            best = vec_choose(best, v, wins_over(v, best));
        }
    }
    return vec_add(best, vec_set(0.0f));
}

static void max_rows(void *state, int64_t begin, int64_t end, int thread)
{
    const struct pool *q = state;
    (void)thread;
    for (int64_t row = begin; row < end; row++) {
        const float *x = q->x + row / q->oh * q->h * q->w * q->c;
        float *y = q->out + row * q->ow * q->c;
        for (int64_t ox = 0; ox < q->ow; ox++) {
            struct window win = window_of(q, row % q->oh, ox);
            for (int64_t c = 0; c < q->c; c += VEC_LANES) {
                vec_store_some(y + ox * q->c + c, maximum(q, &win, x + c, q->c - c), q->c - c);
            }
        }
    }
}

/* Adds (or, where windows tile the input, writes) the adjoint of a window to its winners. */
static inline void give(const struct pool *q, const struct window *win, const float *x, vec dy, float *dx,
                        int64_t lanes)
{
    if (win->y0 == win->y1 || win->x0 == win->x1) {
        return;
    }
    vec zero = vec_set(0.0f);
    vec best = vec_load_some(x + (win->y0 * q->w + win->x0) * q->c, lanes);
    vec at = zero; /* number of the winner in the window: exact in f32 */
    float number = 0.0f;
    for (int64_t iy = win->y0; iy < win->y1; iy++) {
        for (int64_t ix = win->x0; ix < win->x1; ix++, number += 1.0f) {
            vec v = vec_load_some(x + (iy * q->w + ix) * q->c, lanes);
            vec_mask better = wins_over(v, best);
            best = vec_choose(best, v, better);
            at = vec_choose(at, vec_set(number), better);
        }
    }
    number = 0.0f;
    for (int64_t iy = win->y0; iy < win->y1; iy++) {
        for (int64_t ix = win->x0; ix < win->x1; ix++, number += 1.0f) {
            float *to = dx + (iy * q->w + ix) * q->c;
            vec old = q->tiled ? zero : vec_load_some(to, lanes);
            vec part = vec_choose(zero, dy, vec_equal(at, vec_set(number)));
            vec_store_some(to, vec_add(old, part), lanes);
        }
    }
}

static void max_grad_samples(void *state, int64_t begin, int64_t end, int thread)
{
    const struct pool *q = state;
    (void)thread;
    for (int64_t n = begin; n < end; n++) {
        int64_t size = q->h * q->w * q->c;
        const float *x = q->x + n * size;
        const float *dy = q->dy + n * q->oh * q->ow * q->c;
        float *dx = q->out + n * size;
        if (!q->tiled) {
            memset(dx, 0, (size_t)size * sizeof(float));
        }
        for (int64_t p = 0; p < q->oh * q->ow; p++) {
            struct window win = window_of(q, p / q->ow, p % q->ow);
            for (int64_t c = 0; c < q->c; c += VEC_LANES) {
                give(q, &win, x + c, vec_load_some(dy + p * q->c + c, q->c - c), dx + c, q->c - c);
            }
        }
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
                if (p > 0 && p % BLOCK == 0) {
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

void LSI_ISA_NAME(lsi_cpu_pool)(struct lsi_kernel *table)
{
    table[LS_OP_MAX_POOL2D] = (struct lsi_kernel){.run = max_pool2d, .accepts = lsi_conv_accepts};
    table[LS_OP_MAX_POOL2D_GRAD] = (struct lsi_kernel){.run = max_pool2d_grad, .accepts = lsi_conv_accepts};
    table[LS_OP_AVG_POOL_GLOBAL] = (struct lsi_kernel){.run = avg_pool_global, .accepts = lsi_conv_accepts};
    table[LS_OP_AVG_POOL_GLOBAL_GRAD] = (struct lsi_kernel){.run = avg_pool_global_grad, .accepts = lsi_conv_accepts};
}
