/* SPDX-License-Identifier: Apache-2.0 */
/* A server in a thread and sessions in others, over 127.0.0.1: the whole control path in one process. */
#include "coordinator/server/server.h"
#include "coordinator/store/journal.h"
#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/fs.h"
#include "core/base/str.h"
#include "worker/session/session.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <time.h>
#include <unistd.h>

#define FINGERPRINT "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

struct host {
    struct ls_server *server;
    struct ls_server_options options;
    pthread_t thread;
    enum ls_status status;
    struct ls_error err;
    char *summary;
    char log[4096];
    struct ls_step_report newest;
    int reports, ready;
    sem_t reported; /* posted for every report */
    char address[64];
};

static void on_log(void *state, const char *sentence)
{
    struct host *host = state;

    (void)strncat(host->log, sentence, sizeof host->log - strlen(host->log) - 2);
    (void)strncat(host->log, "\n", sizeof host->log - strlen(host->log) - 1);
}

static void on_ready(void *state, int workers)
{
    ((struct host *)state)->ready = workers;
}

static void on_report(void *state, const struct ls_step_report *report)
{
    struct host *host = state;

    host->newest = *report;
    host->reports++;
    (void)sem_post(&host->reported);
}

static void *serve(void *state)
{
    struct host *host = state;

    host->status = ls_server_run(host->server, &host->summary, &host->err);
    return NULL;
}

static void host_open(struct host *host, int workers)
{
    struct ls_error err = LS_ERROR_INIT;

    host->options.listen = "127.0.0.1:0";
    memset(host->options.secret, 7, 32);
    (void)ls_str_into(host->options.fingerprint, 65, FINGERPRINT);
    host->options.workers = workers;
    host->options.on_log = on_log;
    host->options.on_ready = on_ready;
    host->options.on_report = on_report;
    host->options.state = host;
    (void)sem_init(&host->reported, 0, 0);
    cr_assert_eq(ls_server_open(&host->options, &host->server, &err), LS_OK, "%s", err.message);
    (void)snprintf(host->address, sizeof host->address, "127.0.0.1:%u", ls_server_port(host->server));
}

static void host_run(struct host *host)
{
    cr_assert_eq(pthread_create(&host->thread, NULL, serve, host), 0);
}

static void host_join(struct host *host)
{
    (void)pthread_join(host->thread, NULL);
}

static void host_close(struct host *host)
{
    ls_server_close(host->server);
    ls_free(host->summary);
}

static struct ls_session_options session_options(const struct host *host, int index)
{
    struct ls_session_options options = {
        .coordinator = host->address, .replicas = 1, .wanted_index = index, .connect_deadline_ms = 5000};

    memset(options.secret, 7, 32);
    (void)ls_str_into(options.fingerprint, 65, FINGERPRINT);
    options.listen_port[0] = (uint16_t)(40000 + index);
    return options;
}

/* A worker thread: opens a session and keeps what it was told. */
struct peer {
    const struct host *host;
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

static void on_abort(void *state, const char *reason)
{
    struct peer *peer = state;

    peer->aborted_ns = ls_clock_now_ns();
    (void)ls_str_into(peer->reason, sizeof peer->reason, reason);
    (void)sem_post(&peer->aborted);
}

static void *open_peer(void *state)
{
    struct peer *peer = state;

    peer->status = ls_session_open(&peer->options, &peer->assignment, &peer->session, &peer->err);
    return NULL;
}

static void peers_open(struct peer *peers, int count, const struct host *host)
{
    for (int i = 0; i < count; i++) {
        peers[i].host = host;
        peers[i].options = session_options(host, i);
        (void)sem_init(&peers[i].aborted, 0, 0);
        cr_assert_eq(pthread_create(&peers[i].thread, NULL, open_peer, &peers[i]), 0);
    }
    for (int i = 0; i < count; i++) {
        (void)pthread_join(peers[i].thread, NULL);
        cr_assert_eq(peers[i].status, LS_OK, "worker %d: %s", i, peers[i].err.message);
        ls_session_on_abort(peers[i].session, on_abort, &peers[i]);
    }
}

static bool await(sem_t *semaphore, int seconds)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    return sem_timedwait(semaphore, &until) == 0;
}

