/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The register kernel of dense products. One body, instantiated for every number of rows, one or two registers of
 * columns and each layout of the operands, so that all accumulators stay in registers.
 */
#include "core/device/cpu/isa/product_registers.h"

#define AHEAD 8 /* terms that a direct operand is fetched ahead */

typedef void (*tile_fn)(const struct product_tile *tile);

/* What follows the block. */
INLINE void finish(const struct product_tile *t, vec acc[TILE_ROWS][2], const int rows, const int registers,
                   const bool whole)
{
    const int64_t columns = t->columns;

    if (t->first)
        add_vector(acc, rows, registers, (vec[2]){vec_set(0.0f), vec_set(0.0f)});
    else
        add(acc, rows, registers, t->to, t->to_step, whole, columns);
    if (t->bias != NULL)
        add_vector(acc, rows, registers,
                   (vec[2]){load(t->bias, whole, columns),
                            registers > 1 ? load(t->bias + VEC_LANES, whole, columns - VEC_LANES) : vec_set(0.0f)});
    if (t->relu)
        relu(acc, rows, registers);
    store(t->to, t->to_step, acc, rows, registers, whole, columns);
}

INLINE void body(const struct product_tile *t, const int rows, const int registers, const bool direct)
{
    vec acc[TILE_ROWS][2];
    const float *a = t->a, *b = t->b;
    const int64_t b_step = direct ? t->b_step : registers * VEC_LANES;

    clear(acc, rows);
    for (int64_t k = t->depth; k > 0; k--) {
        vec b0 = vec_load(b);
        vec b1 = registers > 1 ? vec_load(b + VEC_LANES) : b0;

        if (direct) {
            __builtin_prefetch(b + AHEAD * b_step);
            __builtin_prefetch(b + AHEAD * b_step + TILE_COLUMNS - 1);
        }
        UNROLL
        for (int r = 0; r < rows; r++) {
            vec x = vec_set(a[r * TILE_PITCH]);

            acc[r][0] = vec_multiply_add(x, b0, acc[r][0]);
            if (registers > 1)
                acc[r][1] = vec_multiply_add(x, b1, acc[r][1]);
        }
        a++;
        b += b_step;
    }
    if (t->columns == registers * VEC_LANES)
        finish(t, acc, rows, registers, true);
    else
        finish(t, acc, rows, registers, false);
}

#define TILE(name, rows, registers, direct)        \
    static void name(const struct product_tile *t) \
    {                                              \
        body(t, rows, registers, direct);          \
    }
#define HEIGHT(rows)                        \
    TILE(packed_##rows##x1, rows, 1, false) \
    TILE(packed_##rows##x2, rows, 2, false) \
    TILE(direct_##rows, rows, 2, true)
HEIGHT(1)
HEIGHT(2)
HEIGHT(3)
HEIGHT(4)
HEIGHT(5)
HEIGHT(6)
#if TILE_ROWS > 6
HEIGHT(7)
HEIGHT(8)
HEIGHT(9)
HEIGHT(10)
HEIGHT(11)
HEIGHT(12)
HEIGHT(13)
HEIGHT(14)
#endif

#define ENTRY(rows)                                         \
    {                                                       \
        packed_##rows##x1, packed_##rows##x2, direct_##rows \
    }
enum { PACKED = 0, DIRECT = 2, VARIANTS = 3 };

static const tile_fn tiles[TILE_ROWS][VARIANTS] = {
    ENTRY(1), ENTRY(2), ENTRY(3), ENTRY(4),  ENTRY(5),  ENTRY(6),
#if TILE_ROWS > 6
    ENTRY(7), ENTRY(8), ENTRY(9), ENTRY(10), ENTRY(11), ENTRY(12), ENTRY(13), ENTRY(14),
#endif
};

void LSI_ISA_NAME(lsi_product_tile_rows)(const struct product_tile *tile)
{
    tiles[tile->rows - 1][PACKED + (tile->columns > VEC_LANES)](tile);
}

void LSI_ISA_NAME(lsi_product_tile_direct)(const struct product_tile *tile)
{
    tiles[tile->rows - 1][DIRECT](tile);
}
