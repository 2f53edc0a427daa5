/* SPDX-License-Identifier: Apache-2.0 */
/* Models, gradients and training runs against what Keras 3 wrote (tests/data/keras, tolerances of its README). */
#include "tests/support/trainer.h"
#include "core/base/fs.h"
#include "core/formats/json.h"
#include "core/formats/npz.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#define CHECK(expression)                                       \
    do {                                                        \
        if ((expression) != LS_OK)                              \
            cr_assert_fail("%s: %s", #expression, err.message); \
    } while (0)

struct golden {
    const char *name;
    struct ls_model *model; /* inference */
    struct ls_model *trained;
    json_t *index;
    struct ls_npz *weights, *io, *train;
};

static const char *path_of(const char *folder, const char *file, char path[512])
{
    (void)snprintf(path, 512, "%s/tests/data/keras/%s/%s", LS_SOURCE_DIR, folder, file);
    return path;
}

static void read_file(const char *folder, const char *file, struct ls_buf *buf)
{
    struct ls_error err = LS_ERROR_INIT;
    char path[512];
    CHECK(ls_fs_read(path_of(folder, file, path), 1 << 24, buf, &err));
}

static struct ls_model *read_model(const char *folder, const char *file)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_buf buf = {0};
    struct ls_model *model = NULL;
    read_file(folder, file, &buf);
    CHECK(ls_model_from_keras((const char *)buf.data, buf.length, &model, &err));
    ls_buf_deinit(&buf);
    return model;
}

static void golden_open(struct golden *golden, const char *name, const char *trained)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_buf buf = {0};
    char path[512];
    golden->name = name;
    golden->model = read_model(name, "model.keras3.json");
    golden->trained = read_model(name, trained);
    read_file(name, "index.json", &buf);
    CHECK(ls_json_parse((const char *)buf.data, buf.length, name, &golden->index, &err));
    ls_buf_deinit(&buf);
    CHECK(ls_npz_open(path_of(name, "weights.npz", path), &golden->weights, &err));
    CHECK(ls_npz_open(path_of(name, "io.npz", path), &golden->io, &err));
    CHECK(ls_npz_open(path_of(name, "train.npz", path), &golden->train, &err));
}

static void golden_close(struct golden *golden)
{
    ls_model_destroy(golden->model);
    ls_model_destroy(golden->trained);
    json_decref(golden->index);
    ls_npz_close(golden->weights);
    ls_npz_close(golden->io);
    ls_npz_close(golden->train);
}

static const char *weight_key(const struct golden *golden, int i)
{
    const json_t *entry = json_array_get(json_object_get(golden->index, "weights"), (size_t)i);
    return json_string_value(json_object_get(entry, "key"));
}

static const struct ls_view *member(const struct ls_npz *npz, const char *prefix, const char *key)
{
    char name[256];
    (void)snprintf(name, sizeof(name), "%s%s", prefix, key);
    const struct ls_view *view = ls_npz_find(npz, name);
    cr_assert_not_null(view, "%s is not in the file", name);
    return view;
}

static double largest(const struct ls_view *view)
{
    double most = 0.0;
    const float *data = view->data;
    for (int64_t i = 0; i < ls_shape_count(&view->shape); i++)
        most = fmax(most, fabs((double)data[i]));
    return most;
}

/* |got - want| <= tolerance * scale everywhere; scale 0: the largest |want|. */
static void near(const struct golden *golden, const char *what, const struct ls_view *got, const struct ls_view *want,
                 double tolerance, double scale)
{
    const float *a = got->data, *b = want->data;
    int64_t count = ls_shape_count(&want->shape);
    scale = scale > 0.0 ? scale : largest(want);
    cr_assert_eq(ls_shape_count(&got->shape), count, "%s: %s has another size", golden->name, what);
    for (int64_t i = 0; i < count; i++)
        cr_assert(fabs((double)a[i] - (double)b[i]) <= tolerance * scale, "%s: %s[%lld] is %.9g, Keras has %.9g",
                  golden->name, what, (long long)i, (double)a[i], (double)b[i]);
}

static void load_weights(const struct golden *golden, struct lst_trainer *trainer)
{
    for (int i = 0; i < ls_model_variable_count(trainer->model); i++) {
        const struct ls_view *view = member(golden->weights, "", weight_key(golden, i));
        cr_assert(ls_shape_equal(&view->shape, &trainer->weights[i]->view.shape));
        memcpy(trainer->weights[i]->view.data, view->data, ls_view_bytes(view));
    }
}

