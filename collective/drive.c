/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driving a group: whoever waits for an operation advances the queue in its own thread, and watches over what ends a
 * wait: the group's deadline, the groups that it was split from, and the waiter's patience.
 */
#include "collective/group_impl.h"

#include "core/base/clock.h"
#include "core/device/fence_impl.h"

#include <stdio.h>

#define ASLEEP (INT32_MAX / 2) /* a round at which no provider spins */

static uint64_t now_ns(const struct ls_group *group)
{
    return group->ops->now_ns != NULL ? group->ops->now_ns(group->state) : ls_clock_now_ns();
}

/* From the rank that is waited for to the one that it waits for in turn, as far as that is known. */
static int end_of_waits(const struct ls_group *group, int rank)
{
    for (int hops = 0; hops < group->world && group->ops->heard_wait != NULL; hops++) {
        int next = group->ops->heard_wait(group->state, rank);
        if (next < 0 || next >= group->world || next == group->rank || next == rank)
            break;
        rank = next;
    }
    return rank;
}

/* Who is waited for, in what, for how long. */
static void time_out(struct ls_group *group, uint64_t silence_ns)
{
    struct ls_error why = LS_ERROR_INIT;
    int culprit = end_of_waits(group, group->waits_for);
    char operation[128];
    char who[128];
    char does[64];

    if (culprit == group->waits_for)
        (void)snprintf(does, sizeof does, "%s", group->waits_why != NULL ? group->waits_why : "has not answered");
    else
        (void)snprintf(does, sizeof does, "rank %d waits for as well", group->waits_for);
    ls_error_set(&why, LS_ETIMEOUT, "%s: rank %d waited %.1f s for %s, which %s",
                 lsi_operation_text(&group->head->signature, group->head->sequence, operation), group->rank,
                 (double)silence_ns * 1e-9, lsi_member_text(group, culprit, who), does);
    (void)lsi_group_fail(group, LS_ETIMEOUT, culprit, &why, NULL);
}

struct ls_group *lsi_ended_parent(const struct ls_group *group)
{
    struct ls_group *parent = group->parent;

    if (group->origin != NULL && group->origin->inside)
        parent = group->origin->group->parent; /* that one is being formed itself */
    for (; parent != NULL; parent = parent->parent) {
        struct ls_error why = LS_ERROR_INIT;
        int culprit = -1;
        enum ls_status status = LS_OK;
        if (!lsi_group_ended(parent) && parent->ops->look != NULL)
            status = parent->ops->look(parent->state, &culprit, &why);
        if (status != LS_OK && status != LS_EAGAIN)
            (void)lsi_group_fail(parent, status, culprit, &why, NULL);
        if (lsi_group_ended(parent))
            return parent;
    }
    return NULL;
}

/* A sub-group ends with the group that it was split from. */
static void watch_parents(struct ls_group *group)
{
    struct ls_group *parent = lsi_ended_parent(group);
    struct ls_error why = LS_ERROR_INIT;

    if (parent != NULL)
        (void)lsi_group_fail(group, lsi_group_end_error(parent, &why), -1, &why, NULL);
}

/* Ends the group where nothing has moved for its deadline, which starts anew with every bit of progress. Before that
 * peers are told, so that they do not take this member for the silent one. */
static void watch_deadline(struct ls_group *group)
{
    uint64_t now = now_ns(group), deadline = (uint64_t)group->wait_deadline_ms * 1000000u;

    if (group->ticks != group->seen_ticks || group->since_ns == 0) {
        group->seen_ticks = group->ticks;
        group->since_ns = now;
        lsi_waiting_retract(group);
    }
    lsi_waiting_say(group);
    if (now - group->since_ns > deadline)
        time_out(group, now - group->since_ns);
    else if (now - group->since_ns > deadline / 4)
        lsi_waiting_tell(group);
}

void lsi_group_poll(struct ls_group *group, uint64_t sequence)
{
    if (group->settled < sequence)
        (void)lsi_group_advance(group, NULL);
    if (group->settled < sequence)
        watch_parents(group);
    if (group->settled < sequence)
        watch_deadline(group);
}

enum ls_status ls_request_test(struct ls_request *request, struct ls_error *err)
{
    struct ls_group *group = request->group;
    bool turn = lsi_turn_take(group->turns);
    enum ls_status status = LS_EAGAIN;

