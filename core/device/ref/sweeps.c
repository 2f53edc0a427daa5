/* SPDX-License-Identifier: Apache-2.0 */
/* Optimizer sweeps and tree sums in plain C. docs/numerics.md, "Optimizers". */
#include "core/base/hash.h"
#include "core/device/device_impl.h"

#include <math.h>

/* Optimizer slots are never denormal. */
static float flush(float slot)
{
    return fabsf(slot) < 0x1p-126f ? 0.0f : slot;
}

static void sgd(const struct ls_sgd_args *args)
{
    float rate = args->learning_rate, momentum = args->momentum;

    for (int64_t i = 0; i < args->count; i++) {
        float w = args->w[i], g = args->g[i], t, v;

        if (!args->v) {
            args->w_out[i] = fmaf(-rate, g, w);
            continue;
        }
        t = rate * g;
        v = flush(fmaf(momentum, args->v[i], -t));
        args->v_out[i] = v;
        args->w_out[i] = args->nesterov ? w + fmaf(momentum, v, -t) : w + v;
    }
}

static void adam(const struct ls_adam_args *args)
{
    float keep1 = args->keep1, keep2 = args->keep2;

    for (int64_t i = 0; i < args->count; i++) {
        float g = args->g[i];
        float m = flush(fmaf(g - args->m[i], keep1, args->m[i]));
        float v = flush(fmaf(g * g - args->v[i], keep2, args->v[i]));

        args->w_out[i] = args->w[i] - (m * args->alpha) / (sqrtf(v) + args->epsilon);
        args->m_out[i] = m;
        args->v_out[i] = v;
    }
}

static void tree_sum_f32(const struct ls_tree_program *program, const void *const *leaves, float *out, int64_t begin,
                         int64_t end)
{
    float stack[LS_MAX_SHARDS];

    for (int64_t i = begin; i < end; i++) {
        int top = 0;

        for (int k = 0; k < program->length; k++) {
            if (program->code[k] == LS_TREE_ADD) {
                top--;
                stack[top - 1] += stack[top];
            } else {
                stack[top++] = ((const float *)leaves[program->code[k]])[i];
            }
        }
        out[i] = top ? stack[0] : 0.0f;
    }
}

static bool has_nan(const float *data, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (data[i] != data[i])
            return true;
    return false;
}

static uint64_t xxh3(const float *data, int64_t count, uint64_t seed)
{
    return ls_xxh3(data, (size_t)count * sizeof *data, seed);
}

const struct lsi_sweeps *lsi_ref_sweeps(void)
{
    static const struct lsi_sweeps sweeps = {
        .sgd = sgd, .adam = adam, .tree_sum_f32 = tree_sum_f32, .has_nan = has_nan, .xxh3 = xxh3};

    return &sweeps;
}
