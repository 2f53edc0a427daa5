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
#include "core/device/cpu/isa/conv_grid.h"

#include <math.h>
#include <string.h>

#define CHUNK_ROWS 320    /* rows packed together: 256 patches of them stay in the L2 cache */
#define CHUNK_COLUMNS 256 /* columns of dy packed together */
#define PITCH (CHUNK_ROWS + 16)
#define MAX_BUFFERS 12

struct wgrad {
    const struct ls_op_call *call;
    const struct ls_conv2d_attrs *attrs;
    int64_t rows, columns; /* of dw */
    float *buffers;        /* of rows * columns floats: running sum and slots */
    int buffer_count;
    char *scratch; /* sizeof(struct scratch) a thread */
    bool padded;
};

struct scratch {
    float patches[CONV_BLOCK * PITCH];    /* [position][row] */
    float dy[CONV_BLOCK * CHUNK_COLUMNS]; /* by tiles of columns: [position][column] */
    unsigned char inside[CONV_BLOCK];     /* exact only: whether the tap is not padding there */
};

/* A part of dw: rows [k0, k1), columns [c0, c1). */
struct part {
    const struct wgrad *g;
    struct scratch *scratch;
    int64_t k0, k1, c0, c1;
    bool exact; /* the rows are of one tap; dy counts only where the tap is not padding */
};

/* A block: positions [begin, end) of a pair's batch. */
struct block {
    const struct conv_grid *grid;
    const float *dy;
    int64_t begin, end;
};

static void note_padding(const struct part *p, const struct block *b)
{
    int64_t channels = b->grid->channels;
    int64_t ty = p->k0 / channels / b->grid->x.kernel;
    int64_t tx = p->k0 / channels % b->grid->x.kernel;
    struct conv_place place = conv_place_at(b->grid, b->begin);
    for (int64_t i = 0; i < b->end - b->begin; i++, conv_place_next(b->grid, &place)) {
        struct conv_site site = conv_site_of(b->grid, &place);
        int64_t y = site.y + ty * b->grid->y.offset_step;
        int64_t x = site.x + tx * b->grid->x.offset_step;
        p->scratch->inside[i] = y >= 0 && y < b->grid->y.source && x >= 0 && x < b->grid->x.source;
    }
}

static void pack_dy(const struct part *p, const struct block *b)
{
    int64_t positions = b->end - b->begin;
    for (int64_t c = p->c0; c < p->c1; c += CONV_COLUMNS) {
        float *to = p->scratch->dy + (c - p->c0) * CONV_BLOCK;
        int64_t count = conv_tile_columns(p->c1, c);
        int64_t width = conv_tile_width(p->c1, c);
        for (int64_t i = 0; i < positions; i++, to += width) {
            const float *from = b->dy + (b->begin + i) * p->g->columns + c;
            bool skip = p->exact && !p->scratch->inside[i];
            for (int64_t v = 0; v < width; v += VEC_LANES) {
                vec_store(to + v, skip ? vec_set(0.0f) : vec_load_some(from + v, count - v));
            }
        }
    }
}

/* Adds a block to the running sums. */
static void add_block(const struct part *p, const struct block *b, float *sums)
{
    int64_t positions = b->end - b->begin;
    int64_t rows = p->k1 - p->k0;
    int64_t strips = (rows + CONV_ROWS - 1) / CONV_ROWS;
    struct conv_run run = {.begin = 0, .count = positions};
    float *row[CONV_ROWS];
    struct conv_tile t = {.a_step = PITCH, .runs = &run, .run_count = 1, .rows = row};
    struct conv_place place = conv_place_at(b->grid, b->begin);
    for (int64_t i = 0; i < positions; i++, conv_place_next(b->grid, &place)) {
        struct conv_site site = conv_site_of(b->grid, &place);
        LSI_ISA_NAME(lsi_conv_pack_patch)(b->grid, &site, p->k0, p->k1, p->scratch->patches + i * PITCH);
    }
    if (p->exact) {
        note_padding(p, b);
    }
    pack_dy(p, b);
    for (int64_t c = p->c0; c < p->c1; c += CONV_COLUMNS) {
        t.b = p->scratch->dy + (c - p->c0) * CONV_BLOCK;
        t.columns = (int)conv_tile_columns(p->c1, c);
        for (int64_t s = 0; s < strips; s++) {
            int64_t first = rows * s / strips;
            t.row_count = (int)(rows * (s + 1) / strips - first);
            t.a = p->scratch->patches + first;
            for (int r = 0; r < t.row_count; r++) {
                row[r] = sums + (p->k0 + first + r) * p->g->columns + c;
            }
            LSI_ISA_NAME(lsi_conv_tile_weights)(&t);
        }
    }
}

