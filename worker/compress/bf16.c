/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bf16: every value is rounded to 16 bits on its way. Each rank owns runs of every variable (those of a checkpoint),
 * gets everyone's values for them, adds them in f32 in rank order and gives the sum, rounded once more. The first
 * rounding stays with the sender, the second with the owner, both as residuals.
 * Cost: two steps, 2 (W - 1) / W values of 2 bytes a rank: half of what the sums in f32 need.
 */
#include "worker/compress/compress_internal.h"

#include "core/tensor/bf16.h"
#include "strategies/plan.h"

#define BLOCK 1024 /* elements whose sums stay in the first-level cache */

static void own_run(const struct ls_compress *c, const struct lsi_compress_item *item, int rank, int64_t *begin,
                    int64_t *count)
{
    ls_plan_owned(item->count, item->is.variable, c->world, rank, begin, count);
}

static void measure(const struct ls_compress *c, struct lsi_compress_item *item)
{
    size_t most = 0;

    for (int r = 0; r < c->world; r++) {
        int64_t begin, count;

        own_run(c, item, r, &begin, &count);
        if ((size_t)count > most)
            most = (size_t)count;
    }
    item->bytes[LSI_GIVEN] = (size_t)item->count * sizeof(uint16_t); /* the sums come back into it */
    item->bytes[LSI_TAKEN] = most * (size_t)c->world * sizeof(uint16_t);
    item->bytes[LSI_GIVEN_AGAIN] = most * sizeof(uint16_t);
    item->moved = 4.0 * (double)item->count * (c->world - 1) / c->world;
}

/* Elements of the run that each rank owns: into world counts. */
static void count_owned(const struct ls_compress *c, const struct lsi_compress_run *run, int64_t *owned)
{
    for (int r = 0; r < c->world; r++) {
        owned[r] = 0;
        for (int i = 0; i < run->count; i++) {
            int64_t begin, count;

            own_run(c, &run->items[i], r, &begin, &count);
            owned[r] += count;
        }
    }
}

/* Owner by owner, its runs of all variables. */
static void round_all(struct ls_compress *c, const struct lsi_compress_run *run)
{
    uint16_t *restrict out = lsi_piece(c, run, LSI_GIVEN);

    for (int r = 0; r < c->world; r++)
        for (int i = 0; i < run->count; i++) {
            float *restrict value = lsi_next(c, &run->items[i]);
            int64_t begin, count;

            own_run(c, &run->items[i], r, &begin, &count);
            for (int64_t e = 0; e < count; e++) {
                out[e] = lsi_bf16_of_f32(value[begin + e]);
                value[begin + e] -= lsi_f32_of_bf16(out[e]);
            }
            out += count;
        }
}

static void start(struct ls_compress *c, const struct lsi_compress_run *run, struct ls_collective *op)
{
    int64_t *owned = run->counts, *pairs = run->counts + c->world;

    round_all(c, run);
    count_owned(c, run, owned);
    for (int from = 0; from < c->world; from++)
        memcpy(pairs + (int64_t)from * c->world, owned, (size_t)c->world * sizeof *owned);
    *op = (struct ls_collective){.kind = LS_ALL_TO_ALL,
                                 .dtype = LS_BF16,
                                 .src = lsi_piece(c, run, LSI_GIVEN),
                                 .dst = lsi_piece(c, run, LSI_TAKEN),
                                 .label = run->label,
                                 .counts = pairs};
}

/* Up to BLOCK sums over the ranks; what their rounding loses is the owner's to send next time. */
static void add_block(const struct ls_compress *c, const uint16_t *restrict taken, int64_t stride, int64_t count,
                      uint16_t *restrict out, float *restrict rest)
{
    float sum[BLOCK];

    for (int64_t e = 0; e < count; e++)
        sum[e] = lsi_f32_of_bf16(taken[e]);
    for (int r = 1; r < c->world; r++)
        for (int64_t e = 0; e < count; e++)
            sum[e] += lsi_f32_of_bf16(taken[r * stride + e]);
    for (int64_t e = 0; e < count; e++) {
        out[e] = lsi_bf16_of_f32(sum[e]);
        rest[e] += sum[e] - lsi_f32_of_bf16(out[e]);
    }
}

/* Sums of the own runs. */
static void add_owned(struct ls_compress *c, const struct lsi_compress_run *run)
{
    const uint16_t *taken = lsi_piece(c, run, LSI_TAKEN);
    uint16_t *out = lsi_piece(c, run, LSI_GIVEN_AGAIN);

    for (int i = 0; i < run->count; i++) {
        float *value = lsi_next(c, &run->items[i]);
        int64_t begin, count;

        own_run(c, &run->items[i], c->rank, &begin, &count);
        for (int64_t e = 0; e < count; e += BLOCK)
            add_block(c, taken + e, run->counts[c->rank], count - e < BLOCK ? count - e : BLOCK, out + e,
                      value + begin + e);
        taken += count;
        out += count;
    }
}

static bool advance(struct ls_compress *c, const struct lsi_compress_run *run, struct ls_collective *op)
{
    add_owned(c, run);
    *op = (struct ls_collective){.kind = LS_ALL_GATHER,
                                 .dtype = LS_BF16,
                                 .src = lsi_piece(c, run, LSI_GIVEN_AGAIN),
                                 .dst = lsi_piece(c, run, LSI_GIVEN),
                                 .label = run->label,
                                 .counts = run->counts};
    return true;
}

static void finish(struct ls_compress *c, const struct lsi_compress_run *run)
{
    const uint16_t *restrict in = lsi_piece(c, run, LSI_GIVEN);

    for (int r = 0; r < c->world; r++)
        for (int i = 0; i < run->count; i++) {
            float *restrict sum = lsi_sum_of(run, i);
            int64_t begin, count;

            own_run(c, &run->items[i], r, &begin, &count);
            for (int64_t e = 0; e < count; e++)
                sum[begin + e] = lsi_f32_of_bf16(in[e]);
            in += count;
        }
}

const struct lsi_compress_method lsi_compress_bf16 = {
    .name = "bf16", .measure = measure, .start = start, .advance = advance, .finish = finish};
