/* SPDX-License-Identifier: Apache-2.0 */
/* Losses and metrics: Keras' values and gradients on bare outputs, and which logits a loss takes. */
#include "tests/support/trainer.h"
#include "core/autodiff/gradient.h"
#include "core/formats/npz.h"
#include "core/nn/model_build.h"
#include "core/nn/loss.h"
#include "core/ops/ops.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#define CHECK(expression)                                       \
    do {                                                        \
        if ((expression) != LS_OK)                              \
            cr_assert_fail("%s: %s", #expression, err.message); \
    } while (0)

struct one_loss {
    struct ls_device *device;
    struct ls_context *context;
    struct ls_value *output, *per_sample, *gradient, *seeds;
    double mean;
};

/* The loss of an output that no activation stands behind, its mean and the gradient of the mean. */
static void evaluate(struct one_loss *made, const char *device, const char *name, bool from_logits,
                     const struct ls_view *y_pred, const struct ls_view *y_true)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_device_options options = LS_DEVICE_OPTIONS_DEFAULT;
    struct ls_value *labels, *sum;
    const struct lsi_loss *loss;
    int64_t samples = y_pred->shape.dim[0];
    CHECK(ls_device_open(device, &options, &made->device, &err));
    struct ls_context_options context_options = {.device = made->device, .shards = ls_shards_of(samples, 1, 0, 1)};
    CHECK(ls_context_create(&context_options, &made->context, &err));
    CHECK(
        ls_value_input(made->context, 0, LS_F32, &y_pred->shape, LS_PER_SAMPLE, 1, y_pred->data, &made->output, &err));
    CHECK(
        ls_value_input(made->context, 1, y_true->dtype, &y_true->shape, LS_PER_SAMPLE, 1, y_true->data, &labels, &err));
    struct lsi_scores scores = {.context = made->context,
                                .output = made->output,
                                .logits = from_logits ? made->output : NULL,
                                .labels = labels};
    CHECK(lsi_loss_find(name, &loss, &err));
    CHECK(loss->build(&scores, &made->per_sample, &err));
    CHECK(lsi_batch_sum_f64(made->context, made->per_sample, &sum, &err));
    made->mean = *(double *)ls_value_view(sum).data / (double)samples;
    CHECK(ls_fill(made->context, &LS_SHAPE(samples), LS_PER_SAMPLE, 1, 1.0f / (float)samples, &made->seeds, &err));
    CHECK(ls_gradient(made->context, &made->per_sample, &made->seeds, 1, &made->output, 1, &made->gradient, &err));
}

static const struct ls_view *member(const struct ls_npz *npz, const char *before, const char *key, const char *after)
{
    char name[128];
    (void)snprintf(name, sizeof(name), "%s%s%s", before, key, after);
    const struct ls_view *view = ls_npz_find(npz, name);
    cr_assert_not_null(view, "%s is missing", name);
    return view;
}

static const struct {
    const char *id, *loss, *pair;
    bool from_logits;
} cases[] = {
    {"case000", "mean_squared_error", "real", false},
    {"case010", "categorical_crossentropy", "onehot_seq_prob", false},
    {"case047", "binary_crossentropy", "binary_prob", false},
    {"case049", "binary_crossentropy", "binary_prob_edge", false},
    {"case051", "binary_crossentropy", "binary_one_prob", false},
    {"case055", "binary_crossentropy", "binary_logit", true},
    {"case063", "categorical_crossentropy", "onehot_prob", false},
    {"case065", "categorical_crossentropy", "onehot_prob_edge", false},
    {"case067", "categorical_crossentropy", "onehot_unnormalized", false},
    {"case071", "categorical_crossentropy", "onehot_logit", true},
    {"case079", "sparse_categorical_crossentropy", "sparse_prob", false},
    {"case081", "sparse_categorical_crossentropy", "sparse_unnormalized", false},
    {"case083", "sparse_categorical_crossentropy", "sparse_logit", true},
    {"case085", "sparse_categorical_crossentropy", "sparse_column_logit", true},
    {"case087", "sparse_categorical_crossentropy", "sparse_seq_logit", true},
};

/* Every loss has Keras' value and gradient, on probabilities (clipped, not normalised, at the edges) and on logits. */
Test(loss, keras)
{
    static const char *const devices[] = {"ref", "cpu"};
    struct ls_error err = LS_ERROR_INIT;
    struct ls_npz *npz = NULL;
    CHECK(ls_npz_open(LS_SOURCE_DIR "/tests/data/keras/losses/losses.npz", &npz, &err));
    for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
        size_t c = i / 2;
        struct one_loss made = {0};
        double want = (double)*(const float *)member(npz, "", cases[c].id, "__value")->data, most = 0.0;
        const struct ls_view *gradient = member(npz, "", cases[c].id, "__grad");
        evaluate(&made, devices[i % 2], cases[c].loss, cases[c].from_logits,
                 member(npz, "pair__", cases[c].pair, "__y_pred"), member(npz, "pair__", cases[c].pair, "__y_true"));
        cr_assert(fabs(made.mean - want) <= 1e-5 * fabs(want), "%s: %.9g, Keras has %.9g", cases[c].id, made.mean,
                  want);
        const float *a = ls_value_view(made.gradient).data, *b = gradient->data;
        for (int64_t e = 0; e < ls_shape_count(&gradient->shape); e++)
            most = fmax(most, fabs((double)b[e]));
        for (int64_t e = 0; e < ls_shape_count(&gradient->shape); e++)
            cr_assert(fabs((double)a[e] - (double)b[e]) <= 2e-5 * most, "%s: gradient %lld is %.9g, Keras has %.9g",
                      cases[c].id, (long long)e, (double)a[e], (double)b[e]);
        ls_context_destroy(made.context);
        ls_device_close(made.device);
    }
    ls_npz_close(npz);
}

