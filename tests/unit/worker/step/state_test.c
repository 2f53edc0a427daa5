/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a replica: what stands once and what twice, initial values from a file, checkpoints, hashes. */
#include "worker/step/state.h"

#include "core/base/alloc.h"
#include "core/formats/npz.h"
#include "core/nn/model_build.h"
#include "tests/support/checkpoints.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <string.h>

enum { KERNEL, BIAS, GAMMA, BETA, MEAN, VARIANCE, VARIABLES };

static struct ls_model *model;
static struct ls_optimizer *optimizer;
static struct ls_state *state;
static char *directory;

static struct ls_state *make_state(void)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_state *made = NULL;

    cr_assert_eq(ls_state_create(model, optimizer, &made, &err), LS_OK, "%s", err.message);
    return made;
}

/* A dense layer of 3 to 2 and its batch normalisation, for Adam. */
static void begin(void)
{
    struct ls_optimizer_options options = LS_OPTIMIZER_OPTIONS_DEFAULT;
    struct ls_error err = LS_ERROR_INIT;
    struct ls_symbol x;

    directory = lst_scratch_create();
    model = ls_model_create("small");
    x = ls_input(model, LS_F32, LS_SHAPE(3), NULL);
    x = ls_dense_layer(model, x, (struct ls_dense_options){.units = 2});
    x = ls_batch_norm_layer(model, x, (struct ls_batch_norm_options){.name = NULL});
    cr_assert_eq(ls_model_finish(model, &x, 1, &err), LS_OK, "%s", err.message);
    cr_assert_eq(ls_optimizer_create(&options, &optimizer, &err), LS_OK, "%s", err.message);
    state = make_state();
    cr_assert_eq(state->variable_count, VARIABLES);
}

static void end(void)
{
    ls_state_destroy(state);
    ls_optimizer_destroy(optimizer);
    ls_model_destroy(model);
    lst_scratch_remove(directory);
}

TestSuite(state, .init = begin, .fini = end);

/* What a step changes before its commit stands twice, and a flip makes the next the current; all else stands once. */
Test(state, once_and_twice)
{
    float *mean = ls_state_data(state, MEAN), *next = ls_state_next(state, MEAN);

    cr_expect_eq(ls_state_data(state, KERNEL), ls_state_next(state, KERNEL));
    cr_expect_neq(mean, next);
    ls_state_flip(state);
    cr_expect_eq(ls_state_data(state, MEAN), next);
    cr_expect_eq(ls_state_next(state, MEAN), mean);
    cr_expect_eq(state->bytes, ls_state_bytes(model, optimizer));
}

/* A checkpoint's tensors are variables, each with its slots behind it, then the counters, which start at 1 for Adam. */
Test(state, tensors_in_order)
{
    static const char *const names[] = {"dense/kernel",
                                        "dense/kernel/m",
                                        "dense/kernel/v",
                                        "dense/bias",
                                        "dense/bias/m",
                                        "dense/bias/v",
                                        "batch_normalization/gamma",
                                        "batch_normalization/gamma/m",
                                        "batch_normalization/gamma/v",
                                        "batch_normalization/beta",
                                        "batch_normalization/beta/m",
                                        "batch_normalization/beta/v",
                                        "batch_normalization/moving_mean",
                                        "batch_normalization/moving_variance",
                                        "optimizer/beta1_power",
                                        "optimizer/beta2_power"};
    const float *slot = ls_state_tensor_data(state, 2);

    cr_assert_eq(state->tensor_count, (int)(sizeof names / sizeof *names));
    for (int i = 0; i < state->tensor_count; i++)
        cr_expect_str_eq(state->tensors[i].path, names[i]);
    cr_expect_eq(ls_state_tensor_data(state, 3), ls_state_data(state, BIAS));
    cr_expect_eq(ls_state_tensor_data(state, 12), ls_state_data(state, MEAN));
    for (int i = 0; i < 6; i++)
        cr_expect_eq(slot[i], 0.0f);
    cr_expect_eq(*(double *)ls_state_tensor_data(state, 15), 1.0);
    ls_state_flip(state);
    cr_expect_eq(*(double *)ls_state_tensor_data(state, 15), 1.0);
    cr_expect_eq(ls_state_tensor_data(state, 12), ls_state_data(state, MEAN));
}

