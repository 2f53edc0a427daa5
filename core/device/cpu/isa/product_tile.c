/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The register kernel of dense products. One body, instantiated for every number of rows, one or two registers of
 * columns and each layout of the operands, so that all accumulators stay in registers.
 */
#include "core/device/cpu/isa/product_tile.h"

#define UNROLL _Pragma("GCC unroll 16")
#define INLINE static inline __attribute__((always_inline))
#define AHEAD 8 /* terms that a direct operand is fetched ahead */

enum layout { BY_ROW, BY_ROW_DIRECT, BY_TERM };

typedef void (*tile_fn)(const struct product_tile *tile);

/* What follows the block: every sum goes through all additions before the next one, so that these overlap with the
 * multiplications of the next tile. */
INLINE void finish(const struct product_tile *t, vec acc[TILE_ROWS][2], const int rows, const int registers,
                   const bool whole)
{
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < registers; v++) {
            int64_t at = v * VEC_LANES, lanes = whole ? VEC_LANES : t->columns - at;
            vec base = vec_set(0.0f), sum;

            if (t->base != NULL)
                base = whole ? vec_load(t->base + r * t->base_step + at)
                             : vec_load_some(t->base + r * t->base_step + at, lanes);
            sum = vec_add(base, acc[r][v]);
            for (int i = 0; i < t->merges; i++)
                sum = vec_add(vec_load(t->merge[i] + r * TILE_COLUMNS + at), sum);
            if (t->bias != NULL)
                sum = vec_add(sum, whole ? vec_load(t->bias + at) : vec_load_some(t->bias + at, lanes));
            if (t->relu)
                sum = vec_relu(sum);
            if (whole)
                vec_store(t->to + r * t->to_step + at, sum);
            else
                vec_store_some(t->to + r * t->to_step + at, sum, lanes);
        }
    }
}

INLINE void body(const struct product_tile *t, const int rows, const int registers, const enum layout layout)
{
    vec acc[TILE_ROWS][2];
    const float *a = t->a, *b = t->b;
    const int64_t b_step = layout == BY_ROW_DIRECT ? t->b_step : registers * VEC_LANES;

    UNROLL
    for (int r = 0; r < rows; r++)
        acc[r][0] = acc[r][1] = vec_set(0.0f);
    for (int64_t k = t->depth; k > 0; k--) {
        vec b0 = vec_load(b);
        vec b1 = registers > 1 ? vec_load(b + VEC_LANES) : b0;

        if (layout == BY_ROW_DIRECT) {
            __builtin_prefetch(b + AHEAD * b_step);
            __builtin_prefetch(b + AHEAD * b_step + TILE_COLUMNS - 1);
        }
        UNROLL
        for (int r = 0; r < rows; r++) {
            vec x = vec_set(a[layout == BY_TERM ? r : r * TILE_PITCH]);

            acc[r][0] = vec_multiply_add(x, b0, acc[r][0]);
            if (registers > 1)
                acc[r][1] = vec_multiply_add(x, b1, acc[r][1]);
        }
        a += layout == BY_TERM ? TILE_ROWS : 1;
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
#define HEIGHT(rows)                            \
    TILE(rows_##rows##x1, rows, 1, BY_ROW)      \
    TILE(rows_##rows##x2, rows, 2, BY_ROW)      \
    TILE(direct_##rows, rows, 2, BY_ROW_DIRECT) \
    TILE(terms_##rows##x1, rows, 1, BY_TERM)    \
    TILE(terms_##rows##x2, rows, 2, BY_TERM)
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

#define ENTRY(rows)                                                                         \
    {                                                                                       \
        rows_##rows##x1, rows_##rows##x2, direct_##rows, terms_##rows##x1, terms_##rows##x2 \
    }
enum { ROWS = 0, DIRECT = 2, TERMS = 3, VARIANTS = 5 };

static const tile_fn tiles[TILE_ROWS][VARIANTS] = {
    ENTRY(1), ENTRY(2), ENTRY(3), ENTRY(4),  ENTRY(5),  ENTRY(6),
#if TILE_ROWS > 6
    ENTRY(7), ENTRY(8), ENTRY(9), ENTRY(10), ENTRY(11), ENTRY(12), ENTRY(13), ENTRY(14),
#endif
};

void LSI_ISA_NAME(lsi_product_tile_rows)(const struct product_tile *tile)
{
    tiles[tile->rows - 1][ROWS + (tile->columns > VEC_LANES)](tile);
}

void LSI_ISA_NAME(lsi_product_tile_direct)(const struct product_tile *tile)
{
    tiles[tile->rows - 1][DIRECT](tile);
}

void LSI_ISA_NAME(lsi_product_tile_terms)(const struct product_tile *tile)
{
    tiles[tile->rows - 1][TERMS + (tile->columns > VEC_LANES)](tile);
}