static void *finish_peer(void *state)
{
    struct peer *peer = state;

    peer->status =
        ls_session_finish(peer->session, LS_OK, peer->assignment.first_rank == 0 ? "{\"steps\":3}" : NULL, &peer->err);
    return NULL;
}

/* Three workers join, get the same members in rank order, report, finish; the summary is rank 0's. */
Test(session, joins_reports_and_finishes)
{
    struct host host = {0};
    struct peer peers[3] = {0};
    struct ls_step_report report = {.step = 3, .epoch = 1, .fingerprint = 99, .loss = 0.5, .metric_count = 1};

    host_open(&host, 3);
    host_run(&host);
    peers_open(peers, 3, &host);
    for (int i = 0; i < 3; i++) {
        const struct ls_assignment *assignment = &peers[i].assignment;

        cr_expect_eq(assignment->generation, 1);
        cr_expect_eq(assignment->world, 3);
        cr_expect_eq(assignment->first_rank, i);
        cr_expect_eq(assignment->members[i].worker, assignment->worker);
        cr_expect_eq(assignment->members[i].port, 40000 + i);
        cr_expect_str_eq(assignment->members[i].address, "127.0.0.1");
        cr_expect_str_eq(assignment->provider, "shm");
        cr_expect_lt(strlen(assignment->rendezvous), 108);
    }
    ls_session_set_phase(peers[0].session, 3, LS_PHASE_REDUCING);
    report.metrics[0] = 0.25;
    ls_session_report_step(peers[0].session, &report);
    cr_expect(await(&host.reported, 5));
    cr_expect_eq(host.newest.step, 3);
    cr_expect_eq(host.newest.generation, 1);
    cr_expect_eq(host.newest.metrics[0], 0.25);
    cr_expect_eq(host.ready, 3);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(pthread_create(&peers[i].thread, NULL, finish_peer, &peers[i]), 0);
    for (int i = 0; i < 3; i++) {
        (void)pthread_join(peers[i].thread, NULL);
        cr_expect_eq(peers[i].status, LS_OK, "%s", peers[i].err.message);
    }
    host_join(&host);
    cr_expect_eq(host.status, LS_OK, "%s", host.err.message);
    cr_expect_str_eq(host.summary, "{\"steps\":3}");
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(ls_session_order(peers[i].session, NULL), LS_ORDER_NONE);
        ls_session_close(peers[i].session);
    }
    host_close(&host);
}

/* Validation numbers and the newest step arrive even where many steps were reported at once, and in order. */
Test(session, reports_keep_validation_and_the_newest)
{
    struct host host = {0};
    struct peer peer[1] = {0};
    struct ls_step_report report = {.epoch = 1};

    host_open(&host, 1);
    host_run(&host);
    peers_open(peer, 1, &host);
    cr_expect_str_eq(peer->assignment.provider, "self");
    for (uint64_t step = 1; step <= 2000; step++) {
        report.step = step;
        ls_session_report_step(peer->session, &report);
    }
    report.validation = true;
    report.loss = 0.125;
    ls_session_report_step(peer->session, &report);
    cr_expect_eq(ls_session_finish(peer->session, LS_OK, NULL, NULL), LS_OK);
    host_join(&host);
    cr_expect(host.newest.validation);
    cr_expect_eq(host.newest.step, 2000);
    cr_expect_eq(host.newest.loss, 0.125);
    cr_expect_geq(host.reports, 2);
    cr_expect_lt(host.reports, 1000, "%d reports were sent where the newest should win", host.reports);
    cr_expect_null(host.summary);
    ls_session_close(peer->session);
    host_close(&host);
}

/* A worker with another secret is refused, says so, tells the coordinator nothing of its job; the coordinator logs it. */
Test(session, refuses_another_secret)
{
    struct host host = {0};
    struct ls_session_options options;
    struct ls_assignment assignment;
    struct ls_session *session = NULL;
    struct ls_error err = LS_ERROR_INIT;

    host_open(&host, 1);
    host_run(&host);
    options = session_options(&host, 0);
    options.secret[31] ^= 1;
    cr_expect_eq(ls_session_open(&options, &assignment, &session, &err), LS_EAUTH);
    cr_expect_not_null(strstr(err.message, "another secret"), "%s", err.message);
    cr_expect_not_null(strstr(err.message, host.address), "%s", err.message);
    ls_server_stop(host.server);
    host_join(&host);
    cr_expect_eq(host.status, LS_EINTERRUPTED);
    cr_expect_not_null(strstr(host.log, "another secret"), "%s", host.log);
    host_close(&host);
}

