/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sweeps of device.h over the device's threads: optimizers and f32 tree sums by the instruction set's functions;
 * f64 and i64 tree sums, moments and fingerprints in plain C (short, or bound by the hash).
 */
#include "core/device/device_internal.h"

#include "core/base/hash.h"

#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#define CHUNK 4096   /* elements of a fingerprint's chunk; the grain of every sweep */
#define STRIP 256    /* elements that a tree is evaluated for at once */
#define MAX_DEPTH 10 /* log2(LS_MAX_SHARDS) + 1, and one to spare */
#define CANONICAL_NAN 0x7fc00000u

struct sweep {
    struct ls_device *device;
    const struct ls_sgd_args *sgd;
    const struct ls_adam_args *adam;
};

static void sgd_range(void *state, int64_t begin, int64_t end, int thread)
{
    const struct sweep *sweep = state;
    struct ls_sgd_args part = *sweep->sgd;

    (void)thread;
    part.count = end - begin;
    part.w += begin;
    part.g += begin;
    part.w_out += begin;
    if (part.v != NULL) {
        part.v += begin;
        part.v_out += begin;
    }
    sweep->device->sweeps->sgd(&part);
}

void ls_device_sgd(struct ls_device *device, const struct ls_sgd_args *args)
{
    struct sweep sweep = {.device = device, .sgd = args};

    lsi_float_mode_set();
    lsi_device_parallel(device, args->count, CHUNK, sgd_range, &sweep);
}

static void adam_range(void *state, int64_t begin, int64_t end, int thread)
{
    const struct sweep *sweep = state;
    struct ls_adam_args part = *sweep->adam;

    (void)thread;
    part.count = end - begin;
    part.w += begin;
    part.g += begin;
    part.m += begin;
    part.v += begin;
    part.w_out += begin;
    part.m_out += begin;
    part.v_out += begin;
    sweep->device->sweeps->adam(&part);
}

void ls_device_adam(struct ls_device *device, const struct ls_adam_args *args)
{
    struct sweep sweep = {.device = device, .adam = args};

    lsi_float_mode_set();
    lsi_device_parallel(device, args->count, CHUNK, adam_range, &sweep);
}

/* A tree over whole vectors. */
struct tree {
    struct ls_device *device;
    const struct ls_tree_program *program;
    const void *const *leaves;
    void *out;
    int64_t count;
};

static void tree_f32_range(void *state, int64_t begin, int64_t end, int thread)
{
    const struct tree *tree = state;

    (void)thread;
    tree->device->sweeps->tree_sum_f32(tree->program, tree->leaves, tree->out, begin, end);
}

static void tree_f64_strip(const struct tree *tree, int64_t begin, int64_t count)
{
    double stack[MAX_DEPTH][STRIP];
    int height = 0;
    int64_t e;
    int i;

    for (i = 0; i < tree->program->length; i++) {
        int code = tree->program->code[i];

        if (code == LS_TREE_ADD) {
            height--;
            for (e = 0; e < count; e++)
                stack[height - 1][e] += stack[height][e];
        } else {
            memcpy(stack[height++], (const double *)tree->leaves[code] + begin, (size_t)count * sizeof(double));
        }
    }
    memcpy((double *)tree->out + begin, stack[0], (size_t)count * sizeof(double));
}

/* Addition modulo 2^64 does not depend on the order. */
static void tree_i64_strip(const struct tree *tree, int64_t begin, int64_t count)
{
    uint64_t sum[STRIP] = {0};
    int64_t e;
    int i;

    for (i = 0; i < tree->program->length; i++) {
        const uint64_t *leaf;

        if (tree->program->code[i] == LS_TREE_ADD)
            continue;
        leaf = (const uint64_t *)tree->leaves[tree->program->code[i]] + begin;
        for (e = 0; e < count; e++)
            sum[e] += leaf[e];
    }
    memcpy((uint64_t *)tree->out + begin, sum, (size_t)count * sizeof(uint64_t));
}

static void tree_f64_range(void *state, int64_t begin, int64_t end, int thread)
{
    int64_t at;

    (void)thread;
    for (at = begin; at < end; at += STRIP)
        tree_f64_strip(state, at, end - at < STRIP ? end - at : STRIP);
}

static void tree_i64_range(void *state, int64_t begin, int64_t end, int thread)
{
    int64_t at;

    (void)thread;
    for (at = begin; at < end; at += STRIP)
        tree_i64_strip(state, at, end - at < STRIP ? end - at : STRIP);
}

