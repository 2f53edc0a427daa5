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
/* The 31 bits of a magnitude are counted 11, 10 and 10 at a time: each histogram fits the first-level cache. */
#define HIGH_SHIFT 20
#define HIGH_BINS (1u << 11)
#define NEXT_BITS 10
#define NEXT_BINS (1u << NEXT_BITS)

static void measure(const struct ls_compress *c, struct lsi_compress_item *item)
{
    item->kept = (int64_t)ceil(c->options.ratio * (double)item->count);
    if (item->kept < 1)
        item->kept = 1;
    item->whole = item->count < SMALLEST || 2 * item->kept >= item->count || item->count > UINT32_MAX;
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

/* Counts the highest bits of all magnitudes; neighbours, which are often alike, in two histograms. */
static void count_high(uint32_t *histogram, const float *value, int64_t count)
{
    uint32_t *second = histogram + HIGH_BINS;

    memset(histogram, 0, 2 * HIGH_BINS * sizeof *histogram);
    for (int64_t e = 0; e + 1 < count; e += 2) {
        histogram[magnitude(value[e]) >> HIGH_SHIFT]++;
        second[magnitude(value[e + 1]) >> HIGH_SHIFT]++;
    }
    if (count % 2 != 0)
        histogram[magnitude(value[count - 1]) >> HIGH_SHIFT]++;
    for (uint32_t bin = 0; bin < HIGH_BINS; bin++)
        histogram[bin] += second[bin];
}

/* Those of `count` magnitudes that are `prefix` above `shift`, in front of all; returns their number. Without a branch:
 * they are too many for the processor to guess well. */
static int64_t sift(uint32_t *size, int64_t count, uint32_t prefix, int shift)
{
    int64_t found = 0;

    for (int64_t e = 0; e < count; e++) {
        uint32_t one = size[e];

        size[found] = one;
        found += one >> shift == prefix;
    }
    return found;
}

/* The k-th largest magnitude; *ties: how many of exactly that size belong to the k. room: for count numbers. */
static uint32_t threshold(uint32_t *histogram, const float *value, int64_t count, int64_t k, uint32_t *room,
                          int64_t *ties)
{
    int64_t above;
    uint32_t prefix;

    count_high(histogram, value, count);
    prefix = bin_of(histogram, HIGH_BINS, k, &above);
    for (int64_t e = 0; e < count; e++)
        room[e] = magnitude(value[e]);
    for (int shift = HIGH_SHIFT; shift > 0; shift -= NEXT_BITS) {
        count = sift(room, count, prefix, shift);
        k -= above;
        memset(histogram, 0, NEXT_BINS * sizeof *histogram);
        for (int64_t e = 0; e < count; e++)
            histogram[room[e] >> (shift - NEXT_BITS) & (NEXT_BINS - 1)]++;
        prefix = prefix << NEXT_BITS | bin_of(histogram, NEXT_BINS, k, &above);
    }
    *ties = k - above;
    return prefix;
}

/* Indices, then values; what is sent is no longer kept. room: the memory of the sum, which nobody needs yet. */
static void choose(struct ls_compress *c, const struct lsi_compress_item *item, uint32_t *room, uint8_t *out)
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
    least = threshold(c->histogram, value, item->count, item->kept, room, &ties);
    for (int64_t e = 0; e < item->count; e++) {
        uint32_t size = magnitude(value[e]);

        if (size < least || (size == least && ties-- <= 0))
            continue;
        index[n] = (uint32_t)e;
        sent[n++] = value[e];
        value[e] = 0;
    }
}

static void start(struct ls_compress *c, const struct lsi_compress_run *run, struct ls_collective *op)
{
    uint8_t *given = lsi_piece(c, run, LSI_GIVEN);
    size_t bytes = lsi_piece_bytes(run, LSI_GIVEN);

    for (int i = 0; i < run->count; i++) {
        choose(c, &run->items[i], (uint32_t *)(void *)lsi_sum_of(run, i), given);
        given += run->items[i].bytes[LSI_GIVEN];
    }
    for (int r = 0; r < c->world; r++)
        run->counts[r] = (int64_t)(bytes / sizeof(float));
    *op = (struct ls_collective){.kind = LS_ALL_GATHER,
                                 .dtype = LS_F32,
                                 .src = lsi_piece(c, run, LSI_GIVEN),
                                 .dst = lsi_piece(c, run, LSI_TAKEN),
                                 .label = run->label,
                                 .counts = run->counts};
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
