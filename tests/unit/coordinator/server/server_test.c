/* SPDX-License-Identifier: Apache-2.0 */
/* The server as workers, strangers and the file system meet it: over 127.0.0.1, with children that die. */
#include "coordinator/server/server.h"

#include "coordinator/store/journal.h"
#include "core/base/fs.h"
#include "core/base/str.h"
#include "tests/support/control.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A port in use is said at once, with the address. */
Test(server, names_an_address_in_use)
{
    struct lst_host host = {0};
    struct ls_server_options options = LS_SERVER_OPTIONS_DEFAULT;
    struct ls_server *second = NULL;
    struct ls_error err = LS_ERROR_INIT;

    lst_host_open(&host, 1);
    options.listen = host.address;
    options.workers = 1;
    cr_expect_eq(ls_server_open(&options, &second, &err), LS_EBUSY);
    cr_expect_not_null(strstr(err.message, host.address), "%s", err.message);
    lst_host_close(&host);
}

/* Who does not come by the deadline is named. */
Test(server, names_the_missing)
{
    struct lst_host host = {.options.join_deadline_ms = 300};
    struct lst_peer peer = {.host = &host};
    bool ended = false;

    lst_host_open(&host, 3);
    lst_host_run(&host);
    peer.options = lst_session_options(&host, 1);
    peer.options.ended = &ended;
    cr_assert_eq(pthread_create(&peer.thread, NULL, lst_peer_open, &peer), 0);
    (void)pthread_join(peer.thread, NULL);
    cr_expect_eq(peer.status, LS_ETIMEOUT);
    lst_host_join(&host);
    cr_expect_eq(host.status, LS_ETIMEOUT);
    cr_expect_str_eq(host.err.message, "workers 0 and 2 of 3 did not join within 0.3 s");
    cr_expect_str_eq(peer.err.message, host.err.message);
    cr_expect(ended, "the peer does not know that the coordinator says it");
    lst_host_close(&host);
}

/* A child that dies before it joins ends the job at once, with its signal. */
Test(server, names_the_signal_of_a_child)
{
    struct lst_host host = {0};
    _Atomic pid_t child = fork();

    if (child == 0) {
        (void)pause();
        _exit(0);
    }
    lst_host_open(&host, 1);
    ls_server_set_children(host.server, &child, 1);
    lst_host_run(&host);
    (void)kill(child, SIGKILL);
    lst_host_join(&host);
    cr_expect_eq(host.status, LS_EPEER);
    cr_expect_not_null(strstr(host.err.message, "was killed by signal 9 (Killed) before it joined"), "%s",
                       host.err.message);
    lst_host_close(&host);
}

/* A child that is a worker: its signal is in the sentence, though its socket closed first; and one that ignores its
 * end is killed, so that nobody is left. */
Test(server, names_the_signal_of_a_worker_and_leaves_nobody)
{
    struct lst_host host = {0};
    _Atomic pid_t children[2];
    int pipes[2];
    char byte;

    lst_host_open(&host, 2);
    cr_assert_eq(pipe(pipes), 0);
    for (int i = 0; i < 2; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            struct ls_session_options options = lst_session_options(&host, i);
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
    lst_host_run(&host);
    cr_assert_eq(read(pipes[0], &byte, 1), 1);
    cr_assert_eq(read(pipes[0], &byte, 1), 1);
    (void)kill(children[1], SIGKILL);
    lst_host_join(&host);
    cr_expect_eq(host.status, LS_EPEER);
    cr_expect_not_null(strstr(host.err.message, "was killed by signal 9"), "%s", host.err.message);
    cr_expect_not_null(strstr(host.err.message, "worker 1 (pid"), "%s", host.err.message);
    cr_expect_eq(children[0], 0, "a worker was left behind");
    lst_host_close(&host);
}

static int connect_raw(const struct lst_host *host)
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
    struct lst_host host = {0};
    struct lst_peer peer[1] = {0};
    char answer[16];
    int fd;

    lst_host_open(&host, 1);
    lst_host_run(&host);
    fd = connect_raw(&host);
    cr_expect_eq(send(fd, "GET / HTTP/1.1\r\nHost: somewhere.example\r\n\r\n", 44, MSG_NOSIGNAL), 44);
    cr_expect_leq(recv(fd, answer, sizeof answer, 0), 0);
    (void)close(fd);
    lst_peers_open(peer, 1, &host);
    cr_expect_eq(ls_session_finish(peer->session, LS_OK, NULL, NULL), LS_OK);
    lst_host_join(&host);
    cr_expect_eq(host.status, LS_OK);
    cr_expect_str_eq(strstr(host.log, "GET") == NULL ? "" : host.log, "", "a stranger's words are in the log");
    ls_session_close(peer->session);
    lst_host_close(&host);
}

/* Whoever connects and says nothing is cut off by the clock; a crowd of them do not keep a worker out. */
Test(server, cuts_off_the_silent)
{
    struct lst_host host = {0};
    struct lst_peer peer[1] = {0};
    static int silent[300];
    char answer[1];
    ssize_t got;

    lst_host_open(&host, 1);
    lst_host_run(&host);
    for (int i = 0; i < 300; i++)
        silent[i] = connect_raw(&host);
    lst_peers_open(peer, 1, &host);
    cr_expect_leq(recv(silent[0], answer, 1, 0), 0, "the oldest should have given way");
    got = recv(silent[299], answer, 1, 0);
    cr_expect(got == 0 || (got < 0 && errno == ECONNRESET), "the newest was not cut off in time");
    cr_expect_eq(ls_session_finish(peer->session, LS_OK, NULL, NULL), LS_OK);
    lst_host_join(&host);
    cr_expect_eq(host.status, LS_OK);
    ls_session_close(peer->session);
    lst_host_close(&host);
}

