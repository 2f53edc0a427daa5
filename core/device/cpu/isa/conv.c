/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution and its input gradient. Both are products of patches (rows: positions) and weights (columns: channels of
 * the result), cut into blocks of 256 terms. Tiles of positions are packed a block at a time, some tiles together so
 * that a block of weights stays in the L1 cache; running sums live in the result.
 *
 * A tile leaves out taps that are padding for all of its positions and has zeros where they are padding for some. A
 * zero adds nothing unless the weight is infinite or NaN; then tiles have one position, and nothing is multiplied
 * that the definition skips.
 */
#include "core/device/cpu/isa/conv_family.h"
#include "core/device/cpu/isa/conv_grid.h"

#include <math.h>

#define GROUP 8 /* tiles packed together */
#define TILE_FLOATS (CONV_ROWS * CONV_PITCH)

struct product {
    struct conv_grid grid;
    const float *packed; /* weights: per tile of columns [term][columns] */
    int64_t columns;     /* channels of the result */
    float *result;
    int64_t height, width; /* of the result */
    const float *bias;     /* NULL: none */
    bool relu;
    int tile_rows; /* CONV_ROWS, or 1 where the weights are not finite */
    char *scratch; /* thread_bytes a thread */
};

/* One tile of positions. */
struct __attribute__((aligned(64))) tile {
    float a[TILE_FLOATS];
    struct conv_run runs[CONV_BLOCK];
    struct conv_site sites[CONV_ROWS];
    float *rows[CONV_ROWS]; /* of the result */
    int run_count, row_count;
};

static const size_t thread_bytes = GROUP * sizeof(struct tile);

static size_t packed_bytes(int64_t terms, int64_t columns)
{
    return ((size_t)(terms * conv_packed_columns(columns)) * sizeof(float) + 63) / 64 * 64;
}

static float *result_row(const struct product *p, const struct conv_place *place)
{
    int64_t y = p->grid.y.first + place->y * p->grid.y.step;
    int64_t x = p->grid.x.first + place->x * p->grid.x.step;
    return p->result + ((place->sample * p->height + y) * p->width + x) * p->columns;
}

/* The next positions become the tile. */
static void place_tile(const struct product *p, struct tile *tile, struct conv_place *place, int64_t left)
{
    tile->row_count = left < p->tile_rows ? (int)left : p->tile_rows;
    for (int r = 0; r < tile->row_count; r++) {
        tile->sites[r] = conv_site_of(&p->grid, place);
        tile->rows[r] = result_row(p, place);
        conv_place_next(&p->grid, place);
    }
    for (int r = tile->row_count; r < CONV_ROWS; r++) { /* rows too many repeat the first */
        tile->sites[r] = tile->sites[0];
    }
}

