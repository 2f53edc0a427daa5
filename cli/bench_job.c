/* SPDX-License-Identifier: Apache-2.0 */
/* Models of `bench train`: those of tests/bench/torch_ddp.py, on random images that stand in memory. */
#include "cli/bench_job.h"

#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/base/philox.h"
#include "core/formats/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCHES 8
#define LAYER(class, config) "{\"module\":\"keras.layers\",\"class_name\":\"" class "\",\"config\":{" config "}},"
#define DENSE(name, units, activation) \
    LAYER("Dense", "\"name\":\"" name "\",\"units\":" units ",\"activation\":\"" activation "\"")
#define CONV(name, filters) \
    LAYER("Conv2D", "\"name\":\"" name "\",\"filters\":" filters ",\"kernel_size\":[3,3],\"activation\":\"relu\"")

static const struct ls_bench_model models[] = {
    {.name = "mlp",
     .batch = 256,
     .steps = 400,
     .flops = 256 * 2.0 * (784 * 512 * 2 + 512 * 512 * 3 + 512 * 10 * 3),
     .layers = LAYER("Flatten", "\"name\":\"flatten\"") DENSE("dense", "512", "relu") DENSE("dense_1", "512", "relu")
         DENSE("dense_2", "10", "softmax")},
    {.name = "cnn",
     .batch = 128,
     .steps = 40,
     .flops = 128 * 2.0 * (26 * 26 * 9 * 32 * 2 + 24.0 * 24 * 288 * 64 * 3 + 9216 * 128 * 3 + 128 * 10 * 3),
     .layers = LAYER("Reshape", "\"name\":\"reshape\",\"target_shape\":[28,28,1]") CONV("conv2d", "32")
         CONV("conv2d_1", "64") LAYER("MaxPooling2D", "\"name\":\"pool\",\"pool_size\":[2,2]")
             LAYER("Flatten", "\"name\":\"flatten\"") DENSE("dense", "128", "relu") DENSE("dense_1", "10", "softmax")},
};

const struct ls_bench_model *ls_bench_model_find(const char *name)
{
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++)
        if (strcmp(models[i].name, name) == 0)
            return &models[i];
    return NULL;
}

static enum ls_status write_text(const char *directory, const char *name, const char *text, struct ls_error *err)
{
    char path[160];

    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    return ls_fs_write(path, text, strlen(text), err);
}

static enum ls_status write_array(const char *directory, const char *name, struct ls_view view, struct ls_error *err)
{
    struct ls_buf file = {0};
    char path[160];
    enum ls_status status = ls_npy_append(&file, &view, err);

    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    if (status == LS_OK)
        status = ls_fs_write(path, file.data, file.length, err);
    ls_buf_deinit(&file);
    return status;
}

static enum ls_status write_data(const struct ls_bench_model *model, const char *directory, struct ls_error *err)
{
    int64_t count = BATCHES * model->batch;
    struct ls_philox_key key = ls_philox_key_of(1, 0, 0);
    float *x = ls_alloc_aligned((size_t)count * 784 * sizeof *x);
    int32_t *y = ls_alloc_aligned((size_t)count * sizeof *y);
    enum ls_status status = LS_OK;

    if (x == NULL || y == NULL)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory for the bench's data");
    for (int64_t i = 0; i < count && status == LS_OK; i++) {
        uint32_t words[4];

        for (uint32_t b = 0; b < 196; b++) {
            ls_philox_block(key, 0, (uint64_t)i, b, words);
            for (int e = 0; e < 4; e++)
                x[i * 784 + 4 * b + e] = ls_philox_unit(words[e]);
        }
        y[i] = (int32_t)(words[0] % 10);
    }
    if (status == LS_OK)
        status = write_array(directory, "x.npy",
                             (struct ls_view){.dtype = LS_F32, .shape = LS_SHAPE(count, 28, 28), .data = x}, err);
    if (status == LS_OK)
        status = write_array(directory, "y.npy", (struct ls_view){.dtype = LS_I32, .shape = LS_SHAPE(count), .data = y},
                             err);
    ls_free(x);
    ls_free(y);
    return status;
}

enum ls_status ls_bench_job_make(const struct ls_bench_model *model, struct ls_workdir **workdir, char *path,
                                 struct ls_error *err)
{
    static const char *const parents[] = {"/tmp"};
    static const char head[] = "{\"module\":\"keras\",\"class_name\":\"Sequential\",\"config\":{\"name\":\"bench\","
                               "\"layers\":[{\"module\":\"keras.layers\",\"class_name\":\"InputLayer\",\"config\":{"
                               "\"batch_shape\":[null,28,28],\"dtype\":\"float32\",\"name\":\"input\"}},";
    char json[4096], job[512];
    const char *directory;
    enum ls_status status = ls_workdir_make(parents, 1, 100, workdir, err);

    if (status != LS_OK)
        return status;
    directory = ls_workdir_path(*workdir);
    (void)snprintf(path, 128, "%s/job.yaml", directory);
    (void)snprintf(json, sizeof json, "%s%.*s]}}", head, (int)strlen(model->layers) - 1, model->layers);
    (void)snprintf(job, sizeof job,
                   "version: 1\nseed: 1\nbatch: {size: %lld}\nepochs: 1000000\nmodel: model.json\n"
                   "data:\n  train: {format: npy, features: x.npy, labels: y.npy}\n"
                   "loss: sparse_categorical_crossentropy\noptimizer: {name: adam, learning_rate: 0.001}\n",
                   (long long)model->batch);
    status = write_text(directory, "model.json", json, err);
    if (status == LS_OK)
        status = write_text(directory, "job.yaml", job, err);
    return status == LS_OK ? write_data(model, directory, err) : status;
}
