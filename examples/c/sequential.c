/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The perceptron of examples/mnist/mlp.yaml built in C and trained with ls_fit: the same parameters, to the bit, as
 *     lockstep train examples/mnist/mlp.yaml
 *
 * Usage: sequential DATA_DIRECTORY [MAX_STEPS [REPLICAS]]      (DATA_DIRECTORY: examples/mnist/data)
 */
#include <lockstep.h>
#include <stdio.h>
#include <stdlib.h>

static struct ls_model *build(struct ls_error *err)
{
    struct ls_model *model = ls_model_create("mlp");
    struct ls_symbol x;

    if (model == NULL)
        return NULL;
    x = ls_input(model, LS_F32, LS_SHAPE(28, 28), NULL);
    x = ls_rescaling_layer(model, x, (struct ls_rescaling_options){.scale = 1.0 / 255});
    x = ls_flatten_layer(model, x, NULL);
    x = ls_dense_layer(model, x, (struct ls_dense_options){.units = 512, .activation = LS_RELU});
    x = ls_dense_layer(model, x, (struct ls_dense_options){.units = 512, .activation = LS_RELU});
    x = ls_dense_layer(model, x, (struct ls_dense_options){.units = 10, .activation = LS_SOFTMAX});
    if (ls_model_finish(model, &x, 1, err) == LS_OK)
        return model;
    ls_model_destroy(model);
    return NULL;
}

static enum ls_status open_set(const char *directory, const char *name, struct ls_dataset **set, struct ls_error *err)
{
    char features[512], labels[512];
    struct ls_dataset_options options = {.format = "idx", .features = features, .labels = labels};

    snprintf(features, sizeof features, "%s/%s-images-idx3-ubyte.gz", directory, name);
    snprintf(labels, sizeof labels, "%s/%s-labels-idx1-ubyte.gz", directory, name);
    return ls_dataset_open(&options, set, err);
}

static bool say_epoch(void *state, const struct ls_step_report *train, const struct ls_step_report *validation)
{
    (void)state;
    printf("epoch %d: loss %.4f, accuracy %.4f, test accuracy %.4f\n", (int)train->epoch + 1, train->loss,
           train->metrics[0], validation->metrics[0]);
    return true;
}

int main(int argc, char **argv)
{
    const char *const metrics[] = {"accuracy"};
    struct ls_error err = LS_ERROR_INIT;
    struct ls_dataset *train = NULL, *validation = NULL;
    struct ls_fit_options options = LS_FIT_OPTIONS_DEFAULT;
    struct ls_fit_result result;
    struct ls_model *model = build(&err);
    enum ls_status status = model != NULL ? LS_OK : LS_EINVAL;

    if (argc < 2) {
        fprintf(stderr, "usage: sequential DATA_DIRECTORY [MAX_STEPS [REPLICAS]]\n");
        return 2;
    }
    if (status == LS_OK)
        status = open_set(argv[1], "train", &train, &err);
    if (status == LS_OK)
        status = open_set(argv[1], "t10k", &validation, &err);
    options.model = model;
    options.train = train;
    options.validation = validation;
    options.epochs = 5;
    options.batch_size = 256;
    options.loss = "sparse_categorical_crossentropy";
    options.metrics = metrics;
    options.metric_count = 1;
    options.max_steps = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
    options.strategy = LS_MIRRORED;
    options.replicas = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 1;
    options.on_epoch = say_epoch;
    if (status == LS_OK)
        status = ls_fit(&options, &result, &err);
    if (status == LS_OK) {
        printf("%d steps, loss %.4f\n", (int)result.steps, result.train.loss);
        printf("params_sha256 %s\nstate_sha256 %s\n", result.params_sha256, result.state_sha256);
        ls_fit_result_deinit(&result);
    } else {
        fprintf(stderr, "sequential: %s\n", err.message);
    }
    ls_dataset_close(validation);
    ls_dataset_close(train);
    ls_model_destroy(model);
    return status == LS_OK ? 0 : 1;
}
