/* SPDX-License-Identifier: Apache-2.0 */
/* The walk over a tree's steps with the kernels of this processor, and stores past the cache. */
#include "collective/kernels.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static bool known(enum ls_dtype dtype)
{
    return (unsigned)dtype < LSI_REDUCED_DTYPES;
}

lsi_combine lsi_combine_get(enum ls_dtype dtype, enum ls_reduction reduction)
{
    const struct lsi_kernels *kernels = lsi_kernels_best();

    if (!known(dtype) || (unsigned)reduction > LS_MEAN)
        return NULL;
    if (reduction == LS_MEAN)
        return kernels->combine[dtype][LSI_DIVIDE] != NULL ? kernels->combine[dtype][LS_SUM] : NULL;
    return kernels->combine[dtype][reduction];
}

lsi_spread lsi_spread_get(enum ls_dtype dtype, enum ls_reduction reduction)
{
    if (!known(dtype) || (unsigned)reduction > LS_MEAN)
        return NULL;
    return lsi_kernels_best()->spread[dtype][reduction == LS_MEAN ? LS_SUM : reduction];
}

/* memcpy whose whole cache lines go past the cache. */
static void store(void *dst, const void *src, size_t bytes, bool stream)
{
    uint8_t *d = dst;
    const uint8_t *s = src;
    size_t head = (64 - ((uintptr_t)d & 63)) & 63;
    const struct lsi_kernels *kernels = stream ? lsi_kernels_best() : NULL;

    if (!stream || bytes < LSI_BLOCK_BYTES || kernels->stream == NULL) {
        memcpy(d, s, bytes);
        return;
    }
    memcpy(d, s, head);
    kernels->stream(d + head, s + head, (bytes - head) / 64);
    head += (bytes - head) / 64 * 64;
    memcpy(d + head, s + head, bytes - head);
}

static void store_end(bool stream)
{
#if defined(__x86_64__)
    if (stream)
        _mm_sfence();
#else
    (void)stream;
#endif
}

void lsi_copy_stream(void *dst, const void *src, size_t bytes)
{
    store(dst, src, bytes, true);
    store_end(true);
}

#define CHUNK_BYTES 4096

struct chunk {
    size_t offset;
    size_t bytes;
    int64_t count;
};

/* What a run needs beside its reduce. */
struct workspace {
    uint8_t slots[LSI_MAX_SLOTS][CHUNK_BYTES] __attribute__((aligned(64)));
    uint8_t divisors[CHUNK_BYTES] __attribute__((aligned(64))); /* of a mean, one an element */
    lsi_combine divide;                                         /* NULL: no mean */
    lsi_spread last_spread;                                     /* of the last operation, or NULL */
    struct lsi_places places;                                   /* of the results */
};

/* A number up to 256 in each dtype: exact. */
static void fill_divisors(struct workspace *work, const struct lsi_reduce *reduce, int64_t count)
{
    float f32 = (float)reduce->divisor;
    double f64 = reduce->divisor;
    uint32_t bits;
    uint16_t half;

    memcpy(&bits, &f32, sizeof bits);
    half = reduce->dtype == LS_BF16 ? (uint16_t)(bits >> 16) : (uint16_t)((bits - 0x38000000u) >> 13);
    for (int64_t i = 0; i < count; i++) {
        uint8_t *at = work->divisors + (size_t)i * reduce->element_bytes;
        if (reduce->element_bytes == sizeof half)
            memcpy(at, &half, sizeof half);
        else if (reduce->element_bytes == sizeof f32)
            memcpy(at, &f32, sizeof f32);
        else
            memcpy(at, &f64, sizeof f64);
    }
}

static const void *operand(const struct lsi_reduce *reduce, struct workspace *work, int16_t x, size_t offset)
{
    return x >= 0 ? (const uint8_t *)reduce->inputs[x] + offset : (const void *)work->slots[-1 - x];
}

static bool at_lines(const struct lsi_reduce *reduce, size_t offset)
{
    for (int k = 0; k < reduce->out_count; k++)
        if ((((uintptr_t)reduce->outs[k] + offset) & 63) != 0)
            return false;
    return true;
}

