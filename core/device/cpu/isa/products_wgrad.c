/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dense_wgrad: x^T dy in the order of the batch reductions, in one pass. The blocks of a call and what is added after
 * each are written down once; every tile then runs through them, keeping its running sum and the pending partials of
 * the canonical tree in L1: a merge costs one load and one addition a register. Where dy has so few columns that a
 * register of them would be half empty, x takes its place, and the finished tile is turned.
 */
#include "core/device/cpu/isa/product_tile.h"

#include "core/base/alloc.h"

#include <string.h>

struct wgrad {
    const struct ls_op_call *call;
    struct lsi_wgrad w;
    bool turned; /* tiles are n high, panels cut k */
    int64_t tiles, panels;
    int64_t rows; /* of all pairs together */
    int64_t step_count;
    struct tree_step *steps;       /* workspace */
    struct tree_operand *operands; /* workspace: of each thread, for each pair */
    float *edge;                   /* workspace: the last panel of dy, packed, where columns do not fill it */
};

/* Bytes of the three parts of the workspace. */
struct sizes {
    size_t steps, operands, edge;
};

static size_t align(size_t bytes)
{
    return (bytes + LS_ALIGNMENT - 1) & ~(size_t)(LS_ALIGNMENT - 1);
}

static int edge_columns(const struct wgrad *job)
{
    return job->turned ? 0 : (int)(job->w.n % TILE_COLUMNS);
}

/* Few columns of dy, and columns of x that fill registers as they lie; sums that are given or given out a shard stay in
 * the order of memory. */
static bool is_turned(const struct ls_op_call *call, const struct lsi_wgrad *w)
{
    return w->n <= TILE_ROWS && w->k % VEC_LANES == 0 && !call->attrs->batch.accumulate && !w->per_shard;
}

static struct sizes sizes_of(const struct wgrad *job)
{
    size_t width = edge_columns(job) > 0 ? (size_t)tile_width(edge_columns(job)) : 0;

    return (struct sizes){
        .steps = align((size_t)job->step_count * sizeof(struct tree_step)),
        .operands = align((size_t)job->w.pairs * sizeof(struct tree_operand)),
        .edge = align((size_t)job->rows * width * sizeof(float)),
    };
}

/* Appends the blocks of one shard; merges and slot are those of its last one. */
static void add_shard(struct wgrad *job, int shard, const struct tree_step *last)
{
    struct tree_step step = {.acc = job->w.acc != NULL ? shard * job->w.k * job->w.n : -1, .out = -1};
    int i;

    for (i = 0; i < job->w.pairs; i++) {
        struct lsi_wgrad_pair pair = lsi_wgrad_pair_of(job->call, &job->w, i);
        int64_t end = job->w.offset[shard + 1] * pair.positions;

        step.pair = i;
        step.row = job->w.offset[shard] * pair.positions;
        while (step.row < end) {
            int64_t next = lsi_block_end(&pair, step.row, end);

            step.depth = next - step.row;
            if (next == end && i == job->w.pairs - 1) {
                step.slot = last->slot;
                step.merges = last->merges;
                step.out = last->out;
                step.add_zero = job->w.acc == NULL; /* a sum that was continued is kept as it is */
            }
            if (job->steps != NULL)
                job->steps[job->step_count] = step;
            job->step_count++;
            step.row = next;
            step.acc = -1;
            step.continues = true;
        }
    }
}

/* The steps (only counted where there is no memory yet): shards in order; a shard's last block is followed by the
 * additions that follow its leaf in the tree's postfix program. */
static void plan_steps(struct wgrad *job)
{
    const struct lsi_wgrad *w = &job->w;
    struct ls_range ranges[LS_MAX_SHARDS];
    struct ls_tree_program program;
    int16_t height = 0;
    int count = 0, i;

    for (i = 0; i < w->shards; i++) {
        if (w->offset[i] < w->offset[i + 1])
            ranges[count++] = (struct ls_range){.first = i, .count = 1};
    }
    ls_tree_program_build(ranges, count, w->shards, &program);
    job->step_count = 0;
    for (i = 0; i < program.length;) {
        int shard = ranges[program.code[i++]].first;
        struct tree_step last = {.out = -1};

        for (; i < program.length && program.code[i] == LS_TREE_ADD; i++)
            last.merges++;
        height = (int16_t)(height + 1 - last.merges);
        last.slot = height;
        if (w->per_shard)
            last = (struct tree_step){.out = shard * w->k * w->n};
        else if (i == program.length)
            last.out = 0;
        add_shard(job, shard, &last);
    }
}

static void wgrad_of(const struct ls_op_call *call, struct wgrad *job)
{
    int i;

    *job = (struct wgrad){.call = call};
    lsi_wgrad_of(call, &job->w);
    job->turned = is_turned(call, &job->w);
    job->tiles = job->turned ? panel_count(job->w.k) : tile_count(job->w.k);
    job->panels = job->turned ? 1 : panel_count(job->w.n);
    for (i = 0; i < job->w.pairs; i++)
        job->rows += lsi_wgrad_pair_of(call, &job->w, i).positions * job->w.samples;
}

