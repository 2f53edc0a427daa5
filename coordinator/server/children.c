/* SPDX-License-Identifier: Apache-2.0 */
/* The worker processes that were started beside the coordinator: their ends are events, and nobody is left behind. */
#include "coordinator/server/server_internal.h"

#include "core/base/alloc.h"
#include "core/base/host.h"

#include <signal.h>
#include <string.h>

static void on_end(void *state, const struct ls_child_end *end)
{
    struct lsi_child *child = state;
    struct ls_server *server = child->server;
    struct ls_event event = {.kind = LS_EVENT_CHILD};

    child->watch = NULL;
    event.child.index = child->index;
    event.child.pid = end->pid;
    event.child.exit_status = end->exit_status;
    event.child.signal = end->signal;
    lsi_feed(server, &event);
    lsi_schedule(server);
}

enum ls_status lsi_children_watch(struct ls_server *server, _Atomic pid_t *children, int count, struct ls_error *err)
{
    enum ls_status status = LS_OK;

    lsi_children_close(server);
    server->children = ls_alloc_zeroed((size_t)count, sizeof *server->children);
    if (server->children == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to watch %d processes", count);
    server->child_count = count;
    for (int i = 0; i < count; i++) {
        struct lsi_child *child = &server->children[i];
        enum ls_status one;

        *child = (struct lsi_child){.server = server, .pid = children[i], .index = i};
        one = ls_child_watch(server->loop, children[i], on_end, child, &child->watch, err);
        if (one == LS_OK)
            ls_child_set_mark(child->watch, &children[i]);
        else
            status = one;
    }
    return status;
}

int lsi_child_of(const struct ls_server *server, const struct ls_wire_join *join)
{
    char host[LS_HOST_NAME_TEXT];

    ls_host_name(host);
    if (strcmp(host, join->host) != 0)
        return -1;
    for (int i = 0; i < server->child_count; i++) {
        if (server->children[i].pid == join->pid)
            return i;
    }
    return -1;
}

int lsi_children_alive(const struct ls_server *server)
{
    int alive = 0;

    for (int i = 0; i < server->child_count; i++)
        alive += server->children[i].watch != NULL;
    return alive;
}

void lsi_children_signal(struct ls_server *server, int signal)
{
    for (int i = 0; i < server->child_count; i++) {
        if (server->children[i].watch != NULL)
            ls_child_signal(server->children[i].watch, signal);
    }
}

void lsi_child_kill(struct ls_server *server, int index)
{
    if (index >= 0 && index < server->child_count && server->children[index].watch != NULL)
        ls_child_signal(server->children[index].watch, SIGKILL);
}

void lsi_children_close(struct ls_server *server)
{
    for (int i = 0; i < server->child_count; i++) {
        ls_child_close(server->children[i].watch);
        server->children[i].watch = NULL;
    }
    ls_free(server->children);
    server->children = NULL;
    server->child_count = 0;
}