void ls_device_tree_sum(struct ls_device *device, enum ls_dtype dtype, const struct ls_tree_program *program,
                        const void *const *leaves, void *out, int64_t count)
{
    struct tree tree = {.device = device, .program = program, .leaves = leaves, .out = out, .count = count};

    assert(program->depth <= MAX_DEPTH);
    assert(dtype == LS_F32 || dtype == LS_F64 || dtype == LS_I64);
    lsi_float_mode_set();
    if (program->length == 0)
        memset(out, 0, (size_t)count * ls_dtype_size(dtype));
    else if (dtype == LS_F32)
        lsi_device_parallel(device, count, CHUNK, tree_f32_range, &tree);
    else if (dtype == LS_F64)
        lsi_device_parallel(device, count, CHUNK, tree_f64_range, &tree);
    else
        lsi_device_parallel(device, count, CHUNK, tree_i64_range, &tree);
}

/* Samples, their mean and the sum of squared distances from it. */
struct moments {
    float count, mean, m2;
};

/* Chan, Golub, LeVeque: Updating formulae and a pairwise algorithm for computing sample variances (1979). */
static struct moments merge(struct moments a, struct moments b)
{
    struct moments c;
    float d, r;

    if (a.count == 0.0f)
        return b;
    if (b.count == 0.0f)
        return a;
    c.count = a.count + b.count;
    d = b.mean - a.mean;
    r = b.count / c.count;
    c.mean = fmaf(d, r, a.mean);
    c.m2 = (a.m2 + b.m2) + (d * d) * (a.count * r);
    return c;
}

static void moments_range(void *state, int64_t begin, int64_t end, int thread)
{
    const struct tree *tree = state;
    float *out = tree->out;
    int64_t c, channels = tree->count;

    (void)thread;
    for (c = begin; c < end; c++) {
        struct moments stack[MAX_DEPTH] = {0};
        int height = 0;
        int i;

        for (i = 0; i < tree->program->length; i++) {
            int code = tree->program->code[i];

            if (code == LS_TREE_ADD) {
                height--;
                stack[height - 1] = merge(stack[height - 1], stack[height]);
            } else {
                const float *leaf = tree->leaves[code];

                stack[height++] = (struct moments){leaf[c], leaf[channels + c], leaf[2 * channels + c]};
            }
        }
        out[c] = stack[0].count;
        out[channels + c] = stack[0].mean;
        out[2 * channels + c] = stack[0].m2;
    }
}

void ls_device_tree_moments(struct ls_device *device, const struct ls_tree_program *program, const void *const *leaves,
                            float *out, int64_t channels)
{
    struct tree tree = {.program = program, .leaves = leaves, .out = out, .count = channels};

    assert(program->depth <= MAX_DEPTH);
    lsi_float_mode_set();
    lsi_device_parallel(device, channels, STRIP, moments_range, &tree);
}

struct fingerprint {
    const struct lsi_sweeps *sweeps;
    const float *data;
    uint64_t first_chunk;
    _Atomic uint64_t sum;
};

static uint64_t hash_chunk(const struct lsi_sweeps *sweeps, const float *data, int64_t count, uint64_t seed)
{
    float values[CHUNK];
    uint32_t bits;
    int64_t i;

    if (!sweeps->has_nan(data, count))
        return sweeps->xxh3(data, count, seed);
    for (i = 0; i < count; i++) {
        memcpy(&bits, data + i, sizeof bits);
        if ((bits & 0x7fffffffu) > 0x7f800000u)
            bits = CANONICAL_NAN;
        memcpy(values + i, &bits, sizeof bits);
    }
    return sweeps->xxh3(values, count, seed);
}

static void fingerprint_range(void *state, int64_t begin, int64_t end, int thread)
{
    struct fingerprint *print = state;
    uint64_t sum = 0;
    int64_t at;

    (void)thread;
    for (at = begin; at < end; at += CHUNK)
        sum += hash_chunk(print->sweeps, print->data + at, end - at < CHUNK ? end - at : CHUNK,
                          print->first_chunk + (uint64_t)(at / CHUNK));
    atomic_fetch_add(&print->sum, sum);
}

uint64_t ls_device_fingerprint_f32(struct ls_device *device, const float *data, int64_t count, uint64_t first_chunk)
{
    struct fingerprint print = {.sweeps = device->sweeps, .data = data, .first_chunk = first_chunk};

    lsi_device_parallel(device, count, CHUNK, fingerprint_range, &print);
    return atomic_load(&print.sum);
}
