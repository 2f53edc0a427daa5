/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution in plain C: the definition that every fast kernel must equal bit for bit (docs/numerics.md,
 * "Convolution"). A few output channels are carried at once, each in its own accumulator; the order of the
 * additions into one element is the order of the loops below.
 */
#include "core/device/device_impl.h"

#include <math.h>

#define BLOCK 256 /* terms of one block of a sum */
#define LANES 32  /* channels carried at once */

void lsi_ref_pool(struct lsi_kernel *table);

struct conv {
    const struct ls_conv2d_attrs *attrs;
    int64_t n, h, w, ci; /* input */
    int64_t oh, ow, co;  /* output */
    int64_t kh, kw;
};

static struct conv conv_of(const struct ls_op_call *call, const struct ls_view *x, const struct ls_view *dy)
{
    const struct ls_conv2d_attrs *a = &call->attrs->conv2d;
    return (struct conv){.attrs = a,
                         .n = x->shape.dim[0],
                         .h = x->shape.dim[1],
                         .w = x->shape.dim[2],
                         .ci = x->shape.dim[3],
                         .oh = dy->shape.dim[1],
                         .ow = dy->shape.dim[2],
                         .co = dy->shape.dim[3],
                         .kh = a->kernel[0],
                         .kw = a->kernel[1]};
}

/* Input row (axis 0) or column (axis 1) under a tap at an output position; it may lie in the padding. */
static int64_t input_at(const struct conv *c, int axis, int64_t out, int64_t tap)
{
    return out * c->attrs->stride[axis] - c->attrs->pad_begin[axis] + tap * c->attrs->dilation[axis];
}

/* Output row or column whose tap lies on an input row or column; false where there is none. */
static bool output_at(const struct conv *c, int axis, int64_t in, int64_t tap, int64_t *out)
{
    int64_t distance = in + c->attrs->pad_begin[axis] - tap * c->attrs->dilation[axis];
    if (distance < 0 || distance % c->attrs->stride[axis] != 0) {
        return false;
    }
    *out = distance / c->attrs->stride[axis];
    return *out < (axis == 0 ? c->oh : c->ow);
}

static void close_block(float *sum, float *block, int64_t lanes)
{
    for (int64_t l = 0; l < lanes; l++) {
        sum[l] += block[l];
        block[l] = 0.0f;
    }
}

static void multiply_add(float *block, float x, const float *w, int64_t lanes)
{
    for (int64_t l = 0; l < lanes; l++) {
        block[l] = fmaf(x, w[l], block[l]);
    }
}

static float activate(float y, enum ls_activation activation)
{
    if (activation == LS_ACTIVATION_RELU && !(y > 0.0f) && !isnan(y)) {
        return 0.0f;
    }
    return y;
}

/* One output position, `lanes` output channels from co0. x is the sample. */
static void conv_position(const struct conv *c, const float *x, const float *w, int64_t oy, int64_t ox, int64_t lanes,
                          float *sum)
{
    float block[LANES] = {0};
    int64_t k = 0;
    for (int64_t r = 0; r < c->kh; r++) {
        for (int64_t s = 0; s < c->kw; s++) {
            int64_t iy = input_at(c, 0, oy, r);
            int64_t ix = input_at(c, 1, ox, s);
            bool inside = iy >= 0 && iy < c->h && ix >= 0 && ix < c->w;
            for (int64_t i = 0; i < c->ci; i++, k++) {
                if (k > 0 && k % BLOCK == 0) {
                    close_block(sum, block, lanes);
                }
                if (inside) {
                    multiply_add(block, x[(iy * c->w + ix) * c->ci + i], w + k * c->co, lanes);
                }
            }
        }
    }
    close_block(sum, block, lanes);
}

static enum ls_status conv2d(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    (void)device;
    (void)err;
    struct conv c = conv_of(call, &call->in[0], &call->out[0]);
    const float *x = call->in[0].data;
    const float *w = call->in[1].data;
    const float *bias = call->in_count > 2 ? call->in[2].data : NULL;
    float *y = call->out[0].data;
    for (int64_t p = 0; p < c.n * c.oh * c.ow; p++) {
        const float *sample = x + p / (c.oh * c.ow) * c.h * c.w * c.ci;
        for (int64_t c0 = 0; c0 < c.co; c0 += LANES) {
            int64_t lanes = c.co - c0 < LANES ? c.co - c0 : LANES;
            float sum[LANES] = {0};
            conv_position(&c, sample, w + c0, p / c.ow % c.oh, p % c.ow, lanes, sum);
            for (int64_t l = 0; l < lanes; l++) {
                float value = bias == NULL ? sum[l] : sum[l] + bias[c0 + l];
                y[p * c.co + c0 + l] = activate(value, c.attrs->activation);
            }
        }
    }
    return LS_OK;
}

/* The adjoint of one input element; dy is the sample, w begins at the element's input channel. */
static float xgrad_element(const struct conv *c, const float *dy, const float *w, int64_t iy, int64_t ix)
{
    float sum = 0.0f;
    float block = 0.0f;
    int64_t k = 0;
    for (int64_t r = 0; r < c->kh; r++) {
        for (int64_t s = 0; s < c->kw; s++) {
            int64_t oy = 0;
            int64_t ox = 0;
            bool inside = output_at(c, 0, iy, r, &oy) && output_at(c, 1, ix, s, &ox);
            for (int64_t o = 0; o < c->co; o++, k++) {
                if (k > 0 && k % BLOCK == 0) {
                    close_block(&sum, &block, 1);
                }
                if (inside) {
                    float d = dy[(oy * c->ow + ox) * c->co + o];
                    block = fmaf(d, w[(r * c->kw + s) * c->ci * c->co + o], block);
                }
            }
        }
    }
    close_block(&sum, &block, 1);
    return sum;
}

