/* SPDX-License-Identifier: Apache-2.0 */
/* dense and dense_wgrad in plain C: the definition. docs/numerics.md, "Products", says the same in words. */
#include "core/device/products.h"
#include "core/device/ref/call.h"
#include "core/device/ref/real.h"

struct wgrad_job {
    const struct ls_op_call *call;
    struct lsi_wgrad wgrad;
};

#define LSI_REAL_BODY "core/device/ref/products_real.inc"
#include "core/device/ref/both_reals.inc"

static enum ls_status dense_run(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    struct lsi_dense dense = lsi_dense_of(call);

    if (call->out[0].dtype == LS_F32)
        lsi_device_parallel(device, dense.rows, 1, dense_range_f32, &dense);
    else if (call->out[0].dtype == LS_F64)
        lsi_device_parallel(device, dense.rows, 1, dense_range_f64, &dense);
    else
        return lsi_call_unsupported(call, err);
    return LS_OK;
}

static enum ls_status wgrad_run(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    struct wgrad_job job = {.call = call};

    lsi_wgrad_of(call, &job.wgrad);
    if (call->out[0].dtype == LS_F32)
        lsi_device_parallel(device, job.wgrad.k * job.wgrad.n, 64, wgrad_range_f32, &job);
    else if (call->out[0].dtype == LS_F64)
        lsi_device_parallel(device, job.wgrad.k * job.wgrad.n, 64, wgrad_range_f64, &job);
    else
        return lsi_call_unsupported(call, err);
    return LS_OK;
}

void lsi_ref_products(struct lsi_kernel *table)
{
    table[LS_OP_DENSE].run = dense_run;
    table[LS_OP_DENSE_WGRAD].run = wgrad_run;
}