/* Keras' weights are ours: number, order, path, shape, and which are trained. */
static void check_variables(const struct golden *golden)
{
    const json_t *weights = json_object_get(golden->index, "weights");
    cr_assert_eq((size_t)ls_model_variable_count(golden->model), json_array_size(weights));
    for (int i = 0; i < ls_model_variable_count(golden->model); i++) {
        const json_t *entry = json_array_get(weights, (size_t)i);
        const char *path = json_string_value(json_object_get(entry, "path"));
        const struct ls_variable_info *info = ls_model_variable(golden->model, i);
        size_t prefix = strncmp(path, golden->name, strlen(golden->name)) == 0 ? strlen(golden->name) + 1 : 0;
        cr_assert_str_eq(info->path, path + prefix);
        cr_assert_eq(info->role == LS_ROLE_TRAINABLE, json_is_true(json_object_get(entry, "trainable")));
    }
}

struct run {
    const char *name, *trained, *loss;
    bool from_logits;
    float smoothing;                           /* of one-hot labels, as Keras' label_smoothing */
    const struct ls_optimizer_options options; /* name NULL: no training run */
    double decay_rate, decay_steps;            /* 0: constant learning rate */
    double tolerance;                          /* factor on the README's, for what float32 itself loses */
};

/* Labels (1 - s) y + s / C, or as they are. */
static struct ls_tensor *labels_of(const struct ls_view *y, float smoothing)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_tensor *made = NULL;
    CHECK(ls_tensor_create(y->dtype, &y->shape, &made, &err));
    memcpy(made->view.data, y->data, ls_view_bytes(y));
    if (smoothing > 0.0f) {
        float *data = made->view.data;
        float share = smoothing / (float)y->shape.dim[y->shape.rank - 1];
        for (int64_t i = 0; i < ls_shape_count(&y->shape); i++)
            data[i] = data[i] * (1.0f - smoothing) + share;
    }
    return made;
}

static int inputs_of(const struct golden *golden, const struct ls_npz *npz, struct ls_view x[8])
{
    int count = ls_model_input_count(golden->model);
    for (int i = 0; i < count; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "x%d", i);
        x[i] = *member(npz, "", key);
    }
    return count;
}

static void check_io(const struct golden *golden, const struct run *run, const char *device)
{
    struct lst_trainer trainer;
    struct lst_pass pass;
    struct ls_view x[8];
    struct ls_tensor *y = labels_of(member(golden->io, "", "y0"), run->smoothing);
    double most = 0.0;
    inputs_of(golden, golden->io, x);
    lst_trainer_init(&trainer, golden->model, device, run->loss, run->from_logits, 1);
    load_weights(golden, &trainer);
    lst_trainer_pass(&trainer, x, &y->view, false, &pass);
    near(golden, "output", &pass.output->view, member(golden->io, "", "out0"), 1e-5, 0.0);
    lst_pass_deinit(&pass);
    lst_trainer_deinit(&trainer);
    lst_trainer_init(&trainer, golden->trained, device, run->loss, run->from_logits, 1);
    load_weights(golden, &trainer);
    lst_trainer_pass(&trainer, x, &y->view, true, &pass);
    near(golden, "training output", &pass.output->view, member(golden->io, "", "train_out0"), 1e-5, 0.0);
    double want = (double)*(const float *)member(golden->io, "", "loss")->data;
    cr_assert(fabs(pass.loss - want) <= 1e-5 * fabs(want), "%s: loss %.9g, Keras has %.9g", run->name, pass.loss, want);
    for (int i = 0; i < ls_model_variable_count(trainer.model); i++)
        if (pass.gradients[i] != NULL)
            most = fmax(most, largest(member(golden->io, "grad__", weight_key(golden, i))));
    for (int i = 0; i < ls_model_variable_count(trainer.model); i++)
        if (pass.gradients[i] != NULL) {
            const struct ls_view *gradient = member(golden->io, "grad__", weight_key(golden, i));
            near(golden, weight_key(golden, i), &pass.gradients[i]->view, gradient, 2e-5 * run->tolerance,
                 fmax(largest(gradient), most / 1000.0));
        }
    lst_pass_deinit(&pass);
    lst_trainer_deinit(&trainer);
    ls_tensor_release(y);
}

static void check_weights(const struct golden *golden, const struct lst_trainer *trainer, const char *prefix,
                          double tolerance)
{
    for (int i = 0; i < ls_model_variable_count(trainer->model); i++)
        near(golden, weight_key(golden, i), &trainer->weights[i]->view,
             member(golden->train, prefix, weight_key(golden, i)), tolerance, 0.0);
}