/* A worker of another job, or of an index that does not exist, is refused with a sentence that says which. */
Test(session, refuses_another_job)
{
    struct host host = {0};
    struct ls_session_options options;
    struct ls_assignment assignment;
    struct ls_session *session = NULL;
    struct ls_error err = LS_ERROR_INIT;

    host_open(&host, 1);
    host_run(&host);
    options = session_options(&host, 0);
    options.fingerprint[0] = 'f';
    cr_expect_eq(ls_session_open(&options, &assignment, &session, &err), LS_EAUTH);
    cr_expect_not_null(strstr(err.message, "fingerprint is f123456789ab"), "%s", err.message);
    options = session_options(&host, 1);
    cr_expect_eq(ls_session_open(&options, &assignment, &session, &err), LS_EINVAL);
    cr_expect_not_null(strstr(err.message, "there is no worker 1"), "%s", err.message);
    ls_server_stop(host.server);
    host_join(&host);
    host_close(&host);
}

/* A worker whose device gives other known answers than the coordinator's build expects is refused with a sentence. */
Test(session, refuses_other_known_answers)
{
    struct host host = {0};
    struct peer peer[1] = {0};
    struct ls_session_options options;
    struct ls_assignment assignment;
    struct ls_session *session = NULL;
    struct ls_error err = LS_ERROR_INIT;

    host.options.known_answers = UINT64_C(0xfeedfacecafebeef);
    host_open(&host, 1);
    host_run(&host);
    options = session_options(&host, 0);
    options.known_answers = UINT64_C(0xfeedfacecafebee0);
    cr_expect_eq(ls_session_open(&options, &assignment, &session, &err), LS_EAUTH);
    cr_expect_not_null(strstr(err.message, "feedfacecafebee0"), "%s", err.message);
    cr_expect_not_null(strstr(err.message, "same build"), "%s", err.message);
    peer->options = session_options(&host, 0);
    peer->options.known_answers = host.options.known_answers;
    open_peer(peer);
    cr_assert_eq(peer->status, LS_OK, "%s", peer->err.message);
    cr_expect_eq(ls_session_finish(peer->session, LS_OK, NULL, NULL), LS_OK);
    host_join(&host);
    cr_expect_not_null(strstr(host.log, "known answers"), "%s", host.log);
    ls_session_close(peer->session);
    host_close(&host);
}

/* One worker too many is refused while the job runs, and the job goes on. */
Test(session, refuses_a_spare_worker)
{
    struct host host = {0};
    struct peer peer[1] = {0};
    struct ls_session_options options;
    struct ls_assignment assignment;
    struct ls_session *session = NULL;
    struct ls_error err = LS_ERROR_INIT;

    host_open(&host, 1);
    host_run(&host);
    peers_open(peer, 1, &host);
    options = session_options(&host, 0);
    options.wanted_index = -1;
    cr_expect_eq(ls_session_open(&options, &assignment, &session, &err), LS_EBUSY);
    cr_expect_not_null(strstr(err.message, "already has its 1 worker"), "%s", err.message);
    cr_expect_eq(ls_session_finish(peer->session, LS_OK, NULL, NULL), LS_OK);
    host_join(&host);
    cr_expect_eq(host.status, LS_OK);
    ls_session_close(peer->session);
    host_close(&host);
}

