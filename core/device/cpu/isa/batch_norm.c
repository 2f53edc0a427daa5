/* SPDX-License-Identifier: Apache-2.0 */
/* Batch normalisation with given statistics: constants of each channel first, then rows. */
#include "core/device/cpu/isa/batch_family.h"
#include "core/device/cpu/isa/vec.h"
#include "core/device/ref/call.h"

#include <math.h>

/* Per channel, in the workspace. APPLY: (x - mean) * scale + shift; XHAT: (x - mean) * scale;
 * XGRAD: scale * (dy - (xhat * slope + shift)). */
struct job {
    const struct ls_op_call *call;
    int64_t width;
    const float *mean, *scale, *shift, *slope;
};

static void prepare(const struct ls_op_call *call, struct job *job)
{
    const float *var = call->in[2].data, *gamma = call->op == LS_OP_BN_XHAT ? NULL : call->in[3].data;
    float *scale = call->workspace, *shift = scale + job->width, *slope = shift + job->width;

    for (int64_t c = 0; c < job->width; c++) {
        float inv = 1.0f / sqrtf(var[c] + call->attrs->bn.epsilon);

        scale[c] = gamma ? gamma[c] * inv : inv;
    }
    job->scale = scale;
    job->mean = call->in[1].data;
    job->shift = call->op == LS_OP_BN_APPLY ? call->in[4].data : NULL;
    if (call->op == LS_OP_BN_XGRAD) {
        int64_t counts = ls_shape_count(&call->in[6].shape);

        for (int64_t c = 0; c < job->width; c++) {
            float n = ((const float *)call->in[6].data)[c % counts];

            shift[c] = ((const float *)call->in[4].data)[c] / n;
            slope[c] = ((const float *)call->in[5].data)[c] / n;
        }
        job->shift = shift;
        job->slope = slope;
    }
}

static void apply_row(const struct job *job, const float *x, float *y)
{
    for (int64_t c = 0, n = job->width; n > 0; c += VEC_LANES, n -= VEC_LANES) {
        vec d = vec_load_some(x + c, n) - vec_load_some(job->mean + c, n), scale = vec_load_some(job->scale + c, n);

        if (job->shift)
            vec_store_some(y + c, vec_multiply_add(d, scale, vec_load_some(job->shift + c, n)), n);
        else
            vec_store_some(y + c, d * scale, n);
    }
}

static void grad_row(const struct job *job, const float *xhat, const float *dy, float *dx)
{
    for (int64_t c = 0, n = job->width; n > 0; c += VEC_LANES, n -= VEC_LANES) {
        vec t = vec_multiply_add(vec_load_some(xhat + c, n), vec_load_some(job->slope + c, n),
                                 vec_load_some(job->shift + c, n));

        vec_store_some(dx + c, vec_load_some(job->scale + c, n) * (vec_load_some(dy + c, n) - t), n);
    }
}

static void row_range(void *state, int64_t begin, int64_t end, int thread)
{
    const struct job *job = state;
    const float *x = job->call->in[0].data;
    float *y = job->call->out[0].data;

    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        int64_t at = r * job->width;

        if (job->call->op == LS_OP_BN_XGRAD)
            grad_row(job, x + at, (const float *)job->call->in[1].data + at, y + at);
        else
            apply_row(job, x + at, y + at);
    }
}

static enum ls_status run(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    struct job job = {.call = call, .width = lsi_row_length(&call->in[0])};

    (void)err;
    prepare(call, &job);
    lsi_device_parallel(device, lsi_row_count(&call->in[0]), 1 + 8192 / (job.width + 1), row_range, &job);
    return LS_OK;
}

static size_t workspace(const struct ls_device *device, const struct ls_op_call *call)
{
    (void)device;
    return 3 * (size_t)lsi_row_length(&call->in[0]) * sizeof(float);
}

static bool accepts(const struct ls_device *device, const struct ls_op_call *call)
{
    (void)device;
    return call->in[0].dtype == LS_F32;
}

void LSI_ISA_NAME(lsi_cpu_batch_norm)(struct lsi_kernel *table)
{
    table[LS_OP_BN_APPLY] = (struct lsi_kernel){run, workspace, accepts};
    table[LS_OP_BN_XHAT] = (struct lsi_kernel){run, workspace, accepts};
    table[LS_OP_BN_XGRAD] = (struct lsi_kernel){run, workspace, accepts};
}