static enum ls_status conv2d_xgrad(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    (void)device;
    (void)err;
    struct conv c = conv_of(call, &call->out[0], &call->in[0]);
    const float *w = call->in[1].data;
    float *dx = call->out[0].data;
    for (int64_t p = 0; p < c.n * c.h * c.w; p++) {
        const float *dy = (const float *)call->in[0].data + p / (c.h * c.w) * c.oh * c.ow * c.co;
        for (int64_t i = 0; i < c.ci; i++) {
            dx[p * c.ci + i] = xgrad_element(&c, dy, w + i * c.co, p / c.w % c.h, p % c.w);
        }
    }
    return LS_OK;
}

/* `lanes` weights of one (kernel row, kernel column, input channel). */
struct weights {
    int64_t r, s, i, o0, lanes;
};

/* Adds the blocks of one (x, dy) pair's samples [begin, end) to the running sums. */
static void add_blocks(const struct conv *c, const struct weights *at, const float *x, const float *dy, int64_t begin,
                       int64_t end, float *sum)
{
    float block[LANES] = {0};
    int64_t positions = c->oh * c->ow;
    if (begin == end || positions == 0) {
        return;
    }
    int64_t samples = positions <= BLOCK ? BLOCK / positions : 1; /* whole samples of a block */
    for (int64_t n = begin; n < end; n++) {
        if (n > begin && (n - begin) % samples == 0) {
            close_block(sum, block, at->lanes);
        }
        for (int64_t p = 0; p < positions; p++) {
            if (p > 0 && p % BLOCK == 0) {
                close_block(sum, block, at->lanes);
            }
            int64_t iy = input_at(c, 0, p / c->ow, at->r);
            int64_t ix = input_at(c, 1, p % c->ow, at->s);
            if (iy >= 0 && iy < c->h && ix >= 0 && ix < c->w) {
                multiply_add(block, x[((n * c->h + iy) * c->w + ix) * c->ci + at->i],
                             dy + (n * positions + p) * c->co + at->o0, at->lanes);
            }
        }
    }
    close_block(sum, block, at->lanes);
}

/* The canonical tree over the shards that have samples; the result stands in row 0, zeros where there is none. */
static void tree(float sums[][LANES], const struct ls_shards *shards, int64_t lanes)
{
    bool present[LS_MAX_SHARDS];
    for (int v = 0; v < shards->count; v++) {
        present[v] = shards->offset[v + 1] > shards->offset[v];
    }
    for (int step = 1; step < shards->count; step *= 2) {
        for (int v = 0; v + step < shards->count; v += 2 * step) {
            for (int64_t l = 0; l < lanes && present[v + step]; l++) {
                sums[v][l] = present[v] ? sums[v][l] + sums[v + step][l] : sums[v + step][l];
            }
            present[v] = present[v] || present[v + step];
        }
    }
    for (int64_t l = 0; l < lanes && !present[0]; l++) {
        sums[0][l] = 0.0f;
    }
}

static void wgrad_weights(const struct conv *c, const struct ls_op_call *call, const struct weights *at)
{
    float sums[LS_MAX_SHARDS][LANES];
    const struct ls_batch_reduction *batch = &c->attrs->batch;
    int64_t count = c->kh * c->kw * c->ci * c->co;
    int64_t first = ((at->r * c->kw + at->s) * c->ci + at->i) * c->co + at->o0;
    for (int v = 0; v < call->shards->count; v++) {
        for (int64_t l = 0; l < at->lanes; l++) {
            sums[v][l] = batch->accumulate ? ((const float *)call->in[0].data)[v * count + first + l] : 0.0f;
        }
        for (int in = batch->accumulate; in + 1 < call->in_count; in += 2) {
            add_blocks(c, at, call->in[in].data, call->in[in + 1].data, call->shards->offset[v],
                       call->shards->offset[v + 1], sums[v]);
        }
    }
    if (!batch->per_shard) {
        tree(sums, call->shards, at->lanes);
    }
    for (int v = 0; v < (batch->per_shard ? call->shards->count : 1); v++) {
        for (int64_t l = 0; l < at->lanes; l++) {
            ((float *)call->out[0].data)[v * count + first + l] = sums[v][l];
        }
    }
}

static enum ls_status conv2d_wgrad(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    (void)device;
    (void)err;
    int pair = call->attrs->conv2d.batch.accumulate;
    struct conv c = conv_of(call, &call->in[pair], &call->in[pair + 1]);
    for (int64_t k = 0; k < c.kh * c.kw * c.ci; k++) {
        for (int64_t o = 0; o < c.co; o += LANES) {
            struct weights at = {.r = k / (c.kw * c.ci),
                                 .s = k / c.ci % c.kw,
                                 .i = k % c.ci,
                                 .o0 = o,
                                 .lanes = c.co - o < LANES ? c.co - o : LANES};
            wgrad_weights(&c, call, &at);
        }
    }
    return LS_OK;
}

void lsi_ref_conv(struct lsi_kernel *table)
{
    table[LS_OP_CONV2D] = (struct lsi_kernel){.run = conv2d};
    table[LS_OP_CONV2D_XGRAD] = (struct lsi_kernel){.run = conv2d_xgrad};
    table[LS_OP_CONV2D_WGRAD] = (struct lsi_kernel){.run = conv2d_wgrad};
    lsi_ref_pool(table);
}
