/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pooling in plain C: the definition that every fast kernel must equal bit for bit (docs/numerics.md, "Pooling").
 */
#include "core/device/device_impl.h"

#include <math.h>

#define BLOCK 256 /* terms of one block of a sum */

void lsi_ref_pool(struct lsi_kernel *table);

struct pool {
    const struct ls_pool2d_attrs *attrs;
    int64_t n, h, w, c, oh, ow;
};

static struct pool pool_of(const struct ls_op_call *call, const struct ls_view *x, const struct ls_view *y)
{
    return (struct pool){.attrs = &call->attrs->pool2d,
                         .n = x->shape.dim[0],
                         .h = x->shape.dim[1],
                         .w = x->shape.dim[2],
                         .c = x->shape.dim[3],
                         .oh = y->shape.dim[1],
                         .ow = y->shape.dim[2]};
}

/* Whether b, which comes later in the window, takes the place of a. */
static bool wins_over(float b, float a)
{
    return b > a || (isnan(b) && !isnan(a));
}

/* Offset in x of the winner of window p (an output position of the batch), channel c; -1: all of it is padding. */
static int64_t winner(const struct pool *q, const float *x, int64_t p, int64_t c)
{
    int64_t sample = p / (q->oh * q->ow);
    int64_t y0 = p / q->ow % q->oh * q->attrs->stride[0] - q->attrs->pad_begin[0];
    int64_t x0 = p % q->ow * q->attrs->stride[1] - q->attrs->pad_begin[1];
    int64_t best = -1;
    for (int64_t iy = y0; iy < y0 + q->attrs->size[0]; iy++) {
        for (int64_t ix = x0; ix < x0 + q->attrs->size[1]; ix++) {
            if (iy < 0 || iy >= q->h || ix < 0 || ix >= q->w) {
                continue;
            }
            int64_t at = ((sample * q->h + iy) * q->w + ix) * q->c + c;
            if (best < 0 || wins_over(x[at], x[best])) {
                best = at;
            }
        }
    }
    return best;
}

static enum ls_status max_pool2d(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    (void)device;
    (void)err;
    struct pool q = pool_of(call, &call->in[0], &call->out[0]);
    const float *x = call->in[0].data;
    float *y = call->out[0].data;
    for (int64_t p = 0; p < q.n * q.oh * q.ow; p++) {
        for (int64_t c = 0; c < q.c; c++) {
            int64_t best = winner(&q, x, p, c);
            y[p * q.c + c] = best < 0 || x[best] == 0.0f ? 0.0f : x[best];
        }
    }
    return LS_OK;
}

static enum ls_status max_pool2d_grad(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    (void)device;
    (void)err;
    struct pool q = pool_of(call, &call->in[0], &call->in[1]);
    const float *x = call->in[0].data;
    const float *dy = call->in[1].data;
    float *dx = call->out[0].data;
    for (int64_t i = 0; i < q.n * q.h * q.w * q.c; i++) {
        dx[i] = 0.0f;
    }
    for (int64_t p = 0; p < q.n * q.oh * q.ow; p++) {
        for (int64_t c = 0; c < q.c; c++) {
            int64_t best = winner(&q, x, p, c);
            if (best >= 0) {
                dx[best] += dy[p * q.c + c];
            }
        }
    }
    return LS_OK;
}

static enum ls_status avg_pool_global(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    (void)device;
    (void)err;
    const struct ls_shape *shape = &call->in[0].shape;
    const float *x = call->in[0].data;
    int64_t positions = shape->dim[1] * shape->dim[2];
    int64_t channels = shape->dim[3];
    for (int64_t i = 0; i < shape->dim[0] * channels; i++) {
        const float *from = x + i / channels * positions * channels + i % channels;
        float sum = 0.0f;
        for (int64_t begin = 0; begin < positions; begin += BLOCK) {
            float block = 0.0f;
            for (int64_t p = begin; p < positions && p < begin + BLOCK; p++) {
                block += from[p * channels];
            }
            sum += block;
        }
        ((float *)call->out[0].data)[i] = sum / (float)positions;
    }
    return LS_OK;
}

static enum ls_status avg_pool_global_grad(struct ls_device *device, const struct ls_op_call *call,
                                           struct ls_error *err)
{
    (void)device;
    (void)err;
    const float *dy = call->in[0].data;
    int64_t positions = (int64_t)call->attrs->avg_pool_grad.h * call->attrs->avg_pool_grad.w;
    int64_t channels = call->in[0].shape.dim[1];
    for (int64_t i = 0; i < call->in[0].shape.dim[0] * channels; i++) {
        float *to = (float *)call->out[0].data + i / channels * positions * channels + i % channels;
        for (int64_t p = 0; p < positions; p++) {
            to[p * channels] = dy[i] / (float)positions;
        }
    }
    return LS_OK;
}

void lsi_ref_pool(struct lsi_kernel *table)
{
    table[LS_OP_MAX_POOL2D] = (struct lsi_kernel){.run = max_pool2d};
    table[LS_OP_MAX_POOL2D_GRAD] = (struct lsi_kernel){.run = max_pool2d_grad};
    table[LS_OP_AVG_POOL_GLOBAL] = (struct lsi_kernel){.run = avg_pool_global};
    table[LS_OP_AVG_POOL_GLOBAL_GRAD] = (struct lsi_kernel){.run = avg_pool_global_grad};
}
