/* SPDX-License-Identifier: Apache-2.0 */
/* The promise of the step loop: one hash for any world, calls, device and way of execution, on synthetic data. */
#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/base/str.h"
#include "core/formats/npy.h"
#include "worker/step/replica.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SAMPLES 300 /* batches of 64 leave a short one of 44 */

static char directory[64];

static void write_npy(const char *name, enum ls_dtype dtype, struct ls_shape shape, void *data)
{
    struct ls_view view = {.dtype = dtype, .shape = shape, .data = data};
    struct ls_buf file = {0};
    char path[128];

    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    cr_assert_eq(ls_npy_append(&file, &view, NULL), LS_OK);
    cr_assert_eq(ls_fs_write_atomic(path, file.data, file.length, NULL), LS_OK);
    ls_buf_deinit(&file);
}

static void make_data(void)
{
    static uint8_t images[SAMPLES * 784];
    static int32_t labels[SAMPLES];
    uint32_t x = 1;

    (void)ls_str_into(directory, sizeof directory, "/tmp/lockstep-step-XXXXXX");
    cr_assert_neq(mkdtemp(directory), NULL);
    for (size_t i = 0; i < sizeof images; i++) {
        x = x * 1664525u + 1013904223u;
        images[i] = (x >> 24) > 180 ? (uint8_t)(x >> 16) : 0;
    }
    for (int i = 0; i < SAMPLES; i++)
        labels[i] = (int32_t)(images[784 * i + 300] + i) % 10;
    write_npy("x.npy", LS_U8, LS_SHAPE(SAMPLES, 28, 28), images);
    write_npy("y.npy", LS_I32, LS_SHAPE(SAMPLES), labels);
}

static void remove_data(void)
{
    (void)ls_fs_remove(directory, NULL);
}

struct setting {
    const char *model;
    int world;
    const char *provider;
    const char *run; /* the job's `run` block, YAML flow map */
};

struct member {
    const struct ls_trainer *trainer;
    const struct setting *setting;
    const struct ls_group_options *options;
    int rank;
    enum ls_status status;
    struct ls_error err;
    char params[65], all[65];
    double loss;
};

static void *member_main(void *state)
{
    struct member *m = state;
    struct ls_group_options options = *m->options;
    struct ls_replica_hooks hooks = {.state = NULL};
    struct ls_replica *replica = NULL;
    struct ls_group *group = NULL;

    options.rank = m->rank;
    m->status = ls_group_create(m->setting->provider, &options, &group, &m->err);
    if (m->status == LS_OK)
        m->status = ls_replica_open(m->trainer, group, NULL, &hooks, &replica, &m->err);
    if (m->status == LS_OK)
        m->status = ls_replica_run(replica, &m->err);
    if (m->status == LS_OK)
        m->status = ls_state_sha256(replica->state, m->params, m->all, &m->err);
    if (m->status == LS_OK)
        m->loss = replica->progress.last.loss / (double)replica->progress.last.samples;
    ls_replica_close(replica);
    return NULL;
}

static struct ls_job *make_job(const struct setting *s)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_job *job = NULL;
    char *text = ls_str_format("version: 1\nnumerics: 1\nseed: 7\nbatch: {size: 64}\nepochs: 2\n"
                               "model: %s/examples/mnist/%s\n"
                               "data:\n  train: {format: npy, features: x.npy, labels: y.npy}\n"
                               "  validation: {format: npy, features: x.npy, labels: y.npy}\n"
                               "loss: sparse_categorical_crossentropy\nmetrics: [accuracy]\n"
                               "optimizer: {name: adam, learning_rate: 0.002}\nrun: %s\n",
                               LS_SOURCE_DIR, s->model, s->run);
    char path[128];

    (void)snprintf(path, sizeof path, "%s/job.yaml", directory);
    cr_assert_eq(ls_job_parse(text, strlen(text), path, NULL, 0, &job, &err), LS_OK, "%s", err.message);
    ls_free(text);
    return job;
}

/* Trains in `world` threads and checks that all end alike; the hash of parameters and of all state into hashes. */
static double train(const struct setting *s, char hashes[131])
{
    struct ls_group_options options = LS_GROUP_OPTIONS_DEFAULT;
    struct ls_member members[16] = {{.worker = 0}};
    struct member ranks[16] = {{.rank = 0}};
    pthread_t threads[16];
    struct ls_trainer *trainer = NULL;
    struct ls_error err = LS_ERROR_INIT;
    struct ls_job *job = make_job(s);
    char rendezvous[128];

    cr_assert_eq(ls_trainer_open(job, LS_TRAINER_TRAINING, &trainer, &err), LS_OK, "%s", err.message);
    (void)snprintf(rendezvous, sizeof rendezvous, "%s/group", directory);
    for (int r = 0; r < s->world; r++)
        members[r] = (struct ls_member){
            .worker = 1, .incarnation = 1, .replica = r, .host = "localhost", .address = "127.0.0.1"};
    options.members = members;
    options.world = s->world;
    options.generation = 1;
    options.rendezvous = rendezvous;
    for (int r = 0; r < s->world; r++) {
        ranks[r] = (struct member){.trainer = trainer, .setting = s, .options = &options, .rank = r};
        cr_assert_eq(pthread_create(&threads[r], NULL, member_main, &ranks[r]), 0);
    }
    for (int r = 0; r < s->world; r++) {
        (void)pthread_join(threads[r], NULL);
        cr_assert_eq(ranks[r].status, LS_OK, "%s", ranks[r].err.message);
        cr_assert_str_eq(ranks[r].all, ranks[0].all);
        cr_assert_eq(ranks[r].loss, ranks[0].loss);
    }
    (void)snprintf(hashes, 131, "%s %s", ranks[0].params, ranks[0].all);
    ls_trainer_close(trainer);
    ls_job_destroy(job);
    return ranks[0].loss;
}

static void check_all_alike(const char *model, const struct setting *settings, size_t count)
{
    char first[131], other[131];
    struct setting one = {.model = model, .world = 1, .provider = "self", .run = "{strategy: one_device, workers: 1}"};
    double loss = train(&one, first);

    for (size_t i = 0; i < count; i++) {
        struct setting s = settings[i];

        s.model = model;
        cr_expect_eq(train(&s, other), loss, "%s: world %d, run %s", model, s.world, s.run);
        cr_expect_str_eq(other, first, "%s: world %d, run %s", model, s.world, s.run);
    }
}

static const struct setting settings[] = {
    {NULL, 1, "self", "{strategy: one_device, workers: 1, device: ref}"},
    {NULL, 1, "self", "{strategy: one_device, workers: 1, execution: eager}"},
    {NULL, 1, "self", "{strategy: one_device, workers: 1, micro_shards: 1}"},
    {NULL, 1, "self", "{strategy: one_device, workers: 1, micro_shards: 4, threads: 2}"},
    {NULL, 2, "shm", "{workers: 2}"},
    {NULL, 3, "shm", "{workers: 3}"},
    {NULL, 3, "shm", "{workers: 3, execution: eager}"},
    {NULL, 5, "shm", "{workers: 5, micro_shards: 1}"},
    {NULL, 8, "shm", "{workers: 8}"},
    {NULL, 10, "shm", "{workers: 10}"},
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