    lsi_group_poll(group, request->sequence);
    if (request->finished)
        status = request->status != LS_OK ? lsi_group_end_error(group, err) : LS_OK;
    if (request->finished && status == LS_OK)
        lsi_request_give(request);
    lsi_turn_give(group->turns, turn);
    return status;
}

/* The group's own deadline is the end of every wait; whoever waits may lose patience before. */
static enum ls_status lose_patience(const struct ls_group *group, uint64_t sequence,
                                    const struct lsi_patience *patience, uint64_t began_ns, struct ls_error *err)
{
    int rank = lsi_rank_name(group, group->rank);
    uint64_t now;

    if (patience->abandon != NULL && atomic_load_explicit(patience->abandon, memory_order_relaxed))
        return ls_error_set(err, LS_EINTERRUPTED, "%s was closed while it waited for operation %llu of rank %d",
                            patience->who, (unsigned long long)sequence, rank);
    if (patience->deadline_ns == UINT64_MAX)
        return LS_OK;
    now = ls_clock_now_ns();
    if (now >= patience->deadline_ns)
        return ls_error_set(err, LS_ETIMEOUT, "%s waited %.1f s for operation %llu of rank %d, which goes on",
                            patience->who, (double)(now - began_ns) * 1e-9, (unsigned long long)sequence, rank);
    return LS_OK;
}

enum ls_status lsi_group_drive(struct ls_group *group, uint64_t sequence, const struct lsi_patience *patience,
                               struct ls_error *err)
{
    const _Atomic bool *hurry = patience != NULL ? patience->hurry : NULL;
    uint64_t ticks = group->ticks, began_ns = patience != NULL ? ls_clock_now_ns() : 0;
    bool slept = false, asleep;
    int round = 0;

    for (;;) {
        (void)lsi_group_advance(group, NULL);
        if (group->settled >= sequence)
            return LS_OK;
        if (group->ticks != ticks) {
            ticks = group->ticks;
            round = 0;
        }
        /* The clock is read after sleeps and now and then. */
        if ((round & 63) == 63 || slept) {
            enum ls_status status = LS_OK;
            watch_parents(group);
            if (group->settled < sequence)
                watch_deadline(group);
            if (group->settled < sequence && patience != NULL)
                status = lose_patience(group, sequence, patience, began_ns, err);
            if (status != LS_OK)
                return status;
        }
        if (group->settled >= sequence)
            return LS_OK;
        /* Others who wait go first, which is a round as well: its clock is read, and now and then the provider's wait
         * is made all the same, where alarms are heard and virtual time passes. */
        slept = false;
        if (!lsi_turn_pass(group->turns) || (round & 15) == 15) {
            asleep = hurry != NULL && !atomic_load_explicit(hurry, memory_order_relaxed);
            slept = group->ops->idle(group->state, asleep ? ASLEEP : round);
        }
        round = round < INT32_MAX ? round + 1 : round;
    }
}

static enum ls_status wait_for(struct ls_request *request, const _Atomic bool *hurry, struct ls_error *err)
{
    const struct lsi_patience patience = {.deadline_ns = UINT64_MAX, .hurry = hurry};
    struct ls_group *group = request->group;
    bool turn = lsi_turn_take(group->turns);
    enum ls_status status;

    if (!request->finished)
        (void)lsi_group_drive(group, request->sequence, hurry != NULL ? &patience : NULL, NULL);
    status = request->status;
    if (status != LS_OK)
        status = lsi_group_end_error(group, err);
    lsi_request_give(request);
    lsi_turn_give(group->turns, turn);
    return status;
}

enum ls_status ls_request_wait(struct ls_request *request, struct ls_error *err)
{
    return wait_for(request, NULL, err);
}

enum ls_status ls_request_wait_beside(struct ls_request *request, const _Atomic bool *hurry, struct ls_error *err)
{
    return wait_for(request, hurry, err);
}

bool ls_group_drives_beside(const struct ls_group *group)
{
    return group->world > 1 && group->ops->drives_beside != NULL && group->ops->drives_beside(group->state);
}

enum ls_status ls_group_run(struct ls_group *group, const struct ls_collective *collective, struct ls_error *err)
{
    struct ls_request *request;
    enum ls_status status = ls_group_start(group, collective, &request, err);

    return status != LS_OK ? status : ls_request_wait(request, err);
}
