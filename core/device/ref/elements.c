/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise operations and dropout; conversions are in cast.c. docs/numerics.md, "Elements". */
#include "core/base/philox.h"
#include "core/device/ref/call.h"
#include "core/device/ref/elements.h"
#include "core/device/ref/real.h"

#include <string.h>

#define LSI_REAL_BODY "core/device/ref/elements_real.inc"
#include "core/device/ref/both_reals.inc"

#define RUN_REAL(name)                                                                                        \
    static enum ls_status name(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err) \
    {                                                                                                         \
        (void)device;                                                                                         \
        if (call->in[0].dtype != call->out[0].dtype)                                                          \
            return lsi_call_unsupported(call, err);                                                           \
        if (call->out[0].dtype == LS_F32)                                                                     \
            return run_##name##_f32(call);                                                                    \
        return call->out[0].dtype == LS_F64 ? run_##name##_f64(call) : lsi_call_unsupported(call, err);       \
    }
RUN_REAL(unary)
RUN_REAL(select_ge)
RUN_REAL(sigmoid_xent_grad)

/* Integers wrap modulo 2^bits. false: no such operation on integers. */
#define INTEGER_BINARY(suffix, type, unsigned_type)                                                         \
    static bool integer_##suffix(enum ls_op op, type x, type y, type *out)                                  \
    {                                                                                                       \
        switch (op) {                                                                                       \
        case LS_OP_ADD:                                                                                     \
            *out = (type)((unsigned_type)x + (unsigned_type)y);                                             \
            return true;                                                                                    \
        case LS_OP_SUB:                                                                                     \
            *out = (type)((unsigned_type)x - (unsigned_type)y);                                             \
            return true;                                                                                    \
        case LS_OP_MUL:                                                                                     \
            *out = (type)((unsigned_type)x * (unsigned_type)y);                                             \
            return true;                                                                                    \
        case LS_OP_MAXIMUM:                                                                                 \
            *out = x >= y ? x : y;                                                                          \
            return true;                                                                                    \
        case LS_OP_MINIMUM:                                                                                 \
            *out = x <= y ? x : y;                                                                          \
            return true;                                                                                    \
        default:                                                                                            \
            return false;                                                                                   \
        }                                                                                                   \
    }                                                                                                       \
    static enum ls_status run_binary_##suffix(const struct ls_op_call *call, struct ls_error *err)          \
    {                                                                                                       \
        const type *a = call->in[0].data, *b = call->in[1].data;                                            \
        int64_t a_count = ls_shape_count(&call->in[0].shape);                                               \
        int64_t b_count = ls_shape_count(&call->in[1].shape);                                               \
                                                                                                            \
        for (int64_t i = 0; i < ls_shape_count(&call->out[0].shape); i++) {                                 \
            if (!integer_##suffix(call->op, a[i % a_count], b[i % b_count], (type *)call->out[0].data + i)) \
                return lsi_call_unsupported(call, err);                                                     \
        }                                                                                                   \
        return LS_OK;                                                                                       \
    }
INTEGER_BINARY(i32, int32_t, uint32_t)
INTEGER_BINARY(i64, int64_t, uint64_t)

static enum ls_status binary(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    (void)device;
    if (call->in[0].dtype != call->out[0].dtype || call->in[1].dtype != call->out[0].dtype)
        return lsi_call_unsupported(call, err);
    switch (call->out[0].dtype) {
    case LS_F32:
        return run_binary_f32(call);
    case LS_F64:
        return run_binary_f64(call);
    case LS_I32:
        return run_binary_i32(call, err);
    case LS_I64:
        return run_binary_i64(call, err);
    default:
        return lsi_call_unsupported(call, err);
    }
}

/* Element e of a sample is kept where the unit number of word e % 4 of block e / 4 is >= rate. */
static enum ls_status dropout(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    int64_t count = ls_shape_count(&call->out[0].shape), samples = call->shards ? lsi_sample_count(call, 0) : 1;
    int64_t per_sample = samples ? count / samples : 0;
    float rate = call->attrs->dropout.rate, scale = 1.0f / (1.0f - rate);
    bool is_f64 = call->out[0].dtype == LS_F64;
    struct ls_philox_key key;

    (void)device;
    if (!call->step)
        return ls_error_set(err, LS_EINTERNAL, "operation dropout was run without a step");
    if (call->in[0].dtype != call->out[0].dtype || (!is_f64 && call->out[0].dtype != LS_F32))
        return lsi_call_unsupported(call, err);
    if (!call->step->training) {
        memcpy(call->out[0].data, call->in[0].data, ls_view_bytes(&call->out[0]));
        return LS_OK;
    }
    key = ls_philox_key_of(call->step->seed, call->attrs->dropout.stream, call->attrs->dropout.call);
    for (int64_t i = 0; i < count; i++) {
        uint64_t sample = call->shards ? (uint64_t)(call->shards->first_sample + i / per_sample) : LS_PHILOX_NO_SAMPLE;
        int64_t element = i % per_sample;
        uint32_t words[4];
        bool keep;

        ls_philox_block(key, call->step->step, sample, (uint32_t)(element / 4), words);
        keep = ls_philox_unit(words[element % 4]) >= rate;
        if (is_f64)
            apply_mask_f64(call->in[0].data, call->out[0].data, i, keep, scale);
        else
            apply_mask_f32(call->in[0].data, call->out[0].data, i, keep, scale);
    }
    return LS_OK;
}

void lsi_ref_elements(struct lsi_kernel *table)
{
    static const enum ls_op unaries[] = {LS_OP_NEG,  LS_OP_EXP,  LS_OP_LOG,    LS_OP_TANH,
                                         LS_OP_SQRT, LS_OP_RELU, LS_OP_SIGMOID};
    static const enum ls_op binaries[] = {LS_OP_ADD,     LS_OP_SUB,     LS_OP_MUL,       LS_OP_DIV,
                                          LS_OP_MAXIMUM, LS_OP_MINIMUM, LS_OP_RELU_GRAD, LS_OP_SIGMOID_XENT};

    for (size_t i = 0; i < sizeof unaries / sizeof unaries[0]; i++)
        table[unaries[i]] = (struct lsi_kernel){.run = unary};
    for (size_t i = 0; i < sizeof binaries / sizeof binaries[0]; i++)
        table[binaries[i]] = (struct lsi_kernel){.run = binary};
    table[LS_OP_SELECT_GE] = (struct lsi_kernel){.run = select_ge};
    table[LS_OP_SIGMOID_XENT_GRAD] = (struct lsi_kernel){.run = sigmoid_xent_grad};
    table[LS_OP_DROPOUT] = (struct lsi_kernel){.run = dropout};
    lsi_ref_cast(table);
}