/* All columns of a group's tiles, one block of terms. */
static void multiply_block(const struct product *p, const struct tile *tiles, int count, int64_t begin)
{
    struct conv_tile t = {.first = begin == 0, .last = begin + CONV_BLOCK >= p->grid.terms, .relu = p->relu};
    for (int64_t c = 0; c < p->columns; c += CONV_COLUMNS) {
        t.b = p->packed + c * p->grid.terms;
        t.columns = (int)conv_tile_columns(p->columns, c);
        t.bias = p->bias == NULL ? NULL : p->bias + c;
        for (int i = 0; i < count; i++) {
            float *rows[CONV_ROWS];
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
    const struct product *p = state;
    struct tile *tiles = (struct tile *)(p->scratch + (size_t)thread * thread_bytes);
    int64_t positions = conv_grid_positions(&p->grid);
    struct conv_place place = conv_place_at(&p->grid, begin * p->tile_rows);
    for (int64_t first = begin; first < end; first += GROUP) {
        int count = end - first < GROUP ? (int)(end - first) : GROUP;
        for (int i = 0; i < count; i++) {
            place_tile(p, &tiles[i], &place, positions - (first + i) * p->tile_rows);
        }
        for (int64_t k = 0; k < p->grid.terms; k += CONV_BLOCK) {
            int64_t stop = k + CONV_BLOCK < p->grid.terms ? k + CONV_BLOCK : p->grid.terms;
            for (int i = 0; i < count; i++) {
                tiles[i].run_count =
                    LSI_ISA_NAME(lsi_conv_pack_sites)(&p->grid, tiles[i].sites, k, stop, tiles[i].a, tiles[i].runs);
            }
            multiply_block(p, tiles, count, k);
        }
    }
}

static void run_product(struct ls_device *device, struct product *p)
{
    int64_t tiles = (conv_grid_positions(&p->grid) + p->tile_rows - 1) / p->tile_rows;
    lsi_device_parallel(device, tiles, 1, run_tiles, p);
}

/* Packs w[term][column] by tiles of columns. Term t of a forward product is row t of w; of an adjoint product it is
 * (tap, output channel), and the columns are input channels. Returns whether all weights are finite. */
static bool pack_weights(const float *w, int64_t taps, int64_t channels, int64_t columns, bool adjoint, float *packed)
{
    bool finite = true;
    int64_t terms = taps * channels;
    for (int64_t c0 = 0; c0 < columns; c0 += CONV_COLUMNS) {
        float *to = packed + c0 * terms;
        int64_t count = conv_tile_columns(columns, c0);
        int64_t width = conv_tile_width(columns, c0);
        for (int64_t k = 0; k < terms; k++, to += width) {
            const float *from =
                adjoint ? w + (k / channels * columns + c0) * channels + k % channels : w + k * columns + c0;
            int64_t step = adjoint ? channels : 1;
            for (int64_t c = 0; c < count; c++) {
                to[c] = from[c * step];
                finite = finite && isfinite(to[c]);
            }
            for (int64_t c = count; c < width; c++) {
                to[c] = 0.0f;
            }
        }
    }
    return finite;
}

/* x (forward) or dy (adjoint) is the source; y or dx the result. */
static void prepare(struct product *p, const struct ls_op_call *call, bool adjoint)
{
    const struct ls_conv2d_attrs *attrs = &call->attrs->conv2d;
    const struct ls_shape *source = &call->in[0].shape;
    const struct ls_shape *result = &call->out[0].shape;
    int64_t taps = (int64_t)attrs->kernel[0] * attrs->kernel[1];
    int64_t channels = source->dim[3];
    int64_t columns = result->dim[3];
    float *packed = call->workspace;
    bool finite = pack_weights(call->in[1].data, taps, channels, columns, adjoint, packed);
    *p = (struct product){.packed = packed,
                          .columns = columns,
                          .result = call->out[0].data,
                          .height = result->dim[1],
                          .width = result->dim[2],
                          .tile_rows = finite ? CONV_ROWS : 1,
                          .scratch = (char *)call->workspace + packed_bytes(taps * channels, columns)};
}

static enum ls_status conv2d(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    struct product p;
    (void)err;
    prepare(&p, call, false);
    p.grid = LSI_ISA_NAME(lsi_conv_grid_forward)(&call->attrs->conv2d, &call->in[0], &call->out[0]);
    p.bias = call->in_count > 2 ? call->in[2].data : NULL;
    p.relu = call->attrs->conv2d.activation == LS_ACTIVATION_RELU;
    run_product(device, &p);
    return LS_OK;
}

static enum ls_status conv2d_xgrad(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    struct product p;
    const struct ls_conv2d_attrs *attrs = &call->attrs->conv2d;
    (void)err;
    prepare(&p, call, true);
    for (int py = 0; py < attrs->stride[0]; py++) {
        for (int px = 0; px < attrs->stride[1]; px++) {
            p.grid = LSI_ISA_NAME(lsi_conv_grid_adjoint)(attrs, &call->out[0], &call->in[0], py, px);
            run_product(device, &p);
        }
    }
    return LS_OK;
}

static size_t workspace(const struct ls_device *device, const struct ls_op_call *call)
{
    const struct ls_conv2d_attrs *attrs = &call->attrs->conv2d;
    int64_t terms = (int64_t)attrs->kernel[0] * attrs->kernel[1] * call->in[0].shape.dim[3];
    return packed_bytes(terms, call->out[0].shape.dim[3]) + (size_t)ls_device_threads(device) * thread_bytes;
}

void LSI_ISA_NAME(lsi_cpu_conv)(struct lsi_kernel *table)
{
    table[LS_OP_CONV2D] = (struct lsi_kernel){.run = conv2d, .workspace = workspace, .accepts = lsi_conv_accepts};
    table[LS_OP_CONV2D_XGRAD] =
        (struct lsi_kernel){.run = conv2d_xgrad, .workspace = workspace, .accepts = lsi_conv_accepts};
    LSI_ISA_NAME(lsi_cpu_conv_wgrad)(table);
    LSI_ISA_NAME(lsi_cpu_pool)(table);
}
