/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Communicators of this process and how they end. NCCL's abort can hang where communicators of one process are aborted
 * one after another (each may wait for kernels of another), so a keeper thread, made for the purpose, takes all that
 * were split from the same group and aborts them in one group call. The thread that asks never waits for NCCL.
 */
#include "collective/provider/nccl/nccl_internal.h"
#include "collective/transport/tcp/links.h"

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/thread.h"

#include <sched.h>
#include <string.h>

#define FINALIZE_NS UINT64_C(2000000000)
/* How long a keeper waits for a thread that is inside a call, before it aborts under it: the call may be what hangs. */
#define PATIENCE_NS UINT64_C(500000000)

static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gone = PTHREAD_COND_INITIALIZER;
static struct nccl_handle *first;

struct keeper {
    int count;
    struct nccl_handle *handles[];
};

struct nccl_handle *lsi_nccl_handle_create(const struct nccl_library *library, int device)
{
    struct nccl_handle *handle = ls_alloc_zeroed(1, sizeof *handle);

    if (handle == NULL)
        return NULL;
    handle->library = library;
    handle->device = device;
    handle->holders = 1;
    (void)pthread_mutex_init(&handle->use, NULL);
    (void)pthread_mutex_lock(&registry);
    handle->next = first;
    first = handle;
    (void)pthread_mutex_unlock(&registry);
    return handle;
}

void lsi_nccl_handle_publish(struct nccl_handle *handle, struct ls_group *group, void *links)
{
    (void)pthread_mutex_lock(&registry);
    handle->group = group;
    handle->links = links;
    (void)pthread_mutex_unlock(&registry);
}

/* Under the registry's mutex. */
static void release(struct nccl_handle *handle)
{
    if (--handle->holders > 0)
        return;
    (void)pthread_mutex_destroy(&handle->use);
    ls_free(handle);
}

/* Never waits for a keeper: it says so before it takes what it aborts, and its abort may hang. */
bool lsi_nccl_handle_enter(struct nccl_handle *handle)
{
    bool live = true, taken = false;

    while (live && !taken) {
        (void)pthread_mutex_lock(&registry);
        live = handle->state == COMM_LIVE;
        taken = live && pthread_mutex_trylock(&handle->use) == 0;
        (void)pthread_mutex_unlock(&registry);
        if (live && !taken)
            (void)sched_yield();
    }
    return taken;
}

void lsi_nccl_handle_leave(struct nccl_handle *handle)
{
    (void)pthread_mutex_unlock(&handle->use);
}

/* The keeper: nobody is inside a call any more, or has been for too long. */
static void *abort_all(void *argument)
{
    struct keeper *keeper = argument;
    const struct nccl_api *nccl = &keeper->handles[0]->library->nccl;
    struct ls_wait patience = ls_wait_begin("a call of NCCL", PATIENCE_NS);
    bool held[LS_MAX_MEMBERS];

    for (int i = 0; i < keeper->count; i++)
        held[i] = ls_wait_lock(&patience, &keeper->handles[i]->use);
    (void)keeper->handles[0]->library->cuda.set_device(keeper->handles[0]->device);
    (void)nccl->group_start();
    for (int i = 0; i < keeper->count; i++)
        if (keeper->handles[i]->comm != NULL)
            (void)nccl->comm_abort(keeper->handles[i]->comm);
    (void)nccl->group_end();
    for (int i = 0; i < keeper->count; i++)
        if (held[i])
            (void)pthread_mutex_unlock(&keeper->handles[i]->use);
    (void)pthread_mutex_lock(&registry);
    for (int i = 0; i < keeper->count; i++) {
        keeper->handles[i]->state = COMM_GONE;
        release(keeper->handles[i]);
    }
    (void)pthread_cond_broadcast(&gone);
    (void)pthread_mutex_unlock(&registry);
    ls_free(keeper);
    return NULL;
}

