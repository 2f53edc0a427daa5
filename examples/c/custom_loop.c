/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A training loop with nothing hidden: the perceptron of examples/mnist/mlp.yaml as plain ops on values, gradients by
 * walking what was recorded, Adam on plain arrays; in 2 replicas (threads) that meet in each reduction. The parameters
 * are, to the bit, those of
 *     lockstep train examples/mnist/mlp.yaml
 *
 * Usage: custom_loop DATA_DIRECTORY [STEPS [REPLICAS]]      (DATA_DIRECTORY: examples/mnist/data; 1, 2, 4 or 8
 * replicas)
 */
#include <lockstep.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 256
#define SEED 1
#define VARIABLES 6 /* kernel and bias of three dense layers */

struct job {
    const struct ls_model *model; /* only for the variables' shapes and initial values */
    const struct ls_dataset *train;
    int64_t steps;
    double loss; /* of the last batch */
    char params_sha256[65];
};

/* What one replica owns. */
struct replica {
    struct job *job;
    struct ls_group *group;
    struct ls_device *device;
    struct ls_optimizer *optimizer;
    double counters[LS_MAX_COUNTERS];
    struct ls_tensor *variable[VARIABLES], *slot[VARIABLES][LS_MAX_SLOTS];
    uint8_t images[BATCH * 28 * 28];
    int32_t labels[BATCH];
};

/* Calls that follow one another until the first that fails. */
#define TRY(call)                     \
    do {                              \
        enum ls_status got_ = (call); \
        if (got_ != LS_OK)            \
            return got_;              \
    } while (0)

static enum ls_status prepare(struct replica *r, struct ls_error *err)
{
    struct ls_device_options device = LS_DEVICE_OPTIONS_DEFAULT;
    struct ls_optimizer_options adam = LS_OPTIMIZER_OPTIONS_DEFAULT;

    TRY(ls_device_open("cpu", &device, &r->device, err));
    TRY(ls_optimizer_create(&adam, &r->optimizer, err));
    for (int c = 0; c < ls_optimizer_counter_count(r->optimizer); c++)
        r->counters[c] = ls_optimizer_counter_initial(r->optimizer, c);
    for (int i = 0; i < VARIABLES; i++) {
        const struct ls_variable_info *info = ls_model_variable(r->job->model, i);

        TRY(ls_tensor_create(info->dtype, &info->shape, &r->variable[i], err));
        TRY(ls_model_initialize(r->job->model, SEED, i, r->variable[i]->view.data, err));
        for (int s = 0; s < ls_optimizer_slot_count(r->optimizer); s++)
            TRY(ls_tensor_create(info->dtype, &info->shape, &r->slot[i][s], err));
    }
    return LS_OK;
}

static void end(struct replica *r)
{
    for (int i = 0; i < VARIABLES; i++) {
        for (int s = 0; s < LS_MAX_SLOTS; s++)
            ls_tensor_release(r->slot[i][s]);
        ls_tensor_release(r->variable[i]);
    }
    ls_optimizer_destroy(r->optimizer);
    ls_device_close(r->device);
}

/* (n, 28, 28) images to (n, 10) logits. */
static enum ls_status forward(struct ls_context *context, struct ls_value *x, struct ls_value *const *v,
                              struct ls_value **logits, struct ls_error *err)
{
    int64_t n = ls_value_info(x)->shape.dim[0];

    TRY(ls_cast(context, x, LS_F32, &x, err));
    TRY(ls_affine(context, x, (float)(1.0 / 255), 0.0f, &x, err));
    TRY(ls_reshape(context, x, &LS_SHAPE(n, 784), &x, err));
    TRY(ls_dense(context, x, v[0], v[1], LS_ACTIVATION_RELU, &x, err));
    TRY(ls_dense(context, x, v[2], v[3], LS_ACTIVATION_RELU, &x, err));
    return ls_dense(context, x, v[4], v[5], LS_ACTIVATION_NONE, logits, err);
}

/* Loss and gradients of this replica's samples; what ls_gradient gives is already the sum over all replicas. */
static enum ls_status differentiate(struct replica *r, struct ls_context *context, const struct ls_share *share,
                                    struct ls_value **gradient, struct ls_error *err)
{
    struct ls_value *v[VARIABLES], *x, *y, *logits, *loss, *sum, *total, *seed, *ones;
    float mean = 1.0f / (float)share->shards.batch_samples;
    int64_t n = share->samples;

    TRY(ls_value_input(context, 0, LS_U8, &LS_SHAPE(n, 28, 28), LS_PER_SAMPLE, 1, r->images, &x, err));
    TRY(ls_value_input(context, 1, LS_I32, &LS_SHAPE(n), LS_PER_SAMPLE, 1, r->labels, &y, err));
    for (int i = 0; i < VARIABLES; i++)
        TRY(ls_value_variable(context, i, LS_F32, &r->variable[i]->view.shape, r->variable[i]->view.data, &v[i], err));
    TRY(forward(context, x, v, &logits, err));
    TRY(ls_binary(context, LS_OP_SPARSE_SOFTMAX_XENT, logits, y, &loss, err));
    TRY(ls_unary(context, LS_OP_SUM_F64, loss, &sum, err));
    TRY(ls_reduce(context, sum, false, &total, err)); /* every replica meets here ... */
    if (ls_group_rank(r->group) == 0)
        r->job->loss = *(const double *)ls_value_view(total).data / (double)share->shards.batch_samples;
    /* The mean's gradient: every sample's loss counts 1 / batch. */
    TRY(ls_value_constant(context, LS_F32, &LS_SHAPE_SCALAR, &mean, &seed, err));
    TRY(ls_fill(context, &LS_SHAPE(n), LS_PER_SAMPLE, 1, 1.0f, &ones, err));
    TRY(ls_binary(context, LS_OP_MUL, ones, seed, &seed, err));
    return ls_gradient(context, &loss, &seed, 1, v, VARIABLES, gradient, err); /* ... and for each gradient */
}

