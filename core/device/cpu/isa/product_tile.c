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

enum layout { COPIED, IN_PLACE, DIRECT };

/* Term k of row r of a. In place five pointers and a step make every address of fourteen rows. */
INLINE float element(const float *const a[5], int64_t a_step, const int r, const enum layout layout)
{
    return layout == IN_PLACE ? a[r / 3][r % 3 * a_step] : a[0][r * TILE_PITCH];
}

INLINE void body(const struct product_tile *t, const int rows, const int registers, const enum layout layout)
{
    vec acc[TILE_ROWS][2];
    const int64_t a_step = t->a_step, b_step = layout == DIRECT ? t->b_step : registers * VEC_LANES;
    const float *a[5] = {t->a, t->a + 3 * a_step, t->a + 6 * a_step, t->a + 9 * a_step, t->a + 12 * a_step};
    const float *b = t->b;

    clear(acc, rows);
    for (int64_t k = t->depth; k > 0; k--) {
        vec b0 = vec_load(b);
        vec b1 = registers > 1 ? vec_load(b + VEC_LANES) : b0;

        if (layout == DIRECT) {
            __builtin_prefetch(b + AHEAD * b_step);
            __builtin_prefetch(b + AHEAD * b_step + TILE_COLUMNS - 1);
        }
        UNROLL
        for (int r = 0; r < rows; r++) {
            vec x = vec_set(element(a, a_step, r, layout));

            acc[r][0] = vec_multiply_add(x, b0, acc[r][0]);
            if (registers > 1)
                acc[r][1] = vec_multiply_add(x, b1, acc[r][1]);
        }
        UNROLL
        for (int i = 0; i < 5; i++)
            a[i]++;
        b += b_step;
    }
    if (t->columns == registers * VEC_LANES)
        finish(t, acc, rows, registers, true);
    else
        finish(t, acc, rows, registers, false);
}

#define TILE(name, rows, registers, layout)        \
    static void name(const struct product_tile *t) \
    {                                              \
        body(t, rows, registers, layout);          \
    }
#define HEIGHT(rows)                             \
    TILE(copied_##rows##x1, rows, 1, COPIED)     \
    TILE(copied_##rows##x2, rows, 2, COPIED)     \
    TILE(in_place_##rows##x1, rows, 1, IN_PLACE) \
    TILE(in_place_##rows##x2, rows, 2, IN_PLACE) \
    TILE(direct_##rows, rows, 2, DIRECT)
TILE_HEIGHTS(HEIGHT)

#define ENTRY(rows)                                                            \
    [rows - 1][COPIED] = {copied_##rows##x1, copied_##rows##x2},               \
            [rows - 1][IN_PLACE] = {in_place_##rows##x1, in_place_##rows##x2}, \
            [rows - 1][DIRECT] = {NULL, direct_##rows},

static const tile_fn tiles[TILE_ROWS][3][2] = {TILE_HEIGHTS(ENTRY)};

void LSI_ISA_NAME(lsi_product_tile_rows)(const struct product_tile *tile)
{
    tiles[tile->rows - 1][COPIED][tile->columns > VEC_LANES](tile);
}

void LSI_ISA_NAME(lsi_product_tile_in_place)(const struct product_tile *tile)
{
    tiles[tile->rows - 1][IN_PLACE][tile->columns > VEC_LANES](tile);
}

void LSI_ISA_NAME(lsi_product_tile_direct)(const struct product_tile *tile)
{
    tiles[tile->rows - 1][DIRECT][1](tile);
}
