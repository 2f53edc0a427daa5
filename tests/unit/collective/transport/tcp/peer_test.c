/* SPDX-License-Identifier: Apache-2.0 */
/* A member of tcp beside a peer by hand, which says over its alarm what no member should. */
#include "collective/hello.h"
#include "collective/transport/tcp/listen.h"
#include "collective/transport/tcp/words.h"
#include "core/base/thread.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct ls_member members[2];
static struct ls_group_options options = LS_GROUP_OPTIONS_DEFAULT;
static const struct tcp_message *words;
static int channels[2]; /* the peer's: the alarm, the data */

static void make(void)
{
    for (int r = 0; r < 2; r++)
        members[r] = (struct ls_member){
            .worker = 100 + (uint64_t)r, .incarnation = 1, .index = 100 + r, .host = "here", .address = "127.0.0.1"};
    options.members = members;
    options.world = 2;
    options.generation = 1;
    cr_assert_eq(ls_tcp_listen("127.0.0.1", &options.listener, &members[0].port, NULL), LS_OK);
}

static bool transfer(int fd, void *data, size_t bytes, bool out)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t n =
            out ? write(fd, (uint8_t *)data + done, bytes - done) : read(fd, (uint8_t *)data + done, bytes - done);

        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

/* As rank 1 does it. */
static bool call(int channel)
{
    struct ls_group group = {.members = members, .world = 2, .rank = 1, .generation = 1};
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(members[0].port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uint8_t challenge[LSI_CHALLENGE_BYTES];
    struct lsi_hello hello;
    struct lsi_grant grant;

    channels[channel] = fd;
    return connect(fd, (struct sockaddr *)&to, sizeof to) == 0 && transfer(fd, challenge, sizeof challenge, false) &&
           lsi_hello_make(&group, options.secret, challenge, channel, 2, &hello, NULL) == LS_OK &&
           transfer(fd, &hello, sizeof hello, true) && transfer(fd, &grant, sizeof grant, false) &&
           grant.status == LS_OK;
}

/* Connections of this process on which the kernel is as patient as that. */
static int patient(unsigned wanted_ms)
{
    int count = 0;

    for (int fd = 0; fd < 1024; fd++) {
        unsigned ms = 0;
        socklen_t length = sizeof ms;

        count += getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, &length) == 0 && ms == wanted_ms;
    }
    return count;
}

/* The words come once rank 0 sleeps in its wait, with the patience that it was given before. */
static void *peer(void *state)
{
    bool *ok = state;

    *ok = call(0) && call(1);
    while (*ok && patient(70000) < 2)
        (void)sched_yield();
    *ok = *ok && send(channels[0], words, sizeof *words, MSG_NOSIGNAL) == (ssize_t)sizeof *words;
    return NULL;
}

/* What rank 0 says when it waits for the peer, which has said these words. */
static enum ls_status hear(const struct tcp_message *said, struct ls_error *err)
{
    struct ls_collective barrier = {.kind = LS_BARRIER};
    struct ls_group *group;
    enum ls_status status;
    pthread_t thread;
    bool ok = false;

    make();
    words = said;
    cr_assert_eq(ls_thread_start("peer", 0, peer, &ok, &thread, NULL), LS_OK);
    cr_assert_eq(ls_group_create("tcp", &options, &group, err), LS_OK, "%s", err->message);
    cr_expect_eq(patient(60000), 2);
    ls_group_set_pace(group, UINT64_C(7000000000));
    status = ls_group_run(group, &barrier, err);
    (void)pthread_join(thread, NULL);
    cr_assert(ok);
    ls_group_destroy(group);
    close(channels[0]);
    close(channels[1]);
    return status;
}

/* A peer that takes this member for dead, or that names nobody, or that gives no reason: the end has one all the
 * same, and it names the peer. */
Test(tcp_peer, always_has_a_reason, .timeout = 60)
{
    static const struct {
        struct tcp_message message;
        const char *sentence;
    } all[] = {
        {{.magic = TCP_MESSAGE_MAGIC, .word = TCP_DIED, .culprit = 0}, "took rank 0 for dead, which is alive"},
        {{.magic = TCP_MESSAGE_MAGIC, .word = TCP_DIED, .culprit = 7},
         "told of the death of a member that there is not"},
        {{.magic = TCP_MESSAGE_MAGIC, .word = TCP_ABORT, .status = LS_EPEER, .culprit = -1}, "gave no reason"},
    };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct ls_error err = LS_ERROR_INIT;

        cr_expect_eq(hear(&all[i].message, &err), LS_EPEER);
        cr_expect_not_null(strstr(err.message, "rank 1 (worker 101"), "%s", err.message);
        cr_expect_not_null(strstr(err.message, all[i].sentence), "%s", err.message);
    }
}
