/* SPDX-License-Identifier: Apache-2.0 */
/* Training from C: one hash whatever the replicas and the way of running; stops, resumes, failures, wrong options. */
#include "worker/fit/fit.h"

#include "core/base/alloc.h"
#include "core/nn/model_build.h"
#include "tests/support/scratch.h"
#include "worker/fit/mirrored.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#define SAMPLES 300 /* batches of 64 leave a short one of 44 */
#define FEATURES 20

static float features[SAMPLES * FEATURES];
static int32_t labels[SAMPLES];
static struct ls_dataset *set;
static struct ls_model *model;

static struct ls_model *build(int64_t units)
{
    struct ls_model *m = ls_model_create("small");
    struct ls_symbol x = ls_input(m, LS_F32, LS_SHAPE(FEATURES), NULL);

    x = ls_dense_layer(m, x, (struct ls_dense_options){.units = units, .activation = LS_RELU});
    x = ls_batch_norm_layer(m, x, (struct ls_batch_norm_options){.name = NULL});
    x = ls_dropout_layer(m, x, 0.25, NULL);
    x = ls_dense_layer(m, x, (struct ls_dense_options){.units = 4, .activation = LS_SOFTMAX});
    cr_assert_eq(ls_model_finish(m, &x, 1, NULL), LS_OK);
    return m;
}

static void begin(void)
{
    struct ls_view x = {.dtype = LS_F32, .shape = LS_SHAPE(SAMPLES, FEATURES), .data = features};
    struct ls_view y = {.dtype = LS_I32, .shape = LS_SHAPE(SAMPLES), .data = labels};
    uint32_t random = 1;

    for (int i = 0; i < SAMPLES * FEATURES; i++) {
        random = random * 1664525u + 1013904223u;
        features[i] = (float)(random >> 8) / (float)(1 << 23) - 1.0f;
    }
    for (int i = 0; i < SAMPLES; i++)
        labels[i] = (features[i * FEATURES] > 0) + 2 * (features[i * FEATURES + 1] > 0);
    cr_assert_eq(ls_dataset_from_memory(&x, &y, &set, NULL), LS_OK);
    model = build(16);
}

static void end(void)
{
    ls_model_destroy(model);
    ls_dataset_close(set);
}

TestSuite(fit, .init = begin, .fini = end);

static const char *const accuracy[] = {"accuracy"};

static struct ls_fit_options usual(void)
{
    struct ls_fit_options options = LS_FIT_OPTIONS_DEFAULT;

    options.model = model;
    options.train = set;
    options.validation = set;
    options.epochs = 3;
    options.batch_size = 64;
    options.loss = "sparse_categorical_crossentropy";
    options.metrics = accuracy;
    options.metric_count = 1;
    options.optimizer.learning_rate = 0.01f;
    return options;
}

static struct ls_fit_result fit(const struct ls_fit_options *options)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_fit_result result;
    enum ls_status status = ls_fit(options, &result, &err);

    cr_assert_eq(status, LS_OK, "%s", err.message);
    return result;
}

/* Replicas, threads, eager execution and the device change no bit, and training lowers the loss. */
Test(fit, one_hash)
{
    struct ls_fit_options options = usual();
    struct ls_fit_result first = fit(&options);
    static const struct {
        int replicas, threads;
        bool eager;
        const char *device;
    } ways[] = {
        {2, 1, false, "cpu"}, {3, 1, false, "cpu"}, {3, 2, true, "cpu"}, {1, 1, true, "ref"}, {9, 1, false, "ref"}};

    cr_assert_eq(first.steps, 15);
    cr_assert(first.finished);
    cr_assert_eq(first.train.samples, SAMPLES);
    cr_assert_lt(first.train.loss, 1.4);
    cr_assert_gt(first.validation.metrics[0], 0.25);
    cr_assert_eq(first.variable_count, ls_model_variable_count(model));
    options.strategy = LS_MIRRORED;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct ls_fit_result other;

        options.replicas = ways[i].replicas;
        options.threads = ways[i].threads;
        options.eager = ways[i].eager;
        options.device = ways[i].device;
        other = fit(&options);
        cr_assert_str_eq(other.params_sha256, first.params_sha256, "way %zu", i);
        cr_assert_str_eq(other.state_sha256, first.state_sha256, "way %zu", i);
        cr_assert_eq(other.train.loss, first.train.loss);
        cr_assert_eq(other.validation.loss, first.validation.loss);
        ls_fit_result_deinit(&other);
    }
    ls_fit_result_deinit(&first);
}

