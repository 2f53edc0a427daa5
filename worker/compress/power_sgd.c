/* SPDX-License-Identifier: Apache-2.0 */
/*
 * power_sgd: a gradient of rows x cols is sent as two thin factors, one step of subspace iteration that goes on from
 * the factor of the step before (Vogels, Karimireddy, Jaggi: PowerSGD, NeurIPS 2019, algorithm 1):
 *   P = sum of M Q over the ranks, made orthonormal; Q = sum of M' P; the sum of all M is taken to be P Q'.
 * A rank keeps M - P (its own M' P)'. Vectors and whatever would gain less than half go whole, beside P.
 * Cost: two steps, 2 (W - 1) / W rank x (rows + cols) values of 4 bytes a rank; 4 passes over M.
 */
#include "worker/compress/compress_internal.h"

#include "core/base/philox.h"

#include <math.h>

#define STREAM (UINT64_C(1) << 33) /* plus the variable's number: docs/numerics.md, random streams */
#define LANES 16
#define DEPENDENT 1e-10 /* a column that keeps less of its square is of the space of those before it */

static void measure(const struct ls_compress *c, struct lsi_compress_item *item)
{
    int64_t rank = c->options.rank_of_matrix, thin = rank * (item->rows + item->cols);

    item->whole = 2 * thin > item->count;
    if (item->whole) {
        item->bytes[LSI_GIVEN] = item->bytes[LSI_TAKEN] = (size_t)item->count * sizeof(float);
        item->moved = 8.0 * (double)item->count * (c->world - 1) / c->world;
        return;
    }
    item->shared = rank * item->cols;
    item->bytes[LSI_GIVEN] = item->bytes[LSI_TAKEN] = (size_t)(rank * item->rows) * sizeof(float);
    item->bytes[LSI_GIVEN_AGAIN] = item->bytes[LSI_TAKEN_AGAIN] = (size_t)item->shared * sizeof(float);
    item->moved = 8.0 * (double)thin * (c->world - 1) / c->world;
}

/* Column `column` of Q, uniform in [-1, 1), from the counter of a step. */
static void draw(const struct ls_compress *c, const struct lsi_compress_item *item, uint64_t step, int64_t column,
                 float *q)
{
    struct ls_philox_key key =
        ls_philox_key_of(c->options.seed, STREAM + (uint64_t)item->is.variable, (uint64_t)column);
    uint32_t words[4] = {0};

    for (int64_t j = 0; j < item->cols; j++) {
        if (j % 4 == 0)
            ls_philox_block(key, step, LS_PHILOX_NO_SAMPLE, (uint32_t)(j / 4), words);
        q[j] = 2 * ls_philox_unit(words[j % 4]) - 1;
    }
}

static void initialize(struct ls_compress *c, const struct lsi_compress_item *item)
{
    for (int64_t k = 0; !item->whole && k < c->options.rank_of_matrix; k++)
        draw(c, item, 0, k, c->shared[c->current] + item->shared_at + k * item->cols);
}

static float dot(const float *restrict a, const float *restrict b, int64_t count)
{
    float lane[LANES] = {0}, sum = 0;
    int64_t e = 0;

    for (; e + LANES <= count; e += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] += a[e + l] * b[e + l];
    for (; e < count; e++)
        sum += a[e] * b[e];
    for (int l = 0; l < LANES; l++)
        sum += lane[l];
    return sum;
}

static void add_multiple(float *restrict to, const float *restrict from, float by, int64_t count)
{
    for (int64_t e = 0; e < count; e++)
        to[e] += by * from[e];
}

static void start(struct ls_compress *c, const struct lsi_compress_run *run, struct ls_collective *op)
{
    float *p = lsi_piece(c, run, LSI_GIVEN);

    for (int i = 0; i < run->count; i++) {
        const struct lsi_compress_item *item = &run->items[i];
        const float *q = c->shared[c->current] + item->shared_at;
        float *m = lsi_next(c, item);

        if (item->whole) {
            memcpy(p, m, item->bytes[LSI_GIVEN]);
            memset(m, 0, item->bytes[LSI_GIVEN]);
        }
        for (int64_t row = 0; !item->whole && row < item->rows; row++)
            for (int64_t k = 0; k < c->options.rank_of_matrix; k++)
                p[k * item->rows + row] = dot(m + row * item->cols, q + k * item->cols, item->cols);
        p += item->bytes[LSI_GIVEN] / sizeof *p;
    }
    *op = (struct ls_collective){.kind = LS_ALL_REDUCE,
                                 .reduction = LS_SUM,
                                 .dtype = LS_F32,
                                 .count = (int64_t)(lsi_piece_bytes(run, LSI_GIVEN) / sizeof(float)),
                                 .src = lsi_piece(c, run, LSI_GIVEN),
                                 .dst = lsi_piece(c, run, LSI_TAKEN),
                                 .label = run->label};
}

static double product(const float *a, const float *b, int64_t count)
{
    double sum = 0;

    for (int64_t e = 0; e < count; e++)
        sum += (double)a[e] * (double)b[e];
    return sum;
}

/* Gram and Schmidt, modified; a column that depends on those before it becomes zero. The same on every rank: one order,
 * no library. */
