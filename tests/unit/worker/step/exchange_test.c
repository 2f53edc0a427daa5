/* SPDX-License-Identifier: Apache-2.0 */
/* The reduces of a step without its step: partials that the test writes, in buckets and one by one, over one to three
 * ranks. */
#include "worker/step/exchange.h"

#include "core/base/fs.h"
#include "tests/support/step_job.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static char directory[64];

static void make(void)
{
    lst_step_directory_init(directory);
}

static void discard(void)
{
    lst_step_directory_deinit(directory);
}

TestSuite(exchange, .init = make, .fini = discard);

/* The reduces of f32 sums, which are gradients; moments and small sums go other ways. */
static const struct ls_program_reduce *gradient(const struct ls_replica *r, int reduce)
{
    const struct ls_program_reduce *is =
        ls_program_reduce_at(r->schedules[LS_STEP_TRAIN][0]->calls[0].program->program, reduce);

    return is->dtype == LS_F32 && !is->moments ? is : NULL;
}

/* A whole number that differs by leaf of all ranks, reduce and element, so small that sums of it are exact. */
static float number(int leaf, int reduce, int64_t element)
{
    return (float)((leaf + 1) * 1000 + reduce * 10 + (int)(element % 7));
}

static void fill(const struct ls_replica *r, int leaf, int depth, int value)
{
    struct ls_exchange *ex = r->exchange[LS_STEP_TRAIN];
    void *const *partials = ls_exchange_partials(ex, leaf, depth);

    for (int i = 0; i < ls_exchange_count(ex); i++) {
        const struct ls_program_reduce *is = gradient(r, i);
        int64_t count = is != NULL ? ls_shape_count(&is->shape) : 0;

        for (int64_t e = 0; e < count; e++)
            ((float *)partials[i])[e] = number(value, i, e);
    }
}

static enum ls_status wrong(int reduce, int64_t element, float is, float want, struct ls_error *err)
{
    return ls_error_set(err, LS_EINTERNAL, "element %lld of reduce %d is %g instead of %g", (long long)element, reduce,
                        (double)is, (double)want);
}

/* Whether reduce holds the sum over all leaves of all ranks. */
static enum ls_status check(const struct ls_replica *r, int reduce, int leaves, struct ls_error *err)
{
    const struct ls_program_reduce *is = gradient(r, reduce);
    const float *reduced = ls_exchange_reduced(r->exchange[LS_STEP_TRAIN])[reduce];

    for (int64_t e = 0; is != NULL && e < ls_shape_count(&is->shape); e++) {
        float want = 0;

        for (int l = 0; l < leaves; l++)
            want += number(l, reduce, e);
        if (reduced[e] != want)
            return wrong(reduce, e, reduced[e], want, err);
    }
    return LS_OK;
}

/* Two steps over the same memory: what the first left must not show in the second. */
static enum ls_status by_segments(void *state, struct ls_replica *r, struct ls_error *err)
{
    const struct ls_schedule *schedule = r->schedules[LS_STEP_TRAIN][0];
    const struct ls_tree_layout *layout = &schedule->plan.layout;
    struct ls_exchange *ex = r->exchange[LS_STEP_TRAIN];
    int own = layout->first_range[r->rank + 1] - layout->first_range[r->rank];
    enum ls_status status = LS_OK;

    (void)state;
    for (int step = 0; step < 2 && status == LS_OK; step++) {
        ls_exchange_begin(ex, layout, (uint64_t)step);
        for (int l = 0; l < own; l++)
            fill(r, l, 0, layout->first_range[r->rank] + l);
        for (int s = 0; s < schedule->segment_count && status == LS_OK; s++)
            status = ls_exchange_end_segment(ex, s, s + 1 < schedule->segment_count, err);
        if (status == LS_OK)
            status = ls_exchange_wait_all(ex, err);
        for (int i = 0; i < ls_exchange_count(ex) && status == LS_OK; i++)
            status = check(r, i, layout->range_count, err);
    }
    return status;
}

static enum ls_status one_by_one(void *state, struct ls_replica *r, struct ls_error *err)
{
    const struct ls_tree_layout *layout = &r->schedules[LS_STEP_TRAIN][0]->plan.layout;
    struct ls_exchange *ex = r->exchange[LS_STEP_TRAIN];
    int own = layout->first_range[r->rank + 1] - layout->first_range[r->rank];
    enum ls_status status = LS_OK;

    (void)state;
    ls_exchange_begin(ex, layout, 0);
    for (int l = 0; l < own; l++)
        fill(r, l, 0, layout->first_range[r->rank] + l);
    for (int i = 0; i < ls_exchange_count(ex) && status == LS_OK; i++) {
        status = ls_exchange_finish(ex, i, err);
        if (status == LS_OK)
            status = check(r, i, layout->range_count, err); /* it is there at once, before any after it is ready */
    }
    return status;
}

static void check_ranks(const char *run, int world, lst_step_fn fn)
{
    struct ls_job *job = lst_step_job(directory, "mlp.json", run);
    struct lst_step_ranks ranks;

    lst_step_run(job, world, fn, NULL, &ranks);
    for (int r = 0; r < world; r++)
        cr_expect_eq(ranks.status[r], LS_OK, "%s, rank %d: %s", run, r, ranks.err[r].message);
    ls_job_destroy(job);
}

/* Every reduce becomes the sum over all leaves, on all ranks alike, also where ranks have several leaves. */
Test(exchange, sums_over_all_leaves)
{
    check_ranks("{workers: 1}", 1, by_segments);
    check_ranks("{workers: 2}", 2, by_segments);
    check_ranks("{workers: 3}", 3, by_segments);
}

