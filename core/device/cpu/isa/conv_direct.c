/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A product of patches and weights that reads patches where they lie. A tile is some positions of one row of the
 * grid: a fixed distance apart in the source, so that one pointer, one step and runs of terms describe it. Taps in
 * the padding above and below are left out; where columns lie in the padding, source rows are first copied with zeros
 * around them into a ring of rows. Blocks of 256 terms; running sums live in the result.
 */
#include "core/device/cpu/isa/conv_product.h"

#define MIN_ROW 8 /* positions: shorter rows fill tiles badly */

struct plan {
    const struct conv_product *p;
    int64_t low, high; /* source columns under any tap */
    int64_t width;     /* elements of a row of the ring; 0: the source itself serves */
    int64_t slots;     /* rows of the ring */
    int64_t group;     /* grid rows done together, of one sample */
};

/* What a thread keeps. slot_row[i] is the source row (over all samples) that slot i holds, -1: none. */
struct rows {
    float ring[CONV_RING_BYTES / sizeof(float)];
    struct conv_run runs[CONV_GROUP][LSI_BLOCK];
    int run_count[CONV_GROUP];
    int64_t slot_row[CONV_RING_BYTES / sizeof(float) / MIN_ROW];
};

size_t LSI_ISA_NAME(lsi_conv_direct_bytes)(void)
{
    return (sizeof(struct rows) + 63) / 64 * 64;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool make_plan(const struct conv_product *p, struct plan *plan)
{
    const struct conv_axis *x = &p->grid.x;
    const struct conv_axis *y = &p->grid.y;
    if (!p->finite || x->count < MIN_ROW || x->taps == 0 || y->taps == 0 || y->count == 0 ||
        x->scale * p->grid.channels % 1024 == 0) { /* a tile's rows would share one set of the L1 cache */
        return false;
    }
    int64_t reach = (x->taps - 1) * x->offset_step;
    int64_t depth = (y->taps - 1) * (y->offset_step < 0 ? -y->offset_step : y->offset_step) + 1;
    *plan = (struct plan){.p = p, .low = x->offset + smaller(reach, 0), .group = smaller(CONV_GROUP, y->count)};
    plan->high = (x->count - 1) * x->scale + x->offset + (reach > 0 ? reach : 0);
    while (plan->group > 1 && (plan->group - 1) * x->count >= CONV_GROUP * TILE_ROWS) {
        plan->group--;
    }
    if (plan->low >= 0 && plan->high < x->source) {
        return true;
    }
    plan->width = (plan->high - plan->low + 1) * p->grid.channels;
    int64_t room = CONV_RING_BYTES / (int64_t)sizeof(float) / plan->width;
    while (plan->group > 1 && depth + (plan->group - 1) * y->scale > room) {
        plan->group--;
    }
    plan->slots = depth + (plan->group - 1) * y->scale;
    return plan->slots <= room;
}

/* A source row of a sample, as column `low` would begin it; copied into the ring where it has to be. */
static const float *source_row(const struct plan *plan, struct rows *rows, int64_t sample, int64_t y)
{
    const struct conv_grid *grid = &plan->p->grid;
    int64_t row = sample * grid->y.source + y;
    const float *from = grid->source + row * grid->x.source * grid->channels;
    if (plan->width == 0) {
        return from + plan->low * grid->channels;
    }
    int64_t slot = y % plan->slots;
    float *to = rows->ring + slot * plan->width;
    if (rows->slot_row[slot] != row) {
        int64_t left = (plan->low < 0 ? -plan->low : 0) * grid->channels;
        int64_t begin = plan->low > 0 ? plan->low : 0;
        int64_t count = (smaller(plan->high + 1, grid->x.source) - begin) * grid->channels;
        count = count > 0 ? count : 0;
        left = smaller(left, plan->width - count);
        conv_zero(to, left);
        conv_copy(to + left, from + begin * grid->channels, count);
        conv_zero(to + left + count, plan->width - left - count);
        rows->slot_row[slot] = row;
    }
    return to;
}

/* The runs of a grid row in terms [begin, end); a: position 0 of the row. */
static int find_runs(const struct plan *plan, struct rows *rows, const struct conv_place *place, int64_t begin,
                     int64_t end, struct conv_run *runs)
{
    const struct conv_grid *grid = &plan->p->grid;
    int64_t row_terms = grid->x.kernel * grid->channels;
    int64_t taps = grid->rows_run ? 1 : grid->x.taps;
    int64_t width = grid->rows_run ? row_terms : grid->channels;
    int count = 0;
    for (int64_t ty = 0; ty < grid->y.taps; ty++) {
        int64_t row = (grid->y.tap_first + ty * grid->y.tap_step) * row_terms;
        int64_t y = place->y * grid->y.scale + grid->y.offset + ty * grid->y.offset_step;
        if (row >= end || row + row_terms <= begin || y < 0 || y >= grid->y.source) {
            continue;
        }
        const float *from = source_row(plan, rows, place->sample, y);
        for (int64_t tx = 0; tx < taps; tx++) {
            int64_t term = row + (grid->x.tap_first + tx * grid->x.tap_step) * grid->channels;
            int64_t lo = term > begin ? term : begin;
            int64_t hi = smaller(term + width, end);
            int64_t column = grid->x.offset + tx * grid->x.offset_step - plan->low;
            if (lo < hi) {
                runs[count++] =
                    (struct conv_run){.begin = lo, .count = hi - lo, .a = from + column * grid->channels + (lo - term)};
            }
        }
    }
    return count;
}

/* One block of a grid row in one tile of columns. */
static void multiply_row(const struct plan *plan, struct conv_tile *t, struct conv_place place, int64_t column)
{
    const struct conv_product *p = plan->p;
    int64_t positions = p->grid.x.count;
    int64_t tiles = (positions + TILE_ROWS - 1) / TILE_ROWS;
    float *result[TILE_ROWS];
    t->rows = result;
    t->a_step = p->grid.x.scale * p->grid.channels;
    for (int64_t i = 0; i < tiles; i++) {
        place.x = positions * i / tiles;
        t->row_count = (int)(positions * (i + 1) / tiles - place.x);
        t->a_offset = place.x * t->a_step;
        float *first = conv_result(p, &place) + column;
        for (int r = 0; r < t->row_count; r++) {
            result[r] = first + r * p->grid.x.step * p->columns;
        }
        LSI_ISA_NAME(lsi_conv_tile_positions)(t);
    }
}

/* `count` grid rows of one sample. */
static void run_group(const struct plan *plan, struct rows *rows, struct conv_place place, int64_t count)
{
    const struct conv_product *p = plan->p;
    for (int64_t k = 0; k < p->grid.terms; k += LSI_BLOCK) {
        int64_t end = smaller(k + LSI_BLOCK, p->grid.terms);
        struct conv_tile t = {.first = k == 0, .last = end == p->grid.terms, .relu = p->relu};
        for (int64_t i = 0; i < count; i++) {
            struct conv_place row = {.sample = place.sample, .y = place.y + i};
            rows->run_count[i] = find_runs(plan, rows, &row, k, end, rows->runs[i]);
        }
        for (int64_t c = 0; c < p->columns; c += TILE_COLUMNS) {
            t.b = p->packed + c * p->grid.terms;
            t.columns = (int)tile_columns(p->columns, c);
            t.bias = p->bias == NULL ? NULL : p->bias + c;
            for (int64_t i = 0; i < count; i++) {
                t.runs = rows->runs[i];
                t.run_count = rows->run_count[i];
                multiply_row(plan, &t, (struct conv_place){.sample = place.sample, .y = place.y + i}, c);
            }
        }
    }
}

static void run_rows(void *state, int64_t begin, int64_t end, int thread)
{
    const struct plan *plan = state;
    const struct conv_axis *y = &plan->p->grid.y;
    size_t bytes = conv_scratch_bytes();
    struct rows *rows = (struct rows *)(plan->p->scratch + (size_t)thread * bytes);
    for (int64_t i = 0; i < plan->slots; i++) {
        rows->slot_row[i] = -1;
    }
    for (int64_t row = begin; row < end;) {
        struct conv_place place = {.sample = row / y->count, .y = row % y->count};
        int64_t count = smaller(smaller(plan->group, y->count - place.y), end - row);
        run_group(plan, rows, place, count);
        row += count;
    }
}

bool LSI_ISA_NAME(lsi_conv_run_direct)(struct ls_device *device, struct conv_product *product)
{
    struct plan plan;
    if (!make_plan(product, &plan)) {
        return false;
    }
    lsi_device_parallel(device, product->grid.samples * product->grid.y.count, 1, run_rows, &plan);
    return true;
}
