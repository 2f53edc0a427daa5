/* SPDX-License-Identifier: Apache-2.0 */
/* The courier's thread and its queue, see courier.h. */
#include "worker/step/courier.h"

#include "core/base/alloc.h"
#include "core/base/thread.h"

#include <stdatomic.h>

struct ls_courier {
    struct ls_group *group;
    pthread_t thread;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t given; /* a parcel, or the end */
    pthread_cond_t done;
    struct ls_parcel *first, *last; /* not done; the first is being carried */
    bool ending;
    _Atomic bool hurry;      /* the giver waits, so nobody computes here */
    struct ls_error failure; /* of the first parcel that failed: the group is over */
};

static enum ls_status carry(struct ls_courier *courier, struct ls_parcel *parcel, struct ls_error *err)
{
    struct ls_request *request;
    enum ls_status status = ls_group_start(courier->group, &parcel->op, &request, err);

    if (status != LS_OK)
        return status;
    parcel->way = ls_request_way(request);
    return ls_request_wait_beside(request, &courier->hurry, err);
}

static void *run(void *state)
{
    struct ls_courier *courier = state;
    struct ls_error err = LS_ERROR_INIT;

    (void)pthread_mutex_lock(&courier->lock);
    for (;;) {
        struct ls_parcel *parcel = courier->first;
        enum ls_status status;

        if (parcel == NULL && courier->ending)
            break;
        if (parcel == NULL) {
            ls_wait_idle("the next parcel", &courier->given, &courier->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&courier->lock);
        status = carry(courier, parcel, &err);
        (void)pthread_mutex_lock(&courier->lock);
        if (status != LS_OK && courier->failure.status == LS_OK)
            courier->failure = err;
        parcel->missing = ls_group_missing(courier->group);
        parcel->status = status;
        parcel->done = true;
        courier->first = parcel->next;
        (void)pthread_cond_broadcast(&courier->done);
    }
    (void)pthread_mutex_unlock(&courier->lock);
    return NULL;
}

enum ls_status ls_courier_create(struct ls_group *group, struct ls_courier **courier, struct ls_error *err)
{
    struct ls_courier *made = ls_alloc_zeroed(1, sizeof *made);
    enum ls_status status;

    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for the thread that carries gradients");
    made->group = group;
    (void)pthread_mutex_init(&made->lock, NULL);
    (void)pthread_cond_init(&made->given, NULL);
    (void)pthread_cond_init(&made->done, NULL);
    status = ls_thread_start("courier", 0, run, made, &made->thread, err);
    if (status != LS_OK) {
        (void)pthread_cond_destroy(&made->done);
        (void)pthread_cond_destroy(&made->given);
        (void)pthread_mutex_destroy(&made->lock);
        ls_free(made);
        return status;
    }
    *courier = made;
    return LS_OK;
}

void ls_courier_destroy(struct ls_courier *courier)
{
    bool busy;

    if (courier == NULL)
        return;
    (void)pthread_mutex_lock(&courier->lock);
    courier->ending = true;
    busy = courier->first != NULL;
    (void)pthread_cond_signal(&courier->given);
    (void)pthread_mutex_unlock(&courier->lock);
    if (busy)
        ls_group_abort(courier->group, "a replica ended in the middle of a step");
    (void)pthread_join(courier->thread, NULL);
    (void)pthread_cond_destroy(&courier->done);
    (void)pthread_cond_destroy(&courier->given);
    (void)pthread_mutex_destroy(&courier->lock);
    ls_free(courier);
}

void ls_courier_give(struct ls_courier *courier, struct ls_parcel *parcel)
{
    parcel->next = NULL;
    parcel->done = false;
    parcel->status = LS_OK;
    (void)pthread_mutex_lock(&courier->lock);
    if (courier->first == NULL)
        courier->first = parcel;
    else
        courier->last->next = parcel;
    courier->last = parcel;
    (void)pthread_cond_signal(&courier->given);
    (void)pthread_mutex_unlock(&courier->lock);
}

enum ls_status ls_courier_wait(struct ls_courier *courier, struct ls_parcel *parcel, struct ls_error *err)
{
    enum ls_status status;

    (void)pthread_mutex_lock(&courier->lock);
    /* Bounded by the courier: every operation of the group has its deadline. */
    courier->hurry = true;
    while (!parcel->done)
        ls_wait_idle("the courier", &courier->done, &courier->lock);
    courier->hurry = false;
    status = parcel->status;
    if (status != LS_OK && err != NULL)
        *err = courier->failure;
    (void)pthread_mutex_unlock(&courier->lock);
    return status;
}