static void check_training(const struct golden *golden, const struct run *run, const char *device)
{
    static const char *const metrics[] = {"accuracy"};
    struct lst_trainer trainer;
    struct ls_error err = LS_ERROR_INIT;
    struct ls_view all[8], x[8];
    struct ls_tensor *y = labels_of(member(golden->train, "", "y0"), run->smoothing);
    const int32_t *offset = member(golden->train, "", "batch_offsets")->data;
    const float *losses = member(golden->train, "", "batch__loss")->data;
    const float *accuracies = member(golden->train, "", "batch__accuracy")->data;
    int inputs = inputs_of(golden, golden->train, all);
    lst_trainer_init(&trainer, golden->trained, device, run->loss, run->from_logits, 1);
    load_weights(golden, &trainer);
    trainer.spec.metrics = metrics;
    trainer.spec.metric_count = 1;
    for (int s = 0; s < 10; s++) {
        struct ls_optimizer_options options = run->options;
        struct ls_optimizer *optimizer = NULL;
        struct lst_pass pass;
        if (run->decay_steps > 0.0)
            options.learning_rate = (float)((double)options.learning_rate * pow(run->decay_rate, s / run->decay_steps));
        CHECK(ls_optimizer_create(&options, &optimizer, &err));
        for (int i = 0; i < inputs; i++)
            x[i] = lst_samples(&all[i], offset[s], offset[s + 1]);
        struct ls_view labels = lst_samples(&y->view, offset[s], offset[s + 1]);
        lst_trainer_pass(&trainer, x, &labels, true, &pass);
        cr_assert(fabs(pass.loss - (double)losses[s]) <= 1e-5 * run->tolerance * fabs((double)losses[s]),
                  "%s: loss of step %d is %.9g, Keras has %.9g", run->name, s, pass.loss, (double)losses[s]);
        cr_assert(fabs(pass.metric[0] - (double)accuracies[s]) <= 1e-6, "%s: accuracy of step %d is %g, Keras has %g",
                  run->name, s, pass.metric[0], (double)accuracies[s]);
        lst_trainer_update(&trainer, optimizer, &pass);
        lst_pass_deinit(&pass);
        ls_optimizer_destroy(optimizer);
        if (s == 0)
            check_weights(golden, &trainer, "step01__", 2e-5 * run->tolerance);
    }
    check_weights(golden, &trainer, "step10__", 1e-4 * run->tolerance);
    lst_trainer_deinit(&trainer);
    ls_tensor_release(y);
}

static void check(const struct run *run)
{
    static const char *const devices[] = {"ref", "cpu"};
    struct golden golden;
    golden_open(&golden, run->name, run->trained);
    check_variables(&golden);
    for (int d = 0; d < 2; d++) {
        check_io(&golden, run, devices[d]);
        if (run->options.name != NULL)
            check_training(&golden, run, devices[d]);
    }
    golden_close(&golden);
}

/* A Sequential MLP with softmax, integer labels, SGD and a short last batch trains as in Keras. */
Test(keras_models, mlp)
{
    check(&(struct run){.name = "mlp",
                        .trained = "model.keras3.json",
                        .loss = "sparse_categorical_crossentropy",
                        .options = {.name = "sgd", .learning_rate = 0.1f},
                        .tolerance = 1.0});
}

/* A convolutional net with pooling, (disabled) dropout, logits and Adam trains as in Keras. */
Test(keras_models, cnn)
{
    check(&(struct run){
        .name = "cnn",
        .trained = "model.train.keras3.json",
        .loss = "sparse_categorical_crossentropy",
        .from_logits = true,
        .options = {.name = "adam", .learning_rate = 0.002f, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-7f},
        .tolerance = 1.0});
}

/* A functional net with batch normalisation, "same" strided convolutions and Nesterov trains as in Keras, moving
 * statistics included. */
Test(keras_models, resnet_small)
{
    check(&(struct run){.name = "resnet_small",
                        .trained = "model.keras3.json",
                        .loss = "categorical_crossentropy",
                        .smoothing = 0.1f,
                        .options = {.name = "sgd", .learning_rate = 0.02f, .momentum = 0.9f, .nesterov = true},
                        .tolerance = 1.0});
}

/* Two inputs, one used twice, joined by Concatenate: outputs, loss and gradients are Keras'. */
Test(keras_models, two_inputs)
{
    check(&(struct run){
        .name = "two_inputs", .trained = "model.keras3.json", .loss = "mean_squared_error", .tolerance = 1.0});
}

/* A sigmoid output takes its logits into the binary cross-entropy; Adam with a falling learning rate. */
Test(keras_models, binary)
{
    check(&(struct run){
        .name = "binary_auc",
        .trained = "model.keras3.json",
        .loss = "binary_crossentropy",
        .options = {.name = "adam", .learning_rate = 0.02f, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-7f},
        .decay_rate = 0.8,
        .decay_steps = 4.0,
        .tolerance = 1.0});
}