static enum ls_status by_parts(void *state, struct ls_replica *replica, struct ls_error *err)
{
    enum ls_status status = LS_OK;

    (void)state;
    while (status == LS_OK && replica->progress.step < (uint64_t)replica->trainer->total_steps) {
        const struct ls_schedule *schedule;
        uint64_t epoch;
        int64_t step;

        ls_replica_position(replica, &epoch, &step);
        status = ls_replica_evaluate(replica, LS_STEP_TRAIN, epoch, step, &schedule, err);
        if (status == LS_OK)
            status = ls_replica_vote(replica, schedule, &replica->progress.epoch, err);
        if (status == LS_OK)
            ls_replica_commit(replica, schedule);
        if (status == LS_OK)
            status = ls_replica_end_epoch(replica, err);
    }
    return status;
}

/* A loop written from the parts of a step is ls_fit's. */
Test(fit, custom_loop)
{
    struct ls_fit_options options = usual();
    struct ls_fit_result whole = fit(&options), parts;

    options.strategy = LS_MIRRORED;
    options.replicas = 2;
    cr_assert_eq(ls_fit_loop(&options, by_parts, NULL, &parts, NULL), LS_OK);
    cr_assert_str_eq(parts.state_sha256, whole.state_sha256);
    cr_assert_eq(parts.train.loss, whole.train.loss);
    ls_fit_result_deinit(&parts);
    ls_fit_result_deinit(&whole);
}

struct counts {
    int steps, epochs, stop_after;
};

static bool count_step(void *state, const struct ls_step_report *report)
{
    struct counts *c = state;

    c->steps++;
    return c->stop_after == 0 || report->step < (uint64_t)c->stop_after;
}

static bool count_epoch(void *state, const struct ls_step_report *train, const struct ls_step_report *validation)
{
    struct counts *c = state;

    c->epochs++;
    cr_expect_eq(train->step, (uint64_t)(5 * c->epochs));
    cr_expect_eq(validation != NULL, validation == NULL || validation->validation);
    return true;
}

/* A callback stops the run in order; the same call goes on from the checkpoint, on other replicas, to the same bits. */
Test(fit, stop_and_resume)
{
    struct counts counts = {.stop_after = 7};
    char *directory = lst_scratch_create();
    struct ls_fit_options options = usual();
    struct ls_fit_result straight = fit(&options), result;

    options.checkpoint_directory = directory;
    options.strategy = LS_MIRRORED;
    options.replicas = 2;
    options.state = &counts;
    options.on_step = count_step;
    options.on_epoch = count_epoch;
    result = fit(&options);
    cr_assert_not(result.finished);
    cr_assert_geq(result.steps, 7);
    cr_assert_lt(result.steps, 15);
    ls_fit_result_deinit(&result);
    counts.stop_after = 0;
    options.replicas = 3;
    result = fit(&options);
    cr_assert(result.finished);
    cr_assert_str_eq(result.state_sha256, straight.state_sha256);
    cr_assert_eq(counts.steps, 15);
    cr_assert_eq(counts.epochs, 3);
    ls_fit_result_deinit(&result);
    ls_fit_result_deinit(&straight);
    lst_scratch_remove(directory);
}

