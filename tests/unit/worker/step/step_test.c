/* SPDX-License-Identifier: Apache-2.0 */
/* The promise of the step loop: one hash for any world, calls, device and way of execution, on synthetic data. */
#include "tests/support/step_job.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static char directory[64];

static void make_data(void)
{
    lst_step_directory_init(directory);
}

static void remove_data(void)
{
    lst_step_directory_deinit(directory);
}

struct setting {
    const char *model;
    int world;
    const char *run; /* the job's `run` block, YAML flow map */
};

struct result {
    char params[65], all[65];
    double loss;
};

static enum ls_status run_to_the_end(void *state, struct ls_replica *replica, struct ls_error *err)
{
    struct result *result = (struct result *)state + replica->rank;
    enum ls_status status = ls_replica_run(replica, err);

    if (status == LS_OK)
        status = ls_state_sha256(replica->state, result->params, result->all, err);
    result->loss = replica->progress.last.loss / (double)replica->progress.last.samples;
    return status;
}

/* Trains in `world` threads and checks that all end alike; the hash of parameters and of all state into hashes. */
static double train(const struct setting *s, char hashes[131])
{
    struct ls_job *job = lst_step_job(directory, s->model, s->run);
    struct result results[16] = {{.loss = 0}};
    struct lst_step_ranks ranks;

    lst_step_run(job, s->world, run_to_the_end, results, &ranks);
    for (int r = 0; r < s->world; r++) {
        cr_assert_eq(ranks.status[r], LS_OK, "%s", ranks.err[r].message);
        cr_assert_str_eq(results[r].all, results[0].all);
        cr_assert_eq(results[r].loss, results[0].loss);
    }
    (void)snprintf(hashes, 131, "%s %s", results[0].params, results[0].all);
    ls_job_destroy(job);
    return results[0].loss;
}

static void check_all_alike(const char *model, const struct setting *settings, size_t count)
{
    char first[131], other[131];
    struct setting one = {.model = model, .world = 1, .run = "{strategy: one_device, workers: 1}"};
    double loss = train(&one, first);

    for (size_t i = 0; i < count; i++) {
        struct setting s = settings[i];

        s.model = model;
        cr_expect_eq(train(&s, other), loss, "%s: world %d, run %s", model, s.world, s.run);
        cr_expect_str_eq(other, first, "%s: world %d, run %s", model, s.world, s.run);
    }
}

static const struct setting settings[] = {
    {NULL, 1, "{strategy: one_device, workers: 1, device: ref}"},
    {NULL, 1, "{strategy: one_device, workers: 1, execution: eager}"},
    {NULL, 1, "{strategy: one_device, workers: 1, micro_shards: 1}"},
    {NULL, 1, "{strategy: one_device, workers: 1, micro_shards: 4, threads: 2}"},
    {NULL, 2, "{workers: 2}"},
    {NULL, 3, "{workers: 3}"},
    {NULL, 3, "{workers: 3, execution: eager}"},
    {NULL, 5, "{workers: 5, micro_shards: 1}"},
    {NULL, 8, "{workers: 8}"},
    {NULL, 10, "{workers: 10}"},
};

/* The perceptron ends in one hash for any world, calls, threads, device and execution. */
Test(step, mlp_gives_one_hash, .init = make_data, .fini = remove_data)
{
    check_all_alike("mlp.json", settings, sizeof settings / sizeof settings[0]);
}

/* So does a model with tied layers, dropout and batch normalisation: reductions in the middle of the step. */
Test(step, tied_layers_give_one_hash, .init = make_data, .fini = remove_data)
{
    check_all_alike("tied.json", settings, sizeof settings / sizeof settings[0]);
}

static enum ls_status step_without_a_group(void *state, struct ls_replica *replica, struct ls_error *err)
{
    const struct ls_schedule *schedule;
    enum ls_status status;

    ls_group_abort(replica->group, "the operator said so");
    status = ls_replica_evaluate(replica, LS_STEP_TRAIN, 0, 0, &schedule, err);
    ((int *)state)[replica->rank] = schedule->call_count;
    return status;
}

/* A group that ends in the middle of an eager step ends all its calls, not only the one that finishes a reduction. */
Test(step, eager_calls_end_with_the_group, .init = make_data, .fini = remove_data)
{
    struct ls_job *job = lst_step_job(directory, "tied.json", "{workers: 3, execution: eager}");
    struct lst_step_ranks ranks;
    int calls[3] = {0};

    lst_step_run(job, 3, step_without_a_group, calls, &ranks);
    for (int r = 0; r < 3; r++) {
        cr_expect_eq(ranks.status[r], LS_EINTERRUPTED, "rank %d: %s", r, ranks.err[r].message);
        cr_expect(strstr(ranks.err[r].message, "the operator said so") != NULL, "%s", ranks.err[r].message);
    }
    cr_expect(calls[0] > 1 || calls[1] > 1 || calls[2] > 1, "no rank has several calls");
    ls_job_destroy(job);
}
