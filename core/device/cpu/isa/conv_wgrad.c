/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weight gradient of a convolution: for each shard a product of transposed patches (rows: weights of one output
 * channel) and dy (columns: output channels), cut into blocks of positions (docs/numerics.md). Threads take runs of
 * rows. Running sums are kept per shard; finished shards wait in the slots of a binary counter, so that the canonical
 * tree needs log2(shards) + 2 copies of the result.
 *
 * Patches have zeros in the padding. They add nothing unless dy is infinite or NaN, which then shows as a NaN in the
 * result: such rows are computed again tap by tap, with dy zeroed at the tap's positions in the padding.
 */
#include "core/device/cpu/isa/conv_family.h"
#include "core/device/cpu/isa/conv_wgrad.h"

#include <math.h>
#include <string.h>

#define MAX_BUFFERS 12

/* to = from, to = to + from, or to = +0 over the part. */
static void copy_part(const struct conv_part *p, float *to, const float *from)
{
    for (int64_t k = p->k0; k < p->k1; k++) {
        int64_t at = k * p->g->columns;
        memcpy(to + at + p->c0, from + at + p->c0, (size_t)(p->c1 - p->c0) * sizeof(float));
    }
}

static void add_part(const struct conv_part *p, float *to, const float *from)
{
    for (int64_t k = p->k0; k < p->k1; k++) {
        for (int64_t c = p->c0; c < p->c1; c++) {
            to[k * p->g->columns + c] += from[k * p->g->columns + c];
        }
    }
}

static void zero_part(const struct conv_part *p, float *to)
{
    for (int64_t k = p->k0; k < p->k1; k++) {
        memset(to + k * p->g->columns + p->c0, 0, (size_t)(p->c1 - p->c0) * sizeof(float));
    }
}

/* The running sum of shard v into sums. */
static void sum_shard(const struct conv_part *p, int v, float *sums)
{
    const struct ls_op_call *call = p->g->call;
    bool accumulate = p->g->attrs->batch.accumulate;
    if (accumulate) {
        copy_part(p, sums, (const float *)call->in[0].data + v * p->g->rows * p->g->columns);
    } else {
        zero_part(p, sums);
    }
    for (int in = accumulate; in + 1 < call->in_count; in += 2) {
        LSI_ISA_NAME(lsi_conv_add_pair)(p, in, call->shards->offset[v], call->shards->offset[v + 1], sums);
    }
}

static float *buffer(const struct conv_wgrad *g, int index)
{
    return g->buffers + index * g->rows * g->columns;
}

/* The tree over the shards that have samples: slot[l] is the sum of a finished subtree of 2^l shards. */
static void sum_tree(const struct conv_part *p)
{
    const struct ls_shards *shards = p->g->call->shards;
    float *dw = p->g->call->out[0].data;
    float *slot[MAX_BUFFERS] = {NULL}; /* NULL: no samples there */
    float *spare[MAX_BUFFERS];
    int spares = 0;
    for (int i = 0; i < p->g->buffer_count; i++) {
        spare[spares++] = buffer(p->g, i);
    }
    int level = 0;
    for (int v = 0; v < shards->count; v++) {
        float *sums = NULL;
        if (shards->offset[v + 1] > shards->offset[v]) {
            sums = spare[--spares];
            sum_shard(p, v, sums);
        }
        for (level = 0; (v >> level & 1) != 0; level++) {
            if (slot[level] != NULL && sums != NULL) {
                add_part(p, slot[level], sums);
                spare[spares++] = sums;
            }
            sums = slot[level] != NULL ? slot[level] : sums;
            slot[level] = NULL;
        }
        slot[level] = sums;
    }
    if (slot[level] != NULL) {
        copy_part(p, dw, slot[level]);
    } else {
        zero_part(p, dw);
    }
}

static void compute(const struct conv_part *p)
{
    const struct conv_wgrad *g = p->g;
    if (!g->attrs->batch.per_shard) {
        sum_tree(p);
        return;
    }
    for (int v = 0; v < g->call->shards->count; v++) {
        sum_shard(p, v, (float *)g->call->out[0].data + v * g->rows * g->columns);
    }
}

