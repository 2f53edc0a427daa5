/* SPDX-License-Identifier: Apache-2.0 */
/* A server and sessions in one process, see control.h. */
#include "tests/support/control.h"

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/str.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void on_log(void *state, const char *sentence)
{
    struct lst_host *host = state;

    (void)strncat(host->log, sentence, sizeof host->log - strlen(host->log) - 2);
    (void)strncat(host->log, "\n", sizeof host->log - strlen(host->log) - 1);
}

static void on_ready(void *state, const struct ls_server_ready *ready)
{
    ((struct lst_host *)state)->ready = ready->workers;
}

static void on_report(void *state, const struct ls_step_report *report)
{
    struct lst_host *host = state;

    host->newest = *report;
    if (host->keeps && host->reports < 512)
        host->kept[host->reports] = *report;
    host->reports++;
    (void)sem_post(&host->reported);
}

static void *serve(void *state)
{
    struct lst_host *host = state;

    host->status = ls_server_run(host->server, &host->summary, &host->err);
    return NULL;
}

void lst_host_open(struct lst_host *host, int workers)
{
    struct ls_error err = LS_ERROR_INIT;

    host->options.listen = "127.0.0.1:0";
    memset(host->options.secret, 7, 32);
    if (host->options.fingerprint[0] == '\0')
        (void)ls_str_into(host->options.fingerprint, 65, LST_FINGERPRINT);
    host->options.workers = workers;
    host->options.on_log = on_log;
    host->options.on_ready = on_ready;
    host->options.on_report = on_report;
    host->options.state = host;
    (void)sem_init(&host->reported, 0, 0);
    cr_assert_eq(ls_server_open(&host->options, &host->server, &err), LS_OK, "%s", err.message);
    (void)snprintf(host->address, sizeof host->address, "127.0.0.1:%u", ls_server_port(host->server));
}

void lst_host_run(struct lst_host *host)
{
    cr_assert_eq(pthread_create(&host->thread, NULL, serve, host), 0);
}

void lst_host_join(struct lst_host *host)
{
    (void)pthread_join(host->thread, NULL);
}

void lst_host_close(struct lst_host *host)
{
    ls_server_close(host->server);
    ls_free(host->summary);
}

struct ls_session_options lst_session_options(const struct lst_host *host, int index)
{
    struct ls_session_options options = {
        .coordinator = host->address, .replicas = 1, .wanted_index = index, .connect_deadline_ms = 5000};

    memset(options.secret, 7, 32);
    (void)ls_str_into(options.fingerprint, 65, LST_FINGERPRINT);
    options.listen_port[0] = (uint16_t)(40000 + index);
    return options;
}

static void on_abort(void *state, const char *reason)
{
    struct lst_peer *peer = state;

    peer->aborted_ns = ls_clock_now_ns();
    (void)ls_str_into(peer->reason, sizeof peer->reason, reason);
    (void)sem_post(&peer->aborted);
}

void *lst_peer_open(void *state)
{
    struct lst_peer *peer = state;

    peer->status = ls_session_open(&peer->options, &peer->assignment, &peer->session, &peer->err);
    return NULL;
}

void lst_peers_open(struct lst_peer *peers, int count, const struct lst_host *host)
{
    for (int i = 0; i < count; i++) {
        peers[i].host = host;
        peers[i].options = lst_session_options(host, i);
        (void)sem_init(&peers[i].aborted, 0, 0);
        cr_assert_eq(pthread_create(&peers[i].thread, NULL, lst_peer_open, &peers[i]), 0);
    }
    for (int i = 0; i < count; i++) {
        (void)pthread_join(peers[i].thread, NULL);
        cr_assert_eq(peers[i].status, LS_OK, "worker %d: %s", i, peers[i].err.message);
        ls_session_on_abort(peers[i].session, on_abort, &peers[i]);
    }
}

bool lst_await(sem_t *semaphore, int seconds)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    return sem_timedwait(semaphore, &until) == 0;
}
