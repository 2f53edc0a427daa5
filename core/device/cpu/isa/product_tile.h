/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The register kernel of dense products: one block of terms for a tile of up to TILE_ROWS x TILE_COLUMNS sums, then
 * what the block is added to. Pending partials of the canonical tree are tiles of their own that stay in L1.
 */
#ifndef LOCKSTEP_CORE_DEVICE_CPU_ISA_PRODUCT_TILE_H
#define LOCKSTEP_CORE_DEVICE_CPU_ISA_PRODUCT_TILE_H

#include "core/device/cpu/isa/tile.h"
#include "core/device/products.h"

#define TILE_FLOATS (TILE_ROWS * TILE_COLUMNS)
/* A running sum and one partial a level of the tree over LS_MAX_SHARDS. */
#define TILE_SLOTS 10

/* One block of a dense product: to = block [+ to] [+ bias], [relu]. */
struct product_tile {
    const float *a;    /* [row][term], a_step apart */
    int64_t a_step;    /* TILE_PITCH, or in place: any */
    const float *b;    /* [term][column] */
    int64_t b_step;    /* direct only: floats from term to term */
    int64_t depth;     /* terms */
    int rows, columns; /* of the tile that exist, >= 1 */
    bool first;        /* `to` begins with this block, at +0 */
    bool relu;
    const float *bias; /* of the tile's columns; NULL: none */
    float *to;
    int64_t to_step;
};

/* a is [row][term]; b packed: whole registers may be read where columns end. */
void LSI_ISA_NAME(lsi_product_tile_rows)(const struct product_tile *tile);
/* The same with rows of a as they lie in memory. */
void LSI_ISA_NAME(lsi_product_tile_in_place)(const struct product_tile *tile);
/* a copied, b as it lies in memory: columns == TILE_COLUMNS, fetched ahead. */
void LSI_ISA_NAME(lsi_product_tile_direct)(const struct product_tile *tile);
/* One block of a batch reduction and what its sum is added to. Sums between blocks lie in slots of the tile: slot 0
 * is a shard's running sum, slot 1 + i the i-th pending partial of the tree. */
struct tree_step {
    int64_t row;   /* of a and b where the block begins */
    int64_t depth; /* terms; 0: nothing is multiplied, out = acc */
    int64_t acc;   /* >= 0: begins with the sum at this offset of acc; -1: at +0 or, `continues`, with slot 0 */
    int64_t out;   /* >= 0: the sum goes to this offset of out; -1: to `slot` */
    int16_t slot;
    int16_t merges; /* pending partials added: slots from slot + merges - 1 down to slot */
    bool continues;
    bool add_zero; /* the last of a chain of additions that began at a block: see lsi_tree_tile */
    int32_t pair;  /* which a and b */
};

/* A pair's operands for one tile. */
struct tree_operand {
    const float *a; /* [term][row], a_step apart */
    int64_t a_step;
    const float *b; /* [term][column], b_step apart, whole registers */
    int64_t b_step;
};

struct tree_tile {
    const struct tree_step *steps;
    int64_t step_count;
    const struct tree_operand *operands;
    const float *acc; /* of the tile's first element, out_step apart */
    float *out;
    int64_t out_step;
    int rows, columns;
    float *slots; /* TILE_SLOTS tiles of TILE_FLOATS, aligned */
};

/* All blocks of one tile. A block may be -0 (where its terms underflow), a sum may not: one + 0 at the end of a chain
 * of additions has the effect of one at each block. */
void LSI_ISA_NAME(lsi_tree_tile)(const struct tree_tile *tile);

/* `columns` columns of `depth` rows, `from_step` apart, to whole registers `to_step` apart (zeros at the end). */
void LSI_ISA_NAME(lsi_product_pack)(const float *from, int64_t from_step, int64_t depth, int columns, float *to,
                                    int64_t to_step);
/* lsi_product_pack from a transposed operand: from is [column][term]. */
void LSI_ISA_NAME(lsi_product_pack_transposed)(const float *from, int64_t from_step, int64_t depth, int columns,
                                               float *to, int64_t to_step);

/* Where tile `index` begins if `count` rows are cut into `tiles` tiles of nearly equal height. */
static inline int64_t tile_begin(int64_t count, int64_t tiles, int64_t index)
{
    int64_t height = count / tiles, rest = count % tiles;

    return index * height + (index < rest ? index : rest);
}

static inline int64_t tile_count(int64_t rows)
{
    return (rows + TILE_ROWS - 1) / TILE_ROWS;
}

static inline int64_t panel_count(int64_t columns)
{
    return (columns + TILE_COLUMNS - 1) / TILE_COLUMNS;
}

static inline int panel_columns(int64_t columns, int64_t panel)
{
    return (int)tile_columns(columns, panel * TILE_COLUMNS);
}

/* Up to PRODUCT_WIDE_ROWS rows, w not transposed: columns are what fills the registers. */
#define PRODUCT_WIDE_ROWS 3
void LSI_ISA_NAME(lsi_product_wide)(struct ls_device *device, const struct lsi_dense *dense);

/* products_wgrad.c: its row of the table. */
void LSI_ISA_NAME(lsi_cpu_dense_wgrad)(struct lsi_kernel *table);

#endif
