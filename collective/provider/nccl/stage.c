/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rounds: pinned and device memory, a call of NCCL between two copies, all queued on one stream, with an event behind.
 * A communicator that does not block may answer a call with "in progress": what follows on the stream is queued only
 * when NCCL says that the call is (NCCL user guide, "fault tolerance": no CUDA call before ncclCommGetAsyncError is
 * ncclSuccess).
 */
#include "collective/provider/nccl/nccl_internal.h"

#include "core/base/alloc.h"
#include "core/base/clock.h"

#include <sched.h>
#include <string.h>

#define DRAIN_NS UINT64_C(1000000000)

enum ls_status lsi_nccl_failed(const struct nccl *nccl, const char *call, int code, struct ls_error *err)
{
    const char *last =
        nccl->handle != NULL && nccl->handle->comm != NULL ? nccl->library->nccl.last_error(nccl->handle->comm) : NULL;

    return ls_error_set(err, LS_EPEER, "rank %d: %s failed: %s%s%.200s", nccl->group->rank, call,
                        nccl->library->nccl.error_text(code), last != NULL && last[0] != '\0' ? ": " : "",
                        last != NULL ? last : "");
}

static enum ls_status cuda_failed(const struct nccl *nccl, const char *what, int code, struct ls_error *err)
{
    return ls_error_set(err, LS_EPEER, "rank %d: CUDA could not %s on device %d: %s", nccl->group->rank, what,
                        nccl->device, nccl->library->cuda.error_text(code));
}

int lsi_nccl_device_enter(const struct nccl *nccl)
{
    int previous = nccl->device;

    if (nccl->library->cuda.get_device(&previous) == CUDA_OK && previous == nccl->device)
        return previous;
    (void)nccl->library->cuda.set_device(nccl->device);
    return previous;
}

void lsi_nccl_device_leave(const struct nccl *nccl, int previous)
{
    if (previous != nccl->device)
        (void)nccl->library->cuda.set_device(previous);
}

static int allocate_slot(const struct cuda_api *cuda, struct nccl_slot *slot)
{
    int code = cuda->host_alloc((void **)&slot->host_out, NCCL_STAGE_BYTES, CUDA_HOST_ALLOC_DEFAULT);

    if (code == CUDA_OK)
        code = cuda->host_alloc((void **)&slot->host_in, NCCL_STAGE_BYTES, CUDA_HOST_ALLOC_DEFAULT);
    if (code == CUDA_OK)
        code = cuda->device_alloc((void **)&slot->device_out, NCCL_STAGE_BYTES);
    if (code == CUDA_OK)
        code = cuda->device_alloc((void **)&slot->device_in, NCCL_STAGE_BYTES);
    return code == CUDA_OK ? cuda->event_create(&slot->event, CUDA_EVENT_DISABLE_TIMING) : code;
}

enum ls_status lsi_nccl_stage_create(struct nccl *nccl, struct ls_error *err)
{
    const struct cuda_api *cuda = &nccl->library->cuda;
    size_t world = (size_t)nccl->group->world;
    int previous = lsi_nccl_device_enter(nccl);
    int code = cuda->stream_create(&nccl->stream, CUDA_STREAM_NON_BLOCKING);
    enum ls_status status = LS_OK;

    for (int i = 0; i < NCCL_SLOTS && status == LS_OK && code == CUDA_OK; i++) {
        nccl->slots[i].send = ls_alloc_zeroed(world, sizeof nccl->slots[i].send[0]);
        nccl->slots[i].receive = ls_alloc_zeroed(world, sizeof nccl->slots[i].receive[0]);
        if (nccl->slots[i].send == NULL || nccl->slots[i].receive == NULL)
            status = ls_error_set(err, LS_ENOMEM, "no memory for a group of %zu", world);
        code = allocate_slot(cuda, &nccl->slots[i]);
    }
    if (status == LS_OK && code != CUDA_OK)
        status = cuda_failed(nccl, "make its stages", code, err);
    lsi_nccl_device_leave(nccl, previous);
    return status;
}

/* What an aborted round left on the stream is over; false after a while. */
static bool drain(const struct nccl *nccl)
{
    uint64_t deadline = ls_clock_now_ns() + DRAIN_NS;
    struct cuda_event *event = nccl->slots[0].event;

    if (nccl->stream == NULL || event == NULL)
        return true;
    if (nccl->library->cuda.event_record(event, nccl->stream) != CUDA_OK)
        return false;
    while (nccl->library->cuda.event_query(event) == CUDA_NOT_READY) {
        if (ls_clock_now_ns() > deadline)
            return false;
        (void)sched_yield();
    }
    return true;
}