/* With a directory there is a journal: the next coordinator goes on with the next generation. */
Test(server, goes_on_with_the_next_generation)
{
    char directory[64] = "/tmp/lockstep-test-XXXXXX";

    cr_assert_not_null(mkdtemp(directory));
    for (uint64_t run = 1; run <= 3; run++) {
        struct lst_host host = {.options.directory = directory};
        struct lst_peer peer[1] = {0};
        struct ls_step_report report = {.step = 5, .fingerprint = run};

        lst_host_open(&host, 1);
        lst_host_run(&host);
        lst_peers_open(peer, 1, &host);
        cr_expect_eq(peer->assignment.generation, run);
        ls_session_report_step(peer->session, &report);
        ls_session_report_checkpoint(peer->session, 5, "/out/step-5");
        cr_expect_eq(ls_session_finish(peer->session, LS_OK, NULL, NULL), LS_OK);
        lst_host_join(&host);
        ls_session_close(peer->session);
        lst_host_close(&host);
    }
    cr_expect_eq(ls_fs_remove(directory, NULL), LS_OK);
}

/* The journal of a finished job tells its steps, its checkpoint and its end. */
Test(server, keeps_a_journal)
{
    char directory[64] = "/tmp/lockstep-test-XXXXXX", path[96];
    struct lst_host host = {.options.directory = directory};
    struct lst_peer peer[1] = {0};
    struct ls_step_report report = {.step = 5, .fingerprint = 9};
    struct ls_journal_state state;
    struct ls_buf bytes = {0};

    cr_assert_not_null(mkdtemp(directory));
    lst_host_open(&host, 1);
    lst_host_run(&host);
    lst_peers_open(peer, 1, &host);
    ls_session_report_step(peer->session, &report);
    ls_session_report_checkpoint(peer->session, 5, "/out/step-5");
    cr_expect_eq(ls_session_finish(peer->session, LS_OK, NULL, NULL), LS_OK);
    lst_host_join(&host);
    ls_session_close(peer->session);
    lst_host_close(&host);
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
    struct lst_host alive = {0}, next = {0};
    struct lst_peer peer[1] = {0};
    char kept[108] = "", left[108] = "";
    struct stat info;
    int pipes[2];
    pid_t child;

    cr_assert_eq(pipe(pipes), 0);
    child = fork();
    if (child == 0) {
        struct lst_host host = {0};

        lst_host_open(&host, 1);
        lst_host_run(&host);
        lst_peers_open(peer, 1, &host);
        (void)!write(pipes[1], peer->assignment.rendezvous, 108);
        for (;;)
            (void)pause();
    }
    cr_assert_eq(read(pipes[0], left, 108), 108);
    lst_host_open(&alive, 1);
    lst_host_run(&alive);
    lst_peers_open(peer, 1, &alive);
    (void)ls_str_into(kept, sizeof kept, peer->assignment.rendezvous);
    *strrchr(left, '/') = '\0';
    *strrchr(kept, '/') = '\0';
    cr_expect_eq(stat(left, &info), 0, "its coordinator was alive");
    (void)kill(child, SIGKILL);
    (void)waitpid(child, NULL, 0);
    lst_host_open(&next, 1);
    cr_expect_neq(stat(left, &info), 0);
    cr_expect_eq(stat(kept, &info), 0);
    lst_host_close(&next);
    cr_expect_eq(ls_session_finish(peer->session, LS_OK, NULL, NULL), LS_OK);
    lst_host_join(&alive);
    ls_session_close(peer->session);
    lst_host_close(&alive);
}

/* A worker that hangs is given up after eight heartbeats, killed, and the job ends soon after. */
Test(server, kills_a_worker_that_hangs)
{
    struct lst_host host = {.options.heartbeat_ms = 50};
    _Atomic pid_t child;
    int pipes[2];
    char byte;

    lst_host_open(&host, 1);
    cr_assert_eq(pipe(pipes), 0);
    child = fork();
    if (child == 0) {
        struct ls_session_options options = lst_session_options(&host, 0);
        struct ls_assignment assignment;
        struct ls_session *session;

        if (ls_session_open(&options, &assignment, &session, NULL) != LS_OK || write(pipes[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            (void)pause();
    }
    ls_server_set_children(host.server, &child, 1);
    lst_host_run(&host);
    cr_assert_eq(read(pipes[0], &byte, 1), 1);
    (void)kill(child, SIGSTOP);
    lst_host_join(&host);
    cr_expect_eq(host.status, LS_EPEER);
    cr_expect_not_null(strstr(host.err.message, "has not answered for 0."), "%s", host.err.message);
    cr_expect_eq(child, 0, "it was left behind");
    lst_host_close(&host);
}

/* The rendezvous directory is private, and gone afterwards. */
Test(server, keeps_its_directory_private)
{
    struct lst_host host = {0};
    struct lst_peer peer[1] = {0};
    char directory[108];
    struct stat info;

    lst_host_open(&host, 1);
    lst_host_run(&host);
    lst_peers_open(peer, 1, &host);
    (void)ls_str_into(directory, sizeof directory, peer->assignment.rendezvous);
    *strrchr(directory, '/') = '\0';
    cr_expect_eq(stat(directory, &info), 0);
    cr_expect_eq(info.st_mode & 0777, 0700);
    cr_expect_eq(ls_session_finish(peer->session, LS_OK, NULL, NULL), LS_OK);
    lst_host_join(&host);
    ls_session_close(peer->session);
    lst_host_close(&host);
    cr_expect_neq(stat(directory, &info), 0);
}
