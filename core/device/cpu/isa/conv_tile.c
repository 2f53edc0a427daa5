/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The register kernel of convolutions. One body, instantiated for every number of rows, one or two registers of
 * columns and both layouts of the broadcast operand, so that all accumulators stay in registers.
 */
#include "core/device/cpu/isa/conv_tile.h"

typedef void (*tile_fn)(const struct conv_tile *tile);

INLINE void finish(const struct conv_tile *t, vec acc[TILE_ROWS][2], int rows, int registers, bool all)
{
    UNROLL
    for (int v = 0; v < registers; v++) {
        int64_t lanes = t->columns - v * VEC_LANES;
        vec bias = t->bias == NULL ? vec_set(0.0f) : vec_load_some(t->bias + v * VEC_LANES, lanes);
        UNROLL
        for (int r = 0; r < rows; r++) {
            if (!all && r >= t->row_count) {
                break;
            }
            float *to = t->rows[r] + v * VEC_LANES;
            vec sum = vec_add(t->first ? vec_set(0.0f) : vec_load_some(to, lanes), acc[r][v]);
            if (t->last) {
                sum = t->bias == NULL ? sum : vec_add(sum, bias);
                sum = t->relu ? vec_relu(sum) : sum;
            }
            vec_store_some(to, sum, lanes);
        }
    }
}

enum layout {
    PACKED,    /* rows TILE_PITCH apart, terms side by side */
    POSITIONS, /* rows a_step apart, terms side by side */
    WEIGHTS,   /* rows side by side, terms a_step apart */
};

/* Where row r of a term is: five registers and one index reach 14 rows. */
INLINE float at_row(const char *const third[5], int64_t step, int r)
{
    return *(const float *)(third[r / 3] + r % 3 * step);
}

INLINE void body(const struct conv_tile *t, int rows, int registers, enum layout layout)
{
    vec acc[TILE_ROWS][2];
    int64_t b_step = layout == WEIGHTS ? t->b_step : registers * VEC_LANES;
    int64_t bytes = t->a_step * (int64_t)sizeof(float);

    UNROLL
    for (int r = 0; r < rows; r++) {
        acc[r][0] = vec_set(0.0f);
        acc[r][1] = vec_set(0.0f);
    }
    for (int i = 0; i < t->run_count; i++) {
        const float *b = t->b + t->runs[i].begin * b_step;
        const float *a = t->runs[i].a + t->a_offset;
        const char *third[5];
        UNROLL
        for (int j = 0; j < 5; j++) {
            third[j] = (const char *)a + 3 * j * bytes;
        }
        for (int64_t k = t->runs[i].count; k > 0; k--) {
            vec b0 = vec_load(b);
            vec b1 = registers > 1 ? vec_load(b + VEC_LANES) : b0;
            UNROLL
            for (int r = 0; r < rows; r++) {
                vec x = vec_set(layout == WEIGHTS  ? a[r]
                                : layout == PACKED ? a[r * TILE_PITCH]
                                                   : at_row(third, bytes, r));
                acc[r][0] = vec_multiply_add(x, b0, acc[r][0]);
                if (registers > 1) {
                    acc[r][1] = vec_multiply_add(x, b1, acc[r][1]);
                }
            }
            a += layout == WEIGHTS ? t->a_step : 1;
            UNROLL
            for (int j = 0; j < 5; j++) {
                third[j] += sizeof(float);
            }
            b += b_step;
        }
    }
    finish(t, acc, rows, registers, layout != PACKED || rows == 1);
}

#define TILE(name, rows, registers, layout)     \
    static void name(const struct conv_tile *t) \
    {                                           \
        body(t, rows, registers, layout);       \
    }
#define HEIGHT(rows)                               \
    TILE(positions_##rows##x1, rows, 1, POSITIONS) \
    TILE(positions_##rows##x2, rows, 2, POSITIONS) \
    TILE(weights_##rows##x1, rows, 1, WEIGHTS)     \
    TILE(weights_##rows##x2, rows, 2, WEIGHTS)

TILE(packed_1x1, 1, 1, PACKED)
TILE(packed_1x2, 1, 2, PACKED)
TILE(packed_x1, TILE_ROWS, 1, PACKED)
TILE(packed_x2, TILE_ROWS, 2, PACKED)
TILE_HEIGHTS(HEIGHT)

#define P(rows) [rows - 1] = {positions_##rows##x1, positions_##rows##x2},
#define W(rows) [rows - 1] = {weights_##rows##x1, weights_##rows##x2},

static const tile_fn positions[TILE_ROWS][2] = {TILE_HEIGHTS(P)};
static const tile_fn weights[TILE_ROWS][2] = {TILE_HEIGHTS(W)};

void LSI_ISA_NAME(lsi_conv_tile_packed)(const struct conv_tile *tile)
{
    bool two = tile->columns > VEC_LANES;
    if (tile->row_count == 1) {
        (two ? packed_1x2 : packed_1x1)(tile);
    } else {
        (two ? packed_x2 : packed_x1)(tile);
    }
}

void LSI_ISA_NAME(lsi_conv_tile_positions)(const struct conv_tile *tile)
{
    positions[tile->row_count - 1][tile->columns > VEC_LANES](tile);
}

void LSI_ISA_NAME(lsi_conv_tile_weights)(const struct conv_tile *tile)
{
    weights[tile->row_count - 1][tile->columns > VEC_LANES](tile);
}