/* A worker that vanishes is named to the others within a second, and the job fails with that sentence. */
Test(session, names_the_lost_worker)
{
    struct host host = {0};
    struct peer peers[3] = {0};
    uint64_t killed;

    host_open(&host, 3);
    host_run(&host);
    peers_open(peers, 3, &host);
    killed = ls_clock_now_ns();
    ls_session_close(peers[1].session); /* no finish: the socket closes as a killed process's does */
    cr_assert(await(&peers[0].aborted, 5));
    cr_assert(await(&peers[2].aborted, 5));
    cr_expect_lt(peers[0].aborted_ns - killed, 1000000000u);
    cr_expect_not_null(strstr(peers[0].reason, "worker 1 (pid"), "%s", peers[0].reason);
    cr_expect_eq(ls_session_order(peers[2].session, NULL), LS_ORDER_ABORT);
    cr_expect_eq(ls_session_finish(peers[0].session, LS_EPEER, "rank 1 is gone", NULL), LS_OK);
    cr_expect_eq(ls_session_finish(peers[2].session, LS_EPEER, "rank 1 is gone", NULL), LS_OK);
    host_join(&host);
    cr_expect_eq(host.status, LS_EPEER);
    cr_expect_not_null(strstr(host.err.message, "worker 1 (pid"), "%s", host.err.message);
    cr_expect_not_null(strstr(host.err.message, "worker 0 was"), "%s", host.err.message);
    ls_session_close(peers[0].session);
    ls_session_close(peers[2].session);
    host_close(&host);
}

/* A stop reaches every worker; the job then ends well when they have finished. */
Test(session, stops_in_order)
{
    struct host host = {0};
    struct peer peers[2] = {0};
    char reason[512];

    host_open(&host, 2);
    host_run(&host);
    peers_open(peers, 2, &host);
    ls_server_stop(host.server);
    for (int i = 0; i < 2; i++) {
        /* The order is polled at step boundaries; a report's round trip stands in for a step. */
        while (ls_session_order(peers[i].session, reason) == LS_ORDER_NONE)
            (void)sched_yield();
        cr_expect_eq(ls_session_order(peers[i].session, reason), LS_ORDER_STOP);
        cr_expect_str_eq(reason, "the job was told to stop");
    }
    for (int i = 0; i < 2; i++)
        cr_expect_eq(ls_session_finish(peers[i].session, LS_OK, "{}", NULL), LS_OK);
    host_join(&host);
    cr_expect_eq(host.status, LS_OK, "%s", host.err.message);
    for (int i = 0; i < 2; i++)
        ls_session_close(peers[i].session);
    host_close(&host);
}

/* A worker's own error is the job's, with its status and text, and the others hear it. */
Test(session, passes_an_error_on)
{
    struct host host = {0};
    struct peer peers[2] = {0};

    host_open(&host, 2);
    host_run(&host);
    peers_open(peers, 2, &host);
    cr_expect_eq(ls_session_finish(peers[1].session, LS_ECORRUPT, "data.gz is damaged at byte 5", NULL), LS_OK);
    cr_assert(await(&peers[0].aborted, 5));
    cr_expect_not_null(strstr(peers[0].reason, "data.gz is damaged"), "%s", peers[0].reason);
    ls_session_close(peers[0].session);
    host_join(&host);
    cr_expect_eq(host.status, LS_ECORRUPT);
    cr_expect_str_eq(host.err.message, "data.gz is damaged at byte 5");
    ls_session_close(peers[1].session);
    host_close(&host);
}

/* When the coordinator goes, every worker hears of it by name and address. */
Test(session, hears_of_a_lost_coordinator)
{
    struct ls_error err = LS_ERROR_INIT;
    struct host host = {0};
    struct peer peer[1] = {0};
    int pipes[2];
    uint16_t port = 0;
    pid_t child;

    cr_assert_eq(pipe(pipes), 0);
    child = fork();
    if (child == 0) {
        host_open(&host, 1);
        port = ls_server_port(host.server);
        if (write(pipes[1], &port, sizeof port) == (ssize_t)sizeof port)
            (void)ls_server_run(host.server, NULL, NULL);
        _exit(0);
    }
    cr_assert_eq(read(pipes[0], &port, sizeof port), (ssize_t)sizeof port);
    (void)snprintf(host.address, sizeof host.address, "127.0.0.1:%u", port);
    peers_open(peer, 1, &host);
    (void)kill(child, SIGKILL);
    cr_assert(await(&peer->aborted, 5));
    cr_expect_not_null(strstr(peer->reason, "the coordinator at 127.0.0.1:"), "%s", peer->reason);
    cr_expect_not_null(strstr(peer->reason, "is gone"), "%s", peer->reason);
    cr_expect_eq(ls_session_finish(peer->session, LS_OK, NULL, &err), LS_EPEER);
    ls_session_close(peer->session);
    (void)waitpid(child, NULL, 0);
}

