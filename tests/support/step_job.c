/* SPDX-License-Identifier: Apache-2.0 */
/* Synthetic images, a job over them, ranks as threads: see step_job.h. */
#include "step_job.h"

#include "core/base/fs.h"
#include "core/base/str.h"
#include "core/base/alloc.h"
#include "core/formats/npy.h"
#include "collective/transport/tcp/listen.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void lst_step_write_npy(const char *directory, const char *name, enum ls_dtype dtype, struct ls_shape shape, void *data)
{
    struct ls_view view = {.dtype = dtype, .shape = shape, .data = data};
    struct ls_buf file = {0};
    char path[128];

    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    cr_assert_eq(ls_npy_append(&file, &view, NULL), LS_OK);
    cr_assert_eq(ls_fs_write_atomic(path, file.data, file.length, NULL), LS_OK);
    ls_buf_deinit(&file);
}

void lst_step_directory_init(char directory[64])
{
    static uint8_t images[LST_STEP_SAMPLES * 784];
    static int32_t labels[LST_STEP_SAMPLES];
    uint32_t x = 1;

    (void)ls_str_into(directory, 64, "/tmp/lockstep-step-XXXXXX");
    cr_assert_neq(mkdtemp(directory), NULL);
    for (size_t i = 0; i < sizeof images; i++) {
        x = x * 1664525u + 1013904223u;
        images[i] = (x >> 24) > 180 ? (uint8_t)(x >> 16) : 0;
    }
    for (int i = 0; i < LST_STEP_SAMPLES; i++)
        labels[i] = (int32_t)(images[784 * i + 300] + i) % 10;
    lst_step_write_npy(directory, "x.npy", LS_U8, LS_SHAPE(LST_STEP_SAMPLES, 28, 28), images);
    lst_step_write_npy(directory, "y.npy", LS_I32, LS_SHAPE(LST_STEP_SAMPLES), labels);
}

void lst_step_directory_deinit(const char *directory)
{
    (void)ls_fs_remove(directory, NULL);
}

struct ls_job *lst_step_job(const char *directory, const char *model, const char *run)
{
    return lst_step_job_with(directory, model, run, NULL, 0);
}

struct ls_job *lst_step_job_with(const char *directory, const char *model, const char *run,
                                 const char *const *overrides, int override_count)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_job *job = NULL;
    char *text = ls_str_format("version: 1\nnumerics: 1\nseed: 7\nbatch: {size: 64}\nepochs: 2\n"
                               "model: %s/examples/mnist/%s\n"
                               "data:\n  train: {format: npy, features: x.npy, labels: y.npy}\n"
                               "  validation: {format: npy, features: x.npy, labels: y.npy}\n"
                               "loss: sparse_categorical_crossentropy\nmetrics: [accuracy]\n"
                               "optimizer: {name: adam, learning_rate: 0.002}\nrun: %s\n",
                               LS_SOURCE_DIR, model, run);
    char path[128];

    (void)snprintf(path, sizeof path, "%s/job.yaml", directory);
    cr_assert_eq(ls_job_parse(text, strlen(text), path, overrides, override_count, &job, &err), LS_OK, "%s",
                 err.message);
    ls_free(text);
    return job;
}

struct rank {
    const char *provider;
    const struct ls_trainer *trainer;
    const struct ls_group_options *options;
    int rank;
    int listener; /* -1: it needs none */
    lst_step_fn fn;
    void *state;
    enum ls_status status;
    struct ls_error err;
};

static void *rank_main(void *state)
{
    struct rank *r = state;
    struct ls_group_options options = *r->options;
    struct ls_replica_hooks hooks = {.state = NULL};
    struct ls_replica *replica = NULL;
    struct ls_group *group = NULL;

    options.rank = r->rank;
    options.listener = r->listener;
    r->status = ls_group_create(options.world > 1 ? r->provider : "self", &options, &group, &r->err);
    if (r->status == LS_OK) {
        r->status = ls_replica_open(r->trainer, group, NULL, &hooks, &replica, &r->err);
        if (r->status != LS_OK)
            ls_group_destroy(group);
    }
    if (r->status == LS_OK)
        r->status = r->fn(r->state, replica, &r->err);
    ls_replica_close(replica);
    return NULL;
}

void lst_step_run(struct ls_job *job, int world, lst_step_fn fn, void *state, struct lst_step_ranks *ranks)
{
    lst_step_run_over("shm", job, world, fn, state, ranks);
}

/* Who a rank is; a listener where the provider wants one. */
static void place(const char *provider, int world, struct rank *r, struct ls_member *member)
{
    bool apart = strcmp(provider, "hybrid") == 0 && r->rank < world - 2;

    *member = (struct ls_member){.worker = 1, .incarnation = 1, .replica = r->rank, .address = "127.0.0.1"};
    (void)snprintf(member->host, sizeof member->host, "host%d", apart ? r->rank + 1 : 0);
    r->listener = -1;
    if (strcmp(provider, "shm") != 0)
        cr_assert_eq(ls_tcp_listen("127.0.0.1", &r->listener, &member->port, NULL), LS_OK);
}

void lst_step_run_over(const char *provider, struct ls_job *job, int world, lst_step_fn fn, void *state,
                       struct lst_step_ranks *ranks)
{
    struct ls_group_options options = LS_GROUP_OPTIONS_DEFAULT;
    struct ls_member members[16] = {{.worker = 0}};
    struct rank all[16] = {{.rank = 0}};
    pthread_t threads[16];
    struct ls_trainer *trainer = NULL;
    struct ls_error err = LS_ERROR_INIT;
    char rendezvous[] = "/tmp/lockstep-meet-XXXXXX", socket[64];

    cr_assert_eq(ls_trainer_open(job, LS_TRAINER_TRAINING, &trainer, &err), LS_OK, "%s", err.message);
    cr_assert_neq(mkdtemp(rendezvous), NULL);
    (void)snprintf(socket, sizeof socket, "%s/group", rendezvous);
    for (int r = 0; r < world; r++) {
        all[r] = (struct rank){
            .provider = provider, .trainer = trainer, .options = &options, .rank = r, .fn = fn, .state = state};
        place(provider, world, &all[r], &members[r]);
    }
    options.members = members;
    options.world = world;
    options.generation = 1;
    options.rendezvous = socket;
    for (int r = 0; r < world; r++)
        cr_assert_eq(pthread_create(&threads[r], NULL, rank_main, &all[r]), 0);
    for (int r = 0; r < world; r++) {
        (void)pthread_join(threads[r], NULL);
        ranks->status[r] = all[r].status;
        ranks->err[r] = all[r].err;
    }
    (void)ls_fs_remove(rendezvous, NULL);
    ls_trainer_close(trainer);
}
