/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A step run eagerly: the ops of core/nn execute as they are applied, with the same reductions as the traced program.
 * A rank with several leaves runs each in a thread of its own, one at a time: they meet at every REDUCE, where the
 * last to come finishes it for all.
 */
#include "worker/step/replica.h"

#include "core/base/alloc.h"
#include "core/base/thread.h"

#include <pthread.h>
#include <string.h>

#define PATIENCE_S 900 /* for the other calls of this rank; what they wait for ends sooner, and says more */

struct eager {
    struct ls_replica *replica;
    const struct ls_schedule *schedule;
    const struct ls_step_info *info;
    float loss_seed;
    pthread_mutex_t running; /* held by the call that computes */
    pthread_cond_t met;
    int arrived;
    uint64_t meetings;
    enum ls_status status;
    struct ls_error *err;
};

struct eager_call {
    struct eager *eager;
    const struct ls_scheduled_call *call;
    int next_reduce;
    pthread_t thread;
    bool started;
};

static void fail(struct eager *e, enum ls_status status, const struct ls_error *err)
{
    if (e->status != LS_OK)
        return;
    e->status = status;
    if (e->err != NULL && err != NULL)
        *e->err = *err;
    pthread_cond_broadcast(&e->met);
}

/* Why the step failed in another of its calls: this one ends with the same words. */
static enum ls_status tell_failure(const struct eager *e, struct ls_error *err)
{
    return ls_error_set(err, e->status, "%s", e->err != NULL ? e->err->message : "another call of the step failed");
}

static enum ls_status await_others(struct eager *e, uint64_t meeting, int reduce, struct ls_error *err)
{
    struct ls_wait wait = ls_wait_begin("the other calls of an eager step", PATIENCE_S * UINT64_C(1000000000));

    while (e->meetings == meeting && e->status == LS_OK) {
        if (ls_wait_on(&wait, &e->met, &e->running))
            continue;
        (void)ls_error_set(err, LS_ETIMEOUT,
                           "only %d of the %d calls of an eager step came to reduction %d within %d s", e->arrived,
                           e->schedule->call_count, reduce, PATIENCE_S);
        fail(e, LS_ETIMEOUT, err);
    }
    return e->status != LS_OK ? tell_failure(e, err) : LS_OK;
}

/* The last of the calls finishes the reduction; the others wait for it, or for a failure. */
static enum ls_status meet(struct eager *e, int reduce, struct ls_error *err)
{
    uint64_t meeting = e->meetings;
    enum ls_status status;

    if (++e->arrived < e->schedule->call_count)
        return await_others(e, meeting, reduce, err);
    status = ls_exchange_finish(e->replica->exchange[e->schedule->mode], reduce, err);
    if (status != LS_OK)
        fail(e, status, err);
    e->arrived = 0;
    e->meetings++;
    pthread_cond_broadcast(&e->met);
    return status;
}

static enum ls_status reduce_hook(void *state, bool moments, const struct ls_view *partial,
                                  const struct ls_view *reduced, struct ls_error *err)
{
    struct eager_call *c = state;
    struct ls_exchange *exchange = c->eager->replica->exchange[c->eager->schedule->mode];
    int reduce = c->next_reduce++;
    size_t bytes = ls_view_bytes(partial);
    enum ls_status status;

    (void)moments;
    if (reduce >= ls_exchange_count(exchange) || bytes != ls_exchange_value_bytes(exchange, reduce))
        return ls_error_set(err, LS_EINTERNAL, "eager reduction %d is not the traced program's", reduce);
    memcpy(ls_exchange_partials(exchange, c->call->leaf, 0)[reduce], partial->data, bytes);
    status = meet(c->eager, reduce, err);
    if (status == LS_OK)
        memcpy(reduced->data, ls_exchange_reduced(exchange)[reduce], bytes);
    return status;
}

