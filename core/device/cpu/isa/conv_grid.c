/* SPDX-License-Identifier: Apache-2.0 */
/* Geometry of convolutions and the packing of their patches. */
#include "core/device/cpu/isa/conv_grid.h"

static struct conv_axis forward_axis(const struct ls_conv2d_attrs *a, int axis, int64_t source, int64_t count)
{
    return (struct conv_axis){.count = count,
                              .first = 0,
                              .step = 1,
                              .taps = a->kernel[axis],
                              .tap_first = 0,
                              .tap_step = 1,
                              .scale = a->stride[axis],
                              .offset = -a->pad_begin[axis],
                              .offset_step = a->dilation[axis],
                              .source = source,
                              .kernel = a->kernel[axis],
                              .result = count};
}

/* Rows p * stride + residue of the input: tap k lies on output row (row + pad - k * dilation) / stride where that
 * has no remainder, which is every `period`-th tap from the first. */
static struct conv_axis adjoint_axis(const struct ls_conv2d_attrs *a, int axis, int64_t source, int64_t size,
                                     int64_t residue)
{
    int64_t stride = a->stride[axis];
    int64_t dilation = a->dilation[axis];
    int64_t start = residue + a->pad_begin[axis];
    int64_t period = 1;
    int64_t first = 0;
    while (period * dilation % stride != 0) {
        period++;
    }
    while (first < period && (start - first * dilation) % stride != 0) {
        first++;
    }
    bool none = first == period || first >= a->kernel[axis];
    return (struct conv_axis){.count = residue < size ? (size - residue + stride - 1) / stride : 0,
                              .first = residue,
                              .step = stride,
                              .taps = none ? 0 : (a->kernel[axis] - first + period - 1) / period,
                              .tap_first = first,
                              .tap_step = period,
                              .scale = 1,
                              .offset = none ? 0 : (start - first * dilation) / stride,
                              .offset_step = -(period * dilation / stride),
                              .source = source,
                              .kernel = a->kernel[axis],
                              .result = size};
}

static void complete(struct conv_grid *grid)
{
    struct conv_axis *y = &grid->y;
    struct conv_axis *x = &grid->x;
    if (y->kernel == 1 && x->kernel == 1 && y->step * y->scale == 1 && x->step * x->scale == 1 && y->offset == 0 &&
        x->offset == 0 && y->count == y->source && x->count == x->source && y->count > 0) {
        /* A product of matrices: all positions of a sample are one row. */
        x->count = x->source = x->result = x->count * y->count;
        y->count = y->source = y->result = 1;
    }
    grid->terms = grid->y.kernel * grid->x.kernel * grid->channels;
    grid->rows_run = grid->x.offset_step == 1 && grid->x.tap_step == 1 && grid->x.taps == grid->x.kernel;
}

struct conv_grid LSI_ISA_NAME(lsi_conv_grid_forward)(const struct ls_conv2d_attrs *attrs, const struct ls_view *x,
                                                     const struct ls_view *y)
{
    struct conv_grid grid = {.y = forward_axis(attrs, 0, x->shape.dim[1], y->shape.dim[1]),
                             .x = forward_axis(attrs, 1, x->shape.dim[2], y->shape.dim[2]),
                             .source = x->data,
                             .samples = x->shape.dim[0],
                             .channels = x->shape.dim[3]};
    complete(&grid);
    return grid;
}

struct conv_grid LSI_ISA_NAME(lsi_conv_grid_adjoint)(const struct ls_conv2d_attrs *attrs, const struct ls_view *dx,
                                                     const struct ls_view *dy, int64_t py, int64_t px)
{
    struct conv_grid grid = {.y = adjoint_axis(attrs, 0, dy->shape.dim[1], dx->shape.dim[1], py),
                             .x = adjoint_axis(attrs, 1, dy->shape.dim[2], dx->shape.dim[2], px),
                             .source = dy->data,
                             .samples = dy->shape.dim[0],
                             .channels = dy->shape.dim[3]};
    complete(&grid);
    return grid;
}

/* A tap, as its distance from tap (0, 0) in the source. */
struct tap {
    int64_t y, x;   /* rows, columns */
    int64_t offset; /* elements */
};

static inline struct tap tap_of(const struct conv_grid *grid, int64_t ty, int64_t tx)
{
    struct tap tap = {.y = ty * grid->y.offset_step, .x = tx * grid->x.offset_step};
    tap.offset = (tap.y * grid->x.source + tap.x) * grid->channels;
    return tap;
}

