/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model of examples/mnist/tied.yaml built in C: a layer called twice (shared weights), dropout, batch
 * normalisation, a branch that is added. Its training loop is written out from the parts of a step, under the mirrored
 * strategy, and gives the bits of
 *     lockstep train examples/mnist/tied.yaml
 *
 * Usage: functional DATA_DIRECTORY [MAX_STEPS [REPLICAS]]      (DATA_DIRECTORY: examples/mnist/data)
 */
#include <lockstep.h>
#include <stdio.h>
#include <stdlib.h>

static struct ls_model *build(struct ls_error *err)
{
    struct ls_model *model = ls_model_create("tied");
    struct ls_symbol image, flat, project, again, sum[2], out;

    if (model == NULL)
        return NULL;
    image = ls_input(model, LS_F32, LS_SHAPE(28, 28), "image");
    flat = ls_rescaling_layer(model, image, (struct ls_rescaling_options){.scale = 1.0 / 255});
    flat = ls_flatten_layer(model, flat, NULL);
    project =
        ls_dense_layer(model, flat, (struct ls_dense_options){.name = "project", .units = 64, .activation = LS_RELU});
    out =
        ls_dense_layer(model, project, (struct ls_dense_options){.name = "shared", .units = 64, .activation = LS_RELU});
    again = ls_dropout_layer(model, out, 0.2, NULL);
    again = ls_layer_again(model, out, &again, 1);
    again = ls_batch_norm_layer(model, again, (struct ls_batch_norm_options){.name = "norm"});
    sum[0] = project;
    sum[1] = again;
    out = ls_add_layer(model, sum, 2, NULL);
    out =
        ls_dense_layer(model, out, (struct ls_dense_options){.name = "digits", .units = 10, .activation = LS_SOFTMAX});
    if (ls_model_finish(model, &out, 1, err) == LS_OK)
        return model;
    ls_model_destroy(model);
    return NULL;
}

/* Once per replica, in its thread. This is what ls_fit does, less checkpoints. */
static enum ls_status loop(void *state, struct ls_replica *replica, struct ls_error *err)
{
    uint64_t total = (uint64_t)replica->trainer->total_steps;
    enum ls_status status = LS_OK;

    (void)state;
    while (status == LS_OK && replica->progress.step < total) {
        const struct ls_schedule *schedule;
        uint64_t epoch;
        int64_t step;

        ls_replica_position(replica, &epoch, &step);
        /* Forward and backward over this replica's part of the batch; gradients are already on their way. */
        status = ls_replica_evaluate(replica, LS_STEP_TRAIN, epoch, step, &schedule, err);
        /* Gradients are waited for, and all replicas say from which parameters they came; only then the optimizer
         * runs. */
        if (status == LS_OK)
            status = ls_replica_vote(replica, schedule, &replica->progress.epoch, err);
        if (status == LS_OK)
            ls_replica_commit(replica, schedule);
        if (status == LS_OK)
            status = ls_replica_end_epoch(replica, err);
    }
    return status;
}

static enum ls_status open_set(const char *directory, struct ls_dataset **set, struct ls_error *err)
{
    char features[512], labels[512];
    struct ls_dataset_options options = {.format = "idx", .features = features, .labels = labels};

    snprintf(features, sizeof features, "%s/train-images-idx3-ubyte.gz", directory);
    snprintf(labels, sizeof labels, "%s/train-labels-idx1-ubyte.gz", directory);
    return ls_dataset_open(&options, set, err);
}

int main(int argc, char **argv)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_dataset *train = NULL;
    struct ls_fit_options options = LS_FIT_OPTIONS_DEFAULT;
    struct ls_fit_result result;
    struct ls_model *model = build(&err);
    enum ls_status status = model != NULL ? LS_OK : LS_EINVAL;

    if (argc < 2) {
        fprintf(stderr, "usage: functional DATA_DIRECTORY [MAX_STEPS [REPLICAS]]\n");
        return 2;
    }
    if (status == LS_OK)
        status = open_set(argv[1], &train, &err);
    options.model = model;
    options.train = train;
    options.epochs = 5;
    options.batch_size = 128;
    options.loss = "sparse_categorical_crossentropy";
    options.max_steps = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
    options.strategy = LS_MIRRORED;
    options.replicas = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 2;
    if (status == LS_OK)
        status = ls_fit_loop(&options, loop, NULL, &result, &err);
    if (status == LS_OK) {
        printf("%d steps, loss %.4f\n", (int)result.steps, result.train.loss);
        printf("params_sha256 %s\nstate_sha256 %s\n", result.params_sha256, result.state_sha256);
        ls_fit_result_deinit(&result);
    } else {
        fprintf(stderr, "functional: %s\n", err.message);
    }
    ls_dataset_close(train);
    ls_model_destroy(model);
    return status == LS_OK ? 0 : 1;
}