static size_t wgrad_workspace(const struct ls_device *device, const struct ls_op_call *call)
{
    struct wgrad job;
    struct sizes sizes;

    wgrad_of(call, &job);
    plan_steps(&job);
    sizes = sizes_of(&job);
    return sizes.steps + sizes.operands * (size_t)ls_device_threads(device) + sizes.edge;
}

/* Each pair's operands at a tile of the result. */
static void set_operands(const struct wgrad *job, int64_t row, int64_t panel, struct tree_operand *operands)
{
    const struct lsi_wgrad *w = &job->w;
    bool packed = panel == job->panels - 1 && edge_columns(job) > 0;
    int64_t width = tile_width(edge_columns(job));
    const float *edge = job->edge;
    int i;

    for (i = 0; i < w->pairs; i++) {
        struct lsi_wgrad_pair pair = lsi_wgrad_pair_of(job->call, w, i);

        operands[i] = (struct tree_operand){
            .a = pair.x + row,
            .a_step = w->k,
            .b = packed ? edge : pair.dy + panel * TILE_COLUMNS,
            .b_step = packed ? width : w->n,
        };
        edge += w->samples * pair.positions * width;
    }
}

static void set_turned_operands(const struct wgrad *job, int64_t column, struct tree_operand *operands)
{
    int i;

    for (i = 0; i < job->w.pairs; i++) {
        struct lsi_wgrad_pair pair = lsi_wgrad_pair_of(job->call, &job->w, i);

        operands[i] = (struct tree_operand){.a = pair.dy, .a_step = job->w.n, .b = pair.x + column, .b_step = job->w.k};
    }
}

/* Panel `panel` of x against all columns of dy; the tile lies across the result. */
static void run_turned(const struct wgrad *job, int64_t panel, struct tree_tile *tile)
{
    float sums[TILE_FLOATS] __attribute__((aligned(LS_ALIGNMENT)));
    float *to = job->w.out + panel * TILE_COLUMNS * job->w.n;
    int64_t row, column;

    tile->rows = (int)job->w.n;
    tile->columns = panel_columns(job->w.k, panel);
    tile->out = sums;
    tile->out_step = TILE_COLUMNS;
    LSI_ISA_NAME(lsi_tree_tile)(tile);
    for (column = 0; column < tile->columns; column++)
        for (row = 0; row < tile->rows; row++)
            *to++ = sums[row * TILE_COLUMNS + column];
}

static void tiles_range(void *state, int64_t begin, int64_t end, int thread)
{
    const struct wgrad *job = state;
    const struct lsi_wgrad *w = &job->w;
    float slots[TILE_SLOTS * TILE_FLOATS] __attribute__((aligned(LS_ALIGNMENT)));
    char *operands = (char *)job->operands + (size_t)thread * sizes_of(job).operands;
    struct tree_tile tile = {.steps = job->steps,
                             .step_count = job->step_count,
                             .operands = (const struct tree_operand *)operands,
                             .out_step = w->n,
                             .slots = slots};
    int64_t t, panel;

    for (t = begin; t < end && job->turned; t++) {
        set_turned_operands(job, t * TILE_COLUMNS, (struct tree_operand *)operands);
        run_turned(job, t, &tile);
    }
    for (t = begin; t < end && !job->turned; t++) {
        int64_t row = tile_begin(w->k, job->tiles, t);

        tile.rows = (int)(tile_begin(w->k, job->tiles, t + 1) - row);
        for (panel = 0; panel < job->panels; panel++) {
            int64_t at = row * w->n + panel * TILE_COLUMNS;

            set_operands(job, row, panel, (struct tree_operand *)operands);
            tile.columns = panel_columns(w->n, panel);
            tile.acc = w->acc != NULL ? w->acc + at : NULL;
            tile.out = w->out + at;
            LSI_ISA_NAME(lsi_tree_tile)(&tile);
        }
    }
}

static void pack_edge(const struct wgrad *job)
{
    int columns = edge_columns(job), i;
    float *to = job->edge;

    for (i = 0; i < job->w.pairs && columns > 0; i++) {
        struct lsi_wgrad_pair pair = lsi_wgrad_pair_of(job->call, &job->w, i);
        int64_t rows = pair.positions * job->w.samples;

        LSI_ISA_NAME(lsi_product_pack)(pair.dy + job->w.n - columns, job->w.n, rows, columns, to, tile_width(columns));
        to += rows * tile_width(columns);
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

    (void)err;
    wgrad_of(call, &job);
    job.steps = (struct tree_step *)memory;
    plan_steps(&job);
    sizes = sizes_of(&job);
    job.operands = (struct tree_operand *)(memory + sizes.steps);
    job.edge = (float *)(memory + sizes.steps + sizes.operands * (size_t)ls_device_threads(device));
    if (job.w.per_shard)
        pass_empty_shards(&job.w);
    pack_edge(&job);
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