/* Nobody listens: the session gives up at its deadline with the address in its sentence. */
Test(session, gives_up_without_a_coordinator)
{
    struct ls_session_options options = {
        .coordinator = "127.0.0.1:1", .replicas = 1, .wanted_index = 0, .connect_deadline_ms = 200};
    struct ls_assignment assignment;
    struct ls_session *session = NULL;
    struct ls_error err = LS_ERROR_INIT;

    (void)ls_str_into(options.fingerprint, 65, FINGERPRINT);
    cr_expect_eq(ls_session_open(&options, &assignment, &session, &err), LS_ETIMEOUT);
    cr_expect_not_null(strstr(err.message, "127.0.0.1:1"), "%s", err.message);
    options.coordinator = "no-port";
    cr_expect_eq(ls_session_open(&options, &assignment, &session, &err), LS_EINVAL);
}

/* A port in use is said at once, with the address. */
Test(server, names_an_address_in_use)
{
    struct host host = {0};
    struct ls_server_options options = LS_SERVER_OPTIONS_DEFAULT;
    struct ls_server *second = NULL;
    struct ls_error err = LS_ERROR_INIT;

    host_open(&host, 1);
    options.listen = host.address;
    options.workers = 1;
    cr_expect_eq(ls_server_open(&options, &second, &err), LS_EBUSY);
    cr_expect_not_null(strstr(err.message, host.address), "%s", err.message);
    host_close(&host);
}

/* Who does not come by the deadline is named. */
Test(server, names_the_missing)
{
    struct host host = {.options.join_deadline_ms = 300};
    struct peer peer = {.host = &host};

    host_open(&host, 3);
    host_run(&host);
    peer.options = session_options(&host, 1);
    cr_assert_eq(pthread_create(&peer.thread, NULL, open_peer, &peer), 0);
    (void)pthread_join(peer.thread, NULL);
    cr_expect_eq(peer.status, LS_ETIMEOUT);
    host_join(&host);
    cr_expect_eq(host.status, LS_ETIMEOUT);
    cr_expect_str_eq(host.err.message, "workers 0 and 2 of 3 did not join within 0.3 s");
    cr_expect_str_eq(peer.err.message, host.err.message);
    host_close(&host);
}

/* A child that dies before it joins ends the job at once, with its signal. */
Test(server, names_the_signal_of_a_child)
{
    struct host host = {0};
    pid_t child = fork();

    if (child == 0) {
        (void)pause();
        _exit(0);
    }
    host_open(&host, 1);
    ls_server_set_children(host.server, &child, 1);
    host_run(&host);
    (void)kill(child, SIGKILL);
    host_join(&host);
    cr_expect_eq(host.status, LS_EPEER);
    cr_expect_not_null(strstr(host.err.message, "was killed by signal 9 (Killed) before it joined"), "%s",
                       host.err.message);
    host_close(&host);
}

/* A child that is a worker: its signal is in the sentence, though its socket closed first; and one that ignores its
 * end is killed, so that nobody is left. */
Test(server, names_the_signal_of_a_worker_and_leaves_nobody)
{
    struct host host = {0};
    pid_t children[2];
    int pipes[2];
    char byte;

    host_open(&host, 2);
    cr_assert_eq(pipe(pipes), 0);
    for (int i = 0; i < 2; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            struct ls_session_options options = session_options(&host, i);
            struct ls_assignment assignment;
            struct ls_session *session;

            (void)signal(SIGTERM, SIG_IGN);
            if (ls_session_open(&options, &assignment, &session, NULL) != LS_OK)
                _exit(1);
            ls_session_set_phase(session, 57, LS_PHASE_COMPUTING);
            if (write(pipes[1], "x", 1) != 1)
                _exit(1);
            for (;;)
                (void)pause();
        }
    }
    ls_server_set_children(host.server, children, 2);
    host_run(&host);
    cr_assert_eq(read(pipes[0], &byte, 1), 1);
    cr_assert_eq(read(pipes[0], &byte, 1), 1);
    (void)kill(children[1], SIGKILL);
    host_join(&host);
    cr_expect_eq(host.status, LS_EPEER);
    cr_expect_not_null(strstr(host.err.message, "was killed by signal 9"), "%s", host.err.message);
    cr_expect_not_null(strstr(host.err.message, "worker 1 (pid"), "%s", host.err.message);
    cr_expect_eq(kill(children[0], 0), -1, "a worker was left behind");
    host_close(&host);
}

