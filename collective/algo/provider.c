/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider's side of the message engine: what every transport that carries messages has alike, so that a new one is
 * its links and a short table.
 */
#include "collective/algo/message.h"
#include "collective/transport/tcp/listen.h"

static enum ls_status open_links(const struct ls_group_options *options, struct ls_group *group, void **state,
                                 struct ls_error *err)
{
    const struct lsi_links_ops *ops = group->ops->links;
    struct lsi_message *message;
    struct lsi_link *link;
    void *links;
    enum ls_status status = ops->open(options, group, &links, &link, err);

    if (status == LS_OK && ops->watch != NULL)
        ops->watch(links);
    if (status == LS_OK)
        status = lsi_message_create(group, ops, links, link, &message, err);
    if (status != LS_OK)
        return status;
    if (group->ops->listens)
        ls_tcp_unlisten(options->listener);
    *state = message;
    return LS_OK;
}

static bool idle(void *state, int round)
{
    struct lsi_message *m = state;

    return m->ops->idle(m->links, round);
}

static void abort_links(void *state)
{
    struct lsi_message *m = state;

    m->ops->abort(m->links);
}

static enum ls_status look(void *state, int *culprit, struct ls_error *err)
{
    struct lsi_message *m = state;

    return m->ops->look(m->links, culprit, err);
}

static void tell_wait(void *state, int rank)
{
    struct lsi_message *m = state;

    m->ops->tell_wait(m->links, rank);
}

static int heard_wait(void *state, int peer)
{
    struct lsi_message *m = state;

    return m->ops->heard_wait(m->links, peer);
}

const struct ls_provider_ops *lsi_message_complete(const struct ls_provider_ops *ops, struct ls_provider_ops *room)
{
    if (ops->links == NULL)
        return ops;
    *room = *ops;
    room->publish = lsi_message_publish;
    room->progress = lsi_message_progress;
    room->idle = idle;
    room->abort = abort_links;
    room->destroy = lsi_message_destroy;
    if (room->create == NULL)
        room->create = open_links;
    if (ops->links->look != NULL)
        room->look = look;
    if (ops->links->tell_wait != NULL) {
        room->tell_wait = tell_wait;
        room->heard_wait = heard_wait;
    }
    return room;
}

enum ls_status lsi_over_send(void *state, int peer, const void *data, size_t bytes, struct ls_error *err)
{
    const struct lsi_over *over = state;

    return over->ops->send(over->links, peer, data, bytes, err);
}

enum ls_status lsi_over_receive(void *state, int peer, void *data, size_t bytes, struct ls_error *err)
{
    const struct lsi_over *over = state;

    return over->ops->receive(over->links, peer, data, bytes, err);
}

enum ls_status lsi_over_look(void *state, int *culprit, struct ls_error *err)
{
    const struct lsi_over *over = state;

    return over->ops->look != NULL ? over->ops->look(over->links, culprit, err) : LS_OK;
}

void lsi_over_tell_wait(void *state, int rank)
{
    const struct lsi_over *over = state;

    if (over->ops->tell_wait != NULL)
        over->ops->tell_wait(over->links, rank);
}

int lsi_over_heard_wait(void *state, int peer)
{
    const struct lsi_over *over = state;

    return over->ops->heard_wait != NULL ? over->ops->heard_wait(over->links, peer) : -1;
}

void *lsi_links_of(const struct ls_group *group)
{
    const struct lsi_message *message = group->state;

    return group->ops->over != NULL ? ((const struct lsi_over *)message->links)->links : message->links;
}
