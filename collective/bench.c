/* SPDX-License-Identifier: Apache-2.0 */
/* See bench.h. Runs below 32 KiB are repeated on one input: rewriting it would cost more than they do. */
#include "collective/bench.h"

#include "collective/group_impl.h"
#include "collective/provider/mpi/launch.h"
#include "core/base/alloc.h"
#include "core/base/clock.h"

#include <limits.h>
#include <malloc.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define SMALL_BYTES (32 * 1024)
#define SMALL_REPEATS 500
#define WARM_BYTES (4 << 20)
#define WARM_RUNS 9

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
    if (variant->prepare != NULL) {
        status = variant->prepare(variant, count, err);
        if (status != LS_OK)
            return status;
    }
    status = ls_group_run(control, &barrier, err);
    uint64_t start = ls_clock_now_ns();
    for (int i = 0; i < repeats && status == LS_OK; i++)
        status = variant->run(variant->state, variant->src, variant->dst, count, err);
    double own = (double)(ls_clock_now_ns() - start) * 1e-9 / repeats;
    return status != LS_OK ? status : slowest(control, own, seconds, err);
}

enum ls_status ls_bench_race(struct ls_group *control, const struct ls_bench_variant *variants, int variant_count,
                             int64_t count, int rounds, double *times, struct ls_error *err)
{
    enum ls_status status = LS_OK;
    double warm;

    /* Memory is touched for the first time by these: a ring of slots takes as many small operations as it has slots. */
    for (int i = 0; i < (count * 4 <= WARM_BYTES ? WARM_RUNS : 1); i++)
        for (int v = 0; v < variant_count && status == LS_OK; v++)
            status = time_one(control, &variants[v], count, &warm, err);
    for (int i = 0; i < rounds && status == LS_OK; i++)
        for (int v = 0; v < variant_count && status == LS_OK; v++)
            status = time_one(control, &variants[v], count, &times[v * rounds + i], err);
    return status;
}

static struct ls_bench_figure sorted_figure(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, compare);
    double middle = count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
    return (struct ls_bench_figure){middle, values[0], values[count - 1]};
}

struct ls_bench_figure ls_bench_ratio_of(const double *a, const double *b, int rounds)
{
    double *values = ls_alloc((size_t)rounds * sizeof *values);
    struct ls_bench_figure figure = {0, 0, 0};

    for (int i = 0; values != NULL && i < rounds; i++)
        values[i] = b == NULL ? a[i] : b[i] > 0 ? a[i] / b[i] : 0;
    if (values != NULL)
        figure = sorted_figure(values, rounds);
    ls_free(values);
    return figure;
}

struct ls_bench_figure ls_bench_figure_of(const double *times, int rounds)
{
    return ls_bench_ratio_of(times, NULL, rounds);
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

/* One run that is not measured brings the heap into the state that a stream of such calls keeps it in. */
static enum ls_status settle(const struct ls_bench_variant *variant, int64_t count, struct ls_error *err)
{
    return variant->run(variant->state, variant->src, variant->dst, count, err);
}

enum ls_status ls_bench_heap_usual(const struct ls_bench_variant *variant, int64_t count, struct ls_error *err)
{
    /* The most that glibc's own adjustment comes to (mallopt(3), M_MMAP_THRESHOLD). */
    (void)mallopt(M_MMAP_MAX, 65536);
    (void)mallopt(M_MMAP_THRESHOLD, 32 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 64 << 20);
    (void)malloc_trim(0);
    return settle(variant, count, err);
}

enum ls_status ls_bench_heap_kept(const struct ls_bench_variant *variant, int64_t count, struct ls_error *err)
{
    (void)mallopt(M_MMAP_MAX, 0);
    (void)mallopt(M_TRIM_THRESHOLD, INT_MAX);
    return settle(variant, count, err);
}

int ls_bench_ways(const struct ls_group *group, const char *names[8])
{
    int count = 0;

    for (int way = LSI_ONE_SHOT + 1; way <= LSI_LAST_WAY && group->ops->supports != NULL; way++)
        if (group->ops->supports(LS_ALL_REDUCE, (enum lsi_way)way))
            names[count++] = lsi_way_name(way);
    return count;
}

const char *ls_bench_chosen(struct ls_group *group, int64_t count)
{
    struct ls_request request = {.group = group,
                                 .op = {.kind = LS_ALL_REDUCE, .dtype = LS_F32, .count = count},
                                 .signature = {.count = count},
                                 .element_bytes = sizeof(float)};

    if (lsi_tree_get(&group->trees, group->flat, group->rank, &request.tree, NULL) != LS_OK)
        return "?";
    lsi_choose(&request);
    return lsi_way_name(request.way);
}

bool ls_bench_row(const struct ls_group *group, int i, char text[80])
{
    if (i >= group->choices.count)
        return false;
    (void)lsi_choice_text(&group->choices.row[i], text);
    return true;
}

#define TRIPS 1000
#define TRIP_BATCHES 15
#define TRIP_NS 1000000000u

/* Until the line holds value; false after a second. */
static bool trip_wait(_Atomic uint32_t *line, uint32_t value)
{
    uint64_t start = 0;

    for (uint32_t looks = 1; atomic_load_explicit(line, memory_order_acquire) != value; looks++) {
        if (looks % 4096 != 0)
            continue;
        (void)sched_yield();
        start = start == 0 ? ls_clock_now_ns() : start;
        if (ls_clock_now_ns() - start > TRIP_NS)
            return false;
    }
    return true;
}

double ls_bench_round_trip(_Atomic uint32_t *line, int side)
{
    double batches[TRIP_BATCHES];
    uint32_t at = 0;

    for (int b = 0; b < TRIP_BATCHES; b++) {
        uint64_t start = ls_clock_now_ns();
        for (int i = 0; i < TRIPS; i++, at += 2) {
            if (side != 0 && !trip_wait(line, at + 1))
                return 0;
            atomic_store_explicit(line, side != 0 ? at + 2 : at + 1, memory_order_release);
            if (side == 0 && !trip_wait(line, at + 2))
                return 0;
        }
        batches[b] = (double)(ls_clock_now_ns() - start) * 1e-9 / TRIPS;
    }
    return sorted_figure(batches, TRIP_BATCHES).median;
}
