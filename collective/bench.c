/* SPDX-License-Identifier: Apache-2.0 */
/* See bench.h. Runs below 32 KiB are repeated on one input: rewriting it would cost more than they do. */
#include "collective/bench.h"

#include "collective/provider/mpi/launch.h"
#include "core/base/alloc.h"
#include "core/base/clock.h"

#include <stdlib.h>
#include <string.h>

#define SMALL_BYTES (32 * 1024)
#define SMALL_REPEATS 500

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The slowest rank's time. */
static enum ls_status slowest(struct ls_group *control, double own, double *all, struct ls_error *err)
{
    struct ls_collective op = {
        .kind = LS_ALL_REDUCE, .reduction = LS_MAX, .dtype = LS_F64, .count = 1, .src = &own, .dst = all};

    return ls_group_run(control, &op, err);
}

static enum ls_status time_one(struct ls_group *control, const struct ls_bench_variant *variant, int64_t count,
                               double *seconds, struct ls_error *err)
{
    struct ls_collective barrier = {.kind = LS_BARRIER};
    bool small = count * 4 < SMALL_BYTES;
    int repeats = small ? SMALL_REPEATS : 1;
    enum ls_status status;

    for (int64_t i = 0; i < count; i++)
        variant->src[i] = (float)(i & 1023) * 0.25f;
    status = ls_group_run(control, &barrier, err);
    uint64_t start = ls_clock_now_ns();
    for (int i = 0; i < repeats && status == LS_OK; i++)
        status = variant->run(variant->state, variant->src, variant->dst, count, err);
    double own = (double)(ls_clock_now_ns() - start) * 1e-9 / repeats;
    return status != LS_OK ? status : slowest(control, own, seconds, err);
}

enum ls_status ls_bench_race(struct ls_group *control, const struct ls_bench_variant *variants, int variant_count,
                             int64_t count, int rounds, struct ls_bench_figure *figures, struct ls_error *err)
{
    double *times = ls_alloc_zeroed((size_t)variant_count * (size_t)rounds, sizeof *times);
    enum ls_status status = LS_OK;
    double warm;

    if (times == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for the times of a race");
    for (int v = 0; v < variant_count && status == LS_OK; v++)
        status = time_one(control, &variants[v], count, &warm, err);
    for (int i = 0; i < rounds && status == LS_OK; i++)
        for (int v = 0; v < variant_count && status == LS_OK; v++)
            status = time_one(control, &variants[v], count, &times[v * rounds + i], err);
    for (int v = 0; v < variant_count && status == LS_OK; v++) {
        qsort(times + (size_t)v * (size_t)rounds, (size_t)rounds, sizeof *times, compare);
        figures[v] =
            (struct ls_bench_figure){times[v * rounds + rounds / 2], times[v * rounds], times[v * rounds + rounds - 1]};
    }
    ls_free(times);
    return status;
}

enum ls_status ls_bench_group(void *state, const float *src, float *dst, int64_t count, struct ls_error *err)
{
    struct ls_collective op = {.kind = LS_ALL_REDUCE, .dtype = LS_F32, .count = count, .src = src, .dst = dst};

    return ls_group_run(state, &op, err);
}

enum ls_status ls_bench_copy(void *state, const float *src, float *dst, int64_t count, struct ls_error *err)
{
    (void)state;
    (void)err;
    memcpy(dst, src, (size_t)count * sizeof *dst);
    return LS_OK;
}

enum ls_status ls_bench_mpi(void *state, const float *src, float *dst, int64_t count, struct ls_error *err)
{
    (void)state;
    return ls_mpi_all_reduce_f32(src, dst, count, err);
}