/* x (n, 3) -> softmax, by an argument, a layer, or with a Reshape behind it. */
enum ending { ARGUMENT, LAYER, RESHAPED };

static struct ls_model *ending_model(enum ending ending)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_model *model = ls_model_create("ending");
    struct ls_symbol x = ls_input(model, LS_F32, LS_SHAPE(3), NULL);
    x = ls_dense_layer(model, x,
                       (struct ls_dense_options){.units = 3, .activation = ending == LAYER ? LS_LINEAR : LS_SOFTMAX});
    if (ending == LAYER)
        x = ls_activation_layer(model, x, LS_SOFTMAX, NULL);
    if (ending == RESHAPED)
        x = ls_reshape_layer(model, x, LS_SHAPE(3), NULL);
    CHECK(ls_model_finish(model, &x, 1, &err));
    return model;
}

/* Loss of one sample whose logits are 0, 0 and 100 and whose class is the first. */
static double ending_loss(enum ending ending)
{
    struct ls_model *model = ending_model(ending);
    struct lst_trainer trainer;
    struct lst_pass pass;
    float identity[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1}, x[3] = {0, 0, 100};
    int32_t label = 0;
    struct ls_view features = {.dtype = LS_F32, .shape = LS_SHAPE(1, 3), .data = x};
    struct ls_view labels = {.dtype = LS_I32, .shape = LS_SHAPE(1), .data = &label};
    lst_trainer_init(&trainer, model, "ref", "sparse_categorical_crossentropy", false, 1);
    memcpy(trainer.weights[0]->view.data, identity, sizeof(identity));
    lst_trainer_pass(&trainer, &features, &labels, false, &pass);
    double loss = pass.loss;
    lst_pass_deinit(&pass);
    lst_trainer_deinit(&trainer);
    ls_model_destroy(model);
    return loss;
}

/* A softmax that ends the model gives the loss its logits, unclipped; a Reshape behind it brings the clip back. */
Test(loss, takes_logits)
{
    cr_assert_float_eq(ending_loss(ARGUMENT), 100.0, 1e-4);
    cr_assert_float_eq(ending_loss(LAYER), 100.0, 1e-4);
    cr_assert_float_eq(ending_loss(RESHAPED), -log(1e-7), 1e-4);
}

/* "accuracy" is resolved by shapes; counts are exact. */
Test(loss, accuracy)
{
    struct ls_error err = LS_ERROR_INIT;
    const struct lsi_metric *metric;
    CHECK(lsi_metric_find("accuracy", &LS_SHAPE(10), &LS_SHAPE_SCALAR, &metric, &err));
    cr_assert_str_eq(metric->name, "sparse_categorical_accuracy");
    CHECK(lsi_metric_find("accuracy", &LS_SHAPE(10), &LS_SHAPE(1), &metric, &err));
    cr_assert_str_eq(metric->name, "sparse_categorical_accuracy");
    CHECK(lsi_metric_find("acc", &LS_SHAPE(10), &LS_SHAPE(10), &metric, &err));
    cr_assert_str_eq(metric->name, "categorical_accuracy");
    CHECK(lsi_metric_find("accuracy", &LS_SHAPE(1), &LS_SHAPE(1), &metric, &err));
    cr_assert_str_eq(metric->name, "binary_accuracy");
}

/* What does not fit is said before any step: names, label dtypes and shapes. */
Test(loss, check)
{
    static const char *const wrong[] = {"acuracy"};
    struct ls_model *model = ending_model(ARGUMENT);
    struct ls_error err = LS_ERROR_INIT;
    struct ls_train_spec spec = {.model = model, .loss = "sparse_categorical_crossentropy"};
    CHECK(ls_train_spec_check(&spec, LS_I32, &LS_SHAPE_SCALAR, &err));
    cr_assert_eq(ls_train_spec_check(&spec, LS_F32, &LS_SHAPE_SCALAR, &err), LS_EINVAL);
    cr_assert_not_null(strstr(err.message, "integer labels"), "%s", err.message);
    cr_assert_eq(ls_train_spec_check(&spec, LS_I32, &LS_SHAPE(4), &err), LS_EINVAL);
    spec.loss = "sparse_categorical_crossentropi";
    cr_assert_eq(ls_train_spec_check(&spec, LS_I32, &LS_SHAPE_SCALAR, &err), LS_EINVAL);
    cr_assert_not_null(strstr(err.message, "did you mean \"sparse_categorical_crossentropy\""), "%s", err.message);
    spec.loss = "mse";
    cr_assert_eq(ls_train_spec_check(&spec, LS_F32, &LS_SHAPE(2), &err), LS_EINVAL);
    cr_assert_not_null(strstr(err.message, "(3)"), "%s", err.message);
    CHECK(ls_train_spec_check(&spec, LS_F32, &LS_SHAPE(3), &err));
    spec.metrics = wrong;
    spec.metric_count = 1;
    cr_assert_eq(ls_train_spec_check(&spec, LS_F32, &LS_SHAPE(3), &err), LS_EINVAL);
    cr_assert_not_null(strstr(err.message, "did you mean \"accuracy\""), "%s", err.message);
    cr_assert_eq(ls_train_loss_values(&spec), 1);
    ls_model_destroy(model);
}
