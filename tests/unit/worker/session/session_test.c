/* SPDX-License-Identifier: Apache-2.0 */
/* A server in a thread and sessions in others, over 127.0.0.1: the whole control path in one process. */
#include "core/base/clock.h"
#include "core/base/str.h"
#include "tests/support/control.h"

#include <criterion/criterion.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *finish_peer(void *state)
{
    struct lst_peer *peer = state;

    peer->status =
        ls_session_finish(peer->session, LS_OK, peer->assignment.first_rank == 0 ? "{\"steps\":3}" : NULL, &peer->err);
    return NULL;
}

/* Three workers join, get the same members in rank order, report, finish; the summary is rank 0's. */
Test(session, joins_reports_and_finishes)
{
    struct lst_host host = {0};
    struct lst_peer peers[3] = {0};
    struct ls_step_report report = {.step = 3, .epoch = 1, .fingerprint = 99, .loss = 0.5, .metric_count = 1};

    lst_host_open(&host, 3);
    lst_host_run(&host);
    lst_peers_open(peers, 3, &host);
    for (int i = 0; i < 3; i++) {
        const struct ls_assignment *assignment = &peers[i].assignment;

        cr_expect_eq(assignment->generation, 1);
        cr_expect_eq(assignment->world, 3);
        cr_expect_eq(assignment->first_rank, i);
        cr_expect_eq(assignment->members[i].worker, assignment->worker);
        cr_expect_eq(assignment->members[i].index, i);
        cr_expect_eq(assignment->members[i].port, 40000 + i);
        cr_expect_str_eq(assignment->members[i].address, "127.0.0.1");
        cr_expect_str_eq(assignment->provider, "shm");
        cr_expect_lt(strlen(assignment->rendezvous), 108);
    }
    ls_session_set_phase(peers[0].session, 3, LS_PHASE_REDUCING);
    report.metrics[0] = 0.25;
    ls_session_report_step(peers[0].session, &report);
    cr_expect(lst_await(&host.reported, 5));
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
    lst_host_join(&host);
    cr_expect_eq(host.status, LS_OK, "%s", host.err.message);
    cr_expect_str_eq(host.summary, "{\"steps\":3}");
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(ls_session_order(peers[i].session, NULL), LS_ORDER_NONE);
        ls_session_close(peers[i].session);
    }
    lst_host_close(&host);
}

/* Validation numbers and the newest step arrive even where many steps were reported at once, and in order. */
Test(session, reports_keep_validation_and_the_newest)
{
    struct lst_host host = {0};
    struct lst_peer peer[1] = {0};
    struct ls_step_report report = {.epoch = 1};

    lst_host_open(&host, 1);
    lst_host_run(&host);
    lst_peers_open(peer, 1, &host);
    cr_expect_str_eq(peer->assignment.provider, "self");
    for (uint64_t step = 1; step <= 2000; step++) {
        report.step = step;
        ls_session_report_step(peer->session, &report);
    }
    report.validation = true;
    report.loss = 0.125;
    ls_session_report_step(peer->session, &report);
    cr_expect_eq(ls_session_finish(peer->session, LS_OK, NULL, NULL), LS_OK);
    lst_host_join(&host);
    cr_expect(host.newest.validation);
    cr_expect_eq(host.newest.step, 2000);
    cr_expect_eq(host.newest.loss, 0.125);
    cr_expect_geq(host.reports, 2);
    cr_expect_lt(host.reports, 1000, "%d reports were sent where the newest should win", host.reports);
    cr_expect_null(host.summary);
    ls_session_close(peer->session);
    lst_host_close(&host);
}

/* A job whose epochs are over in no time: the last step and the validation of each are told, in the order in which they
 * were reported, and so is the step at which the loss stopped being a number. */
