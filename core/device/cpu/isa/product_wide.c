/* SPDX-License-Identifier: Apache-2.0 */
/* dense for a few rows (single predictions): bound by reading w, which streams through in long pieces of its rows. */
#include "core/device/cpu/isa/product_tile.h"

#if defined(LS_ISA_avx512)
#define WIDE 8 /* registers of columns: 3 x 8 sums, a column, 3 terms of 32 registers */
#else
#define WIDE 4 /* 3 x 4 sums, a column, 3 terms of 16 registers */
#endif
#define AHEAD 4 /* rows of w that are fetched ahead */

/* The block of terms [k, end) is added to `lanes` columns of y in each of `registers` registers. */
INLINE void block(const struct lsi_dense *d, int64_t column, int64_t k, int64_t end, const int rows,
                  const int registers, const int64_t lanes)
{
    const float *x = d->x;
    vec acc[PRODUCT_WIDE_ROWS][WIDE];
    const bool first = k == 0, last = end == d->depth;

    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < registers; v++)
            acc[r][v] = vec_set(0.0f);
    }
    for (; k < end; k++) {
        const float *w = d->w + k * d->columns + column;

        UNROLL
        for (int v = 0; v < registers; v++) {
            vec b = lanes == VEC_LANES ? vec_load(w + v * VEC_LANES) : vec_load_some(w, lanes);

            __builtin_prefetch(w + AHEAD * d->columns + v * VEC_LANES);
            for (int r = 0; r < rows; r++)
                acc[r][v] = vec_multiply_add(vec_set(x[r * d->depth + k]), b, acc[r][v]);
        }
    }
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < registers; v++) {
            int64_t at = column + v * VEC_LANES;
            float *y = d->y + r * d->columns + at;
            vec sum = vec_add(first ? vec_set(0.0f) : vec_load_some(y, lanes), acc[r][v]);

            if (last && d->bias != NULL)
                sum = vec_add(sum, vec_load_some(d->bias + at, lanes));
            if (last && d->relu)
                sum = vec_relu(sum);
            vec_store_some(y, sum, lanes);
        }
    }
}

INLINE void columns(const struct lsi_dense *d, int64_t column, const int rows, const int registers, const int64_t lanes)
{
    for (int64_t k = 0; k < d->depth; k += LSI_BLOCK)
        block(d, column, k, k + LSI_BLOCK < d->depth ? k + LSI_BLOCK : d->depth, rows, registers, lanes);
}

INLINE void range(const struct lsi_dense *d, int64_t column, int64_t end, const int rows)
{
    for (; column + WIDE * VEC_LANES <= end; column += WIDE * VEC_LANES)
        columns(d, column, rows, WIDE, VEC_LANES);
    for (; column + VEC_LANES <= end; column += VEC_LANES)
        columns(d, column, rows, 1, VEC_LANES);
    if (column < end)
        columns(d, column, rows, 1, end - column);
}

static void wide_range(void *state, int64_t begin, int64_t end, int thread)
{
    const struct lsi_dense *d = state;

    (void)thread;
    if (d->rows == 1)
        range(d, begin, end, 1);
    else if (d->rows == 2)
        range(d, begin, end, 2);
    else
        range(d, begin, end, 3);
}

void LSI_ISA_NAME(lsi_product_wide)(struct ls_device *device, const struct lsi_dense *dense)
{
    struct lsi_dense d = *dense;

    lsi_device_parallel(device, d.columns, WIDE * VEC_LANES, wide_range, &d);
}
