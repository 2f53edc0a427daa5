/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests as fences. The operations of a group end in the order of their sequence, so a request is a place on its
 * group's line. Whoever waits for it drives the group, in turns with all others who do (turns.h): a stream's thread, a
 * host's, or both at once.
 */
#include "collective/group_impl.h"

#include "core/device/fence_impl.h"
#include "core/device/stream.h"

#include <stdio.h>

/* With the turn. */
static enum ls_status state_of(const struct ls_group *group, uint64_t sequence, struct ls_error *err)
{
    if (group->completed >= sequence)
        return LS_OK;
    return group->settled >= sequence ? lsi_group_end_error(group, err) : LS_EAGAIN;
}

static enum ls_status request_test(void *source, uint64_t sequence, struct ls_error *err)
{
    struct ls_group *group = source;
    bool turn = lsi_turn_take(group->turns);
    enum ls_status status;

    lsi_group_poll(group, sequence);
    status = state_of(group, sequence, err);
    lsi_turn_give(group->turns, turn);
    return status;
}

static enum ls_status request_wait(void *source, uint64_t sequence, const struct lsi_patience *patience,
                                   struct ls_error *err)
{
    struct ls_group *group = source;
    bool turn = lsi_turn_take(group->turns);
    enum ls_status status = LS_OK;

    if (group->settled < sequence)
        status = lsi_group_drive(group, sequence, patience, err);
    if (status == LS_OK)
        status = state_of(group, sequence, err);
    lsi_turn_give(group->turns, turn);
    return status;
}

/* Of a request that nobody but the stream waits for: the group's deadline ends the wait, and a stream that is closed
 * ends the group, since nobody would drive it on. */
static enum ls_status handed_wait(void *source, uint64_t sequence, const struct lsi_patience *patience,
                                  struct ls_error *err)
{
    struct lsi_patience own = *patience;
    struct ls_error why = LS_ERROR_INIT;
    enum ls_status status;

    own.deadline_ns = UINT64_MAX;
    status = request_wait(source, sequence, &own, &why);
    if (status == LS_EINTERRUPTED && patience->abandon != NULL && atomic_load(patience->abandon) &&
        request_test(source, sequence, NULL) == LS_EAGAIN) {
        ls_group_abort(source, why.message);
        own.abandon = NULL;
        status = request_wait(source, sequence, &own, &why);
    }
    if (status != LS_OK && err != NULL)
        *err = why;
    return status;
}

static void request_text(const void *source, uint64_t sequence, char text[LS_FENCE_TEXT])
{
    const struct ls_group *group = source;

    (void)snprintf(text, LS_FENCE_TEXT, "operation %llu of rank %d of generation %llu", (unsigned long long)sequence,
                   lsi_rank_name(group, group->rank), (unsigned long long)group->generation);
}

static void request_hold(void *source)
{
    atomic_fetch_add(&((struct ls_group *)source)->held, 1);
}

static void request_let_go(void *source)
{
    atomic_fetch_sub(&((struct ls_group *)source)->held, 1);
}

static const struct ls_fence_ops request_ops = {
    .name = "request",
    .test = request_test,
    .wait = request_wait,
    .text = request_text,
    .hold = request_hold,
    .let_go = request_let_go,
};

static const struct ls_fence_ops handed_ops = {
    .name = "request",
    .test = request_test,
    .wait = handed_wait,
    .text = request_text,
    .hold = request_hold,
    .let_go = request_let_go,
};

static enum ls_status check_threads(const struct ls_group *group, struct ls_error *err)
{
    if (group->ops->one_thread != NULL && group->ops->one_thread(group->state))
        return ls_error_set(err, LS_EUNSUPPORTED, "the %s library allows one thread only, and a stream is another one",
                            group->ops->name);
    return LS_OK;
}

enum ls_status ls_request_fence(struct ls_request *request, struct ls_fence *fence, struct ls_error *err)
{
    struct ls_group *group = request->group;
    enum ls_status status = check_threads(group, err);

    if (status != LS_OK)
        return status;
    lsi_turns_share(group->turns);
    *fence = (struct ls_fence){&request_ops, group, request->sequence};
    return LS_OK;
}

enum ls_status ls_request_wait_on_stream(struct ls_request *request, struct ls_device_stream *stream,
                                         struct ls_error *err)
{
    struct ls_group *group = request->group;
    const struct ls_fence fence = {&handed_ops, group, request->sequence};
    enum ls_status status = check_threads(group, err);
    bool turn;

    if (status != LS_OK)
        return status;
    lsi_turns_share(group->turns);
    status = ls_device_stream_wait(stream, &fence, err);
    if (status != LS_OK)
        return status;
    turn = lsi_turn_take(group->turns);
    if (request->finished)
        lsi_request_give(request);
    else
        request->unattended = true;
    lsi_turn_give(group->turns, turn);
    return LS_OK;
}