static int connect_raw(const struct host *host)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(ls_server_port(host->server))};
    struct timeval limit = {.tv_sec = 30};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

/* A stranger that talks nonsense is cut off without an answer, and the job goes on. */
Test(server, cuts_off_a_stranger)
{
    struct host host = {0};
    struct peer peer[1] = {0};
    char answer[16];
    int fd;

    host_open(&host, 1);
    host_run(&host);
    fd = connect_raw(&host);
    cr_expect_eq(send(fd, "GET / HTTP/1.1\r\nHost: somewhere.example\r\n\r\n", 44, MSG_NOSIGNAL), 44);
    cr_expect_leq(recv(fd, answer, sizeof answer, 0), 0);
    (void)close(fd);
    peers_open(peer, 1, &host);
    cr_expect_eq(ls_session_finish(peer->session, LS_OK, NULL, NULL), LS_OK);
    host_join(&host);
    cr_expect_eq(host.status, LS_OK);
    cr_expect_str_eq(strstr(host.log, "GET") == NULL ? "" : host.log, "", "a stranger's words are in the log");
    ls_session_close(peer->session);
    host_close(&host);
}

/* Whoever connects and says nothing is cut off by the clock; a crowd of them do not keep a worker out. */
Test(server, cuts_off_the_silent)
{
    struct host host = {0};
    struct peer peer[1] = {0};
    static int silent[300];
    char answer[1];
    ssize_t got;

    host_open(&host, 1);
    host_run(&host);
    for (int i = 0; i < 300; i++)
        silent[i] = connect_raw(&host);
    peers_open(peer, 1, &host);
    cr_expect_leq(recv(silent[0], answer, 1, 0), 0, "the oldest should have given way");
    got = recv(silent[299], answer, 1, 0);
    cr_expect(got == 0 || (got < 0 && errno == ECONNRESET), "the newest was not cut off in time");
    cr_expect_eq(ls_session_finish(peer->session, LS_OK, NULL, NULL), LS_OK);
    host_join(&host);
    cr_expect_eq(host.status, LS_OK);
    ls_session_close(peer->session);
    host_close(&host);
}

/* With a directory there is a journal: the next coordinator goes on with the next generation. */
Test(server, goes_on_with_the_next_generation)
{
    char directory[64] = "/tmp/lockstep-test-XXXXXX";

    cr_assert_not_null(mkdtemp(directory));
    for (uint64_t run = 1; run <= 3; run++) {
        struct host host = {.options.directory = directory};
        struct peer peer[1] = {0};
        struct ls_step_report report = {.step = 5, .fingerprint = run};

        host_open(&host, 1);
        host_run(&host);
        peers_open(peer, 1, &host);
        cr_expect_eq(peer->assignment.generation, run);
        ls_session_report_step(peer->session, &report);
        ls_session_report_checkpoint(peer->session, 5, "/out/step-5");
        cr_expect_eq(ls_session_finish(peer->session, LS_OK, NULL, NULL), LS_OK);
        host_join(&host);
        ls_session_close(peer->session);
        host_close(&host);
    }
    cr_expect_eq(ls_fs_remove(directory, NULL), LS_OK);
}

/* The journal of a finished job tells its steps, its checkpoint and its end. */
Test(server, keeps_a_journal)
{
    char directory[64] = "/tmp/lockstep-test-XXXXXX", path[96];
    struct host host = {.options.directory = directory};
    struct peer peer[1] = {0};
    struct ls_step_report report = {.step = 5, .fingerprint = 9};
    struct ls_journal_state state;
    struct ls_buf bytes = {0};

    cr_assert_not_null(mkdtemp(directory));
    host_open(&host, 1);
    host_run(&host);
    peers_open(peer, 1, &host);
    ls_session_report_step(peer->session, &report);
    ls_session_report_checkpoint(peer->session, 5, "/out/step-5");
    cr_expect_eq(ls_session_finish(peer->session, LS_OK, NULL, NULL), LS_OK);
    host_join(&host);
    ls_session_close(peer->session);
    host_close(&host);
    (void)snprintf(path, sizeof path, "%s/journal", directory);
    cr_assert_eq(ls_fs_read(path, 1 << 20, &bytes, NULL), LS_OK);
    cr_assert_eq(ls_journal_replay(bytes.data, bytes.length, &state), LS_OK);
    cr_expect_eq(state.good_bytes, bytes.length);
    cr_expect_eq(state.committed, 5);
    cr_expect_eq(state.checkpoint_step, 5);
    cr_expect(state.ended);
    ls_buf_deinit(&bytes);
    (void)ls_fs_remove(directory, NULL);
}

