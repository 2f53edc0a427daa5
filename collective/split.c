/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sub-groups: members tell each other color and key, and those of one color form a group with connections and memory of
 * its own. It knows the group it came from: what ends that one ends it too, also where the member that ended it is not
 * in the sub-group.
 */
#include "collective/group_impl.h"
#include "collective/transport/tcp/listen.h"

#include "core/base/alloc.h"

#include <stdio.h>
#include <string.h>

static enum ls_status tell(struct ls_group *group, const struct lsi_split_card *mine, struct lsi_split_card *all,
                           struct ls_error *err)
{
    int64_t counts[LS_MAX_MEMBERS];
    struct ls_collective op = {.kind = LS_ALL_GATHER, .dtype = LS_U8, .src = mine, .dst = all, .counts = counts};

    for (int r = 0; r < group->world; r++)
        counts[r] = (int64_t)sizeof *mine;
    return ls_group_run(group, &op, err);
}

/* Ranks of the own color by key, then by rank, into from; returns how many. */
static int choose_members(const struct ls_group *group, const struct lsi_split_card *all, int *from)
{
    int count = 0;

    for (int r = 0; r < group->world; r++) {
        int at = count;
        if (all[r].color != all[group->rank].color)
            continue;
        for (; at > 0 && all[from[at - 1]].key > all[r].key; at--)
            from[at] = from[at - 1];
        from[at] = r;
        count++;
    }
    return count;
}

static enum ls_status form(struct ls_group *group, const struct lsi_split_card *all, int listener,
                           struct ls_group **split, struct ls_error *err)
{
    struct ls_group_options options = group->options;
    struct ls_member members[LS_MAX_MEMBERS];
    char rendezvous[160];
    int from[LS_MAX_MEMBERS];
    struct lsi_origin origin = {.group = group, .from = from, .color = all[group->rank].color};

    options.members = members;
    options.world = choose_members(group, all, from);
    options.listener = listener;
    for (int i = 0; i < options.world; i++) {
        members[i] = group->members[from[i]];
        members[i].port = (uint16_t)all[from[i]].port;
        if (from[i] == group->rank)
            options.rank = i;
    }
    for (int r = 0; r < group->world; r++)
        origin.context = all[r].context >= origin.context ? all[r].context + 1 : origin.context;
    if (options.rendezvous != NULL) {
        (void)snprintf(rendezvous, sizeof rendezvous, "%s-%u-%d", options.rendezvous, group->splits,
                       all[group->rank].color);
        options.rendezvous = rendezvous;
    }
    return lsi_group_create(group->ops, &options, &origin, split, err);
}

static enum ls_status split_group(struct ls_group *group, int color, int key, struct ls_group **split,
                                  struct ls_error *err)
{
    struct lsi_split_card mine = {.color = color < 0 ? -1 : color, .key = key};
    struct lsi_split_card all[LS_MAX_MEMBERS];
    char who[128];
    uint16_t port = 0;
    int listener = -1;
    enum ls_status status;

    if (group->head != NULL)
        return ls_error_set(err, LS_EBUSY, "a group is split while operations run");
    if (group->ops->context != NULL)
        mine.context = group->ops->context(group->state);
    if (group->ops->listens)
        mine.status = ls_tcp_listen(group->members[group->rank].address, &listener, &port, err);
    mine.port = port;
    /* Also where the own preparation failed: the others wait for this. */
    status = tell(group, &mine, all, mine.status == LS_OK ? err : NULL);
    group->splits++;
    if (mine.status != LS_OK)
        return (enum ls_status)mine.status;
    for (int r = 0; r < group->world && status == LS_OK; r++)
        if (all[r].status != LS_OK)
            status = ls_error_set(err, ls_status_of_peer(all[r].status, LS_EPEER), "%s could not take part in a split",
                                  lsi_member_text(group, r, who));
    if (status == LS_OK && color < 0)
        *split = NULL;
    else if (status == LS_OK)
        status = form(group, all, listener, split, err);
    if (status != LS_OK || color < 0)
        ls_tcp_unlisten(listener);
    return status;
}

enum ls_status ls_group_split(struct ls_group *group, int color, int key, struct ls_group **split, struct ls_error *err)
{
    bool turn = lsi_turn_take(group->turns);
    enum ls_status status = split_group(group, color, key, split, err);

    lsi_turn_give(group->turns, turn);
    return status;
}