void lsi_nccl_stage_destroy(struct nccl *nccl, bool leak)
{
    int previous;

    for (int i = 0; i < NCCL_SLOTS; i++) {
        ls_free(nccl->slots[i].send);
        ls_free(nccl->slots[i].receive);
    }
    if (leak || nccl->library == NULL)
        return;
    previous = lsi_nccl_device_enter(nccl);
    if (!drain(nccl)) {
        lsi_nccl_device_leave(nccl, previous);
        return;
    }
    for (int i = 0; i < NCCL_SLOTS; i++) {
        const struct nccl_slot *slot = &nccl->slots[i];
        if (slot->event != NULL)
            (void)nccl->library->cuda.event_destroy(slot->event);
        if (slot->device_out != NULL)
            (void)nccl->library->cuda.device_free(slot->device_out);
        if (slot->device_in != NULL)
            (void)nccl->library->cuda.device_free(slot->device_in);
        if (slot->host_out != NULL)
            (void)nccl->library->cuda.host_free(slot->host_out);
        if (slot->host_in != NULL)
            (void)nccl->library->cuda.host_free(slot->host_in);
    }
    if (nccl->stream != NULL)
        (void)nccl->library->cuda.stream_destroy(nccl->stream);
    lsi_nccl_device_leave(nccl, previous);
}

void lsi_nccl_slot_clear(struct nccl *nccl, struct nccl_slot *slot, enum round_kind kind)
{
    size_t world = (size_t)nccl->group->world;

    slot->kind = kind;
    slot->out_bytes = slot->in_bytes = 0;
    memset(slot->send, 0, world * sizeof slot->send[0]);
    memset(slot->receive, 0, world * sizeof slot->receive[0]);
}

static size_t place(struct nccl_part *part, size_t *end, size_t bytes)
{
    part->at = *end;
    part->bytes = bytes;
    *end += (bytes + NCCL_GRAIN - 1) & ~(size_t)(NCCL_GRAIN - 1);
    return part->at;
}

uint8_t *lsi_nccl_slot_send(struct nccl_slot *slot, int rank, size_t bytes)
{
    return slot->host_out + place(&slot->send[rank], &slot->out_bytes, bytes);
}

uint8_t *lsi_nccl_slot_receive(struct nccl_slot *slot, int rank, size_t bytes)
{
    return slot->host_in + place(&slot->receive[rank], &slot->in_bytes, bytes);
}

/* Sends and receives of one group run beside each other, whatever their order. */
static int exchange(const struct nccl *nccl, const struct nccl_slot *slot)
{
    const struct nccl_api *api = &nccl->library->nccl;
    int code = api->group_start(), end;

    for (int r = 0; r < nccl->group->world; r++) {
        const struct nccl_part *send = &slot->send[r], *receive = &slot->receive[r];
        if (code == NCCL_OK && send->bytes > 0)
            code = api->send(slot->device_out + send->at, send->bytes, NCCL_UINT8, r, nccl->handle->comm, nccl->stream);
        if (code == NCCL_IN_PROGRESS)
            code = NCCL_OK;
        if (code == NCCL_OK && receive->bytes > 0)
            code = api->receive(slot->device_in + receive->at, receive->bytes, NCCL_UINT8, r, nccl->handle->comm,
                                nccl->stream);
        if (code == NCCL_IN_PROGRESS)
            code = NCCL_OK;
    }
    end = api->group_end();
    return code != NCCL_OK ? code : end;
}

static int call(const struct nccl *nccl, const struct nccl_slot *slot)
{
    const struct nccl_api *api = &nccl->library->nccl;
    struct nccl_comm *comm = nccl->handle->comm;

    switch (slot->kind) {
    case ROUND_BROADCAST:
        return api->broadcast(slot->device_out, slot->root == nccl->group->rank ? slot->device_out : slot->device_in,
                              slot->count, NCCL_UINT8, slot->root, comm, nccl->stream);
    case ROUND_GATHER:
        return api->all_gather(slot->device_out, slot->device_in, slot->count, NCCL_UINT8, comm, nccl->stream);
    case ROUND_REDUCE:
        return api->all_reduce(slot->device_out, slot->device_in, slot->count, slot->dtype, slot->op, comm,
                               nccl->stream);
    case ROUND_EXCHANGE:
    default:
        return exchange(nccl, slot);
    }
}

