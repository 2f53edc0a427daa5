/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution in plain C: the definition that every fast kernel must equal bit for bit (docs/numerics.md,
 * "Convolution"). A few output channels are carried at once, each in its own accumulator; the order of the
 * additions into one element is the order of the loops below.
 */
#include "core/device/ref/call.h"
#include "core/device/ref/real.h"

#define LANES 32 /* channels carried at once */

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

/* `lanes` weights of one (kernel row, kernel column, input channel). */
struct weights {
    int64_t r, s, i, o0, lanes;
};

#define LSI_REAL_BODY "core/device/ref/conv_real.inc"
#include "core/device/ref/both_reals.inc"

static enum ls_status conv2d(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    const int64_t *y = call->out[0].shape.dim;
    return lsi_call_over(device, call, y[0] * y[1] * y[2], (lsi_range_fn[]){conv_range_f32, conv_range_f64}, err);
}

static enum ls_status conv2d_xgrad(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    const int64_t *dx = call->out[0].shape.dim;
    return lsi_call_over(device, call, dx[0] * dx[1] * dx[2], (lsi_range_fn[]){xgrad_range_f32, xgrad_range_f64}, err);
}

static enum ls_status conv2d_wgrad(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    const struct ls_conv2d_attrs *a = &call->attrs->conv2d;
    int64_t rows = (int64_t)a->kernel[0] * a->kernel[1] * call->in[a->batch.accumulate].shape.dim[3];
    return lsi_call_over(device, call, rows, (lsi_range_fn[]){wgrad_range_f32, wgrad_range_f64}, err);
}

void lsi_ref_conv(struct lsi_kernel *table)
{
    table[LS_OP_CONV2D] = (struct lsi_kernel){.run = conv2d};
    table[LS_OP_CONV2D_XGRAD] = (struct lsi_kernel){.run = conv2d_xgrad};
    table[LS_OP_CONV2D_WGRAD] = (struct lsi_kernel){.run = conv2d_wgrad};
    lsi_ref_pool(table);
}
