/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules of every world and call size: no sample twice, none left out, and merges that leave one partial a leaf. */
#include "tests/support/step_job.h"

#include <criterion/criterion.h>

static char directory[64];
static struct ls_job *job;
static struct ls_trainer *trainer;
static struct ls_device *device;

static void make(void)
{
    lst_step_directory_init(directory);
    job = lst_step_job(directory, "mlp.json", "{workers: 1}");
    cr_assert_eq(ls_trainer_open(job, LS_TRAINER_TRAINING, &trainer, NULL), LS_OK);
    cr_assert_eq(ls_trainer_device(trainer, &device, NULL), LS_OK);
}

static void discard(void)
{
    ls_device_close(device);
    ls_trainer_close(trainer);
    ls_job_destroy(job);
    lst_step_directory_deinit(directory);
}

/* The calls of one rank: where their samples are, and how the pending partials of a leaf rise and fall. */
static void check_rank(const struct ls_schedule *s, int rank, int seen[64])
{
    int leaves = ls_plan_leaf_count(&s->plan, rank), pending = 0;
    int64_t first = 0;

    for (int c = 0; c < s->call_count; c++) {
        const struct ls_scheduled_call *call = &s->calls[c];

        cr_expect_eq(call->first_sample, first);
        first += call->shards.offset[call->shards.count];
        if (leaves == 0)
            continue; /* a spare's sample does not count */
        cr_expect_eq(call->depth, pending);
        pending += 1 - call->merges;
        cr_expect_geq(pending, 1);
        cr_expect_leq(call->depth + 1, s->depth);
        if (c + 1 == s->call_count || s->calls[c + 1].leaf != call->leaf) {
            cr_expect_eq(pending, 1, "rank %d, leaf %d", rank, call->leaf);
            pending = 0;
        }
        cr_expect(!call->final || c + 1 == s->call_count);
        for (int64_t i = 0; i < call->shards.offset[call->shards.count]; i++)
            seen[call->shards.first_sample + i]++;
    }
    cr_expect_eq(first, s->samples);
}

static void check_world(int64_t samples, int world, int64_t micro_shards)
{
    struct ls_plan_options options = {
        .batch_samples = samples, .v_total = trainer->v_total, .world = world, .micro_shards = micro_shards};
    int seen[64] = {0};

    for (int r = 0; r < world; r++) {
        struct ls_step_programs programs = {.trainer = trainer, .device = device};
        struct ls_schedule *s = NULL;

        cr_assert_eq(ls_schedule_create(&programs, LS_STEP_TRAIN, &options, r, &s, NULL), LS_OK);
        check_rank(s, r, seen);
        ls_schedule_destroy(s);
        ls_step_programs_deinit(&programs);
    }
    for (int64_t i = 0; i < samples; i++)
        cr_expect_eq(seen[i], 1, "sample %lld of %lld is seen %d times by %d ranks", (long long)i, (long long)samples,
                     seen[i], world);
}

/* Whole and short batches, worlds that divide the shards, that do not, and that have spares; any size of a call. */
Test(schedule, every_sample_once, .init = make, .fini = discard)
{
    static const int worlds[] = {1, 2, 3, 5, 10};
    static const int64_t sizes[] = {64, 44, 3};
    static const int64_t micro[] = {0, 1, 2};

    for (size_t w = 0; w < sizeof worlds / sizeof worlds[0]; w++)
        for (size_t n = 0; n < sizeof sizes / sizeof sizes[0]; n++)
            for (size_t m = 0; m < sizeof micro / sizeof micro[0]; m++)
                check_world(sizes[n], worlds[w], micro[m]);
}