/* Adds the samples [begin, end) of one pair, block by block. */
static void add_pair(const struct part *p, int in, int64_t begin, int64_t end, float *sums)
{
    const struct ls_view *x = &p->g->call->in[in];
    const struct ls_view *dy = &p->g->call->in[in + 1];
    struct conv_grid grid = LSI_ISA_NAME(lsi_conv_grid_forward)(p->g->attrs, x, dy);
    int64_t positions = grid.y.count * grid.x.count;
    if (positions == 0) {
        return;
    }
    int64_t samples = positions <= CONV_BLOCK ? CONV_BLOCK / positions : 1;
    int64_t longest = positions <= CONV_BLOCK ? samples * positions : CONV_BLOCK;
    for (int64_t n = begin; n < end; n += samples) {
        int64_t last = (n + samples < end ? n + samples : end) * positions;
        for (int64_t at = n * positions; at < last; at += longest) {
            struct block b = {.grid = &grid, .dy = dy->data, .begin = at, .end = at + longest};
            b.end = b.end < last ? b.end : last;
            add_block(p, &b, sums);
        }
    }
}

/* to = from, to = to + from, or to = +0 over the part. */
static void copy_part(const struct part *p, float *to, const float *from)
{
    for (int64_t k = p->k0; k < p->k1; k++) {
        int64_t at = k * p->g->columns;
        memcpy(to + at + p->c0, from + at + p->c0, (size_t)(p->c1 - p->c0) * sizeof(float));
    }
}

static void add_part(const struct part *p, float *to, const float *from)
{
    for (int64_t k = p->k0; k < p->k1; k++) {
        for (int64_t c = p->c0; c < p->c1; c++) {
            to[k * p->g->columns + c] += from[k * p->g->columns + c];
        }
    }
}

static void zero_part(const struct part *p, float *to)
{
    for (int64_t k = p->k0; k < p->k1; k++) {
        memset(to + k * p->g->columns + p->c0, 0, (size_t)(p->c1 - p->c0) * sizeof(float));
    }
}

/* The running sum of shard v into sums. */
static void sum_shard(const struct part *p, int v, float *sums)
{
    const struct ls_op_call *call = p->g->call;
    bool accumulate = p->g->attrs->batch.accumulate;
    if (accumulate) {
        copy_part(p, sums, (const float *)call->in[0].data + v * p->g->rows * p->g->columns);
    } else {
        zero_part(p, sums);
    }
    for (int in = accumulate; in + 1 < call->in_count; in += 2) {
        add_pair(p, in, call->shards->offset[v], call->shards->offset[v + 1], sums);
    }
}

static float *buffer(const struct wgrad *g, int index)
{
    return g->buffers + index * g->rows * g->columns;
}

/* The tree over the shards that have samples: slot[l] is the sum of a finished subtree of 2^l shards. */
static void sum_tree(const struct part *p)
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

static void compute(const struct part *p)
{
    const struct wgrad *g = p->g;
    if (!g->attrs->batch.per_shard) {
        sum_tree(p);
        return;
    }
    for (int v = 0; v < g->call->shards->count; v++) {
        sum_shard(p, v, (float *)g->call->out[0].data + v * g->rows * g->columns);
    }
}

static bool has_nan(const struct part *p)
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

static void compute_exactly(struct part p)
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
    const struct wgrad *g = state;
    struct part p = {.g = g, .scratch = (struct scratch *)(g->scratch + (size_t)thread * sizeof(struct scratch))};
    int64_t chunks = (end - begin + CHUNK_ROWS - 1) / CHUNK_ROWS;
    for (p.c0 = 0; p.c0 < g->columns; p.c0 = p.c1) {
        p.c1 = p.c0 + CHUNK_COLUMNS < g->columns ? p.c0 + CHUNK_COLUMNS : g->columns;
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
    return buffers_bytes(call) + (size_t)ls_device_threads(device) * sizeof(struct scratch);
}

static enum ls_status conv2d_wgrad(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    const struct ls_conv2d_attrs *a = &call->attrs->conv2d;
    struct wgrad g = {.call = call,
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
