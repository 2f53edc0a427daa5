/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which source element lies under which tap of which output position, for a convolution and for its input gradient
 * (one grid per residue of the stride there, so that a grid's positions share their taps).
 */
#ifndef LOCKSTEP_CORE_DEVICE_CPU_ISA_CONV_GRID_H
#define LOCKSTEP_CORE_DEVICE_CPU_ISA_CONV_GRID_H

#include "core/device/cpu/isa/conv_tile.h"

/* Rows or columns. Position p (0..count-1) of the grid is output element `first + p * step`; its tap number t
 * (0..taps-1) is kernel element `tap_first + t * tap_step` and lies on source element
 * p * scale + offset + t * offset_step, which may be outside 0..source-1: padding. */
struct conv_axis {
    int64_t count, first, step;
    int64_t taps, tap_first, tap_step;
    int64_t scale, offset, offset_step;
    int64_t source, kernel, result; /* sizes */
};

struct conv_grid {
    struct conv_axis y, x;
    const float *source;
    int64_t samples, channels; /* of the source */
    int64_t terms;             /* kernel rows * kernel columns * channels, skipped ones included */
    bool rows_run;             /* the taps of a kernel row lie side by side in the source and in the terms */
};

/* One position: where its tap (0, 0) lies. */
struct conv_site {
    int64_t y, x;   /* of the source */
    int64_t offset; /* of that element in the source; it may lie outside */
    bool inside;    /* no column tap in the padding */
};

/* Of CONV2D and CONV2D_WGRAD. */
struct conv_grid LSI_ISA_NAME(lsi_conv_grid_forward)(const struct ls_conv2d_attrs *attrs, const struct ls_view *x,
                                                     const struct ls_view *y);
/* Of CONV2D_XGRAD: input rows with py = row mod stride, columns likewise. */
struct conv_grid LSI_ISA_NAME(lsi_conv_grid_adjoint)(const struct ls_conv2d_attrs *attrs, const struct ls_view *dx,
                                                     const struct ls_view *dy, int64_t py, int64_t px);
/* Packs terms [begin, end) of TILE_ROWS sites as [site][TILE_PITCH], without taps that are padding for all of them
 * and with zeros where they are for some. Returns the number of runs of terms that were packed (<= LSI_BLOCK). */
int LSI_ISA_NAME(lsi_conv_pack_sites)(const struct conv_grid *grid, const struct conv_site *sites, int64_t begin,
                                      int64_t end, float *a, struct conv_run *runs);
/* Packs terms [begin, end) of one site; zeros in the padding. The grid is a forward one. */
void LSI_ISA_NAME(lsi_conv_pack_patch)(const struct conv_grid *grid, const struct conv_site *site, int64_t begin,
                                       int64_t end, float *a);

static inline int64_t conv_grid_positions(const struct conv_grid *grid)
{
    return grid->samples * grid->y.count * grid->x.count;
}

/* A position of the grid, walked without divisions. */
struct conv_place {
    int64_t sample, y, x;
};

/* Position number `index` over all samples. */
static inline struct conv_place conv_place_at(const struct conv_grid *grid, int64_t index)
{
    int64_t row = index / grid->x.count;
    return (struct conv_place){
        .sample = row / grid->y.count, .y = row % grid->y.count, .x = index - row * grid->x.count};
}

static inline void conv_place_next(const struct conv_grid *grid, struct conv_place *place)
{
    if (++place->x < grid->x.count) {
        return;
    }
    place->x = 0;
    if (++place->y == grid->y.count) {
        place->y = 0;
        place->sample++;
    }
}

static inline struct conv_site conv_site_of(const struct conv_grid *grid, const struct conv_place *place)
{
    struct conv_site site = {.y = place->y * grid->y.scale + grid->y.offset,
                             .x = place->x * grid->x.scale + grid->x.offset};
    int64_t end = site.x + (grid->x.taps - 1) * grid->x.offset_step;
    site.offset = ((place->sample * grid->y.source + site.y) * grid->x.source + site.x) * grid->channels;
    site.inside = (uint64_t)site.x < (uint64_t)grid->x.source && (uint64_t)end < (uint64_t)grid->x.source;
    return site;
}

static inline void conv_copy(float *to, const float *from, int64_t count)
{
    for (; count >= VEC_LANES; count -= VEC_LANES, to += VEC_LANES, from += VEC_LANES) {
        vec_store(to, vec_load(from));
    }
    if (count > 0) {
        vec_store_some(to, vec_load_some(from, count), count);
    }
}

static inline void conv_zero(float *to, int64_t count)
{
    for (; count > 0; count -= VEC_LANES, to += VEC_LANES) {
        vec_store_some(to, vec_set(0.0f), count);
    }
}

#endif
