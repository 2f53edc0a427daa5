/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a trace for its bound, see overlap.h. A step begins and a bucket is ready when the last rank's is. */
#include "cli/overlap.h"

#include "core/base/alloc.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* One step of all ranks; times in microseconds, 0 where nothing was said. */
struct step {
    int ranks;          /* whose step it is */
    int buckets, heard; /* numbers of buckets, and events of them */
    double begin, end, computed, commit, bytes;
    double *ready, *done; /* by bucket, in the reading's times */
};

struct reading {
    int64_t first, count; /* the steps first .. first + count - 1; later, those that count */
    int64_t buckets;      /* that some step has */
    struct step *steps;
    double *times;  /* ready and done of all steps */
    double *least;  /* by bucket */
    double *median; /* room for one figure of each step */
};

static double later(double a, double b)
{
    return a > b ? a : b;
}

/* What of an event counts here. */
struct seen {
    const char *kind;
    int64_t step, bucket; /* bucket: -1 where it is none */
    double begin, end, bytes;
};

/* False: the event is of no step. */
static bool look(const json_t *event, struct seen *seen)
{
    const json_t *arguments = json_object_get(event, "args"), *step = json_object_get(arguments, "step");

    seen->kind = json_string_value(json_object_get(event, "cat"));
    if (seen->kind == NULL || !json_is_integer(step) || json_integer_value(step) < 0)
        return false;
    seen->step = json_integer_value(step);
    seen->bucket = strcmp(seen->kind, "bucket") == 0 ? json_integer_value(json_object_get(arguments, "number")) : -1;
    seen->begin = json_number_value(json_object_get(event, "ts"));
    seen->end = seen->begin + json_number_value(json_object_get(event, "dur"));
    seen->bytes = json_number_value(json_object_get(arguments, "bytes"));
    return true;
}

/* How many steps and buckets there are. */
static void measure(const json_t *trace, struct reading *r)
{
    int64_t last = -1;
    struct seen seen;

    r->first = INT64_MAX;
    for (size_t i = 0; i < json_array_size(trace); i++) {
        if (!look(json_array_get(trace, i), &seen))
            continue;
        if (strcmp(seen.kind, "step") == 0) {
            r->first = seen.step < r->first ? seen.step : r->first;
            last = seen.step > last ? seen.step : last;
        }
        r->buckets = seen.bucket >= r->buckets ? seen.bucket + 1 : r->buckets;
    }
    r->count = last >= 0 ? last - r->first + 1 : 0;
}

static enum ls_status make_room(struct reading *r, struct ls_error *err)
{
    size_t steps = (size_t)r->count, buckets = (size_t)r->buckets;
    bool fits = buckets == 0 || (buckets < INT_MAX && steps <= SIZE_MAX / 4 / sizeof(double) / buckets);

    r->steps = ls_alloc_zeroed(steps + 1, sizeof *r->steps);
    r->median = ls_alloc_zeroed(steps + 1, sizeof *r->median);
    r->least = ls_alloc_zeroed(buckets + 1, sizeof *r->least);
    r->times = fits ? ls_alloc_zeroed(2 * steps * buckets + 1, sizeof *r->times) : NULL;
    if (r->steps == NULL || r->median == NULL || r->least == NULL || r->times == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to read a trace of %lld steps with %lld buckets",
                            (long long)r->count, (long long)r->buckets);
    for (size_t s = 0; s < steps; s++) {
        r->steps[s].ready = r->times + 2 * s * buckets;
        r->steps[s].done = r->steps[s].ready + buckets;
    }
    return LS_OK;
}