Test(session, reports_come_in_order)
{
    static struct lst_host host = {.keeps = true};
    struct lst_peer peer[1] = {0};
    struct ls_step_report report = {.metric_count = 1};
    int epochs = 100, validations = 0, ends = 0;
    uint64_t nan_step = 0, before = 0;

    lst_host_open(&host, 1);
    lst_host_run(&host);
    lst_peers_open(peer, 1, &host);
    for (int epoch = 0; epoch < epochs; epoch++) {
        for (uint64_t step = 1; step <= 5; step++) {
            report = (struct ls_step_report){.epoch = (uint64_t)epoch, .step = (uint64_t)epoch * 5 + step, .loss = 1};
            if (report.step == 203 || report.step == 204)
                report.loss = NAN;
            ls_session_report_step(peer->session, &report);
        }
        report.validation = epoch % 2 == 1;
        if (report.validation)
            ls_session_report_step(peer->session, &report);
    }
    cr_expect_eq(ls_session_finish(peer->session, LS_OK, NULL, NULL), LS_OK);
    lst_host_join(&host);
    for (int i = 0; i < host.reports; i++) {
        const struct ls_step_report *told = &host.kept[i];

        cr_expect_geq(told->step, before, "step %llu came after %llu", (unsigned long long)told->step,
                      (unsigned long long)before);
        before = told->step;
        validations += told->validation;
        ends += !told->validation && told->step % 5 == 0;
        if (nan_step == 0 && isnan(told->loss))
            nan_step = told->step;
    }
    cr_expect_eq(ends, epochs);
    cr_expect_eq(validations, epochs / 2);
    cr_expect(nan_step == 203 || nan_step == 204, "step %llu", (unsigned long long)nan_step);
    cr_expect_not_null(strstr(host.log, "not a number from step 203 on"), "%s", host.log);
    ls_session_close(peer->session);
    lst_host_close(&host);
}

/* What a worker was doing is told soon, not with the next heartbeat only: a sentence about its death is of now. */
Test(session, tells_a_change_of_phase_soon)
{
    struct lst_host host = {.options.heartbeat_ms = 100000};
    struct lst_peer peers[2] = {0};
    struct ls_step_report report = {.step = 1};

    lst_host_open(&host, 2);
    lst_host_run(&host);
    lst_peers_open(peers, 2, &host);
    ls_session_set_phase(peers[0].session, 57, LS_PHASE_CHECKPOINT);
    for (int i = 0; i < 6; i++) { /* reports leave 20 ms apart: after six of them more than 50 ms have passed */
        ls_session_report_step(peers[0].session, &report);
        cr_assert(lst_await(&host.reported, 30));
        report.step++;
    }
    ls_session_close(peers[0].session);
    cr_assert(lst_await(&peers[1].aborted, 30));
    cr_expect_not_null(strstr(peers[1].reason, "while writing the checkpoint of step 57"), "%s", peers[1].reason);
    (void)ls_session_finish(peers[1].session, LS_EPEER, "rank 0 is gone", NULL);
    lst_host_join(&host);
    ls_session_close(peers[1].session);
    lst_host_close(&host);
}

/* A worker with another secret is refused, says so, tells the coordinator nothing of its job; the coordinator logs
 * it. */
Test(session, refuses_another_secret)
{
    struct lst_host host = {0};
    struct ls_session_options options;
    struct ls_assignment assignment;
    struct ls_session *session = NULL;
    struct ls_error err = LS_ERROR_INIT;

    lst_host_open(&host, 1);
    lst_host_run(&host);
    options = lst_session_options(&host, 0);
    options.secret[31] ^= 1;
    cr_expect_eq(ls_session_open(&options, &assignment, &session, &err), LS_EAUTH);
    cr_expect_not_null(strstr(err.message, "another secret"), "%s", err.message);
    cr_expect_not_null(strstr(err.message, host.address), "%s", err.message);
    ls_server_stop(host.server);
    lst_host_join(&host);
    cr_expect_eq(host.status, LS_EINTERRUPTED);
    cr_expect_not_null(strstr(host.log, "another secret"), "%s", host.log);
    lst_host_close(&host);
}

