/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of a group's operations, which run one after another: a request is started, published to the peers, and
 * finished once the provider has advanced it. Who waits for it, and for how long, is drive.c's.
 */
#include "collective/group_impl.h"

#include "core/base/alloc.h"
#include "core/base/clock.h"

#include <string.h>

static struct ls_request *take_request(struct ls_group *group)
{
    struct ls_request *request = group->spare, *before = group->made;

    if (request != NULL) {
        group->spare = request->next;
        before = request->made_before;
    } else {
        request = ls_alloc(sizeof *request);
        if (request == NULL)
            return NULL;
        group->made = request;
    }
    memset(request, 0, sizeof *request);
    request->made_before = before;
    return request;
}

void lsi_request_give(struct ls_request *request)
{
    request->next = request->group->spare;
    request->group->spare = request;
}

static void append(struct ls_group *group, struct ls_request *request)
{
    if (group->head == NULL)
        group->head = request;
    else
        group->tail->next = request;
    group->tail = request;
}

/* Takes the head off the queue with its result. */
static void finish_head(struct ls_group *group, enum ls_status status)
{
    struct ls_request *request = group->head;

    group->head = request->next;
    request->next = NULL;
    request->status = status;
    request->finished = true;
    group->settled = request->sequence;
    if (status == LS_OK)
        group->completed = request->sequence;
    lsi_waiting_retract(group);
    lsi_waiting_clear(group);
    if (request->op.finished_ns != NULL)
        *request->op.finished_ns = ls_clock_now_ns();
    if (request->tree != NULL)
        ((struct lsi_tree *)request->tree)->uses--;
    if (request->unattended)
        lsi_request_give(request);
}

/* The group is over: every request ends with the recorded reason. */
static enum ls_status finish_all(struct ls_group *group, struct ls_error *err)
{
    enum ls_status status = lsi_group_end_error(group, err);

    while (group->head != NULL)
        finish_head(group, status);
    return status;
}

enum ls_status lsi_group_fail(struct ls_group *group, enum ls_status status, int culprit, const struct ls_error *why,
                              struct ls_error *err)
{
    lsi_group_end(group, status, culprit, why->message);
    group->ops->abort(group->state);
    return finish_all(group, err);
}

/* Publishes what could not be published before, in order. */
static enum ls_status publish_all(struct ls_group *group, struct ls_error *err)
{
    for (struct ls_request *request = group->head; request != NULL; request = request->next) {
        if (request->published)
            continue;
        enum ls_status status = group->ops->publish(group->state, request, err);
        if (status != LS_OK)
            return status;
        request->published = true;
    }
    return LS_OK;
}

enum ls_status lsi_group_advance(struct ls_group *group, struct ls_error *err)
{
    struct ls_error why = LS_ERROR_INIT;
    enum ls_status status = LS_OK;

    if (lsi_group_ended(group))
        return finish_all(group, err);
    while (group->head != NULL) {
        if (group->tail->published)
            status = LS_OK;
        else
            status = publish_all(group, &why);
        if (status == LS_OK || (status == LS_EAGAIN && group->head->published))
            status = group->ops->progress(group->state, group->head, &why);
        if (status == LS_EAGAIN)
            return LS_EAGAIN;
        if (status != LS_OK)
            return lsi_group_fail(group, status, group->waits_for, &why, err);
        group->ticks++;
        finish_head(group, LS_OK);
    }
    return LS_OK;
}

static enum ls_status start(struct ls_group *group, const struct ls_collective *collective, struct ls_request **request,
                            struct ls_error *err)
{
    struct ls_request *made;
    enum ls_status status;

    if (lsi_group_ended(group))
        return finish_all(group, err);
    status = lsi_operation_check(group, collective, err);
    if (status != LS_OK)
        return status;
    made = take_request(group);
    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for a request");
    made->group = group;
    made->op = *collective;
    made->element_bytes = collective->kind == LS_BARRIER ? 1 : ls_dtype_size(collective->dtype);
    status = lsi_operation_bind(made, err);
    if (status != LS_OK) {
        lsi_request_give(made);
        return status;
    }
    if (made->tree != NULL)
        ((struct lsi_tree *)made->tree)->uses++;
    lsi_operation_sign(made);
    made->sequence = ++group->sequence;
    append(group, made);
    /* A failure here belongs to the requests: each of them reports it when it is waited for. */
    (void)lsi_group_advance(group, NULL);
    *request = made;
    return LS_OK;
}

enum ls_status ls_group_start(struct ls_group *group, const struct ls_collective *collective,
                              struct ls_request **request, struct ls_error *err)
{
    bool turn = lsi_turn_take(group->turns);
    enum ls_status status = start(group, collective, request, err);

    lsi_turn_give(group->turns, turn);
    return status;
}

const char *ls_request_way(const struct ls_request *request)
{
    return lsi_way_name(request->signature.way);
}
