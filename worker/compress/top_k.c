/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top_k: of each variable the elements that are largest in magnitude are sent, with their places; the rest waits
 * as a residual (Aji and Heafield, EMNLP 2017; Lin et al., Deep Gradient Compression, ICLR 2018, whose momentum
 * correction and warm-up are not done here). Of equals the first ones are taken. Pairs of all ranks are gathered and
 * added in rank order. Cost: one step, (W - 1) k pairs of 8 bytes a rank.
 */
#include "worker/compress/compress_internal.h"

#include <math.h>

#define SMALLEST 1024 /* elements; a smaller variable is sent whole */
#define LOW_BITS 15   /* of the 31 bits of a magnitude; the 16 above them are counted first */
#define LOW_MASK ((1u << LOW_BITS) - 1)

static void measure(const struct ls_compress *c, struct lsi_compress_item *item)
{
    item->kept = (int64_t)ceil(c->options.ratio * (double)item->count);
    if (item->kept < 1)
        item->kept = 1;
    item->whole = item->count < SMALLEST || 2 * item->kept >= item->count;
    if (item->whole)
        item->kept = item->count;
    item->bytes[LSI_GIVEN] = (size_t)item->kept * sizeof(float) * (item->whole ? 1 : 2);
    item->bytes[LSI_TAKEN] = item->bytes[LSI_GIVEN] * (size_t)c->world;
    item->moved = (double)item->bytes[LSI_GIVEN] * (c->world - 1);
}

/* Order of magnitudes; NaN above all, so that it spreads as it would without compression. */
static uint32_t magnitude(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits & 0x7fffffffu;
}

/* From the largest bin down, the bin in which the k-th lies; *above: how many lie in larger ones. */
static uint32_t bin_of(const uint32_t *histogram, uint32_t bins, int64_t k, int64_t *above)
{
    uint32_t bin = bins - 1;

    for (*above = 0; bin > 0 && *above + histogram[bin] < k; bin--)
        *above += histogram[bin];
    return bin;
}

/* The k-th largest magnitude; *ties: how many of exactly that size belong to the k. */
static uint32_t threshold(uint32_t *histogram, const float *value, int64_t count, int64_t k, int64_t *ties)
{
    int64_t above, above_low;
    uint32_t high, low;

    memset(histogram, 0, sizeof *histogram << (31 - LOW_BITS));
    for (int64_t e = 0; e < count; e++)
        histogram[magnitude(value[e]) >> LOW_BITS]++;
    high = bin_of(histogram, 1u << (31 - LOW_BITS), k, &above);
    memset(histogram, 0, sizeof *histogram << LOW_BITS);
    for (int64_t e = 0; e < count; e++)
        if (magnitude(value[e]) >> LOW_BITS == high)
            histogram[magnitude(value[e]) & LOW_MASK]++;
    low = bin_of(histogram, 1u << LOW_BITS, k - above, &above_low);
    *ties = k - above - above_low;
    return high << LOW_BITS | low;
}

/* Indices, then values; what is sent is no longer kept. */
static void choose(struct ls_compress *c, const struct lsi_compress_item *item, uint8_t *out)
{
    float *value = lsi_next(c, item);
    uint32_t *index = (uint32_t *)(void *)out;
    float *sent = (float *)(void *)(out + (item->whole ? 0 : (size_t)item->kept * sizeof *index));
    int64_t ties, n = 0;
    uint32_t least;

    if (item->whole) {
        memcpy(sent, value, (size_t)item->count * sizeof *value);
        memset(value, 0, (size_t)item->count * sizeof *value);
        return;
    }
    least = threshold(c->histogram, value, item->count, item->kept, &ties);
    for (int64_t e = 0; e < item->count; e++) {
        uint32_t size = magnitude(value[e]);

        if (size < least || (size == least && ties-- <= 0))
            continue;
        index[n] = (uint32_t)e;
        sent[n++] = value[e];
        value[e] = 0;
    }
}

static enum ls_status start(struct ls_compress *c, const struct lsi_compress_run *run, struct ls_request **request,
                            struct ls_error *err)
{
    uint8_t *given = lsi_piece(c, run, LSI_GIVEN);
    size_t bytes = lsi_piece_bytes(run, LSI_GIVEN);

    for (int i = 0; i < run->count; i++) {
        choose(c, &run->items[i], given);
        given += run->items[i].bytes[LSI_GIVEN];
    }
    for (int r = 0; r < c->world; r++)
        run->counts[r] = (int64_t)(bytes / sizeof(float));
    return ls_group_start(c->group,
                          &(struct ls_collective){.kind = LS_ALL_GATHER,
                                                  .dtype = LS_F32,
                                                  .src = lsi_piece(c, run, LSI_GIVEN),
                                                  .dst = lsi_piece(c, run, LSI_TAKEN),
                                                  .counts = run->counts},
                          request, err);
}

static void add(const struct lsi_compress_item *item, const uint8_t *from, float *sum)
{
    const uint32_t *index = (const uint32_t *)(const void *)from;
    const float *value = (const float *)(const void *)(from + (item->whole ? 0 : (size_t)item->kept * sizeof *index));

    for (int64_t n = 0; item->whole && n < item->kept; n++)
        sum[n] += value[n];
    for (int64_t n = 0; !item->whole && n < item->kept; n++)
        if (index[n] < (uint64_t)item->count)
            sum[index[n]] += value[n];
}

static void finish(struct ls_compress *c, const struct lsi_compress_run *run)
{
    const uint8_t *from = lsi_piece(c, run, LSI_TAKEN);

    for (int i = 0; i < run->count; i++)
        memset(lsi_sum_of(run, i), 0, (size_t)run->items[i].count * sizeof(float));
    for (int r = 0; r < c->world; r++)
        for (int i = 0; i < run->count; i++) {
            add(&run->items[i], from, lsi_sum_of(run, i));
            from += run->items[i].bytes[LSI_GIVEN];
        }
}

const struct lsi_compress_method lsi_compress_top_k = {
    .name = "top_k", .measure = measure, .start = start, .finish = finish};
