/* SPDX-License-Identifier: Apache-2.0 */
/* Optimizer sweeps and tree sums. Formulas: core/device/ref/sweeps.c. */
#include "core/device/cpu/isa/isa.h"
#include "core/device/cpu/isa/vec.h"

#include <assert.h>
#include <string.h>

/* A denormal slot becomes +0. */
static inline vec flush(vec slot)
{
    return vec_choose(slot, vec_set(0.0f), vec_greater(vec_set(0x1p-126f), vec_abs(slot)));
}

/* Floats: a page. The processor's own prefetchers stop at its end, and a sweep has more streams than they like. */
#define AHEAD 1024

/* For reading and writing; memory behind the end is not touched by it. */
static inline void fetch(const float *stream, int64_t i)
{
    __builtin_prefetch(stream + i + AHEAD, 1);
}

static void sgd(const struct ls_sgd_args *args)
{
    vec rate = vec_set(args->learning_rate), momentum = vec_set(args->momentum);

    for (int64_t i = 0; i < args->count; i += VEC_LANES) {
        int64_t n = args->count - i;
        vec w = vec_load_some(args->w + i, n), g = vec_load_some(args->g + i, n), t, v;

        if (!args->v) {
            vec_store_some(args->w_out + i, vec_multiply_add(vec_negate(rate), g, w), n);
            continue;
        }
        t = rate * g;
        fetch(args->w, i);
        fetch(args->g, i);
        fetch(args->v, i);
        v = flush(vec_multiply_add(momentum, vec_load_some(args->v + i, n), vec_negate(t)));
        vec_store_some(args->v_out + i, v, n);
        vec_store_some(args->w_out + i, w + (args->nesterov ? vec_multiply_add(momentum, v, vec_negate(t)) : v), n);
    }
}

static void adam(const struct ls_adam_args *args)
{
    vec keep1 = vec_set(args->keep1), keep2 = vec_set(args->keep2);
    vec alpha = vec_set(args->alpha), epsilon = vec_set(args->epsilon);

    for (int64_t i = 0; i < args->count; i += VEC_LANES) {
        int64_t n = args->count - i;
        vec w = vec_load_some(args->w + i, n), g = vec_load_some(args->g + i, n);
        vec m = vec_load_some(args->m + i, n), v = vec_load_some(args->v + i, n);

        fetch(args->w, i);
        fetch(args->g, i);
        fetch(args->m, i);
        fetch(args->v, i);
        m = flush(vec_multiply_add(g - m, keep1, m));
        v = flush(vec_multiply_add(g * g - v, keep2, v));
        vec_store_some(args->m_out + i, m, n);
        vec_store_some(args->v_out + i, v, n);
        vec_store_some(args->w_out + i, w - (m * alpha) / (vec_sqrt(v) + epsilon), n);
    }
}

/* Floats that the program is run over at once: its stack stays in L1. */
#define STRIP 512
#define MAX_DEPTH 10 /* log2(LS_MAX_SHARDS) + 1, and one to spare */

static inline void add_strip(const float *a, const float *b, float *out, int64_t n)
{
    for (int64_t i = 0; i < n; i += VEC_LANES)
        vec_store_some(out + i, vec_load_some(a + i, n - i) + vec_load_some(b + i, n - i), n - i);
}

/* Leaves are pushed as pointers; only sums occupy the stack's memory, and the last one is written to its place. */
static void tree_strip(const struct ls_tree_program *program, const void *const *leaves, float *out, int64_t begin,
                       int64_t n)
{
    float stack[MAX_DEPTH][STRIP] __attribute__((aligned(64)));
    const float *entry[MAX_DEPTH];
    int top = 0;

    for (int k = 0; k < program->length; k++) {
        if (program->code[k] == LS_TREE_ADD) {
            float *sum = k == program->length - 1 ? out + begin : stack[top - 2];

            top--;
            add_strip(entry[top - 1], entry[top], sum, n);
            entry[top - 1] = sum;
        } else {
            entry[top++] = (const float *)leaves[program->code[k]] + begin;
        }
    }
    if (top == 0)
        memset(out + begin, 0, (size_t)n * sizeof(float));
    else if (entry[0] != out + begin)
        memcpy(out + begin, entry[0], (size_t)n * sizeof(float));
}

static void tree_sum_f32(const struct ls_tree_program *program, const void *const *leaves, float *out, int64_t begin,
                         int64_t end)
{
    assert(program->depth <= MAX_DEPTH);
    if (program->length == 3) {
        const float *a = (const float *)leaves[program->code[0]] + begin;

        add_strip(a, (const float *)leaves[program->code[1]] + begin, out + begin, end - begin);
        return;
    }
    for (int64_t i = begin; i < end; i += STRIP)
        tree_strip(program, leaves, out, i, end - i < STRIP ? end - i : STRIP);
}

const struct lsi_sweeps *LSI_ISA_NAME(lsi_cpu_sweeps)(void)
{
    static const struct lsi_sweeps sweeps = {.sgd = sgd,
                                             .adam = adam,
                                             .tree_sum_f32 = tree_sum_f32,
                                             .has_nan = LSI_ISA_NAME(lsi_has_nan),
                                             .xxh3 = LSI_ISA_NAME(lsi_xxh3)};

    return &sweeps;
}