static void hashes(char params[65], char all[65])
{
    struct ls_error err = LS_ERROR_INIT;

    cr_assert_eq(ls_state_sha256(state, params, all, &err), LS_OK, "%s", err.message);
}

/* Parameters are in both hashes, everything else in the second alone; every NaN is the same NaN. */
Test(state, what_is_hashed)
{
    char params[65], all[65], params2[65], all2[65];
    uint32_t nan = 0x7fc00001u, other_nan = 0xffc12345u;
    float *kernel, *slot = ls_state_tensor_data(state, 1), *next = ls_state_next(state, MEAN);

    cr_assert_eq(ls_state_initialize(state, 7, NULL, NULL), LS_OK);
    kernel = ls_state_data(state, KERNEL);
    hashes(params, all);
    next[0] = 5;
    hashes(params2, all2);
    cr_expect_str_eq(all2, all, "the step that is not committed is none of the state");
    slot[5] = 1;
    hashes(params2, all2);
    cr_expect_str_eq(params2, params);
    cr_expect_str_neq(all2, all);
    slot[5] = 0;
    memcpy(&kernel[5], &nan, sizeof nan);
    hashes(params2, all2);
    cr_expect_str_neq(params2, params);
    cr_expect_str_neq(all2, all);
    memcpy(&kernel[5], &other_nan, sizeof nan);
    hashes(params, all);
    cr_expect_str_eq(params2, params);
    cr_expect_str_eq(all2, all);
}

/* Initial values come from the seed; state that stands twice begins alike in both places. */
Test(state, initial_values)
{
    struct ls_state *other = make_state();

    cr_assert_eq(ls_state_initialize(state, 7, NULL, NULL), LS_OK);
    cr_assert_eq(ls_state_initialize(other, 7, NULL, NULL), LS_OK);
    cr_expect_eq(memcmp(ls_state_data(state, KERNEL), ls_state_data(other, KERNEL), 6 * sizeof(float)), 0);
    cr_expect_eq(((float *)ls_state_data(state, VARIANCE))[1], 1.0f);
    cr_expect_eq(((float *)ls_state_next(state, VARIANCE))[1], 1.0f);
    cr_assert_eq(ls_state_initialize(other, 8, NULL, NULL), LS_OK);
    cr_expect_neq(memcmp(ls_state_data(state, KERNEL), ls_state_data(other, KERNEL), 6 * sizeof(float)), 0);
    ls_state_destroy(other);
}

