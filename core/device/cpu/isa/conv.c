/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution and its input gradient: products of patches and packed weights (conv_direct.c, conv_packed.c). */
#include "core/device/cpu/isa/conv_family.h"
#include "core/device/cpu/isa/conv_product.h"

#include <math.h>

static size_t packed_bytes(int64_t terms, int64_t columns)
{
    return ((size_t)(terms * conv_packed_columns(columns)) * sizeof(float) + 63) / 64 * 64;
}

static void run_product(struct ls_device *device, struct conv_product *p)
{
    if (!LSI_ISA_NAME(lsi_conv_run_direct)(device, p)) {
        LSI_ISA_NAME(lsi_conv_run_packed)(device, p);
    }
}

/* Packs w[term][column] by tiles of columns. Term t of a forward product is row t of w; of an adjoint product it is
 * (tap, output channel), and the columns are input channels. Returns whether all weights are finite. */
static bool pack_weights(const float *w, int64_t taps, int64_t channels, int64_t columns, bool adjoint, float *packed)
{
    bool finite = true;
    int64_t terms = taps * channels;
    for (int64_t c0 = 0; c0 < columns; c0 += TILE_COLUMNS) {
        float *to = packed + c0 * terms;
        int64_t count = tile_columns(columns, c0);
        int64_t width = tile_width(count);
        for (int64_t k = 0; k < terms; k++, to += width) {
            const float *from =
                adjoint ? w + (k / channels * columns + c0) * channels + k % channels : w + k * columns + c0;
            int64_t step = adjoint ? channels : 1;
            for (int64_t c = 0; c < count; c++) {
                to[c] = from[c * step];
                finite = finite && isfinite(to[c]);
            }
            for (int64_t c = count; c < width; c++) {
                to[c] = 0.0f;
            }
        }
    }
    return finite;
}

/* x (forward) or dy (adjoint) is the source; y or dx the result. */
static void prepare(struct conv_product *p, const struct ls_op_call *call, bool adjoint)
{
    const struct ls_conv2d_attrs *attrs = &call->attrs->conv2d;
    const struct ls_shape *source = &call->in[0].shape;
    int64_t taps = (int64_t)attrs->kernel[0] * attrs->kernel[1];
    int64_t channels = source->dim[3];
    int64_t columns = call->out[0].shape.dim[3];
    float *packed = call->workspace;
    bool finite = pack_weights(call->in[1].data, taps, channels, columns, adjoint, packed);
    *p = (struct conv_product){.packed = packed,
                               .columns = columns,
                               .result = call->out[0].data,
                               .finite = finite,
                               .scratch = (char *)call->workspace + packed_bytes(taps * channels, columns)};
}

static enum ls_status conv2d(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    struct conv_product p;
    (void)err;
    prepare(&p, call, false);
    p.grid = LSI_ISA_NAME(lsi_conv_grid_forward)(&call->attrs->conv2d, &call->in[0], &call->out[0]);
    p.bias = call->in_count > 2 ? call->in[2].data : NULL;
    p.relu = call->attrs->conv2d.activation == LS_ACTIVATION_RELU;
    run_product(device, &p);
    return LS_OK;
}

static enum ls_status conv2d_xgrad(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    struct conv_product p;
    const struct ls_conv2d_attrs *attrs = &call->attrs->conv2d;
    (void)err;
    prepare(&p, call, true);
    const int64_t *dx = call->out[0].shape.dim;
    /* Residues beyond the input have no positions, and a stride may be far larger than it. */
    for (int64_t py = 0; py < attrs->stride[0] && py < dx[1]; py++) {
        for (int64_t px = 0; px < attrs->stride[1] && px < dx[2]; px++) {
            p.grid = LSI_ISA_NAME(lsi_conv_grid_adjoint)(attrs, &call->out[0], &call->in[0], py, px);
            run_product(device, &p);
        }
    }
    return LS_OK;
}

static size_t workspace(const struct ls_device *device, const struct ls_op_call *call)
{
    const struct ls_conv2d_attrs *attrs = &call->attrs->conv2d;
    int64_t terms = (int64_t)attrs->kernel[0] * attrs->kernel[1] * call->in[0].shape.dim[3];
    return packed_bytes(terms, call->out[0].shape.dim[3]) + (size_t)ls_device_threads(device) * conv_scratch_bytes();
}

void LSI_ISA_NAME(lsi_cpu_conv)(struct lsi_kernel *table)
{
    table[LS_OP_CONV2D] = (struct lsi_kernel){.run = conv2d, .workspace = workspace, .accepts = lsi_conv_accepts};
    table[LS_OP_CONV2D_XGRAD] =
        (struct lsi_kernel){.run = conv2d_xgrad, .workspace = workspace, .accepts = lsi_conv_accepts};
    LSI_ISA_NAME(lsi_cpu_conv_wgrad)(table);
    LSI_ISA_NAME(lsi_cpu_pool)(table);
}