/* The last operation of a chunk, straight into the results where they may be written by lines; else into `slot`. */
static void finish(const struct lsi_reduce *reduce, const struct workspace *work, lsi_combine combine,
                   const void *operands[2], const struct chunk *chunk, void *slot)
{
    const uint8_t *a = operands[0];
    const uint8_t *b = operands[1];
    size_t done = 0;

    if (work->last_spread != NULL && at_lines(reduce, chunk->offset)) {
        done = chunk->bytes / LSI_BLOCK_BYTES * LSI_BLOCK_BYTES;
        work->last_spread(&work->places, chunk->offset, a, b, done);
    }
    if (done == chunk->bytes)
        return;
    combine(slot, a + done, b + done, chunk->count - (int64_t)(done / reduce->element_bytes));
    for (int k = 0; k < reduce->out_count; k++)
        store((uint8_t *)reduce->outs[k] + chunk->offset + done, slot, chunk->bytes - done, k >= reduce->cached);
}

/* Results that are to pass the cache get the last operation from finish; of the others the first is where it is
 * computed and the rest are copies. */
static void run_chunk(const struct lsi_reduce *reduce, struct workspace *work, const struct chunk *chunk)
{
    const struct lsi_steps *steps = reduce->steps;
    const void *result = steps->count == 0 ? operand(reduce, work, steps->only, chunk->offset) : NULL;
    int first = 0;

    for (int i = 0; i < steps->count; i++) {
        const struct lsi_step *step = &steps->step[i];
        const void *operands[] = {operand(reduce, work, step->a, chunk->offset),
                                  operand(reduce, work, step->b, chunk->offset)};
        void *out = work->slots[-1 - step->dst];
        if (i == steps->count - 1 && reduce->stream && work->divide == NULL) {
            finish(reduce, work, reduce->combine, operands, chunk, out);
            return;
        }
        if (i == steps->count - 1 && !reduce->stream) {
            out = (uint8_t *)reduce->outs[0] + chunk->offset;
            first = 1;
        }
        reduce->combine(out, operands[0], operands[1], chunk->count);
        result = out;
    }
    if (work->divide != NULL) {
        const void *operands[] = {result, work->divisors};
        void *out = first == 1 ? (uint8_t *)reduce->outs[0] + chunk->offset : work->slots[0];
        if (reduce->stream) {
            finish(reduce, work, work->divide, operands, chunk, out);
            return;
        }
        work->divide(out, result, work->divisors, chunk->count);
        result = out;
    }
    for (int k = first; k < reduce->out_count; k++)
        store((uint8_t *)reduce->outs[k] + chunk->offset, result, chunk->bytes, reduce->stream && k >= reduce->cached);
}

/* One operation between two inputs needs no workspace: all of it in one sweep. Elements done. */
static int64_t run_at_once(const struct lsi_reduce *reduce, const struct workspace *work, int64_t count)
{
    const struct lsi_steps *steps = reduce->steps;
    size_t bytes = (size_t)count * reduce->element_bytes / LSI_BLOCK_BYTES * LSI_BLOCK_BYTES;

    if (steps->count != 1 || work->divide != NULL || work->last_spread == NULL || !at_lines(reduce, 0))
        return 0;
    work->last_spread(&work->places, 0, reduce->inputs[steps->step[0].a], reduce->inputs[steps->step[0].b], bytes);
    return (int64_t)(bytes / reduce->element_bytes);
}

void lsi_reduce_run(const struct lsi_reduce *reduce, int64_t count)
{
    const struct lsi_kernels *kernels = lsi_kernels_best();
    struct workspace work;
    int64_t per_chunk = (int64_t)(CHUNK_BYTES / reduce->element_bytes);

    work.divide = reduce->divisor > 1 ? kernels->combine[reduce->dtype][LSI_DIVIDE] : NULL;
    work.last_spread = reduce->stream ? reduce->spread : NULL;
    work.places = (struct lsi_places){reduce->outs, reduce->out_count, reduce->cached};
    if (work.divide != NULL) {
        fill_divisors(&work, reduce, count < per_chunk ? count : per_chunk);
        work.last_spread = reduce->stream ? kernels->spread[reduce->dtype][LSI_DIVIDE] : NULL;
    }
    for (int64_t i = run_at_once(reduce, &work, count); i < count; i += per_chunk) {
        int64_t n = count - i < per_chunk ? count - i : per_chunk;
        struct chunk chunk = {(size_t)i * reduce->element_bytes, (size_t)n * reduce->element_bytes, n};
        run_chunk(reduce, &work, &chunk);
    }
    store_end(reduce->stream);
}
