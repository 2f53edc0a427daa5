/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After the end: workers leave by themselves; a process that was started beside us and does not is told with SIGTERM,
 * then with SIGKILL. Each wait has its bound, so that the coordinator ends whatever they do.
 */
#include "coordinator/server/server_internal.h"

#include <signal.h>

#define LEAVE_AFTER_SUCCESS_MS 10000 /* a worker may still free a large state */
#define LEAVE_AFTER_FAILURE_MS 1000  /* nobody has anything left to do */

static int64_t stop(struct ls_server *server)
{
    ls_loop_stop(server->loop);
    return LS_MACHINE_NEVER;
}

/* Nobody to wait for but connections: of workers elsewhere, which close them when they have read our last words. */
static int64_t wait_for_connections(struct ls_server *server, int64_t now_ms)
{
    if (lsi_connections_open(server) == 0 || now_ms - server->over_ms >= LSI_LEAVE_MS)
        return stop(server);
    return server->over_ms + LSI_LEAVE_MS;
}

static int64_t signal_all(struct ls_server *server, int signal, int64_t now_ms, int64_t next_ms)
{
    server->signalled = signal;
    server->signalled_ms = now_ms;
    lsi_children_signal(server, signal);
    return now_ms + next_ms;
}

int64_t lsi_wind_down(struct ls_server *server, int64_t now_ms)
{
    int64_t leave = server->over_ms + (server->result == LS_OK ? LEAVE_AFTER_SUCCESS_MS : LEAVE_AFTER_FAILURE_MS);

    if (lsi_children_alive(server) == 0)
        return wait_for_connections(server, now_ms);
    if (server->signalled == 0)
        return now_ms < leave ? leave : signal_all(server, SIGTERM, now_ms, LSI_KILL_MS);
    if (server->signalled == SIGTERM) {
        if (now_ms < server->signalled_ms + LSI_KILL_MS)
            return server->signalled_ms + LSI_KILL_MS;
        return signal_all(server, SIGKILL, now_ms, LSI_GIVE_UP_MS);
    }
    if (now_ms < server->signalled_ms + LSI_GIVE_UP_MS)
        return server->signalled_ms + LSI_GIVE_UP_MS;
    lsi_say(server, "a worker process could not be killed; the system holds it");
    return stop(server);
}
