/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dense: y = act(x w + bias). Blocks of 256 terms outside, so that y holds the running sums; within a block tiles of
 * rows go over panels of columns. w is read as it lies in memory (the processor fetches far enough ahead), apart from
 * an incomplete panel and a transposed w, which are packed; long rows of x are copied once for many panels.
 */
#include "core/device/cpu/isa/product_tile.h"

#define CHUNK_PANELS (512 / TILE_COLUMNS) /* panels of a pass: 512 KiB of w */
#define GROUP 3                           /* tiles of rows that go over a panel together */
/* Terms of rows of x that need no copy. Longer ones are copied, as rows may crowd into one set of the cache, unless
 * there is one panel only and they do not. */
#define SHORT_ROW 64
#define A_FLOATS ((size_t)GROUP * TILE_ROWS * TILE_PITCH) /* copied rows of a group */
#define B_FLOATS ((size_t)LSI_BLOCK * TILE_COLUMNS)       /* a packed panel */

struct dense {
    struct lsi_dense d;
    int64_t tiles, panels;
    bool direct;       /* whole panels of w are read as they lie, rows of x are copied */
    bool in_place;     /* rows of x are read as they lie, w is packed */
    bool split_panels; /* threads share out the panels, else the tiles */
    int64_t chunk;     /* panels of a pass */
    float *workspace;
    size_t thread_floats; /* of the workspace */
};

/* What one thread computes at a time: a block of the sums of tiles and panels of y. */
struct pass {
    const struct dense *job;
    int64_t tile_begin, tile_end, first, last;
    int64_t k, depth; /* first term of the block, and how many */
    float *a, *b;
};

/* Share of threads that are busy if `units` are dealt out. */
static double balance(int64_t units, int threads)
{
    int64_t rounds = (units + threads - 1) / threads;

    return (double)units / (double)(rounds * threads);
}

static struct dense dense_of(const struct ls_device *device, const struct ls_op_call *call)
{
    struct dense job = {.d = lsi_dense_of(call), .workspace = call->workspace};
    int threads = ls_device_threads(device);

    job.tiles = tile_count(job.d.rows);
    job.panels = panel_count(job.d.columns);
    job.in_place = job.d.depth <= SHORT_ROW || (job.panels == 1 && job.d.depth % 1024 != 0);
    job.direct = !job.d.transposed_w && !job.in_place;
    job.split_panels = balance(job.panels, threads) + 0.1 >= balance(job.tiles, threads);
    job.chunk = job.split_panels ? (job.panels + threads - 1) / threads : job.panels;
    job.chunk = job.chunk < CHUNK_PANELS ? job.chunk : CHUNK_PANELS;
    job.thread_floats = A_FLOATS + B_FLOATS * (size_t)(job.direct ? 1 : job.chunk);
    return job;
}

static size_t dense_workspace(const struct ls_device *device, const struct ls_op_call *call)
{
    return dense_of(device, call).thread_floats * (size_t)ls_device_threads(device) * sizeof(float);
}

/* Panel of w to where the register kernel reads it. */
static void pack_panel(const struct lsi_dense *d, int64_t panel, int64_t k, int64_t depth, float *to)
{
    int64_t column = panel * TILE_COLUMNS;
    int columns = panel_columns(d->columns, panel);
    int64_t width = tile_width(columns);

    if (d->transposed_w) {
        LSI_ISA_NAME(lsi_product_pack_transposed)(d->w + column * d->depth + k, d->depth, depth, columns, to, width);
    } else {
        LSI_ISA_NAME(lsi_product_pack)(d->w + k * d->columns + column, d->columns, depth, columns, to, width);
    }
}

/* Rows of x, one TILE_PITCH apart. */
static void copy_rows(const struct lsi_dense *d, int64_t row, int64_t rows, int64_t k, int64_t depth, float *to)
{
    int64_t r, i;

    for (r = 0; r < rows; r++, to += TILE_PITCH) {
        const float *from = d->x + (row + r) * d->depth + k;

        for (i = 0; i + VEC_LANES <= depth; i += VEC_LANES)
            vec_store(to + i, vec_load(from + i));
        if (i < depth)
            vec_store_some(to + i, vec_load_some(from + i, depth - i), depth - i);
    }
}

/* Where a panel of w lies packed; NULL where it is read in place. */
static float *packed_panel(const struct pass *pass, int64_t panel)
{
    if (!pass->job->direct)
        return pass->b + (panel - pass->first) * (int64_t)B_FLOATS;
    return panel_columns(pass->job->d.columns, panel) < TILE_COLUMNS ? pass->b : NULL;
}

