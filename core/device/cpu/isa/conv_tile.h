/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The register kernel of convolutions: a tile of up to TILE_ROWS x TILE_COLUMNS sums, one block of terms.
 * Forward and input gradient: rows are output positions, terms are weights. Weight gradient: rows are weights of one
 * output channel, terms are positions.
 */
#ifndef LOCKSTEP_CORE_DEVICE_CPU_ISA_CONV_TILE_H
#define LOCKSTEP_CORE_DEVICE_CPU_ISA_CONV_TILE_H

#include "core/device/cpu/isa/tile.h"

/* A run of terms that are not skipped: where they begin among the terms of b, and in the broadcast operand. */
struct conv_run {
    int64_t begin, count;
    const float *a;
};

struct conv_tile {
    const struct conv_run *runs;
    int run_count;
    int64_t a_offset;   /* of the tile's first row in every run */
    int64_t a_step;     /* weights: floats from term to term, rows side by side; positions: from row to row */
    const float *b;     /* [term][column], whole registers may be read */
    int64_t b_step;     /* weights: floats from term to term; else the tile's columns in whole registers */
    float *const *rows; /* of the output: running sums */
    int row_count;
    int columns; /* of the tile that exist, 1..TILE_COLUMNS */
    bool first;  /* the running sums begin here, at +0 */
    bool last;   /* apply bias and relu */
    bool relu;
    const float *bias; /* of the tile's columns; NULL: none */
};

/* Adds the block to the running sums. */
void LSI_ISA_NAME(lsi_conv_tile_packed)(const struct conv_tile *tile);    /* positions, a_step TILE_PITCH */
void LSI_ISA_NAME(lsi_conv_tile_positions)(const struct conv_tile *tile); /* positions, any a_step */
void LSI_ISA_NAME(lsi_conv_tile_weights)(const struct conv_tile *tile);   /* weights */

/* Columns rounded up to whole registers: floats of one packed term over all tiles. */
static inline int64_t conv_packed_columns(int64_t count)
{
    return (count + VEC_LANES - 1) / VEC_LANES * VEC_LANES;
}

#endif