/* An eager step waits for each reduce alone and has its value before the next. */
Test(exchange, one_reduce_after_another)
{
    check_ranks("{workers: 1, execution: eager}", 1, one_by_one);
    check_ranks("{workers: 3, execution: eager}", 3, one_by_one);
}

/* Calls inside a leaf are added in pairs, and only the reduces of the segment that has run. */
static enum ls_status merges(void *state, struct ls_replica *r, struct ls_error *err)
{
    struct ls_exchange *ex = r->exchange[LS_STEP_TRAIN];
    void *const *into = ls_exchange_partials(ex, 0, 0);

    (void)state;
    if (r->schedules[LS_STEP_TRAIN][0]->depth < 2)
        return ls_error_set(err, LS_EINTERNAL, "this schedule has nothing to merge");
    ls_exchange_begin(ex, &r->schedules[LS_STEP_TRAIN][0]->plan.layout, 0);
    fill(r, 0, 0, 0);
    fill(r, 0, 1, 1);
    ls_exchange_merge(ex, 0, 0, 99); /* no reduce is of this segment */
    for (int i = 0; i < ls_exchange_count(ex); i++)
        if (gradient(r, i) != NULL && ((float *)into[i])[0] != number(0, i, 0))
            return wrong(i, 0, ((float *)into[i])[0], number(0, i, 0), err);
    for (int s = 0; s < r->schedules[LS_STEP_TRAIN][0]->segment_count; s++)
        ls_exchange_merge(ex, 0, 0, s);
    for (int i = 0; i < ls_exchange_count(ex); i++)
        if (gradient(r, i) != NULL && ((float *)into[i])[0] != number(0, i, 0) + number(1, i, 0))
            return wrong(i, 0, ((float *)into[i])[0], number(0, i, 0) + number(1, i, 0), err);
    return LS_OK;
}

Test(exchange, merges_calls_of_a_leaf)
{
    check_ranks("{workers: 1, micro_shards: 1}", 1, merges);
}

/* Moments are merged, not added: the mean of all leaves and the squares about it, from leaves of different means. */
static enum ls_status moments(void *state, struct ls_replica *r, struct ls_error *err)
{
    const struct ls_schedule *schedule = r->schedules[LS_STEP_TRAIN][0];
    const struct ls_tree_layout *layout = &schedule->plan.layout;
    struct ls_exchange *ex = r->exchange[LS_STEP_TRAIN];
    int own = layout->first_range[r->rank + 1] - layout->first_range[r->rank], found = 0;
    enum ls_status status = LS_OK;

    (void)state;
    ls_exchange_begin(ex, layout, 0);
    for (int i = 0; i < ls_exchange_count(ex) && status == LS_OK; i++) {
        const struct ls_program_reduce *is = ls_program_reduce_at(schedule->calls[0].program->program, i);
        int64_t n = ls_shape_count(&is->shape) / 3;
        const float *merged = ls_exchange_reduced(ex)[i];

        if (!is->moments)
            continue;
        found++;
        for (int l = 0; l < own; l++) {
            float *partial = ls_exchange_partials(ex, l, 0)[i];

            for (int64_t c = 0; c < n; c++) {
                partial[c] = 2; /* count, mean, squares about it */
                partial[n + c] = (float)(layout->first_range[r->rank] + l);
                partial[2 * n + c] = 0;
            }
        }
        status = ls_exchange_finish(ex, i, err);
        /* Four leaves of two samples at 0, 1, 2, 3: eight samples, mean 1.5, squares 2 (2.25 + 0.25) 2 = 10. */
        if (status == LS_OK && layout->range_count == 4 && (merged[0] != 8 || merged[n] != 1.5f || merged[2 * n] != 10))
            status = ls_error_set(err, LS_EINTERNAL, "merged to %g, %g, %g", (double)merged[0], (double)merged[n],
                                  (double)merged[2 * n]);
    }
    return status == LS_OK && (found == 0 || layout->range_count != 4)
               ? ls_error_set(err, LS_EINTERNAL, "%d moments over %d leaves", found, layout->range_count)
               : status;
}

Test(exchange, merges_moments_of_all_ranks)
{
    static const char layers[] =
        "{\"module\": \"keras\", \"class_name\": \"Sequential\", \"config\": {\"name\": \"small\", \"layers\": ["
        "{\"module\": \"keras.layers\", \"class_name\": \"InputLayer\", \"config\": {\"batch_shape\": [null, 28, 28], "
        "\"dtype\": \"float32\", \"name\": \"input\"}},"
        "{\"module\": \"keras.layers\", \"class_name\": \"Flatten\", \"config\": {\"name\": \"flat\"}},"
        "{\"module\": \"keras.layers\", \"class_name\": \"BatchNormalization\", \"config\": {\"name\": \"norm\"}},"
        "{\"module\": \"keras.layers\", \"class_name\": \"Dense\", \"config\": {\"name\": \"out\", \"units\": 10, "
        "\"activation\": \"softmax\"}}]}}";
    static const char *const overrides[] = {"model=norm.json"};
    struct ls_job *job;
    struct lst_step_ranks ranks;
    char path[128];

    (void)snprintf(path, sizeof path, "%s/norm.json", directory);
    cr_assert_eq(ls_fs_write_atomic(path, layers, sizeof layers - 1, NULL), LS_OK);
    job = lst_step_job_with(directory, "mlp.json", "{workers: 4, execution: eager}", overrides, 1);
    lst_step_run(job, 4, moments, NULL, &ranks);
    for (int r = 0; r < 4; r++)
        cr_expect_eq(ranks.status[r], LS_OK, "rank %d: %s", r, ranks.err[r].message);
    ls_job_destroy(job);
}
