/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the register kernels of products and of convolutions have in common: the size of a tile of sums that stay in
 * registers, as high and as wide as the instruction set has room for, and one instance of a kernel for each height.
 */
#ifndef LOCKSTEP_CORE_DEVICE_CPU_ISA_TILE_H
#define LOCKSTEP_CORE_DEVICE_CPU_ISA_TILE_H

#include "core/device/cpu/isa/isa.h"
#include "core/device/cpu/isa/vec.h"

#define TILE_COLUMNS (2 * VEC_LANES)
#if defined(LS_ISA_avx512)
#define TILE_ROWS 14 /* 28 accumulators, 2 columns, 1 broadcast of 32 registers */
#define TILE_HEIGHTS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#else
#define TILE_ROWS 6 /* 12 accumulators, 2 columns, 1 broadcast of 16 registers */
#define TILE_HEIGHTS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#endif
/* Floats from row to row of a packed operand whose terms lie side by side: an odd number of cache lines. */
#define TILE_PITCH (LSI_BLOCK + 16)

#define UNROLL _Pragma("GCC unroll 16")
#define INLINE static inline __attribute__((always_inline))

/* Columns that exist, 1 .. TILE_COLUMNS, of the tile that begins at column `begin` of `count`. */
static inline int64_t tile_columns(int64_t count, int64_t begin)
{
    return count - begin < TILE_COLUMNS ? count - begin : TILE_COLUMNS;
}

/* Columns rounded up to whole registers: floats of one packed term of a tile. */
static inline int64_t tile_width(int64_t columns)
{
    return columns > VEC_LANES ? TILE_COLUMNS : VEC_LANES;
}

#endif