/* A checkpoint of another model or of other data is refused, and the sentence names which. */
Test(fit, foreign_checkpoint)
{
    char *directory = lst_scratch_create();
    struct ls_fit_options options = usual();
    struct ls_error err = LS_ERROR_INIT;
    struct ls_model *other = build(17);
    struct ls_fit_result result;

    options.checkpoint_directory = directory;
    options.max_steps = 2;
    result = fit(&options);
    ls_fit_result_deinit(&result);
    options.model = other;
    cr_assert_eq(ls_fit(&options, NULL, &err), LS_EINVAL);
    cr_assert_neq(strstr(err.message, "model"), NULL, "%s", err.message);
    options = usual();
    options.checkpoint_directory = directory;
    features[0] += 1.0f;
    cr_assert_eq(ls_fit(&options, NULL, &err), LS_EINVAL);
    cr_assert_neq(strstr(err.message, "data.train.sha256"), NULL, "%s", err.message);
    ls_model_destroy(other);
    lst_scratch_remove(directory);
}

/* Compression is the job's: checked by the same rules. */
Test(fit, compression)
{
    static const struct {
        struct ls_compression_options options;
        bool exact;
        const char *said;
    } wrong[] = {{{.name = "top_k"}, true, "ls_fit: compression is top_k, which loses bits"},
                 {{.name = "power_sdg"}, false, "did you mean power_sgd?"},
                 {{.name = "top_k", .ratio = 1.5}, false, "compression.ratio"},
                 {{.name = "top_k", .ratio = NAN}, false, "compression.ratio"},
                 {{.name = "power_sgd", .rank = 257}, false, "compression.rank must be from 1 to 256"},
                 {{.name = "power_sgd", .start_step = -1}, false, "compression.start_step"},
                 {{.name = "bf16", .rank = 3}, false, "compression.rank is not an option of bf16"},
                 {{.name = NULL, .ratio = 0.5}, false, "compression.ratio is not an option of none"}};
    struct ls_fit_options options = usual();
    struct ls_error err = LS_ERROR_INIT;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        options.fast = !wrong[i].exact;
        options.compression = wrong[i].options;
        cr_assert_eq(ls_fit(&options, NULL, &err), LS_EINVAL, "%zu", i);
        cr_expect_not_null(strstr(err.message, wrong[i].said), "%s", err.message);
    }
}

/* What a run with compression keeps goes on over a checkpoint, and another compression is another job. */
Test(fit, compressed)
{
    struct ls_device_options device_options = {.threads = 1, .fast = true};
    struct ls_device *device = NULL;
    char *directory = lst_scratch_create();
    struct ls_fit_options options = usual();
    struct ls_error err = LS_ERROR_INIT;
    struct ls_fit_result plain, whole, cut;

    if (ls_device_open("cpu", &device_options, &device, NULL) != LS_OK) {
        lst_scratch_remove(directory);
        cr_skip_test("math: fast does not run here");
    }
    ls_device_close(device);
    options.fast = true;
    options.strategy = LS_MIRRORED;
    options.replicas = 2;
    plain = fit(&options);
    options.compression = (struct ls_compression_options){.name = "none"};
    whole = fit(&options);
    cr_expect_str_eq(whole.params_sha256, plain.params_sha256);
    ls_fit_result_deinit(&whole);
    options.compression = (struct ls_compression_options){.name = "bf16"};
    whole = fit(&options);
    cr_expect_str_neq(whole.params_sha256, plain.params_sha256);
    options.checkpoint_directory = directory;
    options.max_steps = 7;
    cut = fit(&options);
    ls_fit_result_deinit(&cut);
    options.max_steps = 0;
    cut = fit(&options);
    cr_expect_str_eq(cut.state_sha256, whole.state_sha256);
    options.compression = (struct ls_compression_options){.name = "top_k"};
    cr_expect_eq(ls_fit(&options, NULL, &err), LS_EINVAL);
    cr_expect_not_null(strstr(err.message, "compression"), "%s", err.message);
    ls_fit_result_deinit(&cut);
    ls_fit_result_deinit(&whole);
    ls_fit_result_deinit(&plain);
    lst_scratch_remove(directory);
}