/* The source under a tap of a site; NULL in the padding. */
static inline const float *element(const struct conv_grid *grid, const struct conv_site *site, const struct tap *tap)
{
    bool in_rows = (uint64_t)(site->y + tap->y) < (uint64_t)grid->y.source;
    bool in_columns = (uint64_t)(site->x + tap->x) < (uint64_t)grid->x.source;
    return in_rows && in_columns ? grid->source + (site->offset + tap->offset) : NULL;
}

struct packing {
    const struct conv_grid *grid;
    const struct conv_site *sites;
    int64_t begin, end; /* terms */
    float *a;
    struct conv_run *runs;
    int run_count;
    int64_t packed; /* terms so far */
};

/* Packs what the block has of `width` terms from `term`, which lie side by side from a tap of each site. */
static void pack_run(struct packing *p, struct tap tap, int64_t term, int64_t width)
{
    const float *from[TILE_ROWS];
    int64_t lo = term > p->begin ? term : p->begin;
    int64_t hi = term + width < p->end ? term + width : p->end;
    bool any = false;
    if (lo >= hi) {
        return;
    }
    for (int r = 0; r < TILE_ROWS; r++) {
        from[r] = element(p->grid, &p->sites[r], &tap);
        any = any || from[r] != NULL;
    }
    if (!any) {
        return;
    }
    for (int r = 0; r < TILE_ROWS; r++) {
        float *to = p->a + r * TILE_PITCH + p->packed;
        if (from[r] == NULL) {
            conv_zero(to, hi - lo);
        } else {
            conv_copy(to, from[r] + (lo - term), hi - lo);
        }
    }
    struct conv_run *previous = p->run_count > 0 ? &p->runs[p->run_count - 1] : NULL;
    if (previous != NULL && previous->begin + previous->count == lo) {
        previous->count += hi - lo;
    } else {
        p->runs[p->run_count++] = (struct conv_run){.begin = lo, .count = hi - lo, .a = p->a + p->packed};
    }
    p->packed += hi - lo;
}

int LSI_ISA_NAME(lsi_conv_pack_sites)(const struct conv_grid *grid, const struct conv_site *sites, int64_t begin,
                                      int64_t end, float *a, struct conv_run *runs)
{
    struct packing p = {.grid = grid, .sites = sites, .begin = begin, .end = end, .a = a, .runs = runs};
    int64_t row_terms = grid->x.kernel * grid->channels;
    bool inside = grid->rows_run;
    for (int r = 0; r < TILE_ROWS && inside; r++) {
        inside = sites[r].inside;
    }
    for (int64_t ty = 0; ty < grid->y.taps; ty++) {
        int64_t term = (grid->y.tap_first + ty * grid->y.tap_step) * row_terms;
        if (term >= end || term + row_terms <= begin) {
            continue;
        }
        if (inside) {
            pack_run(&p, tap_of(grid, ty, 0), term, row_terms);
            continue;
        }
        for (int64_t tx = 0; tx < grid->x.taps; tx++) {
            int64_t column = grid->x.tap_first + tx * grid->x.tap_step;
            pack_run(&p, tap_of(grid, ty, tx), term + column * grid->channels, grid->channels);
        }
    }
    return p.run_count;
}

/* Terms [begin, end) out of `width` terms from `term` of a patch, side by side in the source; NULL: padding. */
static void patch_run(const float *from, int64_t term, int64_t width, int64_t begin, int64_t end, float *a)
{
    int64_t lo = term > begin ? term : begin;
    int64_t hi = term + width < end ? term + width : end;
    if (lo >= hi) {
        return;
    }
    if (from == NULL) {
        conv_zero(a + (lo - begin), hi - lo);
    } else {
        conv_copy(a + (lo - begin), from + (lo - term), hi - lo);
    }
}

void LSI_ISA_NAME(lsi_conv_pack_patch)(const struct conv_grid *grid, const struct conv_site *site, int64_t begin,
                                       int64_t end, float *a)
{
    int64_t row_terms = grid->x.kernel * grid->channels;
    for (int64_t ty = begin / row_terms; ty * row_terms < end; ty++) {
        if (grid->rows_run && site->inside) {
            struct tap row = tap_of(grid, ty, 0);
            patch_run(element(grid, site, &row), ty * row_terms, row_terms, begin, end, a);
            continue;
        }
        for (int64_t tx = 0; tx < grid->x.taps; tx++) {
            int64_t term = ty * row_terms + tx * grid->channels;
            struct tap tap = tap_of(grid, ty, tx);
            patch_run(element(grid, site, &tap), term, grid->channels, begin, end, a);
        }
    }
}