/* A worker of another job, or of an index that does not exist, is refused with a sentence that says which. */
Test(session, refuses_another_job)
{
    struct lst_host host = {0};
    struct ls_session_options options;
    struct ls_assignment assignment;
    struct ls_session *session = NULL;
    struct ls_error err = LS_ERROR_INIT;

    lst_host_open(&host, 1);
    lst_host_run(&host);
    options = lst_session_options(&host, 0);
    options.fingerprint[0] = 'f';
    cr_expect_eq(ls_session_open(&options, &assignment, &session, &err), LS_EAUTH);
    cr_expect_not_null(strstr(err.message, "fingerprint is f123456789ab"), "%s", err.message);
    options = lst_session_options(&host, 1);
    cr_expect_eq(ls_session_open(&options, &assignment, &session, &err), LS_EINVAL);
    cr_expect_not_null(strstr(err.message, "there is no worker 1"), "%s", err.message);
    ls_server_stop(host.server);
    lst_host_join(&host);
    lst_host_close(&host);
}

/* A worker whose device gives other known answers than the coordinator's build expects is refused with a sentence. */
Test(session, refuses_other_known_answers)
{
    struct lst_host host = {0};
    struct lst_peer peer[1] = {0};
    struct ls_session_options options;
    struct ls_assignment assignment;
    struct ls_session *session = NULL;
    struct ls_error err = LS_ERROR_INIT;

    host.options.known_answers = UINT64_C(0xfeedfacecafebeef);
    lst_host_open(&host, 1);
    lst_host_run(&host);
    options = lst_session_options(&host, 0);
    options.known_answers = UINT64_C(0xfeedfacecafebee0);
    cr_expect_eq(ls_session_open(&options, &assignment, &session, &err), LS_EAUTH);
    cr_expect_not_null(strstr(err.message, "feedfacecafebee0"), "%s", err.message);
    cr_expect_not_null(strstr(err.message, "same build"), "%s", err.message);
    peer->options = lst_session_options(&host, 0);
    peer->options.known_answers = host.options.known_answers;
    lst_peer_open(peer);
    cr_assert_eq(peer->status, LS_OK, "%s", peer->err.message);
    cr_expect_eq(ls_session_finish(peer->session, LS_OK, NULL, NULL), LS_OK);
    lst_host_join(&host);
    cr_expect_not_null(strstr(host.log, "known answers"), "%s", host.log);
    ls_session_close(peer->session);
    lst_host_close(&host);
}

/* One worker too many is refused while the job runs, and the job goes on. */
Test(session, refuses_a_spare_worker)
{
    struct lst_host host = {0};
    struct lst_peer peer[1] = {0};
    struct ls_session_options options;
    struct ls_assignment assignment;
    struct ls_session *session = NULL;
    struct ls_error err = LS_ERROR_INIT;

    lst_host_open(&host, 1);
    lst_host_run(&host);
    lst_peers_open(peer, 1, &host);
    options = lst_session_options(&host, 0);
    options.wanted_index = -1;
    cr_expect_eq(ls_session_open(&options, &assignment, &session, &err), LS_EBUSY);
    cr_expect_not_null(strstr(err.message, "already has its 1 worker"), "%s", err.message);
    cr_expect_eq(ls_session_finish(peer->session, LS_OK, NULL, NULL), LS_OK);
    lst_host_join(&host);
    cr_expect_eq(host.status, LS_OK);
    ls_session_close(peer->session);
    lst_host_close(&host);
}

