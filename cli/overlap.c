/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a trace for its bound, see overlap.h. A step begins and a bucket is ready when the last rank's is. */
#include "cli/overlap.h"

#include "core/base/alloc.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BUCKETS 64
#define MOST_STEPS 8192

/* One step of all ranks; times in microseconds, 0 where nothing was said. */
struct step {
    int ranks; /* whose step it is */
    int buckets;
    double begin, end, computed, commit, bytes;
    double ready[MOST_BUCKETS], done[MOST_BUCKETS];
};

struct reading {
    int64_t count;
    struct step *steps;
};

static double later(double a, double b)
{
    return a > b ? a : b;
}

static void take(struct reading *r, const json_t *event)
{
    const json_t *arguments = json_object_get(event, "args");
    const char *kind = json_string_value(json_object_get(event, "cat"));
    int64_t number = json_integer_value(json_object_get(arguments, "step"));
    int64_t bucket = json_integer_value(json_object_get(arguments, "number"));
    double begin = json_number_value(json_object_get(event, "ts"));
    double length = json_number_value(json_object_get(event, "dur"));
    struct step *step;

    if (kind == NULL || number < 0 || number >= MOST_STEPS)
        return;
    step = &r->steps[number];
    if (strcmp(kind, "step") == 0) {
        r->count = number >= r->count ? number + 1 : r->count;
        step->ranks++;
        step->begin = later(step->begin, begin);
        step->end = later(step->end, begin + length);
    } else if (strcmp(kind, "forward") == 0 || strcmp(kind, "backward") == 0) {
        step->computed = later(step->computed, begin + length);
    } else if (strcmp(kind, "commit") == 0) {
        step->commit = later(step->commit, length);
    } else if (strcmp(kind, "bucket") == 0 && bucket >= 0 && bucket < MOST_BUCKETS) {
        step->bytes += json_number_value(json_object_get(arguments, "bytes"));
        step->buckets = bucket >= step->buckets ? (int)bucket + 1 : step->buckets;
        step->ready[bucket] = later(step->ready[bucket], begin);
        step->done[bucket] = later(step->done[bucket], begin + length);
    }
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Puts the steps that count side by side at the front. */
static void choose(struct reading *r, int ranks, int64_t first)
{
    int64_t kept = 0;
    int buckets = r->count > 0 ? r->steps[r->count - 1].buckets : 0;

    for (int64_t s = first; s < r->count; s++)
        if (r->steps[s].ranks == ranks && r->steps[s].buckets == buckets && r->steps[s].computed > 0)
            r->steps[kept++] = r->steps[s];
    r->count = kept;
}

/* The least time of each bucket, once it was ready and the one before had come. */
static void least_times(const struct reading *r, double least[MOST_BUCKETS])
{
    for (int b = 0; b < r->steps[0].buckets; b++) {
        least[b] = INFINITY;
        for (int64_t s = 0; s < r->count; s++) {
            const struct step *step = &r->steps[s];
            double from = b > 0 ? later(step->ready[b], step->done[b - 1]) : step->ready[b];

            if (step->done[b] - from < least[b])
                least[b] = step->done[b] - from;
        }
    }
}

static double bound_of(const struct step *step, const double least[MOST_BUCKETS])
{
    double bound = step->computed, behind = 0;

    for (int b = step->buckets - 1; b >= 0; b--) {
        behind += least[b];
        bound = later(bound, step->ready[b] + behind);
    }
    return bound - step->begin + step->commit;
}

enum figure { STEP, COMPUTE, AFTER, BOUND, RATIO };

static double figure_of(const struct step *step, const double least[MOST_BUCKETS], enum figure figure)
{
    switch (figure) {
    case STEP:
        return (step->end - step->begin) * 1e-3;
    case COMPUTE:
        return (step->computed - step->begin) * 1e-3;
    case AFTER:
        return step->commit * 1e-3;
    case BOUND:
        return bound_of(step, least) * 1e-3;
    case RATIO:
        break;
    }
    return (step->end - step->begin) / bound_of(step, least);
}

static double median(const struct reading *r, const double least[MOST_BUCKETS], enum figure figure, double *room)
{
    for (int64_t s = 0; s < r->count; s++)
        room[s] = figure_of(&r->steps[s], least, figure);
    qsort(room, (size_t)r->count, sizeof *room, ascending);
    return r->count % 2 == 1 ? room[r->count / 2] : (room[r->count / 2 - 1] + room[r->count / 2]) / 2;
}

static enum ls_status summarize(const struct reading *r, struct ls_overlap *o, struct ls_error *err)
{
    double least[MOST_BUCKETS] = {0}, *room;

    if (r->count == 0)
        return ls_error_set(err, LS_EINVAL, "the trace holds no step that all ranks have; more steps are needed");
    room = ls_alloc_zeroed((size_t)r->count, sizeof *room);
    if (room == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to read a trace of %lld steps", (long long)r->count);
    least_times(r, least);
    *o = (struct ls_overlap){.steps = r->count,
                             .buckets = r->steps[0].buckets,
                             .bytes = r->steps[0].bytes / r->steps[0].ranks,
                             .step = median(r, least, STEP, room),
                             .compute = median(r, least, COMPUTE, room),
                             .after = median(r, least, AFTER, room),
                             .bound = median(r, least, BOUND, room),
                             .ratio = median(r, least, RATIO, room)};
    for (int b = 0; b < o->buckets; b++)
        o->communication += least[b] * 1e-3;
    ls_free(room);
    return LS_OK;
}

enum ls_status ls_overlap_measure(const struct json_t *trace, int ranks, int64_t first, struct ls_overlap *overlap,
                                  struct ls_error *err)
{
    struct reading r = {.steps = ls_alloc_zeroed(MOST_STEPS, sizeof *r.steps)};
    enum ls_status status;
    size_t index;
    json_t *event;

    if (r.steps == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to read a trace");
    json_array_foreach((json_t *)(uintptr_t)trace, index, event)
    {
        take(&r, event);
    }
    choose(&r, ranks, first);
    status = summarize(&r, overlap, err);
    ls_free(r.steps);
    return status;
}
