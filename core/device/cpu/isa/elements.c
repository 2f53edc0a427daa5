/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise operations of f32, and AFFINE and CAST from bytes and integers. Formulas: core/device/ref/elements.c. */
#include "core/device/cpu/isa/elements_family.h"
#include "core/device/cpu/isa/isa.h"
#include "core/device/cpu/isa/math_vec.h"

#include <string.h>

/* Elements that a thread takes at least: less is not worth waking another. */
#define GRAIN 8192

/* out = expression of x over [0, n). */
#define MAP1(expression)                                  \
    do {                                                  \
        int64_t i = 0;                                    \
                                                          \
        for (; i + VEC_LANES <= n; i += VEC_LANES) {      \
            vec x = vec_load(in + i);                     \
                                                          \
            vec_store(out + i, (expression));             \
        }                                                 \
        if (i < n) {                                      \
            vec x = vec_load_some(in + i, n - i);         \
                                                          \
            vec_store_some(out + i, (expression), n - i); \
        }                                                 \
    } while (0)

static void unary_run(enum ls_op op, const float *in, float *out, int64_t n)
{
    switch (op) {
    case LS_OP_NEG:
        MAP1(vec_negate(x));
        break;
    case LS_OP_EXP:
        MAP1(vec_exp(x));
        break;
    case LS_OP_LOG:
        MAP1(vec_log(x));
        break;
    case LS_OP_TANH:
        MAP1(vec_tanh(x));
        break;
    case LS_OP_SQRT:
        MAP1(vec_sqrt(x));
        break;
    case LS_OP_RELU:
        MAP1(vec_relu(x));
        break;
    default:
        MAP1(vec_sigmoid(x));
    }
}

/* max(x, 0) - x t + log(1 + e^-|x|) */
static inline vec sigmoid_xent(vec x, vec t)
{
    vec one = vec_set(1.0f), e = vec_exp(vec_negate(vec_abs(x))), u = one + e;
    vec l = vec_choose(vec_log(u) * (e / (u - one)), e, vec_equal(u, one));

    return vec_multiply_add(vec_negate(x), t, vec_maximum(x, vec_set(0.0f))) + l;
}

/* out = expression of x and y over [0, n); y is b's only element where it is a scalar. */
#define MAP2(expression)                                  \
    do {                                                  \
        int64_t i = 0;                                    \
        vec y = vec_set(*b);                              \
                                                          \
        for (; i + VEC_LANES <= n; i += VEC_LANES) {      \
            vec x = vec_load(a + i);                      \
                                                          \
            if (!scalar)                                  \
                y = vec_load(b + i);                      \
            vec_store(out + i, (expression));             \
        }                                                 \
        if (i < n) {                                      \
            vec x = vec_load_some(a + i, n - i);          \
                                                          \
            if (!scalar)                                  \
                y = vec_load_some(b + i, n - i);          \
            vec_store_some(out + i, (expression), n - i); \
        }                                                 \
    } while (0)

struct binary {
    enum ls_op op;
    const float *a, *b;
    float *out;
    int64_t b_count;
};

static void binary_run(enum ls_op op, const float *a, const float *b, bool scalar, float *out, int64_t n)
{
    switch (op) {
    case LS_OP_ADD:
        MAP2(x + y);
        break;
    case LS_OP_SUB:
        MAP2(x - y);
        break;
    case LS_OP_MUL:
        MAP2(x * y);
        break;
    case LS_OP_DIV:
        MAP2(x / y);
        break;
    case LS_OP_MAXIMUM:
        MAP2(vec_maximum(x, y));
        break;
    case LS_OP_MINIMUM:
        MAP2(vec_minimum(x, y));
        break;
    case LS_OP_RELU_GRAD:
        MAP2(vec_choose(vec_set(0.0f), y, vec_greater(x, vec_set(0.0f))));
        break;
    default:
        MAP2(sigmoid_xent(x, y));
    }
}

/* Whatever the cut: b restarts every b_count elements. */
static void binary_range(void *state, int64_t begin, int64_t end, int thread)
{
    const struct binary *job = state;

    (void)thread;
    for (int64_t i = begin; i < end;) {
        int64_t j = job->b_count > 1 ? i % job->b_count : 0, run = job->b_count > 1 ? job->b_count - j : end - i;

        run = run < end - i ? run : end - i;
        binary_run(job->op, job->a + i, job->b + j, job->b_count == 1, job->out + i, run);
        i += run;
    }
}

static enum ls_status binary(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    struct binary job = {call->op, call->in[0].data, call->in[1].data, call->out[0].data,
                         ls_shape_count(&call->in[1].shape)};

    (void)err;
    lsi_device_parallel(device, ls_shape_count(&call->out[0].shape), GRAIN, binary_range, &job);
    return LS_OK;
}

static void unary_range(void *state, int64_t begin, int64_t end, int thread)
{
    const struct ls_op_call *call = state;

    (void)thread;
    unary_run(call->op, (const float *)call->in[0].data + begin, (float *)call->out[0].data + begin, end - begin);
}

