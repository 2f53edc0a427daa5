/* SPDX-License-Identifier: Apache-2.0 */
/* Models from C: the same names, values and bits as the same model read from JSON; frozen and shared layers. */
#include "tests/support/trainer.h"
#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/nn/model_build.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define CHECK(expression)                                       \
    do {                                                        \
        if ((expression) != LS_OK)                              \
            cr_assert_fail("%s: %s", #expression, err.message); \
    } while (0)

static struct ls_model *tied_from_json(void)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_buf buf = {0};
    struct ls_model *model = NULL;
    CHECK(ls_fs_read(LS_SOURCE_DIR "/examples/mnist/tied.json", 1 << 20, &buf, &err));
    CHECK(ls_model_from_keras((const char *)buf.data, buf.length, &model, &err));
    ls_buf_deinit(&buf);
    return model;
}

static struct ls_model *tied_from_c(void)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_model *m = ls_model_create("tied");
    struct ls_symbol x = ls_input(m, LS_F32, LS_SHAPE(28, 28), "image");
    x = ls_rescaling_layer(m, x, (struct ls_rescaling_options){.name = "rescaling", .scale = 1.0 / 255.0});
    x = ls_flatten_layer(m, x, NULL);
    struct ls_symbol project =
        ls_dense_layer(m, x, (struct ls_dense_options){.name = "project", .units = 64, .activation = LS_RELU});
    struct ls_symbol shared =
        ls_dense_layer(m, project, (struct ls_dense_options){.name = "shared", .units = 64, .activation = LS_RELU});
    x = ls_dropout_layer(m, shared, 0.2, NULL);
    x = ls_layer_again(m, shared, &x, 1);
    x = ls_batch_norm_layer(m, x, (struct ls_batch_norm_options){.name = "norm"});
    x = ls_add_layer(m, (struct ls_symbol[]){project, x}, 2, NULL);
    x = ls_dense_layer(m, x, (struct ls_dense_options){.name = "digits", .units = 10, .activation = LS_SOFTMAX});
    CHECK(ls_model_finish(m, &x, 1, &err));
    return m;
}

/* Two Adam steps on made-up images; the weights afterwards are left in the trainer. */
static void train_a_little(struct lst_trainer *trainer, struct ls_model *model, const char *device)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_optimizer_options options = LS_OPTIMIZER_OPTIONS_DEFAULT;
    struct ls_optimizer *optimizer = NULL;
    static uint8_t image[64 * 28 * 28];
    int32_t label[64];
    for (size_t i = 0; i < sizeof(image); i++)
        image[i] = (uint8_t)((i * 2654435761u) >> 13);
    for (int i = 0; i < 64; i++)
        label[i] = i % 10;
    struct ls_view x = {.dtype = LS_U8, .shape = LS_SHAPE(64, 28, 28), .data = image};
    struct ls_view y = {.dtype = LS_I32, .shape = LS_SHAPE(64), .data = label};
    CHECK(ls_optimizer_create(&options, &optimizer, &err));
    lst_trainer_init(trainer, model, device, "sparse_categorical_crossentropy", false, 3);
    for (int step = 0; step < 2; step++) {
        struct lst_pass pass;
        lst_trainer_pass(trainer, &x, &y, true, &pass);
        cr_assert(isfinite(pass.loss));
        lst_trainer_update(trainer, optimizer, &pass);
        lst_pass_deinit(&pass);
    }
    ls_optimizer_destroy(optimizer);
}

/* The model of examples/mnist/tied.json built from C has the same variables and trains to the same bits, on the
 * reference and on the fast device. */
Test(model_build, same_bits_as_json)
{
    struct ls_model *models[] = {tied_from_json(), tied_from_c(), tied_from_c()};
    static const char *const devices[] = {"ref", "ref", "cpu"};
    struct lst_trainer trainers[3];
    for (int i = 0; i < 3; i++)
        train_a_little(&trainers[i], models[i], devices[i]);
    for (int k = 1; k < 3; k++) {
        cr_assert_eq(ls_model_variable_count(models[k]), ls_model_variable_count(models[0]));
        for (int i = 0; i < ls_model_variable_count(models[0]); i++) {
            const struct ls_variable_info *a = ls_model_variable(models[0], i), *b = ls_model_variable(models[k], i);
            cr_assert_str_eq(a->path, b->path);
            cr_assert(a->role == b->role && ls_shape_equal(&a->shape, &b->shape));
            cr_assert_arr_eq(trainers[0].weights[i]->view.data, trainers[k].weights[i]->view.data,
                             ls_view_bytes(&trainers[0].weights[i]->view), "%s differs on %s", a->path, devices[k]);
        }
    }
    for (int i = 0; i < 3; i++) {
        lst_trainer_deinit(&trainers[i]);
        ls_model_destroy(models[i]);
    }
}

