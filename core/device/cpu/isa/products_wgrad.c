/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dense_wgrad: x^T dy in the order of the batch reductions, in one pass. dy is packed once into panels of columns; a
 * thread packs the columns of x of one tile and runs the panels over it. A tile keeps its running sum and the
 * pending partials of the canonical tree in L1: a merge costs one load and one addition a register.
 */
#include "core/device/cpu/isa/product_tile.h"

#include "core/base/alloc.h"

#include <string.h>

/* One non-empty shard: how many pending partials its sum is added to, and how many were pending before. */
struct leaf {
    int16_t shard, merges, height;
};

struct wgrad {
    struct lsi_wgrad w;
    int64_t tiles, panels, rows; /* rows: of all pairs together */
    int leaves;
    struct leaf leaf[LS_MAX_SHARDS];
    struct lsi_wgrad_pair *pair; /* workspace */
    float *dy;                   /* workspace: panels of `rows` packed rows */
    float *x;                    /* workspace: a tile of each thread */
};

/* Bytes of the three parts of the workspace. */
struct sizes {
    size_t pairs, dy, x;
};

static size_t align(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

static struct sizes sizes_of(const struct wgrad *job)
{
    return (struct sizes){
        .pairs = align((size_t)job->w.pairs * sizeof(struct lsi_wgrad_pair)),
        .dy = align((size_t)job->panels * (size_t)job->rows * TILE_COLUMNS * sizeof(float)),
        .x = align((size_t)job->rows * TILE_ROWS * sizeof(float)),
    };
}

static void wgrad_of(const struct ls_op_call *call, struct wgrad *job)
{
    int i;

    lsi_wgrad_of(call, &job->w);
    job->tiles = tile_count(job->w.k);
    job->panels = panel_count(job->w.n);
    job->rows = 0;
    for (i = 0; i < job->w.pairs; i++)
        job->rows += lsi_wgrad_pair_of(call, &job->w, i).positions * job->w.samples;
}

static size_t wgrad_workspace(const struct ls_device *device, const struct ls_op_call *call)
{
    struct wgrad job;
    struct sizes sizes;

    wgrad_of(call, &job);
    sizes = sizes_of(&job);
    return sizes.pairs + sizes.dy + sizes.x * (size_t)ls_device_threads(device);
}

/* The leaves in order, with the additions that follow each in the tree's postfix program. */
static void plan_leaves(struct wgrad *job)
{
    struct ls_range ranges[LS_MAX_SHARDS];
    struct ls_tree_program program;
    struct leaf *leaf = job->leaf;
    int height = 0, i;

    job->leaves = 0;
    for (i = 0; i < job->w.shards; i++) {
        if (job->w.offset[i] < job->w.offset[i + 1])
            ranges[job->leaves++] = (struct ls_range){.first = i, .count = 1};
    }
    ls_tree_program_build(ranges, job->leaves, job->w.shards, &program);
    for (i = 0; i < program.length; i++) {
        if (program.code[i] == LS_TREE_ADD) {
            height--;
            leaf->merges += !job->w.per_shard;
        } else {
            leaf = &job->leaf[program.code[i]];
            *leaf = (struct leaf){.shard = (int16_t)ranges[program.code[i]].first, .height = (int16_t)height++};
        }
    }
}

/* One tile of the result while it is computed. */
struct work {
    const struct wgrad *job;
    const float *x, *dy;   /* packed */
    int64_t row, column;   /* of the result */
    struct product_tile t; /* what all blocks have in common */
    float *running;        /* the shard's sum between its blocks */
    float *pending;        /* tiles of the tree's pending partials, TILE_FLOATS apart */
};

/* Where the shard's sum goes, and what it is added to on the way. */
static void end_leaf(const struct work *work, const struct leaf *leaf, struct product_tile *t)
{
    const struct lsi_wgrad *w = &work->job->w;
    int level = leaf->height - leaf->merges, i;

    t->merges = leaf->merges;
    for (i = 0; i < leaf->merges; i++)
        t->merge[i] = work->pending + (leaf->height - 1 - i) * TILE_FLOATS;
    if (w->per_shard || leaf == &work->job->leaf[work->job->leaves - 1]) {
        t->to = w->out + ((w->per_shard ? leaf->shard : 0) * w->k + work->row) * w->n + work->column;
        t->to_step = w->n;
    } else {
        t->to = work->pending + level * TILE_FLOATS;
        t->to_step = TILE_COLUMNS;
    }
}

static void run_leaf(const struct work *work, const struct leaf *leaf)
{
    const struct lsi_wgrad *w = &work->job->w;
    struct product_tile t = work->t;
    int64_t packed = 0;
    int i;

    if (w->acc != NULL) {
        t.base = w->acc + (leaf->shard * w->k + work->row) * w->n + work->column;
        t.base_step = w->n;
    }
    for (i = 0; i < w->pairs; i++) {
        const struct lsi_wgrad_pair *pair = &work->job->pair[i];
        int64_t row = w->offset[leaf->shard] * pair->positions;
        int64_t last = w->offset[leaf->shard + 1] * pair->positions;

        while (row < last) {
            int64_t end = lsi_block_end(pair, row, last);

            t.a = work->x + (packed + row) * TILE_ROWS;
            t.b = work->dy + (packed + row) * tile_width(t.columns);
            t.depth = end - row;
            if (end == last && i == w->pairs - 1)
                end_leaf(work, leaf, &t);
            LSI_ISA_NAME(lsi_product_tile_terms)(&t);
            t.base = work->running;
            t.base_step = TILE_COLUMNS;
            row = end;
        }
        packed += w->samples * pair->positions;
    }
}

static void pack_x(const struct wgrad *job, int64_t column, int columns, float *to)
{
    int i;

    for (i = 0; i < job->w.pairs; i++) {
        int64_t rows = job->pair[i].positions * job->w.samples;

        LSI_ISA_NAME(lsi_product_pack_tight)(job->pair[i].x + column, job->w.k, rows, columns, to);
        to += rows * TILE_ROWS;
    }
}

static void tiles_range(void *state, int64_t begin, int64_t end, int thread)
{
    const struct wgrad *job = state;
    float memory[(TILE_MERGES + 1) * TILE_FLOATS] __attribute__((aligned(LS_ALIGNMENT)));
    float *x = job->x + (size_t)thread * sizes_of(job).x / sizeof(float);
    struct work work = {.job = job, .x = x, .running = memory, .pending = memory + TILE_FLOATS};
    int64_t tile, panel;
    int leaf;

    work.t = (struct product_tile){.to = memory, .to_step = TILE_COLUMNS};
    for (tile = begin; tile < end; tile++) {
        work.row = tile_begin(job->w.k, job->tiles, tile);
        work.t.rows = (int)(tile_begin(job->w.k, job->tiles, tile + 1) - work.row);
        pack_x(job, work.row, work.t.rows, x);
        for (panel = 0; panel < job->panels; panel++) {
            work.column = panel * TILE_COLUMNS;
            work.dy = job->dy + work.column * job->rows;
            work.t.columns = panel_columns(job->w.n, panel);
            for (leaf = 0; leaf < job->leaves; leaf++)
                run_leaf(&work, &job->leaf[leaf]);
        }
    }
}

static void pack_dy_range(void *state, int64_t begin, int64_t end, int thread)
{
    const struct wgrad *job = state;
    int64_t panel;
    int i;

    (void)thread;
    for (panel = begin; panel < end; panel++) {
        int columns = panel_columns(job->w.n, panel);
        float *to = job->dy + panel * TILE_COLUMNS * job->rows;

        for (i = 0; i < job->w.pairs; i++) {
            int64_t rows = job->pair[i].positions * job->w.samples;

            LSI_ISA_NAME(lsi_product_pack)
            (job->pair[i].dy + panel * TILE_COLUMNS, job->w.n, rows, columns, to, tile_width(columns));
            to += rows * tile_width(columns);
        }
    }
}

/* Running sums of shards without samples. */
static void pass_empty_shards(const struct lsi_wgrad *w)
{
    size_t bytes = (size_t)(w->k * w->n) * sizeof(float);
    int i;

    for (i = 0; i < w->shards; i++) {
        if (w->offset[i] < w->offset[i + 1])
            continue;
        if (w->acc != NULL)
            memcpy(w->out + i * w->k * w->n, w->acc + i * w->k * w->n, bytes);
        else
            memset(w->out + i * w->k * w->n, 0, bytes);
    }
}

static enum ls_status wgrad_run(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    struct wgrad job;
    struct sizes sizes;
    char *memory = call->workspace;
    int i;

    (void)err;
    wgrad_of(call, &job);
    sizes = sizes_of(&job);
    job.pair = (struct lsi_wgrad_pair *)memory;
    job.dy = (float *)(memory + sizes.pairs);
    job.x = (float *)(memory + sizes.pairs + sizes.dy);
    for (i = 0; i < job.w.pairs; i++)
        job.pair[i] = lsi_wgrad_pair_of(call, &job.w, i);
    plan_leaves(&job);
    if (job.w.per_shard)
        pass_empty_shards(&job.w);
    lsi_device_parallel(device, job.panels, 1, pack_dy_range, &job);
    lsi_device_parallel(device, job.tiles, 1, tiles_range, &job);
    return LS_OK;
}

static bool wgrad_accepts(const struct ls_device *device, const struct ls_op_call *call)
{
    struct wgrad job;
    int i;

    (void)device;
    if (call->out[0].dtype != LS_F32)
        return false;
    wgrad_of(call, &job);
    for (i = 0; i < job.w.pairs; i++) {
        if (lsi_wgrad_pair_of(call, &job.w, i).positions < 1)
            return false;
    }
    return job.w.samples > 0 && job.w.pairs > 0 && job.w.k > 0 && job.w.n > 0;
}

void LSI_ISA_NAME(lsi_cpu_dense_wgrad)(struct lsi_kernel *table)
{
    table[LS_OP_DENSE_WGRAD] =
        (struct lsi_kernel){.run = wgrad_run, .workspace = wgrad_workspace, .accepts = wgrad_accepts};
}