/* Writes the first `count` variables as arrays of their paths; the bias with `bias` elements. */
static char *write_npz(int count, int64_t bias)
{
    static float numbers[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct ls_npz_writer writer = {0};
    char *path = lst_scratch_file(directory, "w.npz", NULL, 0);

    for (int i = 0; i < count; i++) {
        const struct ls_variable_info *info = ls_model_variable(model, i);
        struct ls_view view = {.dtype = LS_F32, .shape = i == BIAS ? LS_SHAPE(bias) : info->shape, .data = numbers};

        cr_assert_eq(ls_npz_append(&writer, info->path, &view, NULL), LS_OK);
    }
    cr_assert_eq(ls_npz_save(&writer, path, NULL), LS_OK);
    ls_npz_writer_deinit(&writer);
    return path;
}

/* A file has every variable in its shape, or the one that is wrong is named. */
Test(state, initial_values_from_a_file)
{
    struct ls_error err = LS_ERROR_INIT;
    char *path = write_npz(VARIABLES, 2);

    cr_assert_eq(ls_state_initialize(state, 7, path, &err), LS_OK, "%s", err.message);
    cr_expect_eq(((float *)ls_state_data(state, KERNEL))[5], 6.0f);
    cr_expect_eq(((float *)ls_state_next(state, MEAN))[1], 2.0f);
    ls_free(path);
    path = write_npz(VARIABLES - 1, 2);
    cr_expect_eq(ls_state_initialize(state, 7, path, &err), LS_EINVAL);
    cr_expect_not_null(strstr(err.message, "batch_normalization/moving_variance"), "%s", err.message);
    ls_free(path);
    path = write_npz(VARIABLES, 3);
    cr_expect_eq(ls_state_initialize(state, 7, path, &err), LS_EINVAL);
    cr_expect_not_null(strstr(err.message, "dense/bias"), "%s", err.message);
    cr_expect_not_null(strstr(err.message, "(3)"), "%s", err.message);
    ls_free(path);
}

static void save(const struct ls_state *from)
{
    struct ls_ckpt_meta meta = {.step = 3, .generation = 1, .json = "{}"};
    struct ls_ckpt_piece pieces[16];
    struct ls_ckpt_part part;
    struct ls_error err = LS_ERROR_INIT;

    for (int i = 0; i < from->tensor_count; i++)
        pieces[i] = (struct ls_ckpt_piece){.tensor = i,
                                           .count = ls_shape_count(&from->tensors[i].shape),
                                           .data = ls_state_tensor_data((struct ls_state *)(uintptr_t)from, i)};
    cr_assert_eq(ls_ckpt_write_part(directory, &meta, from->tensors, from->tensor_count, pieces, from->tensor_count, 0,
                                    1, &part, &err),
                 LS_OK, "%s", err.message);
    cr_assert_eq(ls_ckpt_commit(directory, &meta, from->tensors, from->tensor_count, &part, 1, 2, &err), LS_OK, "%s",
                 err.message);
}

/* What was saved is loaded, wherever the flips stood; what stands twice is then alike in both places. */
Test(state, saved_and_loaded)
{
    char params[65], all[65], params2[65], all2[65];
    struct ls_ckpt *ckpt = NULL;
    struct ls_error err = LS_ERROR_INIT;

    cr_assert_eq(ls_state_initialize(state, 9, NULL, NULL), LS_OK);
    ((float *)ls_state_tensor_data(state, 4))[1] = 0.5f;
    ((float *)ls_state_next(state, MEAN))[0] = 3;
    ls_state_flip(state);
    state->counters[state->current][0] = 0.9;
    hashes(params, all);
    save(state);
    ls_state_destroy(state);
    state = make_state();
    cr_assert_eq(ls_ckpt_open(directory, &ckpt, NULL, &err), LS_OK, "%s", err.message);
    cr_assert_eq(ls_state_load(state, ckpt, &err), LS_OK, "%s", err.message);
    ls_ckpt_close(ckpt);
    hashes(params2, all2);
    cr_expect_str_eq(params2, params);
    cr_expect_str_eq(all2, all);
    ls_state_flip(state);
    cr_expect_eq(((float *)ls_state_data(state, MEAN))[0], 3.0f);
}

/* A checkpoint of another model is refused by the tensor that differs. */
Test(state, another_models_checkpoint)
{
    struct ls_ckpt *ckpt = NULL;
    struct ls_error err = LS_ERROR_INIT;

    cr_assert_eq(lst_ckpt_save(directory, 5, 1, 2, &err), LS_OK, "%s", err.message);
    cr_assert_eq(ls_ckpt_open(directory, &ckpt, NULL, &err), LS_OK, "%s", err.message);
    cr_expect_eq(ls_state_load(state, ckpt, &err), LS_EINVAL);
    cr_expect_not_null(strstr(err.message, "tensor dense/kernel"), "%s", err.message);
    ls_ckpt_close(ckpt);
}

/* Short memory at any allocation is an error without a leak. */
Test(state, short_memory)
{
    enum ls_status status = LS_ENOMEM;

    for (uint64_t nth = 1; status != LS_OK && nth < 200; nth++) {
        struct ls_state *made = NULL;

        ls_alloc_fail_after(nth);
        status = ls_state_create(model, optimizer, &made, NULL);
        ls_alloc_fail_after(0);
        cr_expect(status == LS_OK || status == LS_ENOMEM);
        ls_state_destroy(made);
    }
    cr_expect_eq(status, LS_OK);
}