static enum ls_status unary(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    (void)err;
    lsi_device_parallel(device, ls_shape_count(&call->out[0].shape), GRAIN, unary_range, (void *)call);
    return LS_OK;
}

/* SELECT_GE and SIGMOID_XENT_GRAD: three or four operands of one shape. */
static void pairwise_range(void *state, int64_t begin, int64_t end, int thread)
{
    const struct ls_op_call *call = state;
    float *out = call->out[0].data;

    (void)thread;
    for (int64_t i = begin; i < end; i += VEC_LANES) {
        vec v[4], r;

        for (int k = 0; k < call->in_count; k++)
            v[k] = vec_load_some((const float *)call->in[k].data + i, end - i);
        if (call->op == LS_OP_SELECT_GE)
            r = vec_choose(v[3], v[2], vec_not_less(v[0], v[1]));
        else
            r = (vec_sigmoid(v[0]) - v[1]) * v[2];
        vec_store_some(out + i, r, end - i);
    }
}

static enum ls_status pairwise(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    (void)err;
    lsi_device_parallel(device, ls_shape_count(&call->out[0].shape), GRAIN, pairwise_range, (void *)call);
    return LS_OK;
}

/* AFFINE and CAST to f32. The loops are plain: the compiler turns each into vectors. */
#define CONVERT(type)                                                 \
    do {                                                              \
        const type *restrict in = call->in[0].data;                   \
                                                                      \
        if (call->op == LS_OP_CAST) {                                 \
            for (int64_t i = begin; i < end; i++)                     \
                out[i] = (float)in[i];                                \
        } else {                                                      \
            for (int64_t i = begin; i < end; i++)                     \
                out[i] = __builtin_fmaf((float)in[i], scale, offset); \
        }                                                             \
    } while (0)

static void convert_range(void *state, int64_t begin, int64_t end, int thread)
{
    const struct ls_op_call *call = state;
    float *restrict out = call->out[0].data;
    const float scale = call->attrs->affine.scale, offset = call->attrs->affine.offset;

    (void)thread;
    if (call->in[0].dtype == LS_U8)
        CONVERT(uint8_t);
    else if (call->in[0].dtype == LS_I32)
        CONVERT(int32_t);
    else
        CONVERT(float);
}

static enum ls_status convert(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    (void)err;
    lsi_device_parallel(device, ls_shape_count(&call->out[0].shape), GRAIN, convert_range, (void *)call);
    return LS_OK;
}

static bool is_f32(const struct ls_op_call *call)
{
    bool all = call->out[0].dtype == LS_F32;

    for (int k = 0; k < call->in_count; k++)
        all = all && call->in[k].dtype == LS_F32;
    return all;
}

/* Operand k has as many elements as the result. */
static bool spans(const struct ls_op_call *call, int k)
{
    return ls_shape_count(&call->in[k].shape) == ls_shape_count(&call->out[0].shape);
}

static bool accepts_leading(const struct ls_device *device, const struct ls_op_call *call)
{
    (void)device;
    return is_f32(call) && spans(call, 0);
}

static bool accepts_equal(const struct ls_device *device, const struct ls_op_call *call)
{
    bool equal = is_f32(call);

    (void)device;
    for (int k = 0; k < call->in_count; k++)
        equal = equal && spans(call, k);
    return equal;
}

static bool accepts_convert(const struct ls_device *device, const struct ls_op_call *call)
{
    enum ls_dtype dtype = call->in[0].dtype;

    (void)device;
    return call->out[0].dtype == LS_F32 && (dtype == LS_U8 || dtype == LS_I32 || dtype == LS_F32);
}

void LSI_ISA_NAME(lsi_cpu_elements)(struct lsi_kernel *table)
{
    static const enum ls_op unaries[] = {LS_OP_NEG,  LS_OP_EXP,  LS_OP_LOG,    LS_OP_TANH,
                                         LS_OP_SQRT, LS_OP_RELU, LS_OP_SIGMOID};
    static const enum ls_op binaries[] = {LS_OP_ADD,     LS_OP_SUB,     LS_OP_MUL,       LS_OP_DIV,
                                          LS_OP_MAXIMUM, LS_OP_MINIMUM, LS_OP_RELU_GRAD, LS_OP_SIGMOID_XENT};

    for (size_t i = 0; i < sizeof unaries / sizeof unaries[0]; i++)
        table[unaries[i]] = (struct lsi_kernel){.run = unary, .accepts = accepts_leading};
    for (size_t i = 0; i < sizeof binaries / sizeof binaries[0]; i++)
        table[binaries[i]] = (struct lsi_kernel){.run = binary, .accepts = accepts_leading};
    table[LS_OP_SELECT_GE] = (struct lsi_kernel){.run = pairwise, .accepts = accepts_equal};
    table[LS_OP_SIGMOID_XENT_GRAD] = (struct lsi_kernel){.run = pairwise, .accepts = accepts_equal};
    table[LS_OP_AFFINE] = (struct lsi_kernel){.run = convert, .accepts = accepts_convert};
    table[LS_OP_CAST] = (struct lsi_kernel){.run = convert, .accepts = accepts_convert};
    LSI_ISA_NAME(lsi_cpu_dropout)(table);
}
