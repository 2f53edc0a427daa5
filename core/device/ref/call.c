/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel calls: one body for f32 and one for f64, and what is wrong with a call. */
#include "core/device/ref/call.h"

#include <inttypes.h>

enum ls_status lsi_call_unsupported(const struct ls_op_call *call, struct ls_error *err)
{
    const struct ls_view *view = call->in_count ? &call->in[0] : &call->out[0];

    return ls_error_set(err, LS_EUNSUPPORTED,
                        "operation %s does not take %s values to %s on this device; cast them to float32 first",
                        lsi_device_op_name(call->op), ls_dtype_name(view->dtype), ls_dtype_name(call->out[0].dtype));
}

enum ls_status lsi_call_over(struct ls_device *device, const struct ls_op_call *call, int64_t count,
                             const lsi_range_fn bodies[2], struct ls_error *err)
{
    if (call->out[0].dtype != LS_F32 && call->out[0].dtype != LS_F64)
        return lsi_call_unsupported(call, err);
    lsi_device_parallel(device, count, 1, bodies[call->out[0].dtype == LS_F64], (void *)(uintptr_t)call);
    return LS_OK;
}

enum ls_status lsi_call_bad_label(const struct ls_op_call *call, int64_t rows, int64_t row, int64_t label,
                                  int64_t classes, struct ls_error *err)
{
    int64_t samples = lsi_sample_count(call, rows);
    int64_t sample = samples && rows ? row / (rows / samples ? rows / samples : 1) : row;

    if (call->shards)
        sample += call->shards->first_sample;
    return ls_error_set(err, LS_EINVAL,
                        "label %" PRId64 " of the sample at position %" PRId64 " of the batch is out of range: %" PRId64
                        " classes take labels 0 to %" PRId64,
                        label, sample, classes, classes - 1);
}