static bool has_nan(const struct conv_part *p)
{
    int results = p->g->attrs->batch.per_shard ? p->g->call->shards->count : 1;
    for (int v = 0; v < results; v++) {
        const float *dw = (const float *)p->g->call->out[0].data + v * p->g->rows * p->g->columns;
        for (int64_t k = p->k0; k < p->k1; k++) {
            for (int64_t c = p->c0; c < p->c1; c++) {
                if (isnan(dw[k * p->g->columns + c])) {
                    return true;
                }
            }
        }
    }
    return false;
}

static void compute_exactly(struct conv_part p)
{
    int64_t channels = p.g->call->in[p.g->attrs->batch.accumulate].shape.dim[3];
    int64_t end = p.k1;
    p.exact = true;
    while (p.k0 < end) {
        int64_t tap_end = (p.k0 / channels + 1) * channels;
        p.k1 = tap_end < end ? tap_end : end;
        compute(&p);
        p.k0 = p.k1;
    }
}

static void run_rows(void *state, int64_t begin, int64_t end, int thread)
{
    const struct conv_wgrad *g = state;
    struct conv_part p = {
        .g = g, .scratch = (struct conv_scratch *)(g->scratch + (size_t)thread * sizeof(struct conv_scratch))};
    int64_t chunks = (end - begin + CONV_CHUNK_ROWS - 1) / CONV_CHUNK_ROWS;
    for (p.c0 = 0; p.c0 < g->columns; p.c0 = p.c1) {
        p.c1 = p.c0 + CONV_CHUNK_COLUMNS < g->columns ? p.c0 + CONV_CHUNK_COLUMNS : g->columns;
        for (int64_t i = 0; i < chunks; i++) {
            p.k0 = begin + (end - begin) * i / chunks;
            p.k1 = begin + (end - begin) * (i + 1) / chunks;
            compute(&p);
            if (g->padded && has_nan(&p)) {
                compute_exactly(p);
            }
        }
    }
}

static int buffers_of(const struct ls_op_call *call)
{
    int levels = 0;
    while (call->shards->count >> levels > 1) {
        levels++;
    }
    return call->attrs->conv2d.batch.per_shard ? 0 : levels + 2;
}

static int64_t rows_of(const struct ls_op_call *call)
{
    const struct ls_conv2d_attrs *a = &call->attrs->conv2d;
    return (int64_t)a->kernel[0] * a->kernel[1] * call->in[a->batch.accumulate].shape.dim[3];
}

static int64_t columns_of(const struct ls_op_call *call)
{
    return call->in[call->attrs->conv2d.batch.accumulate + 1].shape.dim[3];
}

/* Rounded up so that the threads' scratch begins on a cache line. */
static size_t buffers_bytes(const struct ls_op_call *call)
{
    size_t bytes = (size_t)buffers_of(call) * (size_t)(rows_of(call) * columns_of(call)) * sizeof(float);
    return (bytes + 63) / 64 * 64;
}

static size_t workspace(const struct ls_device *device, const struct ls_op_call *call)
{
    return buffers_bytes(call) + (size_t)ls_device_threads(device) * sizeof(struct conv_scratch);
}

static enum ls_status conv2d_wgrad(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    const struct ls_conv2d_attrs *a = &call->attrs->conv2d;
    struct conv_wgrad g = {.call = call,
                           .attrs = a,
                           .rows = rows_of(call),
                           .columns = columns_of(call),
                           .buffers = call->workspace,
                           .buffer_count = buffers_of(call),
                           .scratch = (char *)call->workspace + buffers_bytes(call),
                           .padded = a->pad_begin[0] || a->pad_begin[1] || a->pad_end[0] || a->pad_end[1]};
    (void)err;
    lsi_device_parallel(device, g.rows, 1, run_rows, &g);
    return LS_OK;
}

void LSI_ISA_NAME(lsi_cpu_conv_wgrad)(struct lsi_kernel *table)
{
    table[LS_OP_CONV2D_WGRAD] =
        (struct lsi_kernel){.run = conv2d_wgrad, .workspace = workspace, .accepts = lsi_conv_accepts};
}
