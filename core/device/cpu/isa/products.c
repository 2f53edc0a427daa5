/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dense: y = act(x w + bias). Blocks of 256 terms outside, so that y holds the running sums; within a block tiles of
 * rows go over panels of columns. w is read as it lies in memory (the processor fetches far enough ahead), apart from
 * an incomplete panel and a transposed w, which are packed; long rows of x are copied once for many panels.
 */
#include "core/device/cpu/isa/product_tile.h"

#define CHUNK_PANELS (512 / TILE_COLUMNS) /* panels packed at once: 512 KiB of a block */
#define GROUP 3
/* Terms of rows of x that need no copy. Longer ones are copied, as rows may crowd into one set of the cache, unless
 * there is one panel only and they do not. */
#define SHORT_ROW 64
#define A_FLOATS ((size_t)GROUP * TILE_ROWS * TILE_PITCH)

struct dense {
    struct lsi_dense d;
    int64_t tiles, panels;
    bool direct;       /* whole panels of w are read as they lie, rows of x are copied */
    bool in_place;     /* rows of x are read as they lie, w is packed */
    bool split_panels; /* threads share out the panels, else the tiles */
    float *workspace;
    size_t thread_floats; /* of the workspace */
};

/* What one thread computes. */
struct part {
    const struct dense *job;
    int64_t tile_begin, tile_end, panel_begin, panel_end;
    float *a, *b;
};

/* Share of threads that are busy if `units` are dealt out. */
static double balance(int64_t units, int threads)
{
    int64_t rounds = (units + threads - 1) / threads;

    return (double)units / (double)(rounds * threads);
}

static int64_t chunk_panels(const struct dense *job, int threads)
{
    int64_t most = job->split_panels ? (job->panels + threads - 1) / threads : job->panels;

    return most < CHUNK_PANELS ? most : CHUNK_PANELS;
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
    job.thread_floats = A_FLOATS + LSI_BLOCK * TILE_COLUMNS * (size_t)(job.direct ? 1 : chunk_panels(&job, threads));
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
static float *packed_panel(const struct part *part, int64_t first, int64_t panel)
{
    if (!part->job->direct)
        return part->b + (panel - first) * LSI_BLOCK * TILE_COLUMNS;
    return panel_columns(part->job->d.columns, panel) < TILE_COLUMNS ? part->b : NULL;
}

/* One tile of y gets the block of terms [k, k + depth). */
static void run_tile(const struct part *part, int64_t row, int rows, int64_t panel, int64_t k, int64_t depth,
                     const float *a, const float *b)
{
    const struct lsi_dense *d = &part->job->d;
    int64_t column = panel * TILE_COLUMNS;
    bool last = k + depth == d->depth;
    struct product_tile tile = {
        .a = a,
        .a_step = TILE_PITCH,
        .b = b,
        .depth = depth,
        .rows = rows,
        .columns = panel_columns(d->columns, panel),
        .to = d->y + row * d->columns + column,
        .to_step = d->columns,
        .bias = last && d->bias != NULL ? d->bias + column : NULL,
        .first = k == 0,
        .relu = last && d->relu,
    };

    if (part->job->in_place) {
        tile.a = d->x + row * d->depth + k;
        tile.a_step = d->depth;
        LSI_ISA_NAME(lsi_product_tile_in_place)(&tile);
        return;
    }
    if (b != NULL) {
        LSI_ISA_NAME(lsi_product_tile_rows)(&tile);
        return;
    }
    tile.b = d->w + k * d->columns + column;
    tile.b_step = d->columns;
    LSI_ISA_NAME(lsi_product_tile_direct)(&tile);
}

/* All tiles of the part over panels [first, last) and one block. */
static void run_block(const struct part *part, int64_t first, int64_t last, int64_t k, int64_t depth)
{
    const struct dense *job = part->job;
    const struct lsi_dense *d = &job->d;
    int64_t group, end, panel, t;

    for (group = part->tile_begin; group < part->tile_end; group = end) {
        int64_t row = tile_begin(d->rows, job->tiles, group);

        end = group + GROUP < part->tile_end ? group + GROUP : part->tile_end;
        if (!job->in_place)
            copy_rows(d, row, tile_begin(d->rows, job->tiles, end) - row, k, depth, part->a);
        for (panel = first; panel < last; panel++) {
            const float *b = packed_panel(part, first, panel);

            for (t = group; t < end; t++) {
                int64_t begin = tile_begin(d->rows, job->tiles, t);

                run_tile(part, begin, (int)(tile_begin(d->rows, job->tiles, t + 1) - begin), panel, k, depth,
                         part->a + (begin - row) * TILE_PITCH, b);
            }
        }
    }
}

static void run_panels(const struct part *part, int64_t first, int64_t last)
{
    const struct lsi_dense *d = &part->job->d;
    int64_t k, panel;

    for (k = 0; k < d->depth; k += LSI_BLOCK) {
        int64_t depth = d->depth - k < LSI_BLOCK ? d->depth - k : LSI_BLOCK;

        for (panel = first; panel < last; panel++) {
            float *to = packed_panel(part, first, panel);

            if (to != NULL)
                pack_panel(d, panel, k, depth, to);
        }
        run_block(part, first, last, k, depth);
    }
}

static void dense_range(void *state, int64_t begin, int64_t end, int thread)
{
    const struct dense *job = state;
    float *memory = job->workspace + (size_t)thread * job->thread_floats;
    int64_t step = (int64_t)((job->thread_floats - A_FLOATS) / (LSI_BLOCK * TILE_COLUMNS));
    struct part part = {
        .job = job, .a = memory, .b = memory + A_FLOATS, .tile_end = job->tiles, .panel_end = job->panels};
    int64_t panel;

    if (job->split_panels) {
        part.panel_begin = begin;
        part.panel_end = end;
    } else {
        part.tile_begin = begin;
        part.tile_end = end;
    }
    if (job->direct)
        step = part.panel_end - part.panel_begin;
    for (panel = part.panel_begin; panel < part.panel_end; panel += step)
        run_panels(&part, panel, panel + step < part.panel_end ? panel + step : part.panel_end);
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