/* One tile of y gets the block. a: the copied rows of the tile, unless they are read in place. */
static void run_tile(const struct pass *pass, int64_t t, int64_t panel, const float *a)
{
    const struct dense *job = pass->job;
    const struct lsi_dense *d = &job->d;
    int64_t row = tile_begin(d->rows, job->tiles, t), column = panel * TILE_COLUMNS;
    bool last = pass->k + pass->depth == d->depth;
    struct product_tile tile = {
        .a = a,
        .a_step = TILE_PITCH,
        .b = packed_panel(pass, panel),
        .depth = pass->depth,
        .rows = (int)(tile_begin(d->rows, job->tiles, t + 1) - row),
        .columns = panel_columns(d->columns, panel),
        .to = d->y + row * d->columns + column,
        .to_step = d->columns,
        .bias = last && d->bias != NULL ? d->bias + column : NULL,
        .first = pass->k == 0,
        .relu = last && d->relu,
    };

    if (job->in_place) {
        tile.a = d->x + row * d->depth + pass->k;
        tile.a_step = d->depth;
        LSI_ISA_NAME(lsi_product_tile_in_place)(&tile);
    } else if (tile.b != NULL) {
        LSI_ISA_NAME(lsi_product_tile_rows)(&tile);
    } else {
        tile.b = d->w + pass->k * d->columns + column;
        tile.b_step = d->columns;
        LSI_ISA_NAME(lsi_product_tile_direct)(&tile);
    }
}

/* Tiles [group, end) go over the pass's panels. */
static void run_group(const struct pass *pass, int64_t group, int64_t end)
{
    const struct dense *job = pass->job;
    const struct lsi_dense *d = &job->d;
    int64_t row = tile_begin(d->rows, job->tiles, group), rows = tile_begin(d->rows, job->tiles, end) - row;
    int64_t panel, t;

    if (!job->in_place)
        copy_rows(d, row, rows, pass->k, pass->depth, pass->a);
    for (panel = pass->first; panel < pass->last; panel++) {
        for (t = group; t < end; t++)
            run_tile(pass, t, panel, pass->a + (tile_begin(d->rows, job->tiles, t) - row) * TILE_PITCH);
    }
}

static void run_passes(struct pass *pass)
{
    const struct lsi_dense *d = &pass->job->d;
    int64_t group, panel;

    for (pass->k = 0; pass->k < d->depth; pass->k += LSI_BLOCK) {
        pass->depth = d->depth - pass->k < LSI_BLOCK ? d->depth - pass->k : LSI_BLOCK;
        for (panel = pass->first; panel < pass->last; panel++) {
            float *to = packed_panel(pass, panel);

            if (to != NULL)
                pack_panel(d, panel, pass->k, pass->depth, to);
        }
        for (group = pass->tile_begin; group < pass->tile_end; group += GROUP)
            run_group(pass, group, group + GROUP < pass->tile_end ? group + GROUP : pass->tile_end);
    }
}

static void dense_range(void *state, int64_t begin, int64_t end, int thread)
{
    const struct dense *job = state;
    float *memory = job->workspace + (size_t)thread * job->thread_floats;
    struct pass pass = {.job = job, .tile_end = job->tiles, .a = memory, .b = memory + A_FLOATS};
    int64_t panel = 0, last = job->panels;

    if (job->split_panels) {
        panel = begin;
        last = end;
    } else {
        pass.tile_begin = begin;
        pass.tile_end = end;
    }
    for (; panel < last; panel += job->chunk) {
        pass.first = panel;
        pass.last = panel + job->chunk < last ? panel + job->chunk : last;
        run_passes(&pass);
    }
}

static enum ls_status dense_run(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    struct dense job = dense_of(device, call);

    (void)err;
    if (job.d.rows <= PRODUCT_WIDE_ROWS && !job.d.transposed_w)
        LSI_ISA_NAME(lsi_product_wide)(device, &job.d);
    else
        lsi_device_parallel(device, job.split_panels ? job.panels : job.tiles, 1, dense_range, &job);
    return LS_OK;
}

static bool dense_accepts(const struct ls_device *device, const struct ls_op_call *call)
{
    struct lsi_dense d = lsi_dense_of(call);

    (void)device;
    return call->out[0].dtype == LS_F32 && d.rows > 0 && d.columns > 0 && d.depth > 0;
}

void LSI_ISA_NAME(lsi_cpu_products)(struct lsi_kernel *table)
{
    table[LS_OP_DENSE] = (struct lsi_kernel){.run = dense_run, .workspace = dense_workspace, .accepts = dense_accepts};
    LSI_ISA_NAME(lsi_cpu_dense_wgrad)(table);
}