/* A worker that vanishes is named to the others within a second, and the job fails with that sentence. */
Test(session, names_the_lost_worker)
{
    struct lst_host host = {0};
    struct lst_peer peers[3] = {0};
    uint64_t killed;

    lst_host_open(&host, 3);
    lst_host_run(&host);
    lst_peers_open(peers, 3, &host);
    killed = ls_clock_now_ns();
    ls_session_close(peers[1].session); /* no finish: the socket closes as a killed process's does */
    cr_assert(lst_await(&peers[0].aborted, 5));
    cr_assert(lst_await(&peers[2].aborted, 5));
    cr_expect_lt(peers[0].aborted_ns - killed, 1000000000u);
    cr_expect_not_null(strstr(peers[0].reason, "worker 1 (pid"), "%s", peers[0].reason);
    cr_expect_eq(ls_session_order(peers[2].session, NULL), LS_ORDER_ABORT);
    cr_expect_eq(ls_session_finish(peers[0].session, LS_EPEER, "rank 1 is gone", NULL), LS_OK);
    cr_expect_eq(ls_session_finish(peers[2].session, LS_EPEER, "rank 1 is gone", NULL), LS_OK);
    lst_host_join(&host);
    cr_expect_eq(host.status, LS_EPEER);
    cr_expect_not_null(strstr(host.err.message, "worker 1 (pid"), "%s", host.err.message);
    cr_expect_not_null(strstr(host.err.message, "worker 0 was"), "%s", host.err.message);
    ls_session_close(peers[0].session);
    ls_session_close(peers[2].session);
    lst_host_close(&host);
}

/* A stop reaches every worker; the job then ends well when they have finished. */
Test(session, stops_in_order)
{
    struct lst_host host = {0};
    struct lst_peer peers[2] = {0};
    char reason[512];

    lst_host_open(&host, 2);
    lst_host_run(&host);
    lst_peers_open(peers, 2, &host);
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
    lst_host_join(&host);
    cr_expect_eq(host.status, LS_OK, "%s", host.err.message);
    for (int i = 0; i < 2; i++)
        ls_session_close(peers[i].session);
    lst_host_close(&host);
}

/* A worker's own error is the job's, with its status and text, and the others hear it. */
Test(session, passes_an_error_on)
{
    struct lst_host host = {0};
    struct lst_peer peers[2] = {0};

    lst_host_open(&host, 2);
    lst_host_run(&host);
    lst_peers_open(peers, 2, &host);
    cr_expect_eq(ls_session_finish(peers[1].session, LS_ECORRUPT, "data.gz is damaged at byte 5", NULL), LS_OK);
    cr_assert(lst_await(&peers[0].aborted, 5));
    cr_expect_not_null(strstr(peers[0].reason, "data.gz is damaged"), "%s", peers[0].reason);
    ls_session_close(peers[0].session);
    lst_host_join(&host);
    cr_expect_eq(host.status, LS_ECORRUPT);
    cr_expect_str_eq(host.err.message, "data.gz is damaged at byte 5");
    ls_session_close(peers[1].session);
    lst_host_close(&host);
}

/* When the coordinator goes, every worker hears of it by name and address. */
Test(session, hears_of_a_lost_coordinator)
{
    struct ls_error err = LS_ERROR_INIT;
    struct lst_host host = {0};
    struct lst_peer peer[1] = {0};
    int pipes[2];
    uint16_t port = 0;
    pid_t child;

    cr_assert_eq(pipe(pipes), 0);
    child = fork();
    if (child == 0) {
        lst_host_open(&host, 1);
        port = ls_server_port(host.server);
        if (write(pipes[1], &port, sizeof port) == (ssize_t)sizeof port)
            (void)ls_server_run(host.server, NULL, NULL);
        _exit(0);
    }
    cr_assert_eq(read(pipes[0], &port, sizeof port), (ssize_t)sizeof port);
    (void)snprintf(host.address, sizeof host.address, "127.0.0.1:%u", port);
    lst_peers_open(peer, 1, &host);
    (void)kill(child, SIGKILL);
    cr_assert(lst_await(&peer->aborted, 5));
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

    (void)ls_str_into(options.fingerprint, 65, LST_FINGERPRINT);
    cr_expect_eq(ls_session_open(&options, &assignment, &session, &err), LS_ETIMEOUT);
    cr_expect_not_null(strstr(err.message, "127.0.0.1:1"), "%s", err.message);
    options.coordinator = "no-port";
    cr_expect_eq(ls_session_open(&options, &assignment, &session, &err), LS_EINVAL);
}
