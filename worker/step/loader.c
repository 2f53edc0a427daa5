/* SPDX-License-Identifier: Apache-2.0 */
/* Gathering beside compute, see loader.h: one slot is in use, the other one is the thread's while `ordered` is set. */
#include "worker/step/loader.h"

#include "core/base/alloc.h"
#include "core/base/log.h"
#include "core/base/thread.h"
#include "worker/step/trainer.h"

#define PATIENCE_S 300 /* a file system that hangs; no batch takes as long */
#define END_S 10       /* nobody needs the batch any more */

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
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    bool ordered;
    bool reading; /* it may hang now */
    bool leaving;
    bool left_behind; /* nobody else ends the loader */
};

static bool same_place(const struct ls_batch_place *a, const struct ls_batch_place *b)
{
    return a->schedule == b->schedule && a->epoch == b->epoch && a->first == b->first;
}

static const struct ls_dataset *choose(struct ls_loader *loader, const struct ls_batch_place *place)
{
    const struct ls_schedule *schedule = place->schedule;
    const struct ls_dataset *dataset = loader->options.dataset[schedule->mode];
    struct ls_epoch_order order = {.seed = loader->options.seed,
                                   .shuffle = loader->options.shuffle && schedule->mode == LS_STEP_TRAIN,
                                   .count = ls_dataset_count(dataset)};

    for (int c = 0; c < schedule->call_count; c++) {
        const struct ls_scheduled_call *call = &schedule->calls[c];

        ls_epoch_indices(&order, place->epoch, place->first + call->shards.first_sample,
                         call->shards.offset[call->shards.count], loader->indices + call->first_sample);
    }
    return dataset;
}

/* May hang, so it touches nothing but what the loader holds. */
static void read_samples(struct ls_loader *loader, const struct ls_dataset *dataset, int64_t count, struct slot *slot)
{
    ls_dataset_gather(dataset, loader->indices, count, ls_dataset_feature_dtype(dataset), slot->features, slot->labels);
}

static void free_loader(struct ls_loader *loader)
{
    for (int i = 0; i < 2; i++) {
        ls_dataset_close(loader->options.dataset[i]);
        ls_free(loader->slot[i].features);
        ls_free(loader->slot[i].labels);
    }
    (void)pthread_cond_destroy(&loader->changed);
    (void)pthread_mutex_destroy(&loader->lock);
    ls_free(loader->indices);
    ls_free(loader);
}

/* One order; under the lock, but not while it gathers. */
static void carry_out(struct ls_loader *loader)
{
    struct slot *slot = &loader->slot[1 - loader->used];
    int64_t count = slot->place.schedule->samples;
    const struct ls_dataset *dataset;

    (void)pthread_mutex_unlock(&loader->lock);
    dataset = choose(loader, &slot->place);
    (void)pthread_mutex_lock(&loader->lock);
    loader->reading = true;
    (void)pthread_cond_broadcast(&loader->changed);
    (void)pthread_mutex_unlock(&loader->lock);
    read_samples(loader, dataset, count, slot);
    (void)pthread_mutex_lock(&loader->lock);
    loader->reading = loader->ordered = false;
    (void)pthread_cond_broadcast(&loader->changed);
}

static void *loader_main(void *state)
{
    struct ls_loader *loader = state;
    bool left_behind;

    (void)pthread_mutex_lock(&loader->lock);
    while (!loader->leaving) {
        if (loader->ordered)
            carry_out(loader);
        else
            ls_wait_idle("the next batch to gather", &loader->changed, &loader->lock);
    }
    loader->ordered = false;
    (void)pthread_cond_broadcast(&loader->changed);
    left_behind = loader->left_behind;
    (void)pthread_mutex_unlock(&loader->lock);
    if (left_behind)
        free_loader(loader);
    return NULL;
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

enum ls_status ls_loader_create(const struct ls_loader_options *options, struct ls_loader **loader,
                                struct ls_error *err)
{
    struct ls_loader *made = ls_alloc_zeroed(1, sizeof *made);
    enum ls_status status;

    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for a loader of batches");
    made->options = *options;
    if (made->options.end_deadline_ms <= 0)
        made->options.end_deadline_ms = END_S * 1000;
    (void)pthread_mutex_init(&made->lock, NULL);
    (void)pthread_cond_init(&made->changed, NULL);
    for (int i = 0; i < 2; i++)
        (void)ls_dataset_retain(made->options.dataset[i]);
    status = make_slots(made) ? ls_thread_start("loader", 0, loader_main, made, &made->thread, err)
                              : ls_error_set(err, LS_ENOMEM, "not enough memory for two batches of %lld samples",
                                             (long long)options->samples);
    if (status != LS_OK) {
        free_loader(made);
        return status;
    }
    *loader = made;
    return LS_OK;
}

/* False where the thread hangs: it then ends the loader itself, if ever. An order that it has not begun to read is
 * waited for: it still looks at the schedule, and nothing of that can hang. */
static bool may_join(struct ls_loader *loader)
{
    struct ls_wait wait =
        ls_wait_begin("the loader's last batch", (uint64_t)loader->options.end_deadline_ms * UINT64_C(1000000));

    while (loader->ordered)
        if (!ls_wait_on(&wait, &loader->changed, &loader->lock) && loader->reading)
            break;
    loader->left_behind = loader->ordered;
    return !loader->left_behind;
}

void ls_loader_destroy(struct ls_loader *loader)
{
    int64_t deadline_ms;
    pthread_t thread;
    bool joins;

    if (loader == NULL)
        return;
    deadline_ms = loader->options.end_deadline_ms;
    thread = loader->thread;
    (void)pthread_mutex_lock(&loader->lock);
    loader->leaving = true;
    (void)pthread_cond_broadcast(&loader->changed);
    joins = may_join(loader);
    (void)pthread_mutex_unlock(&loader->lock);
    if (joins) {
        (void)pthread_join(thread, NULL);
        free_loader(loader);
        return;
    }
    (void)pthread_detach(thread);
    ls_log(LS_LOG_WARN, "loader.hangs",
           "the samples of a batch could not be read within %.3g s: their file system hangs; the thread \"loader\" is "
           "left behind and ends when it answers",
           (double)deadline_ms / 1000);
}

/* Until the thread has no order; the other slot is the caller's then. */
static enum ls_status await_thread(struct ls_loader *loader, struct ls_error *err)
{
    struct ls_wait wait = ls_wait_begin("the loader's next batch", PATIENCE_S * UINT64_C(1000000000));
    bool ordered;

    (void)pthread_mutex_lock(&loader->lock);
    while (loader->ordered && ls_wait_on(&wait, &loader->changed, &loader->lock))
        ;
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
        read_samples(loader, choose(loader, place), place->schedule->samples, next);
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