/* Unnamed layers are numbered by class as Keras does. */
Test(model_build, names)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_model *m = ls_model_create(NULL);
    struct ls_symbol x = ls_input(m, LS_U8, LS_SHAPE(9, 9, 1), NULL);
    x = ls_conv2d_layer(m, x, (struct ls_conv2d_options){.filters = 2, .kernel = {3, 3}, .padding = LS_SAME});
    x = ls_conv2d_layer(m, x, (struct ls_conv2d_options){.filters = 2, .kernel = {3, 3}, .no_bias = true});
    x = ls_max_pool2d_layer(m, x, (struct ls_max_pool2d_options){.name = NULL});
    x = ls_global_average_pool2d_layer(m, x, (struct ls_global_average_options){.keep_dimensions = true});
    x = ls_reshape_layer(m, x, LS_SHAPE(-1), NULL);
    x = ls_concatenate_layer(m, (struct ls_symbol[]){x, x}, 2, 0, NULL);
    CHECK(ls_model_finish(m, &x, 1, &err));
    cr_assert_eq(ls_model_input_dtype(m, 0), LS_U8);
    cr_assert(ls_shape_equal(ls_model_output_shape(m, 0), &LS_SHAPE(4)));
    cr_assert_eq(ls_model_variable_count(m), 3);
    cr_assert_str_eq(ls_model_variable(m, 1)->path, "conv2d/bias");
    cr_assert_str_eq(ls_model_variable(m, 2)->path, "conv2d_1/kernel");
    ls_model_destroy(m);
}

/* The first mistake is what ls_model_finish reports; what follows it does no harm. */
Test(model_build, mistakes)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_model *m = ls_model_create("wrong");
    struct ls_symbol x = ls_input(m, LS_F32, LS_SHAPE(4), NULL);
    x = ls_dense_layer(m, x, (struct ls_dense_options){.name = "first", .units = 0});
    cr_assert_lt(x.index, 0);
    x = ls_dropout_layer(m, x, 2.0, "second");
    cr_assert_eq(ls_model_finish(m, &x, 1, &err), LS_EINVAL);
    cr_assert_not_null(strstr(err.message, "\"first\": units"), "%s", err.message);
    ls_model_destroy(m);
    m = ls_model_create("unfinished");
    x = ls_input(m, LS_F32, LS_SHAPE(4), NULL);
    x = ls_conv2d_layer(m, x, (struct ls_conv2d_options){.filters = 1, .kernel = {3, 3}});
    cr_assert_eq(ls_model_finish(m, &x, 1, &err), LS_EINVAL);
    cr_assert_not_null(strstr(err.message, "(height, width, channels)"), "%s", err.message);
    ls_model_destroy(m);
}

/* Sizes whose sum or product does not fit 64 bits are refused, not taken for what is left of them. */
Test(model_build, sizes_beyond_64_bits)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_model *m = ls_model_create("joined");
    struct ls_symbol part[16];
    struct ls_symbol x = ls_input(m, LS_F32, LS_SHAPE(1 << 30, 1 << 30), NULL);
    x = ls_flatten_layer(m, x, NULL);
    for (int i = 0; i < 16; i++)
        part[i] = x;
    x = ls_concatenate_layer(m, part, 16, -1, NULL); /* 16 * 2^60 = 2^64 */
    cr_assert_eq(ls_model_finish(m, &x, 1, &err), LS_EINVAL);
    cr_assert_not_null(strstr(err.message, "too large"), "%s", err.message);
    ls_model_destroy(m);
    m = ls_model_create("shaped");
    x = ls_input(m, LS_F32, LS_SHAPE(1 << 30, 1 << 11), NULL);
    x = ls_reshape_layer(m, x, LS_SHAPE(1 << 20, 1 << 20, 2 + (1 << 24)), NULL); /* 2^41 + 2^64 */
    cr_assert_eq(ls_model_finish(m, &x, 1, &err), LS_EINVAL);
    cr_assert_not_null(strstr(err.message, "cannot take the shape"), "%s", err.message);
    ls_model_destroy(m);
}

