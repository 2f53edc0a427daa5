/* SPDX-License-Identifier: Apache-2.0 */
/* The control path for tests: a server in a thread and sessions in others, over 127.0.0.1. */
#ifndef LOCKSTEP_TESTS_SUPPORT_CONTROL_H
#define LOCKSTEP_TESTS_SUPPORT_CONTROL_H

#include "coordinator/server/server.h"
#include "worker/session/session.h"

#include <pthread.h>
#include <semaphore.h>

#define LST_FINGERPRINT "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* A coordinator; options may be set before lst_host_open. */
struct lst_host {
    struct ls_server *server;
    struct ls_server_options options;
    pthread_t thread;
    enum ls_status status;
    struct ls_error err;
    char *summary;
    char log[4096];
    struct ls_step_report newest;
    bool keeps; /* all reports in `kept` */
    struct ls_step_report kept[512];
    int reports, ready;
    sem_t reported; /* posted for every report */
    char address[64];
};

/* Listens on a free port of 127.0.0.1, with a secret of sevens. */
void lst_host_open(struct lst_host *host, int workers);
/* Serves in a thread of its own until the job has ended. */
void lst_host_run(struct lst_host *host);
void lst_host_join(struct lst_host *host);
void lst_host_close(struct lst_host *host);

/* A worker thread: opens a session and keeps what it was told. */
struct lst_peer {
    const struct lst_host *host;
    struct ls_session_options options;
    pthread_t thread;
    struct ls_session *session;
    struct ls_assignment assignment;
    enum ls_status status;
    struct ls_error err;
    sem_t aborted;
    char reason[512];
    uint64_t aborted_ns;
};

struct ls_session_options lst_session_options(const struct lst_host *host, int index);
/* state: a struct lst_peer whose options are set; opens its session. */
void *lst_peer_open(void *state);
/* Opens all at once, since the assignment comes when all have joined. */
void lst_peers_open(struct lst_peer *peers, int count, const struct lst_host *host);
/* Whether it was posted within so many seconds. */
bool lst_await(sem_t *semaphore, int seconds);

#endif
