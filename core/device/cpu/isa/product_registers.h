/* SPDX-License-Identifier: Apache-2.0 */
/* What the register kernels of dense products do with a tile's sums. The numbers of rows and registers are constants
 * where these are inlined, so that the sums never leave their registers. */
#ifndef LOCKSTEP_CORE_DEVICE_CPU_ISA_PRODUCT_REGISTERS_H
#define LOCKSTEP_CORE_DEVICE_CPU_ISA_PRODUCT_REGISTERS_H

#include "core/device/cpu/isa/product_tile.h"

INLINE void clear(vec acc[TILE_ROWS][2], const int rows)
{
    UNROLL
    for (int r = 0; r < rows; r++)
        acc[r][0] = acc[r][1] = vec_set(0.0f);
}

/* The first `lanes` floats of memory, or a whole register. */
INLINE vec load(const float *from, const bool whole, int64_t lanes)
{
    return whole ? vec_load(from) : vec_load_some(from, lanes);
}

/* acc += what lies at `from`, rows from_step apart. */
INLINE void add(vec acc[TILE_ROWS][2], const int rows, const int registers, const float *from, int64_t from_step,
                const bool whole, int64_t columns)
{
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < registers; v++)
            acc[r][v] = vec_add(load(from + r * from_step + v * VEC_LANES, whole, columns - v * VEC_LANES), acc[r][v]);
    }
}

INLINE void add_vector(vec acc[TILE_ROWS][2], const int rows, const int registers, const vec addend[2])
{
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < registers; v++)
            acc[r][v] = vec_add(acc[r][v], addend[v]);
    }
}

INLINE void relu(vec acc[TILE_ROWS][2], const int rows, const int registers)
{
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < registers; v++)
            acc[r][v] = vec_relu(acc[r][v]);
    }
}

INLINE void store(float *to, int64_t to_step, vec acc[TILE_ROWS][2], const int rows, const int registers,
                  const bool whole, int64_t columns)
{
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < registers; v++) {
            if (whole)
                vec_store(to + r * to_step + v * VEC_LANES, acc[r][v]);
            else
                vec_store_some(to + r * to_step + v * VEC_LANES, acc[r][v], columns - v * VEC_LANES);
        }
    }
}

#endif