/* Gradients that are no reduce's value, and new state, out of the context into the replica. */
static void take_results(struct eager_call *c, const struct ls_train_step *step)
{
    struct ls_replica *r = c->eager->replica;

    for (int i = 0; c->eager->schedule->mode == LS_STEP_TRAIN && i < r->state->variable_count; i++) {
        struct ls_view view;

        if (r->gradients[i] != NULL && step->gradients[i] != NULL) {
            view = ls_value_view(step->gradients[i]);
            memcpy(r->gradients[i], view.data, ls_view_bytes(&view));
        }
        if (step->updates[i] != NULL) {
            view = ls_value_view(step->updates[i]);
            memcpy(ls_state_next(r->state, i), view.data, ls_view_bytes(&view));
        }
    }
}

static enum ls_status build(struct eager_call *c, struct ls_context *context, struct ls_error *err)
{
    struct ls_replica *r = c->eager->replica;
    size_t feature = ls_trainer_feature_bytes(r->trainer->train);
    size_t label = ls_trainer_label_bytes(r->trainer->train);
    struct ls_step_binding binding = {.features = r->features + (size_t)c->call->first_sample * feature,
                                      .labels = r->labels + (size_t)c->call->first_sample * label,
                                      .loss_seed = &c->eager->loss_seed,
                                      .variables = (void *const *)r->variables};
    size_t count = (size_t)r->state->variable_count;
    struct ls_value **values = ls_alloc_zeroed(2 * count + 1, sizeof(struct ls_value *));
    struct ls_train_step step = {.gradients = values, .updates = values + count, .outputs = values + 2 * count};
    enum ls_status status;

    if (values == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for an eager step");
    status = ls_step_build(r->trainer, context, c->eager->schedule->mode, &binding, &step, err);
    if (status == LS_OK)
        take_results(c, &step);
    ls_free(values);
    return status;
}

static void *run_call(void *state)
{
    struct eager_call *c = state;
    struct eager *e = c->eager;
    struct ls_error err = LS_ERROR_INIT;
    struct ls_context_options options = {.device = e->replica->device,
                                         .shards = c->call->shards,
                                         .step = *e->info,
                                         .reduce = reduce_hook,
                                         .reduce_state = c};
    struct ls_context *context = NULL;
    enum ls_status status;

    (void)pthread_mutex_lock(&e->running);
    status = e->status != LS_OK ? tell_failure(e, &err) : ls_context_create(&options, &context, &err);
    if (status == LS_OK)
        status = build(c, context, &err);
    ls_context_destroy(context);
    if (status != LS_OK)
        fail(e, status, &err);
    (void)pthread_mutex_unlock(&e->running);
    return NULL;
}

enum ls_status ls_replica_run_eagerly(struct ls_replica *replica, const struct ls_schedule *schedule, float loss_seed,
                                      const struct ls_step_info *info, struct ls_error *err)
{
    struct eager e = {.replica = replica,
                      .schedule = schedule,
                      .info = info,
                      .loss_seed = loss_seed,
                      .running = PTHREAD_MUTEX_INITIALIZER,
                      .met = PTHREAD_COND_INITIALIZER,
                      .status = LS_OK,
                      .err = err};
    struct eager_call *calls = ls_alloc_zeroed((size_t)schedule->call_count, sizeof *calls);

    if (calls == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for an eager step");
    for (int i = 0; i < schedule->call_count; i++) {
        struct ls_error cause = LS_ERROR_INIT;

        calls[i] = (struct eager_call){.eager = &e, .call = &schedule->calls[i]};
        if (i > 0)
            calls[i].started = ls_thread_start("eager", 0, run_call, &calls[i], &calls[i].thread, &cause) == LS_OK;
        if (i > 0 && !calls[i].started) {
            (void)pthread_mutex_lock(&e.running);
            fail(&e, LS_ENOMEM, &cause);
            (void)pthread_mutex_unlock(&e.running);
        }
    }
    (void)run_call(&calls[0]);
    for (int i = 1; i < schedule->call_count; i++)
        if (calls[i].started)
            (void)pthread_join(calls[i].thread, NULL);
    ls_free(calls);
    return e.status;
}
