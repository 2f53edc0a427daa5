/* SPDX-License-Identifier: Apache-2.0 */
/* Gathering beside compute, see loader.h: one slot is in use, the other one is the thread's while `ordered` is set. */
#include "worker/step/loader.h"

#include "core/base/alloc.h"
#include "worker/step/trainer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#define PATIENCE_S 300 /* a file system that hangs; no batch takes as long */

struct slot {
    struct ls_batch_place place; /* schedule NULL: nothing is in it */
    uint8_t *features, *labels;
};

struct ls_loader {
    struct ls_loader_options options;
    struct slot slot[2];
    int used;         /* the slot that was taken */
    int64_t *indices; /* of whoever gathers */
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ordered, leaving; /* under the lock */
};

static bool same_place(const struct ls_batch_place *a, const struct ls_batch_place *b)
{
    return a->schedule == b->schedule && a->epoch == b->epoch && a->first == b->first;
}

static void gather(struct ls_loader *loader, struct slot *slot)
{
    const struct ls_schedule *schedule = slot->place.schedule;
    const struct ls_dataset *dataset = loader->options.dataset[schedule->mode];
    struct ls_epoch_order order = {.seed = loader->options.seed,
                                   .shuffle = loader->options.shuffle && schedule->mode == LS_STEP_TRAIN,
                                   .count = ls_dataset_count(dataset)};

    for (int c = 0; c < schedule->call_count; c++) {
        const struct ls_scheduled_call *call = &schedule->calls[c];

        ls_epoch_indices(&order, slot->place.epoch, slot->place.first + call->shards.first_sample,
                         call->shards.offset[call->shards.count], loader->indices + call->first_sample);
    }
    ls_dataset_gather(dataset, loader->indices, schedule->samples, ls_dataset_feature_dtype(dataset), slot->features,
                      slot->labels);
}

static void *loader_main(void *state)
{
    struct ls_loader *loader = state;

    (void)pthread_mutex_lock(&loader->lock);
    while (!loader->leaving) {
        if (!loader->ordered) {
            /* Wakes for an order or for the end: both come from the owner, which outlives this thread. */
            (void)pthread_cond_wait(&loader->changed, &loader->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&loader->lock);
        gather(loader, &loader->slot[1 - loader->used]);
        (void)pthread_mutex_lock(&loader->lock);
        loader->ordered = false;
        (void)pthread_cond_broadcast(&loader->changed);
    }
    (void)pthread_mutex_unlock(&loader->lock);
    return NULL;
}

static bool init_sync(struct ls_loader *loader)
{
    pthread_condattr_t monotonic;
    bool made;

    if (pthread_condattr_init(&monotonic) != 0)
        return false;
    made = pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0 &&
           pthread_cond_init(&loader->changed, &monotonic) == 0;
    (void)pthread_condattr_destroy(&monotonic);
    if (made && pthread_mutex_init(&loader->lock, NULL) != 0) {
        (void)pthread_cond_destroy(&loader->changed);
        made = false;
    }
    return made;
}

/* Signals are for the threads that expect them. */
static bool start_thread(struct ls_loader *loader)
{
    sigset_t all, before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    loader->started = pthread_create(&loader->thread, NULL, loader_main, loader) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return loader->started;
}

static bool make_slots(struct ls_loader *loader)
{
    const struct ls_dataset *any = loader->options.dataset[LS_STEP_TRAIN];
    size_t samples = (size_t)loader->options.samples;
    bool made = true;

    if (any == NULL)
        any = loader->options.dataset[LS_STEP_EVALUATE];
    for (int i = 0; i < 2; i++) {
        loader->slot[i].features = ls_alloc_aligned(samples * ls_trainer_feature_bytes(any));
        loader->slot[i].labels = ls_alloc_aligned(samples * ls_trainer_label_bytes(any));
        made = made && loader->slot[i].features != NULL && loader->slot[i].labels != NULL;
    }
    loader->indices = ls_alloc_zeroed(samples, sizeof *loader->indices);
    return made && loader->indices != NULL;
}

static void free_loader(struct ls_loader *loader)
{
    for (int i = 0; i < 2; i++) {
        ls_free(loader->slot[i].features);
        ls_free(loader->slot[i].labels);
    }
    ls_free(loader->indices);
    ls_free(loader);
}

enum ls_status ls_loader_create(const struct ls_loader_options *options, struct ls_loader **loader,
                                struct ls_error *err)
{
    struct ls_loader *made = ls_alloc_zeroed(1, sizeof *made);

    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for a loader of batches");
    made->options = *options;
    if (!make_slots(made) || !init_sync(made)) {
        free_loader(made);
        return ls_error_set(err, LS_ENOMEM, "not enough memory for two batches of %lld samples",
                            (long long)options->samples);
    }
    if (!start_thread(made)) {
        ls_loader_destroy(made);
        return ls_error_set(err, LS_ENOMEM, "cannot start a thread that gathers batches");
    }
    *loader = made;
    return LS_OK;
}

void ls_loader_destroy(struct ls_loader *loader)
{
    if (loader == NULL)
        return;
    (void)pthread_mutex_lock(&loader->lock);
    loader->leaving = true;
    (void)pthread_cond_broadcast(&loader->changed);
    (void)pthread_mutex_unlock(&loader->lock);
    if (loader->started)
        (void)pthread_join(loader->thread, NULL);
    (void)pthread_cond_destroy(&loader->changed);
    (void)pthread_mutex_destroy(&loader->lock);
    free_loader(loader);
}

/* Until the thread has no order; the other slot is the caller's then. */
static enum ls_status await_thread(struct ls_loader *loader, struct ls_error *err)
{
    struct timespec until;
    bool ordered;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PATIENCE_S;
    (void)pthread_mutex_lock(&loader->lock);
    while (loader->ordered)
        if (pthread_cond_timedwait(&loader->changed, &loader->lock, &until) == ETIMEDOUT)
            break;
    ordered = loader->ordered;
    (void)pthread_mutex_unlock(&loader->lock);
    return ordered ? ls_error_set(err, LS_ETIMEOUT, "the samples of a batch could not be read within %d s", PATIENCE_S)
                   : LS_OK;
}

enum ls_status ls_loader_take(struct ls_loader *loader, const struct ls_batch_place *place, uint8_t **features,
                              uint8_t **labels, struct ls_error *err)
{
    struct slot *next = &loader->slot[1 - loader->used];
    enum ls_status status = await_thread(loader, err);

    if (status != LS_OK)
        return status;
    if (!same_place(&next->place, place)) {
        next->place = *place;
        gather(loader, next);
    }
    loader->used = 1 - loader->used;
    *features = next->features;
    *labels = next->labels;
    return LS_OK;
}

void ls_loader_ahead(struct ls_loader *loader, const struct ls_batch_place *place)
{
    (void)pthread_mutex_lock(&loader->lock);
    if (!loader->ordered) {
        loader->slot[1 - loader->used].place = *place;
        loader->ordered = true;
        (void)pthread_cond_broadcast(&loader->changed);
    }
    (void)pthread_mutex_unlock(&loader->lock);
}
