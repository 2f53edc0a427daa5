/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The register kernel of weight gradients: all blocks of one tile, with the canonical tree's pending partials in L1.
 * The operands are read as they lie in memory: a term is one cache line of x and two of dy for a whole tile, which the
 * processor fetches from L2 far ahead.
 */
#include "core/device/cpu/isa/product_registers.h"

typedef void (*tree_fn)(const struct tree_tile *tile);

/* The block of a step: acc = sum over its terms. */
INLINE void multiply(const struct tree_operand *operand, const struct tree_step *step, vec acc[TILE_ROWS][2],
                     const int rows, const int registers)
{
    const int64_t a_step = operand->a_step, b_step = operand->b_step;
    const float *a = operand->a + step->row * a_step;
    const float *b = operand->b + step->row * b_step;

    clear(acc, rows);
    for (int64_t k = step->depth; k > 0; k--) {
        vec b0 = vec_load(b);
        vec b1 = registers > 1 ? vec_load(b + VEC_LANES) : b0;

        UNROLL
        for (int r = 0; r < rows; r++) {
            vec x = vec_set(a[r]);

            acc[r][0] = vec_multiply_add(x, b0, acc[r][0]);
            if (registers > 1)
                acc[r][1] = vec_multiply_add(x, b1, acc[r][1]);
        }
        a += a_step;
        b += b_step;
    }
}

INLINE void finish(const struct tree_tile *t, const struct tree_step *step, vec acc[TILE_ROWS][2], const int rows,
                   const int registers, const bool whole)
{
    const float *merge = t->slots + (step->slot + step->merges - 1) * TILE_FLOATS;

    if (step->acc >= 0)
        add(acc, rows, registers, t->acc + step->acc, t->out_step, whole, t->columns);
    if (step->continues)
        add(acc, rows, registers, t->slots, TILE_COLUMNS, true, t->columns);
    for (int i = step->merges; i > 0; i--, merge -= TILE_FLOATS)
        add(acc, rows, registers, merge, TILE_COLUMNS, true, t->columns);
    if (step->out < 0) {
        store(t->slots + step->slot * TILE_FLOATS, TILE_COLUMNS, acc, rows, registers, true, t->columns);
        return;
    }
    if (step->add_zero)
        add_vector(acc, rows, registers, (vec[2]){vec_set(0.0f), vec_set(0.0f)});
    store(t->out + step->out, t->out_step, acc, rows, registers, whole, t->columns);
}

INLINE void body(const struct tree_tile *t, const int rows, const int registers)
{
    const bool whole = t->columns == registers * VEC_LANES;

    for (int64_t i = 0; i < t->step_count; i++) {
        const struct tree_step *step = &t->steps[i];
        vec acc[TILE_ROWS][2];

        multiply(&t->operands[step->pair], step, acc, rows, registers);
        if (whole)
            finish(t, step, acc, rows, registers, true);
        else
            finish(t, step, acc, rows, registers, false);
    }
}

#define TREE(name, rows, registers)             \
    static void name(const struct tree_tile *t) \
    {                                           \
        body(t, rows, registers);               \
    }
#define HEIGHT(rows)               \
    TREE(tree_##rows##x1, rows, 1) \
    TREE(tree_##rows##x2, rows, 2)
TILE_HEIGHTS(HEIGHT)

#define ENTRY(rows) [rows - 1] = {tree_##rows##x1, tree_##rows##x2},

static const tree_fn trees[TILE_ROWS][2] = {TILE_HEIGHTS(ENTRY)};

void LSI_ISA_NAME(lsi_tree_tile)(const struct tree_tile *tile)
{
    trees[tile->rows - 1][tile->columns > VEC_LANES](tile);
}