static void make_orthonormal(float *p, int64_t rows, int64_t columns)
{
    for (int64_t k = 0; k < columns; k++) {
        float *column = p + k * rows;
        double before = product(column, column, rows), after;

        for (int64_t i = 0; i < k; i++)
            add_multiple(column, p + i * rows, -(float)product(p + i * rows, column, rows), rows);
        after = product(column, column, rows);
        if (after <= DEPENDENT * before) {
            memset(column, 0, (size_t)rows * sizeof *column);
            continue;
        }
        after = 1 / sqrt(after);
        for (int64_t row = 0; row < rows; row++)
            column[row] = (float)((double)column[row] * after);
    }
}

/* Where the factors of an item stand: P as summed, Q as this rank has it and as summed. */
struct factors {
    float *p, *q, *q_sum;
};

static struct factors next_factors(struct factors at, const struct lsi_compress_item *item)
{
    at.p += item->bytes[LSI_TAKEN] / sizeof(float);
    at.q += item->bytes[LSI_GIVEN_AGAIN] / sizeof(float);
    at.q_sum += item->bytes[LSI_TAKEN_AGAIN] / sizeof(float);
    return at;
}

static struct factors first_factors(const struct ls_compress *c, const struct lsi_compress_run *run)
{
    return (struct factors){lsi_piece(c, run, LSI_TAKEN), lsi_piece(c, run, LSI_GIVEN_AGAIN),
                            lsi_piece(c, run, LSI_TAKEN_AGAIN)};
}

/* This rank's q = M' P. */
static void multiply_back(const struct ls_compress *c, const struct lsi_compress_item *item, const struct factors *at)
{
    const float *m = lsi_next(c, item);

    memset(at->q, 0, item->bytes[LSI_GIVEN_AGAIN]);
    for (int64_t row = 0; row < item->rows; row++)
        for (int64_t k = 0; k < c->options.rank_of_matrix; k++)
            add_multiple(at->q + k * item->cols, m + row * item->cols, at->p[k * item->rows + row], item->cols);
}

/* What of M the factors do not say. */
static void keep_rest(const struct ls_compress *c, const struct lsi_compress_item *item, const struct factors *at)
{
    float *m = lsi_next(c, item);

    for (int64_t row = 0; row < item->rows; row++)
        for (int64_t k = 0; k < c->options.rank_of_matrix; k++)
            add_multiple(m + row * item->cols, at->q + k * item->cols, -at->p[k * item->rows + row], item->cols);
}

static bool advance(struct ls_compress *c, const struct lsi_compress_run *run, struct ls_collective *op)
{
    struct factors at = first_factors(c, run);
    size_t bytes = lsi_piece_bytes(run, LSI_GIVEN_AGAIN);

    if (bytes == 0)
        return false;
    for (int i = 0; i < run->count; at = next_factors(at, &run->items[i++])) {
        if (run->items[i].whole)
            continue;
        make_orthonormal(at.p, run->items[i].rows, c->options.rank_of_matrix);
        multiply_back(c, &run->items[i], &at);
    }
    *op = (struct ls_collective){.kind = LS_ALL_REDUCE,
                                 .reduction = LS_SUM,
                                 .dtype = LS_F32,
                                 .count = (int64_t)(bytes / sizeof(float)),
                                 .src = lsi_piece(c, run, LSI_GIVEN_AGAIN),
                                 .dst = lsi_piece(c, run, LSI_TAKEN_AGAIN),
                                 .label = run->label};
    return true;
}

/* The next step begins from this Q; a column that nothing was found for begins anew. */
static void keep_factor(struct ls_compress *c, const struct lsi_compress_item *item, const float *q)
{
    float *kept = c->shared[!c->current] + item->shared_at;

    memcpy(kept, q, (size_t)item->shared * sizeof *q);
    for (int64_t k = 0; k < c->options.rank_of_matrix; k++)
        if (product(kept + k * item->cols, kept + k * item->cols, item->cols) <= 0)
            draw(c, item, c->step + 1, k, kept + k * item->cols);
}

static void finish(struct ls_compress *c, const struct lsi_compress_run *run)
{
    struct factors at = first_factors(c, run);

    for (int i = 0; i < run->count; at = next_factors(at, &run->items[i++])) {
        const struct lsi_compress_item *item = &run->items[i];
        float *sum = lsi_sum_of(run, i);

        if (item->whole) {
            memcpy(sum, at.p, item->bytes[LSI_TAKEN]);
            continue;
        }
        keep_rest(c, item, &at);
        memset(sum, 0, (size_t)item->count * sizeof *sum);
        for (int64_t row = 0; row < item->rows; row++)
            for (int64_t k = 0; k < c->options.rank_of_matrix; k++)
                add_multiple(sum + row * item->cols, at.q_sum + k * item->cols, at.p[k * item->rows + row], item->cols);
        keep_factor(c, item, at.q_sum);
    }
}

const struct lsi_compress_method lsi_compress_power_sgd = {.name = "power_sgd",
                                                           .measure = measure,
                                                           .initialize = initialize,
                                                           .start = start,
                                                           .advance = advance,
                                                           .finish = finish};