/* A coordinator that was killed leaves its directory; the next one on the machine removes it, and no other's. */
Test(server, removes_an_abandoned_directory)
{
    struct host alive = {0}, next = {0};
    struct peer peer[1] = {0};
    char kept[108] = "", left[108] = "";
    struct stat info;
    int pipes[2];
    pid_t child;

    cr_assert_eq(pipe(pipes), 0);
    child = fork();
    if (child == 0) {
        struct host host = {0};

        host_open(&host, 1);
        host_run(&host);
        peers_open(peer, 1, &host);
        (void)!write(pipes[1], peer->assignment.rendezvous, 108);
        for (;;)
            (void)pause();
    }
    cr_assert_eq(read(pipes[0], left, 108), 108);
    host_open(&alive, 1);
    host_run(&alive);
    peers_open(peer, 1, &alive);
    (void)ls_str_into(kept, sizeof kept, peer->assignment.rendezvous);
    *strrchr(left, '/') = '\0';
    *strrchr(kept, '/') = '\0';
    cr_expect_eq(stat(left, &info), 0, "its coordinator was alive");
    (void)kill(child, SIGKILL);
    (void)waitpid(child, NULL, 0);
    host_open(&next, 1);
    cr_expect_neq(stat(left, &info), 0);
    cr_expect_eq(stat(kept, &info), 0);
    host_close(&next);
    cr_expect_eq(ls_session_finish(peer->session, LS_OK, NULL, NULL), LS_OK);
    host_join(&alive);
    ls_session_close(peer->session);
    host_close(&alive);
}

/* A worker that hangs is given up after eight heartbeats, killed, and the job ends soon after. */
Test(server, kills_a_worker_that_hangs)
{
    struct host host = {.options.heartbeat_ms = 50};
    pid_t child;
    int pipes[2];
    char byte;

    host_open(&host, 1);
    cr_assert_eq(pipe(pipes), 0);
    child = fork();
    if (child == 0) {
        struct ls_session_options options = session_options(&host, 0);
        struct ls_assignment assignment;
        struct ls_session *session;

        if (ls_session_open(&options, &assignment, &session, NULL) != LS_OK || write(pipes[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            (void)pause();
    }
    ls_server_set_children(host.server, &child, 1);
    host_run(&host);
    cr_assert_eq(read(pipes[0], &byte, 1), 1);
    (void)kill(child, SIGSTOP);
    host_join(&host);
    cr_expect_eq(host.status, LS_EPEER);
    cr_expect_not_null(strstr(host.err.message, "has not answered for 0."), "%s", host.err.message);
    cr_expect_eq(kill(child, 0), -1, "it was left behind");
    host_close(&host);
}

/* The rendezvous directory is private, and gone afterwards. */
Test(server, keeps_its_directory_private)
{
    struct host host = {0};
    struct peer peer[1] = {0};
    char directory[108];
    struct stat info;

    host_open(&host, 1);
    host_run(&host);
    peers_open(peer, 1, &host);
    (void)ls_str_into(directory, sizeof directory, peer->assignment.rendezvous);
    *strrchr(directory, '/') = '\0';
    cr_expect_eq(stat(directory, &info), 0);
    cr_expect_eq(info.st_mode & 0777, 0700);
    cr_expect_eq(ls_session_finish(peer->session, LS_OK, NULL, NULL), LS_OK);
    host_join(&host);
    ls_session_close(peer->session);
    host_close(&host);
    cr_expect_neq(stat(directory, &info), 0);
}