/* A group whose communicator goes with another one ends for the same reason, and tells its peers. */
static void end_with(struct nccl_handle *other, const struct nccl_handle *cause)
{
    struct ls_error why = LS_ERROR_INIT;

    if (other->group == NULL || lsi_group_ended(other->group))
        return;
    if (cause->group != NULL && lsi_group_ended(cause->group))
        (void)lsi_group_end_error(cause->group, &why);
    else
        (void)ls_error_set(&why, LS_EINTERRUPTED, "another communicator of this process was aborted");
    lsi_group_end(other->group, why.status, -1, why.message);
    lsi_tcp_links.abort(other->links);
}

/* Under the registry's mutex: all that are to be aborted with handle. NULL where there is no memory. */
static struct keeper *gather(struct nccl_handle *handle)
{
    struct keeper *keeper = ls_alloc(sizeof *keeper + LS_MAX_MEMBERS * sizeof keeper->handles[0]);

    if (keeper == NULL)
        return NULL;
    keeper->count = 0;
    for (struct nccl_handle *other = first; other != NULL && keeper->count < LS_MAX_MEMBERS; other = other->next) {
        if (other->state != COMM_LIVE || (other != handle && (other->family == 0 || other->family != handle->family)))
            continue;
        end_with(other, handle);
        other->state = COMM_ABORTING;
        other->holders++;
        keeper->handles[keeper->count++] = other;
    }
    return keeper;
}

void lsi_nccl_handle_abort(struct nccl_handle *handle)
{
    struct keeper *keeper = NULL;

    (void)pthread_mutex_lock(&registry);
    if (handle->state == COMM_LIVE)
        keeper = gather(handle);
    (void)pthread_mutex_unlock(&registry);
    if (keeper == NULL)
        return;
    /* Without a thread the caller has to wait: the device must not go on. */
    if (ls_thread_start("nccl-abort", 0, abort_all, keeper, NULL, NULL) != LS_OK)
        (void)abort_all(keeper);
}

/* In good order: nothing runs, the peers may still be there. */
static bool finalize(struct nccl_handle *handle)
{
    const struct nccl_api *nccl = &handle->library->nccl;
    uint64_t deadline = ls_clock_now_ns() + FINALIZE_NS;
    int code, state = NCCL_IN_PROGRESS;

    code = nccl->comm_finalize(handle->comm);
    while ((code == NCCL_OK || code == NCCL_IN_PROGRESS) && state == NCCL_IN_PROGRESS && ls_clock_now_ns() < deadline) {
        code = nccl->comm_async_error(handle->comm, &state);
        if (state == NCCL_IN_PROGRESS)
            (void)sched_yield();
    }
    return code == NCCL_OK && state == NCCL_OK && nccl->comm_destroy(handle->comm) == NCCL_OK;
}

static void unlink_handle(const struct nccl_handle *handle)
{
    struct nccl_handle **at = &first;

    while (*at != NULL && *at != handle)
        at = &(*at)->next;
    if (*at != NULL)
        *at = handle->next;
}

bool lsi_nccl_handle_close(struct nccl_handle *handle, bool orderly)
{
    struct ls_wait wait;
    bool is_gone;

    lsi_nccl_handle_publish(handle, NULL, NULL);
    if (orderly && handle->comm != NULL && lsi_nccl_handle_enter(handle)) {
        bool finalized = finalize(handle);
        (void)pthread_mutex_lock(&registry);
        if (finalized && handle->state == COMM_LIVE)
            handle->state = COMM_GONE;
        (void)pthread_mutex_unlock(&registry);
        lsi_nccl_handle_leave(handle);
    }
    if (handle->comm == NULL) {
        (void)pthread_mutex_lock(&registry);
        handle->state = handle->state == COMM_LIVE ? COMM_GONE : handle->state;
        (void)pthread_mutex_unlock(&registry);
    }
    lsi_nccl_handle_abort(handle);
    wait = ls_wait_begin("the abort of a communicator", NCCL_ABORT_DEADLINE_NS);
    (void)pthread_mutex_lock(&registry);
    while (handle->state != COMM_GONE && ls_wait_on(&wait, &gone, &registry))
        ;
    is_gone = handle->state == COMM_GONE;
    unlink_handle(handle);
    release(handle);
    (void)pthread_mutex_unlock(&registry);
    return is_gone;
}