/* norm(x) with moving statistics 1 and 4, trained one step on x = 5. */
static void norm_once(bool frozen, float *output, float *mean, float *variance, bool *has_gradient)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_model *m = ls_model_create("norm");
    struct ls_symbol x = ls_input(m, LS_F32, LS_SHAPE(1), NULL);
    x = ls_dense_layer(m, x, (struct ls_dense_options){.units = 1, .kernel_initializer = LS_ONES});
    x = ls_batch_norm_layer(
        m, x,
        (struct ls_batch_norm_options){.momentum = 0.5,
                                       .frozen = frozen,
                                       .mean_initializer = LS_ONES,
                                       .variance_initializer = LS_INIT_OF(.kind = LS_INIT_CONSTANT, .a = 4.0)});
    CHECK(ls_model_finish(m, &x, 1, &err));
    struct lst_trainer trainer;
    struct lst_pass pass;
    float features[2] = {4.0f, 6.0f}, targets[2] = {0.0f, 0.0f};
    struct ls_view in = {.dtype = LS_F32, .shape = LS_SHAPE(2, 1), .data = features};
    struct ls_view out = {.dtype = LS_F32, .shape = LS_SHAPE(2, 1), .data = targets};
    lst_trainer_init(&trainer, m, "ref", "mse", false, 1);
    lst_trainer_pass(&trainer, &in, &out, true, &pass);
    output[0] = ((float *)pass.output->view.data)[0];
    output[1] = ((float *)pass.output->view.data)[1];
    *mean = *(float *)trainer.weights[4]->view.data;
    *variance = *(float *)trainer.weights[5]->view.data;
    *has_gradient = pass.gradients[2] != NULL;
    cr_assert_not_null(pass.gradients[0], "the layer before a frozen one still learns");
    cr_assert(frozen == (fabsf(*(float *)pass.gradients[0]->view.data) > 0.1f));
    lst_pass_deinit(&pass);
    lst_trainer_deinit(&trainer);
    ls_model_destroy(m);
}

/* Batch normalisation trains on the batch's statistics and moves its own by the biased variance; frozen, it uses and
 * keeps its own, and passes gradients on. */
Test(model_build, frozen_batch_norm)
{
    float output[2], mean, variance;
    bool has_gradient;
    norm_once(false, output, &mean, &variance, &has_gradient);
    cr_assert_float_eq(output[0], -1.0f, 1e-3);
    cr_assert_float_eq(mean, 3.0f, 1e-6);     /* (1 + 5) / 2 */
    cr_assert_float_eq(variance, 2.5f, 1e-6); /* (4 + 1) / 2 */
    cr_assert(has_gradient);
    norm_once(true, output, &mean, &variance, &has_gradient);
    cr_assert_float_eq(output[1], 2.5f, 1e-3); /* (6 - 1) / 2 */
    cr_assert(mean == 1.0f && variance == 4.0f && !has_gradient);
}

/* The description of the example's perceptron, built with one layer's size given. Returned: ls_free. */
static char *described(int64_t units, double scale)
{
    struct ls_model *model = ls_model_create("mlp");
    struct ls_symbol x = ls_input(model, LS_F32, LS_SHAPE(28, 28), NULL);
    char *text = NULL;

    x = ls_rescaling_layer(model, x, (struct ls_rescaling_options){.scale = scale});
    x = ls_flatten_layer(model, x, NULL);
    cr_assert_eq(ls_model_describe(model, &text, NULL), LS_EINVAL, "not finished yet");
    x = ls_dense_layer(model, x, (struct ls_dense_options){.units = 512, .activation = LS_RELU});
    x = ls_dense_layer(model, x, (struct ls_dense_options){.units = units, .activation = LS_RELU});
    x = ls_dense_layer(model, x, (struct ls_dense_options){.units = 10, .activation = LS_SOFTMAX});
    cr_assert_eq(ls_model_finish(model, &x, 1, NULL), LS_OK);
    cr_assert_eq(ls_model_describe(model, &text, NULL), LS_OK);
    ls_model_destroy(model);
    return text;
}

/* A model built in C is described as the one read from Keras JSON, and any option that matters shows. */
Test(model_build, description)
{
    struct ls_buf file = {0};
    struct ls_model *model = NULL;
    char *keras = NULL, *same = described(512, 1.0 / 255), *wider = described(513, 1.0 / 255);
    char *brighter = described(512, 1.0 / 254);

    cr_assert_eq(ls_fs_read(LS_SOURCE_DIR "/examples/mnist/mlp.json", 1 << 20, &file, NULL), LS_OK);
    cr_assert_eq(ls_model_from_keras((const char *)file.data, file.length, &model, NULL), LS_OK);
    cr_assert_eq(ls_model_describe(model, &keras, NULL), LS_OK);
    cr_assert_str_eq(same, keras);
    cr_assert_str_neq(wider, keras);
    cr_assert_str_neq(brighter, keras);
    ls_model_destroy(model);
    ls_buf_deinit(&file);
    ls_free(keras);
    ls_free(same);
    ls_free(wider);
    ls_free(brighter);
}
