/* SPDX-License-Identifier: Apache-2.0 */
/* The courier, see courier.h. */
#include "worker/step/courier.h"

#include "core/base/alloc.h"
#include "core/device/stream.h"

#include <stdatomic.h>

#define MOST_PARCELS 1024
/* Operations have the group's deadline, which is one for silence; many in a row may take long. */
#define PATIENCE_MS (INT64_C(7) * 24 * 3600 * 1000)

struct ls_courier {
    struct ls_group *group;
    struct ls_device_stream *stream;
    _Atomic bool hurry; /* the giver waits, so nobody computes here */
};

static enum ls_status carry(void *state, struct ls_error *err)
{
    struct ls_parcel *parcel = state;
    struct ls_courier *courier = parcel->courier;
    struct ls_request *request;
    enum ls_status status = ls_group_start(courier->group, &parcel->op, &request, err);

    if (status == LS_OK) {
        parcel->way = ls_request_way(request);
        status = ls_request_wait_beside(request, &courier->hurry, err);
    }
    parcel->missing = ls_group_missing(courier->group);
    parcel->status = status;
    return status;
}

enum ls_status ls_courier_create(struct ls_group *group, struct ls_courier **courier, struct ls_error *err)
{
    const struct ls_device_stream_options options = {
        .name = "courier", .capacity = MOST_PARCELS, .wait_deadline_ms = PATIENCE_MS};
    struct ls_courier *made = ls_alloc_zeroed(1, sizeof *made);
    enum ls_status status;

    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for the thread that carries gradients");
    made->group = group;
    status = ls_device_stream_create(NULL, &options, &made->stream, err);
    if (status != LS_OK) {
        ls_free(made);
        (void)ls_error_wrap(err, "the thread that carries gradients");
        return status;
    }
    *courier = made;
    return LS_OK;
}

void ls_courier_destroy(struct ls_courier *courier)
{
    struct ls_fence last;

    if (courier == NULL)
        return;
    last = ls_device_stream_record(courier->stream);
    if (ls_fence_test(&last, NULL) == LS_EAGAIN)
        ls_group_abort(courier->group, "a replica ended in the middle of a step");
    (void)ls_fence_wait(&last, UINT64_MAX, NULL); /* whatever is on its way has ended */
    ls_device_stream_destroy(courier->stream);
    ls_free(courier);
}

void ls_courier_give(struct ls_courier *courier, struct ls_parcel *parcel)
{
    enum ls_status status;

    parcel->courier = courier;
    parcel->way = NULL;
    parcel->missing = -1;
    parcel->status = LS_EAGAIN;
    status = ls_device_stream_call(courier->stream, "operation", carry, parcel, NULL);
    if (status != LS_OK)
        parcel->status = status; /* nobody else has it */
    parcel->end = status == LS_OK ? ls_device_stream_record(courier->stream) : (struct ls_fence){.ops = NULL};
}

enum ls_status ls_courier_wait(struct ls_courier *courier, struct ls_parcel *parcel, struct ls_error *err)
{
    enum ls_status status;

    if (parcel->end.ops == NULL)
        return ls_error_set(err, parcel->status, "%d operations are under way, and none has ended", MOST_PARCELS);
    atomic_store(&courier->hurry, true);
    status = ls_fence_wait(&parcel->end, UINT64_MAX, err);
    atomic_store(&courier->hurry, false);
    return status;
}