/* The call is on the stream: what follows it. */
static enum ls_status queue_rest(const struct nccl *nccl, struct nccl_slot *slot, struct ls_error *err)
{
    const struct cuda_api *cuda = &nccl->library->cuda;
    int code = CUDA_OK;

    if (slot->in_bytes > 0)
        code = cuda->copy(slot->host_in, slot->device_in, slot->in_bytes, CUDA_DEVICE_TO_HOST, nccl->stream);
    if (code == CUDA_OK)
        code = cuda->event_record(slot->event, nccl->stream);
    if (code != CUDA_OK)
        return cuda_failed(nccl, "queue a copy", code, err);
    slot->state = ROUND_RUNNING;
    return LS_OK;
}

enum ls_status lsi_nccl_launch(struct nccl *nccl, struct nccl_slot *slot, struct ls_error *err)
{
    const struct cuda_api *cuda = &nccl->library->cuda;
    enum ls_status status = LS_OK;
    int previous, code = CUDA_OK;

    if (!lsi_nccl_handle_enter(nccl->handle))
        return lsi_group_end_error(nccl->group, err);
    previous = lsi_nccl_device_enter(nccl);
    if (slot->out_bytes > 0)
        code = cuda->copy(slot->device_out, slot->host_out, slot->out_bytes, CUDA_HOST_TO_DEVICE, nccl->stream);
    if (code != CUDA_OK)
        status = cuda_failed(nccl, "queue a copy", code, err);
    if (status == LS_OK) {
        code = call(nccl, slot);
        slot->state = ROUND_LAUNCHING;
        if (code == NCCL_OK)
            status = queue_rest(nccl, slot, err);
        else if (code != NCCL_IN_PROGRESS)
            status = lsi_nccl_failed(nccl, "a call", code, err);
    }
    lsi_nccl_device_leave(nccl, previous);
    lsi_nccl_handle_leave(nccl->handle);
    atomic_fetch_add_explicit(&nccl->group->bytes_moved, slot->out_bytes, memory_order_relaxed);
    return status;
}

enum ls_status lsi_nccl_settle(struct nccl *nccl, struct nccl_slot *slot, struct ls_error *err)
{
    int state = NCCL_IN_PROGRESS, code, previous;
    enum ls_status status = LS_EAGAIN;

    if (slot->state != ROUND_LAUNCHING)
        return LS_OK;
    if (!lsi_nccl_handle_enter(nccl->handle))
        return lsi_group_end_error(nccl->group, err);
    code = nccl->library->nccl.comm_async_error(nccl->handle->comm, &state);
    if (code != NCCL_OK || (state != NCCL_OK && state != NCCL_IN_PROGRESS))
        status = lsi_nccl_failed(nccl, "a call", code != NCCL_OK ? code : state, err);
    else if (state == NCCL_OK) {
        previous = lsi_nccl_device_enter(nccl);
        status = queue_rest(nccl, slot, err);
        lsi_nccl_device_leave(nccl, previous);
    }
    lsi_nccl_handle_leave(nccl->handle);
    return status;
}

enum ls_status lsi_nccl_finish(struct nccl *nccl, struct nccl_slot *slot, struct ls_error *err)
{
    int code, state = NCCL_OK;
    enum ls_status status = LS_EAGAIN;

    if (slot->state != ROUND_RUNNING)
        return LS_EAGAIN;
    if (!lsi_nccl_handle_enter(nccl->handle))
        return lsi_group_end_error(nccl->group, err);
    code = nccl->library->cuda.event_query(slot->event);
    if (code == CUDA_OK) {
        slot->state = ROUND_FREE;
        status = LS_OK;
    } else if (code != CUDA_NOT_READY) {
        status = cuda_failed(nccl, "finish a round", code, err);
    } else {
        code = nccl->library->nccl.comm_async_error(nccl->handle->comm, &state);
        if (code != NCCL_OK || (state != NCCL_OK && state != NCCL_IN_PROGRESS))
            status = lsi_nccl_failed(nccl, "a round", code != NCCL_OK ? code : state, err);
    }
    lsi_nccl_handle_leave(nccl->handle);
    return status;
}