static void take(struct reading *r, const json_t *event)
{
    struct seen seen;
    struct step *step;

    if (!look(event, &seen) || seen.step < r->first || seen.step - r->first >= r->count)
        return;
    step = &r->steps[seen.step - r->first];
    if (strcmp(seen.kind, "step") == 0) {
        step->ranks++;
        step->begin = later(step->begin, seen.begin);
        step->end = later(step->end, seen.end);
    } else if (strcmp(seen.kind, "forward") == 0 || strcmp(seen.kind, "backward") == 0) {
        step->computed = later(step->computed, seen.end);
    } else if (strcmp(seen.kind, "commit") == 0) {
        step->commit = later(step->commit, seen.end - seen.begin);
    } else if (seen.bucket >= 0) {
        step->heard++;
        step->bytes += seen.bytes;
        step->buckets = seen.bucket >= step->buckets ? (int)seen.bucket + 1 : step->buckets;
        step->ready[seen.bucket] = later(step->ready[seen.bucket], seen.begin);
        step->done[seen.bucket] = later(step->done[seen.bucket], seen.end);
    }
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Puts the steps that count side by side at the front: whole ones of all ranks, cut like the last. A ring may have lost
 * the beginning of the oldest. */
static void choose(struct reading *r, int ranks, int64_t first)
{
    int64_t kept = 0;
    int buckets = r->count > 0 ? r->steps[r->count - 1].buckets : 0;

    for (int64_t s = first > r->first ? first - r->first : 0; s < r->count; s++)
        if (r->steps[s].ranks == ranks && r->steps[s].buckets == buckets && r->steps[s].computed > 0 &&
            r->steps[s].heard >= (int64_t)ranks * buckets)
            r->steps[kept++] = r->steps[s];
    r->count = kept;
}

/* The least time of each bucket, once it was ready and the one before had come. */
static void least_times(const struct reading *r, double *least)
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

static double bound_of(const struct step *step, const double *least)
{
    double bound = step->computed, behind = 0;

    for (int b = step->buckets - 1; b >= 0; b--) {
        behind += least[b];
        bound = later(bound, step->ready[b] + behind);
    }
    return bound - step->begin + step->commit;
}

enum figure { STEP, COMPUTE, AFTER, BOUND, RATIO };

static double figure_of(const struct step *step, const double *least, enum figure figure)
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

static double median(const struct reading *r, enum figure figure)
{
    double *room = r->median;

    for (int64_t s = 0; s < r->count; s++)
        room[s] = figure_of(&r->steps[s], r->least, figure);
    qsort(room, (size_t)r->count, sizeof *room, ascending);
    return r->count % 2 == 1 ? room[r->count / 2] : (room[r->count / 2 - 1] + room[r->count / 2]) / 2;
}

static enum ls_status summarize(const struct reading *r, struct ls_overlap *o, struct ls_error *err)
{
    if (r->count == 0)
        return ls_error_set(err, LS_EINVAL, "the trace holds no step that all ranks have; more steps are needed");
    least_times(r, r->least);
    *o = (struct ls_overlap){.steps = r->count,
                             .buckets = r->steps[0].buckets,
                             .bytes = r->steps[0].bytes / r->steps[0].ranks,
                             .step = median(r, STEP),
                             .compute = median(r, COMPUTE),
                             .after = median(r, AFTER),
                             .bound = median(r, BOUND),
                             .ratio = median(r, RATIO)};
    for (int b = 0; b < o->buckets; b++)
        o->communication += r->least[b] * 1e-3;
    return LS_OK;
}

enum ls_status ls_overlap_measure(const struct json_t *trace, int ranks, int64_t first, struct ls_overlap *overlap,
                                  struct ls_error *err)
{
    struct reading r = {.count = 0};
    enum ls_status status;

    measure(trace, &r);
    status = make_room(&r, err);
    for (size_t i = 0; status == LS_OK && i < json_array_size(trace); i++)
        take(&r, json_array_get(trace, i));
    if (status == LS_OK) {
        choose(&r, ranks, first);
        status = summarize(&r, overlap, err);
    }
    ls_free(r.median);
    ls_free(r.least);
    ls_free(r.times);
    ls_free(r.steps);
    return status;
}
