/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of positions of the weight gradient. Where no column of a kernel lies in the padding, patches are read from
 * the input as they are: weights that lie side by side in it (a kernel row, or a tap under dilation) are one group of
 * rows, and every row of positions is one run of terms. Otherwise patches are packed, with zeros in the padding.
 */
#include "core/device/cpu/isa/conv_wgrad.h"

#define MAX_DIRECT_COLUMNS 128 /* of dy taken as it lies in memory */

/* A block: positions [begin, end) of a pair's batch. */
struct block {
    const struct conv_grid *grid;
    const float *dy;
    int64_t begin, end;
    bool direct;
};

static void note_padding(const struct conv_part *p, const struct block *b)
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

static void pack_dy(const struct conv_part *p, const struct block *b)
{
    int64_t positions = b->end - b->begin;
    for (int64_t c = p->c0; c < p->c1; c += TILE_COLUMNS) {
        float *to = p->scratch->dy + (c - p->c0) * LSI_BLOCK;
        int64_t count = tile_columns(p->c1, c);
        int64_t width = tile_width(count);
        for (int64_t i = 0; i < positions; i++, to += width) {
            const float *from = b->dy + (b->begin + i) * p->g->columns + c;
            bool skip = p->exact && !p->scratch->inside[i];
            for (int64_t v = 0; v < width; v += VEC_LANES) {
                vec_store(to + v, skip ? vec_set(0.0f) : vec_load_some(from + v, count - v));
            }
        }
    }
}

/* dy as it lies in memory serves where its rows end with whole registers and are not too far apart for the caches. */
static bool takes_dy(const struct conv_part *p, const struct block *b)
{
    return b->direct && p->g->columns % VEC_LANES == 0 && p->g->columns <= MAX_DIRECT_COLUMNS;
}

/* Rows [k0, k1) of dw, which begin at offset 0 of every run. */
static void multiply(const struct conv_part *p, const struct block *b, int64_t k0, int64_t k1, int run_count,
                     int64_t a_step, float *sums)
{
    int64_t strips = (k1 - k0 + TILE_ROWS - 1) / TILE_ROWS;
    float *row[TILE_ROWS];
    struct conv_tile t = {.runs = p->scratch->runs, .run_count = run_count, .a_step = a_step, .rows = row};
    for (int64_t c = p->c0; c < p->c1; c += TILE_COLUMNS) {
        bool direct = takes_dy(p, b);
        t.columns = (int)tile_columns(p->c1, c);
        t.b = direct ? b->dy + b->begin * p->g->columns + c : p->scratch->dy + (c - p->c0) * LSI_BLOCK;
        t.b_step = direct ? p->g->columns : tile_width(t.columns);
        for (int64_t s = 0; s < strips; s++) {
            t.a_offset = (k1 - k0) * s / strips;
            t.row_count = (int)((k1 - k0) * (s + 1) / strips - t.a_offset);
            for (int r = 0; r < t.row_count; r++) {
                row[r] = sums + (k0 + t.a_offset + r) * p->g->columns + c;
            }
            LSI_ISA_NAME(lsi_conv_tile_weights)(&t);
        }
    }
}

static void add_packed(const struct conv_part *p, const struct block *b, float *sums)
{
    int64_t positions = b->end - b->begin;
    struct conv_place place = conv_place_at(b->grid, b->begin);
    for (int64_t i = 0; i < positions; i++, conv_place_next(b->grid, &place)) {
        struct conv_site site = conv_site_of(b->grid, &place);
        LSI_ISA_NAME(lsi_conv_pack_patch)(b->grid, &site, p->k0, p->k1, p->scratch->patches + i * CONV_CHUNK_PITCH);
    }
    p->scratch->runs[0] = (struct conv_run){.count = positions, .a = p->scratch->patches};
    multiply(p, b, p->k0, p->k1, 1, CONV_CHUNK_PITCH, sums);
}

/* Runs of terms for weights that lie side by side from `skip` elements after tap (ty, tx). */
static int direct_runs(const struct conv_part *p, const struct block *b, int64_t ty, int64_t tx, int64_t skip)
{
    const struct conv_grid *grid = b->grid;
    struct conv_place place = conv_place_at(grid, b->begin);
    int runs = 0;
    for (int64_t i = 0; i < b->end - b->begin;) {
        struct conv_site site = conv_site_of(grid, &place);
        int64_t y = site.y + ty * grid->y.offset_step;
        int64_t count = grid->x.count - place.x;
        count = count < b->end - b->begin - i ? count : b->end - b->begin - i;
        if (y >= 0 && y < grid->y.source) {
            int64_t tap = (ty * grid->y.offset_step * grid->x.source + tx * grid->x.offset_step) * grid->channels;
            p->scratch->runs[runs++] =
                (struct conv_run){.begin = i, .count = count, .a = grid->source + (site.offset + tap + skip)};
        }
        i += count;
        place.x = grid->x.count - 1;
        conv_place_next(grid, &place);
    }
    return runs;
}

static void add_direct(const struct conv_part *p, const struct block *b, float *sums)
{
    const struct conv_grid *grid = b->grid;
    int64_t width = grid->rows_run ? grid->x.kernel * grid->channels : grid->channels;
    int64_t taps = grid->rows_run ? 1 : grid->x.kernel; /* groups of a kernel row */
    for (int64_t k = p->k0; k < p->k1;) {
        int64_t group = k / width;
        int64_t end = (group + 1) * width < p->k1 ? (group + 1) * width : p->k1;
        int runs = direct_runs(p, b, group / taps, group % taps, k - group * width);
        multiply(p, b, k, end, runs, grid->x.scale * grid->channels, sums);
        k = end;
    }
}

static void add_block(const struct conv_part *p, const struct block *b, float *sums)
{
    if (p->exact) {
        note_padding(p, b);
    }
    if (!takes_dy(p, b)) {
        pack_dy(p, b);
    }
    if (b->direct) {
        add_direct(p, b, sums);
    } else {
        add_packed(p, b, sums);
    }
}

/* Whether no kernel column lies in the padding at any position. */
static bool columns_inside(const struct conv_grid *grid)
{
    int64_t last = (grid->x.count - 1) * grid->x.scale + grid->x.offset + (grid->x.taps - 1) * grid->x.offset_step;
    return grid->x.offset == 0 && last < grid->x.source;
}

void LSI_ISA_NAME(lsi_conv_add_pair)(const struct conv_part *part, int in, int64_t begin, int64_t end, float *sums)
{
    const struct ls_view *x = &part->g->call->in[in];
    const struct ls_view *dy = &part->g->call->in[in + 1];
    struct conv_grid grid = LSI_ISA_NAME(lsi_conv_grid_forward)(part->g->attrs, x, dy);
    int64_t positions = grid.y.count * grid.x.count;
    if (positions == 0) {
        return;
    }
    int64_t samples = positions <= LSI_BLOCK ? LSI_BLOCK / positions : 1;
    int64_t longest = positions <= LSI_BLOCK ? samples * positions : LSI_BLOCK;
    bool direct = !part->exact && columns_inside(&grid);
    for (int64_t n = begin; n < end; n += samples) {
        int64_t last = (n + samples < end ? n + samples : end) * positions;
        for (int64_t at = n * positions; at < last; at += longest) {
            struct block b = {.grid = &grid, .dy = dy->data, .begin = at, .end = at + longest, .direct = direct};
            b.end = b.end < last ? b.end : last;
            add_block(part, &b, sums);
        }
    }
}
