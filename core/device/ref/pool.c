/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pooling in plain C: the definition that every fast kernel must equal bit for bit (docs/numerics.md, "Pooling").
 */
#include "core/device/ref/call.h"
#include "core/device/ref/real.h"

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

#define LSI_REAL_BODY "core/device/ref/pool_real.inc"
#include "core/device/ref/both_reals.inc"

static enum ls_status max_pool2d(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    const int64_t *y = call->out[0].shape.dim;
    return lsi_call_over(device, call, y[0] * y[1] * y[2], (lsi_range_fn[]){max_range_f32, max_range_f64}, err);
}

static enum ls_status max_pool2d_grad(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    int64_t samples = call->in[0].shape.dim[0];
    return lsi_call_over(device, call, samples, (lsi_range_fn[]){max_grad_range_f32, max_grad_range_f64}, err);
}

static enum ls_status avg_pool_global(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    const int64_t *y = call->out[0].shape.dim;
    return lsi_call_over(device, call, y[0] * y[1], (lsi_range_fn[]){average_range_f32, average_range_f64}, err);
}

static enum ls_status avg_pool_global_grad(struct ls_device *device, const struct ls_op_call *call,
                                           struct ls_error *err)
{
    const int64_t *dy = call->in[0].shape.dim;
    return lsi_call_over(device, call, dy[0] * dy[1], (lsi_range_fn[]){average_grad_range_f32, average_grad_range_f64},
                         err);
}

void lsi_ref_pool(struct lsi_kernel *table)
{
    table[LS_OP_MAX_POOL2D] = (struct lsi_kernel){.run = max_pool2d};
    table[LS_OP_MAX_POOL2D_GRAD] = (struct lsi_kernel){.run = max_pool2d_grad};
    table[LS_OP_AVG_POOL_GLOBAL] = (struct lsi_kernel){.run = avg_pool_global};
    table[LS_OP_AVG_POOL_GLOBAL_GRAD] = (struct lsi_kernel){.run = avg_pool_global_grad};
}