/* Every wrong option is an error that names it. */
Test(fit, wrong_options)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_fit_options options = usual();

    options.batch_size = 0;
    cr_assert_eq(ls_fit(&options, NULL, &err), LS_EINVAL);
    cr_assert_neq(strstr(err.message, "batch_size"), NULL);
    options = usual();
    options.shards = 3;
    cr_assert_eq(ls_fit(&options, NULL, &err), LS_EINVAL);
    cr_assert_neq(strstr(err.message, "shards"), NULL);
    options = usual();
    options.replicas = 2;
    cr_assert_eq(ls_fit(&options, NULL, &err), LS_EINVAL);
    cr_assert_neq(strstr(err.message, "LS_MIRRORED"), NULL);
    options = usual();
    options.loss = "sparse_crossentropy";
    cr_assert_eq(ls_fit(&options, NULL, &err), LS_EINVAL);
    options = usual();
    options.optimizer.name = "adan";
    cr_assert_eq(ls_fit(&options, NULL, &err), LS_EINVAL);
    cr_assert_neq(strstr(err.message, "adan"), NULL, "%s", err.message);
}

/* Data that does not fit the model is found before training. */
Test(fit, wrong_data)
{
    struct ls_view x = {.dtype = LS_F32, .shape = LS_SHAPE(SAMPLES, FEATURES), .data = features};
    struct ls_view y = {.dtype = LS_I32, .shape = LS_SHAPE(SAMPLES), .data = labels};
    struct ls_error err = LS_ERROR_INIT;
    struct ls_fit_options options = usual();
    struct ls_dataset *wrong = NULL;

    labels[5] = 4;
    cr_assert_eq(ls_dataset_from_memory(&x, &y, &wrong, &err), LS_OK);
    options.train = wrong;
    cr_assert_eq(ls_fit(&options, NULL, &err), LS_EINVAL);
    cr_assert_neq(strstr(err.message, "labels go from 0 to 4"), NULL, "%s", err.message);
    ls_dataset_close(wrong);
    x.shape = LS_SHAPE(SAMPLES, FEATURES / 2, 2);
    cr_assert_eq(ls_dataset_from_memory(&x, &y, &wrong, &err), LS_OK);
    options.train = wrong;
    cr_assert_eq(ls_fit(&options, NULL, &err), LS_EINVAL);
    cr_assert_neq(strstr(err.message, "(10, 2)"), NULL, "%s", err.message);
    ls_dataset_close(wrong);
}

struct failing {
    int rank;
    atomic_int ended;
};

/* Rank `rank` gives up before the barrier that the others wait in. */
static enum ls_status give_up(void *state, struct ls_group *group, struct ls_error *err)
{
    struct failing *f = state;
    struct ls_collective barrier = {.kind = LS_BARRIER};
    enum ls_status status;

    if (ls_group_rank(group) == f->rank)
        return ls_error_set(err, LS_EIO, "replica %d has lost its disk", f->rank);
    status = ls_group_run(group, &barrier, err);
    cr_expect_eq(status, LS_EINTERRUPTED);
    atomic_fetch_add(&f->ended, 1);
    return status;
}

/* A replica that fails ends the others, and its own reason is the one that is told. */
Test(fit, failing_replica)
{
    struct failing failing = {.rank = 1};
    struct ls_error err = LS_ERROR_INIT;

    cr_assert_eq(ls_mirrored_run(3, give_up, &failing, &err), LS_EIO);
    cr_assert_str_eq(err.message, "replica 1 has lost its disk");
    cr_assert_eq(failing.ended, 2);
    cr_assert_eq(ls_mirrored_run(0, give_up, &failing, &err), LS_EINVAL);
}