static void apply(struct replica *r, struct ls_value *const *gradient)
{
    ls_optimizer_advance(r->optimizer, r->counters, r->counters);
    for (int i = 0; i < VARIABLES; i++) {
        struct ls_optimizer_slice slice = {.count = ls_shape_count(&r->variable[i]->view.shape),
                                           .w = r->variable[i]->view.data,
                                           .w_out = r->variable[i]->view.data,
                                           .g = ls_value_view(gradient[i]).data};

        for (int s = 0; s < ls_optimizer_slot_count(r->optimizer); s++)
            slice.slots[s] = slice.slots_out[s] = r->slot[i][s]->view.data;
        ls_optimizer_apply(r->optimizer, r->device, r->counters, &slice);
    }
}

static enum ls_status step(struct replica *r, uint64_t number, struct ls_error *err)
{
    int64_t count = ls_dataset_count(r->job->train), per_epoch = (count + BATCH - 1) / BATCH;
    int64_t first = (int64_t)(number % (uint64_t)per_epoch) * BATCH, index[BATCH];
    struct ls_epoch_order order = {.seed = SEED, .shuffle = true, .count = count};
    struct ls_share share;
    struct ls_tree_reduce tree = {.group = r->group, .device = r->device, .share = &share};
    struct ls_context_options options = {.device = r->device, .reduce = ls_tree_reduce, .reduce_state = &tree};
    struct ls_context *context = NULL;
    struct ls_value *gradient[VARIABLES];
    enum ls_status status;

    TRY(ls_share_of(r->group, count - first < BATCH ? count - first : BATCH, ls_shards_default(BATCH), &share, err));
    ls_epoch_indices(&order, number / (uint64_t)per_epoch, first + share.shards.first_sample, share.samples, index);
    ls_dataset_gather(r->job->train, index, share.samples, LS_U8, r->images, r->labels);
    options.shards = share.shards;
    options.step = (struct ls_step_info){.seed = SEED, .step = number, .training = true};
    TRY(ls_context_create(&options, &context, err));
    status = differentiate(r, context, &share, gradient, err);
    if (status == LS_OK)
        apply(r, gradient);
    ls_context_destroy(context);
    return status;
}

static enum ls_status hash(struct replica *r, struct ls_error *err)
{
    struct ls_sha256 *sum = ls_sha256_create();
    uint8_t digest[LS_SHA256_BYTES];

    if (sum == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for a digest");
    for (int i = 0; i < VARIABLES; i++)
        ls_sha256_update(sum, r->variable[i]->view.data, ls_view_bytes(&r->variable[i]->view));
    ls_sha256_finish(sum, digest);
    ls_sha256_destroy(sum);
    ls_hex(digest, sizeof digest, r->job->params_sha256);
    return LS_OK;
}

/* Once per replica, in its thread. */
static enum ls_status run(void *state, struct ls_group *group, struct ls_error *err)
{
    struct replica *r = ls_alloc_zeroed(1, sizeof *r);
    enum ls_status status;

    if (r == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for a replica");
    r->job = state;
    r->group = group;
    status = prepare(r, err);
    for (int64_t i = 0; i < r->job->steps && status == LS_OK; i++)
        status = step(r, (uint64_t)i, err);
    if (status == LS_OK && ls_group_rank(group) == 0)
        status = hash(r, err);
    end(r);
    ls_free(r);
    return status;
}

static struct ls_model *shapes(struct ls_error *err)
{
    struct ls_model *model = ls_model_create("mlp");
    struct ls_symbol x;

    if (model == NULL)
        return NULL;
    x = ls_input(model, LS_F32, LS_SHAPE(784), NULL);
    x = ls_dense_layer(model, x, (struct ls_dense_options){.units = 512});
    x = ls_dense_layer(model, x, (struct ls_dense_options){.units = 512});
    x = ls_dense_layer(model, x, (struct ls_dense_options){.units = 10});
    if (ls_model_finish(model, &x, 1, err) == LS_OK)
        return model;
    ls_model_destroy(model);
    return NULL;
}

int main(int argc, char **argv)
{
    char features[512], labels[512];
    struct ls_dataset_options data = {.format = "idx", .features = features, .labels = labels};
    struct ls_dataset *train = NULL;
    struct ls_error err = LS_ERROR_INIT;
    struct ls_model *model = shapes(&err);
    struct job job = {.model = model, .steps = argc > 2 ? strtol(argv[2], NULL, 10) : 235};
    enum ls_status status = model != NULL ? LS_OK : LS_EINVAL;

    if (argc < 2) {
        fprintf(stderr, "usage: custom_loop DATA_DIRECTORY [STEPS [REPLICAS]]\n");
        return 2;
    }
    snprintf(features, sizeof features, "%s/train-images-idx3-ubyte.gz", argv[1]);
    snprintf(labels, sizeof labels, "%s/train-labels-idx1-ubyte.gz", argv[1]);
    if (status == LS_OK)
        status = ls_dataset_open(&data, &train, &err);
    job.train = train;
    if (status == LS_OK)
        status = ls_mirrored_run(argc > 3 ? (int)strtol(argv[3], NULL, 10) : 2, run, &job, &err);
    if (status == LS_OK)
        printf("%d steps, loss %.4f\nparams_sha256 %s\n", (int)job.steps, job.loss, job.params_sha256);
    else
        fprintf(stderr, "custom_loop: %s\n", err.message);
    ls_dataset_close(train);
    ls_model_destroy(model);
    return status == LS_OK ? 0 : 1;
}
