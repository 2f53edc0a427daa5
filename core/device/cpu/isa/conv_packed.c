/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A product of patches and weights, any shape. Tiles of positions are packed a block of 256 terms at a time, some tiles
 * together so that a block of weights stays in the L1 cache; running sums live in the result.
 *
 * A tile leaves out taps that are padding for all of its positions and has zeros where they are padding for some. A
 * zero adds nothing unless the weight is infinite or NaN; then tiles have one position, and nothing is multiplied
 * that the definition skips.
 */
#include "core/device/cpu/isa/conv_product.h"

/* One tile of positions. */
struct __attribute__((aligned(64))) tile {
    float a[TILE_ROWS * TILE_PITCH];
    struct conv_run runs[LSI_BLOCK];
    struct conv_site sites[TILE_ROWS];
    float *rows[TILE_ROWS]; /* of the result */
    int run_count, row_count;
};

size_t LSI_ISA_NAME(lsi_conv_packed_bytes)(void)
{
    return CONV_GROUP * sizeof(struct tile);
}

/* Positions of a tile: one where the weights are not finite, so that nothing skipped is multiplied. */
static int64_t tile_rows(const struct conv_product *p)
{
    return p->finite ? TILE_ROWS : 1;
}

/* The next positions become the tile. */
static void place_tile(const struct conv_product *p, struct tile *tile, struct conv_place *place, int64_t left)
{
    tile->row_count = (int)(left < tile_rows(p) ? left : tile_rows(p));
    for (int r = 0; r < tile->row_count; r++) {
        tile->sites[r] = conv_site_of(&p->grid, place);
        tile->rows[r] = conv_result(p, place);
        conv_place_next(&p->grid, place);
    }
    for (int r = tile->row_count; r < TILE_ROWS; r++) { /* rows too many repeat the first */
        tile->sites[r] = tile->sites[0];
    }
}

/* All columns of a group's tiles, one block of terms. */
static void multiply_block(const struct conv_product *p, const struct tile *tiles, int count, int64_t begin)
{
    struct conv_tile t = {.first = begin == 0, .last = begin + LSI_BLOCK >= p->grid.terms, .relu = p->relu};
    for (int64_t c = 0; c < p->columns; c += TILE_COLUMNS) {
        t.b = p->packed + c * p->grid.terms;
        t.columns = (int)tile_columns(p->columns, c);
        t.bias = p->bias == NULL ? NULL : p->bias + c;
        for (int i = 0; i < count; i++) {
            float *rows[TILE_ROWS];
            for (int r = 0; r < tiles[i].row_count; r++) {
                rows[r] = tiles[i].rows[r] + c;
            }
            t.runs = tiles[i].runs;
            t.run_count = tiles[i].run_count;
            t.rows = rows;
            t.row_count = tiles[i].row_count;
            LSI_ISA_NAME(lsi_conv_tile_packed)(&t);
        }
    }
}

static void run_tiles(void *state, int64_t begin, int64_t end, int thread)
{
    const struct conv_product *p = state;
    struct tile *tiles = (struct tile *)(p->scratch + (size_t)thread * conv_scratch_bytes());
    int64_t positions = conv_grid_positions(&p->grid);
    struct conv_place place = conv_place_at(&p->grid, begin * tile_rows(p));
    for (int64_t first = begin; first < end; first += CONV_GROUP) {
        int count = end - first < CONV_GROUP ? (int)(end - first) : CONV_GROUP;
        for (int i = 0; i < count; i++) {
            place_tile(p, &tiles[i], &place, positions - (first + i) * tile_rows(p));
        }
        for (int64_t k = 0; k < p->grid.terms; k += LSI_BLOCK) {
            int64_t stop = k + LSI_BLOCK < p->grid.terms ? k + LSI_BLOCK : p->grid.terms;
            for (int i = 0; i < count; i++) {
                tiles[i].run_count =
                    LSI_ISA_NAME(lsi_conv_pack_sites)(&p->grid, tiles[i].sites, k, stop, tiles[i].a, tiles[i].runs);
            }
            multiply_block(p, tiles, count, k);
        }
    }
}

void LSI_ISA_NAME(lsi_conv_run_packed)(struct ls_device *device, struct conv_product *p)
{
    int64_t tiles = (conv_grid_positions(&p->grid) + tile_rows(p) - 1) / tile_rows(p);
    lsi_device_parallel(device, tiles, 1, run_tiles, p);
}
