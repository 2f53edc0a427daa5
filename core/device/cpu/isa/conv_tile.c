/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The register kernel of convolutions. One body, instantiated for every number of rows, one or two registers of
 * columns and both layouts of the broadcast operand, so that all accumulators stay in registers.
 */
#include "core/device/cpu/isa/conv_tile.h"

#define UNROLL _Pragma("GCC unroll 16")

typedef void (*tile_fn)(const struct conv_tile *tile);

static inline __attribute__((always_inline)) void finish(const struct conv_tile *t, vec acc[CONV_ROWS][2], int rows,
                                                         int registers, bool all)
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

static inline __attribute__((always_inline)) void body(const struct conv_tile *t, int rows, int registers, bool by_term)
{
    vec acc[CONV_ROWS][2];
    const float *a = t->a;
    UNROLL
    for (int r = 0; r < rows; r++) {
        acc[r][0] = vec_set(0.0f);
        acc[r][1] = vec_set(0.0f);
    }
    for (int i = 0; i < t->run_count; i++) {
        const float *b = t->b + t->runs[i].begin * registers * VEC_LANES;
        for (int64_t k = t->runs[i].count; k > 0; k--) {
            vec b0 = vec_load(b);
            vec b1 = registers > 1 ? vec_load(b + VEC_LANES) : b0;
            UNROLL
            for (int r = 0; r < rows; r++) {
                vec x = vec_set(a[by_term ? r : r * CONV_PITCH]);
                acc[r][0] = vec_multiply_add(x, b0, acc[r][0]);
                if (registers > 1) {
                    acc[r][1] = vec_multiply_add(x, b1, acc[r][1]);
                }
            }
            a += by_term ? t->a_step : 1;
            b += registers * VEC_LANES;
        }
    }
    finish(t, acc, rows, registers, by_term || rows == 1);
}

#define TILE(name, rows, registers, by_term)    \
    static void name(const struct conv_tile *t) \
    {                                           \
        body(t, rows, registers, by_term);      \
    }
#define WEIGHTS(rows)                       \
    TILE(weights_##rows##x1, rows, 1, true) \
    TILE(weights_##rows##x2, rows, 2, true)

TILE(position_x1, 1, 1, false)
TILE(position_x2, 1, 2, false)
TILE(positions_x1, CONV_ROWS, 1, false)
TILE(positions_x2, CONV_ROWS, 2, false)
WEIGHTS(1)
WEIGHTS(2)
WEIGHTS(3)
WEIGHTS(4)
WEIGHTS(5)
WEIGHTS(6)
#if CONV_ROWS > 6
WEIGHTS(7)
WEIGHTS(8)
WEIGHTS(9)
WEIGHTS(10)
WEIGHTS(11)
WEIGHTS(12)
WEIGHTS(13)
WEIGHTS(14)
#endif

#define ROW(rows)                              \
    {                                          \
        weights_##rows##x1, weights_##rows##x2 \
    }
static const tile_fn weights[CONV_ROWS][2] = {
    ROW(1), ROW(2), ROW(3), ROW(4),  ROW(5),  ROW(6),
#if CONV_ROWS > 6
    ROW(7), ROW(8), ROW(9), ROW(10), ROW(11), ROW(12), ROW(13), ROW(14),
#endif
};

void LSI_ISA_NAME(lsi_conv_tile_positions)(const struct conv_tile *tile)
{
    bool wide = tile->columns > VEC_LANES;
    if (tile->row_count == 1) {
        (wide ? position_x2 : position_x1)(tile);
    } else {
        (wide ? positions_x2 : positions_x1)(tile);
    }
}

void LSI_ISA_NAME(lsi_conv_tile_weights)(const struct conv_tile *tile)
{
    weights[tile->row_count - 1][tile->columns > VEC_LANES](tile);
}
