/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CAST between all dtypes, and AFFINE, which reads any dtype. To a real: rounded to nearest even. Real to integer:
 * towards zero, held at the ends of the range, NaN to 0. Integer to integer: modulo 2^bits. To bool: not zero.
 */
#include "core/device/ref/call.h"
#include "core/device/ref/elements.h"
#include "core/tensor/bf16.h"

#include <math.h>

static bool is_real(enum ls_dtype dtype)
{
    return dtype == LS_F32 || dtype == LS_F64 || dtype == LS_BF16;
}

/* Exact for every real dtype. */
static double read_real(const struct ls_view *view, int64_t i)
{
    if (view->dtype == LS_F64)
        return ((const double *)view->data)[i];
    return view->dtype == LS_F32 ? (double)((const float *)view->data)[i]
                                 : (double)lsi_f32_of_bf16(((const uint16_t *)view->data)[i]);
}

static int64_t read_integer(const struct ls_view *view, int64_t i)
{
    switch (view->dtype) {
    case LS_I32:
        return ((const int32_t *)view->data)[i];
    case LS_I64:
        return ((const int64_t *)view->data)[i];
    case LS_BOOL:
        return ((const uint8_t *)view->data)[i] != 0;
    default:
        return ((const uint8_t *)view->data)[i];
    }
}

static int64_t integer_of_real(double x, int64_t low, int64_t high)
{
    if (x != x)
        return 0;
    if (x <= (double)low)
        return low;
    return x >= (double)high ? high : (int64_t)x;
}

static void write_integer(const struct ls_view *out, int64_t i, int64_t value)
{
    switch (out->dtype) {
    case LS_I32:
        ((int32_t *)out->data)[i] = (int32_t)(uint32_t)(uint64_t)value;
        break;
    case LS_I64:
        ((int64_t *)out->data)[i] = value;
        break;
    case LS_BOOL:
        ((uint8_t *)out->data)[i] = value != 0;
        break;
    default:
        ((uint8_t *)out->data)[i] = (uint8_t)(uint64_t)value;
    }
}

/* real: whether the value is `x`, else it is `integer`. f64 to bf16 rounds twice, by way of f32. */
static void write_real(const struct ls_view *out, int64_t i, bool real, double x, int64_t integer)
{
    float narrow = real ? (float)x : (float)integer;

    if (out->dtype == LS_F64)
        ((double *)out->data)[i] = real ? x : (double)integer;
    else if (out->dtype == LS_F32)
        ((float *)out->data)[i] = narrow;
    else
        ((uint16_t *)out->data)[i] = lsi_bf16_of_f32(narrow);
}

static void cast_one(const struct ls_view *in, const struct ls_view *out, int64_t i)
{
    static const int64_t low[] = {[LS_I32] = INT32_MIN, [LS_I64] = INT64_MIN, [LS_U8] = 0};
    static const int64_t high[] = {[LS_I32] = INT32_MAX, [LS_I64] = INT64_MAX, [LS_U8] = UINT8_MAX};
    bool real = is_real(in->dtype);
    double x = real ? read_real(in, i) : 0;
    int64_t integer = real ? 0 : read_integer(in, i);

    if (is_real(out->dtype))
        write_real(out, i, real, x, integer);
    else if (!real)
        write_integer(out, i, integer);
    else if (out->dtype == LS_BOOL)
        write_integer(out, i, x != 0);
    else
        write_integer(out, i, integer_of_real(x, low[out->dtype], high[out->dtype]));
}

static enum ls_status cast(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    int64_t count = ls_shape_count(&call->out[0].shape);

    (void)device;
    (void)err;
    for (int64_t i = 0; i < count; i++)
        cast_one(&call->in[0], &call->out[0], i);
    return LS_OK;
}

/* fma(x, scale, offset) in the output's dtype, to which x is converted first. */
static enum ls_status affine(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    int64_t count = ls_shape_count(&call->out[0].shape);
    float scale = call->attrs->affine.scale, offset = call->attrs->affine.offset;
    bool real = is_real(call->in[0].dtype);

    (void)device;
    if (call->out[0].dtype != LS_F32 && call->out[0].dtype != LS_F64)
        return lsi_call_unsupported(call, err);
    for (int64_t i = 0; i < count; i++) {
        double x = real ? read_real(&call->in[0], i) : 0;
        int64_t integer = real ? 0 : read_integer(&call->in[0], i);

        if (call->out[0].dtype == LS_F64)
            ((double *)call->out[0].data)[i] = fma(real ? x : (double)integer, (double)scale, (double)offset);
        else
            ((float *)call->out[0].data)[i] = fmaf(real ? (float)x : (float)integer, scale, offset);
    }
    return LS_OK;
}

void lsi_ref_cast(struct lsi_kernel *table)
{
    table[LS_OP_CAST] = (struct lsi_kernel){.run = cast};
    table[LS_OP_AFFINE] = (struct lsi_kernel){.run = affine};
}
