/* SPDX-License-Identifier: Apache-2.0 */
/* Words over an alarm connection, which a network may cut anywhere. */
#include "collective/transport/tcp/words.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST 100 /* bytes of a message that come before the rest */

static const struct tcp_message waits = {.magic = TCP_MESSAGE_MAGIC, .word = TCP_WAITS, .culprit = 3};
static struct tcp_heard heard;
static int ends[2]; /* ours, the peer's */

static void make(void)
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
}

static void discard(void)
{
    close(ends[0]);
    close(ends[1]);
}

TestSuite(alarm_words, .init = make, .fini = discard);

static void say(const char *from, size_t bytes)
{
    cr_assert_eq(write(ends[1], from, bytes), (ssize_t)bytes);
}

/* A peer whose word has come in part is not dead: the rest is waited for, and what follows is understood. */
Test(alarm_words, come_in_parts)
{
    struct tcp_message message;
    int error;

    for (int i = 0; i < 3; i++) {
        cr_expect_eq(lsi_tcp_hear(ends[0], &heard, &message, &error), LS_EAGAIN);
        say((const char *)&waits, FIRST);
        cr_expect_eq(lsi_tcp_hear(ends[0], &heard, &message, &error), LS_EAGAIN);
        say((const char *)&waits + FIRST, sizeof waits - FIRST);
        cr_expect_eq(lsi_tcp_hear(ends[0], &heard, &message, &error), LS_OK);
        cr_expect_eq(message.culprit, 3);
    }
}

/* One that dies in the middle of a word, or says what is no word, is noticed. */
Test(alarm_words, end_in_the_middle)
{
    struct tcp_message message, other = {.magic = 1};
    int error;

    say((const char *)&other, sizeof other);
    cr_expect_eq(lsi_tcp_hear(ends[0], &heard, &message, &error), LS_EPEER);
    say((const char *)&waits, FIRST);
    cr_assert_eq(shutdown(ends[1], SHUT_WR), 0);
    cr_expect_eq(lsi_tcp_hear(ends[0], &heard, &message, &error), LS_EAGAIN);
    cr_expect_eq(lsi_tcp_hear(ends[0], &heard, &message, &error), LS_EPEER);
    cr_expect_eq(error, 0);
}

/* Of a peer's word only the form is trusted: what is used of it is a rank, a failure and a text that ends. Not ready
 * yet is no failure: the group would wait on. */
Test(alarm_words, are_made_safe)
{
    static const struct {
        struct tcp_message message;
        uint32_t word;
        int status, culprit;
    } cases[] = {
        {{.word = TCP_WAITS, .culprit = 2}, TCP_WAITS, LS_EPEER, 2},
        {{.word = TCP_WAITS, .culprit = 3}, TCP_WAITS, LS_EPEER, -1},
        {{.word = TCP_WAITS, .culprit = INT32_MIN}, TCP_WAITS, LS_EPEER, -1},
        {{.word = TCP_DIED, .culprit = 2}, TCP_DIED, LS_EPEER, 2},
        {{.word = TCP_DIED, .culprit = 3}, TCP_DIED, LS_EPEER, -1},
        {{.word = TCP_ABORT, .status = LS_EINTERRUPTED, .culprit = 2}, TCP_ABORT, LS_EINTERRUPTED, 2},
        {{.word = TCP_ABORT, .status = LS_EAGAIN, .culprit = 2}, TCP_ABORT, LS_EPEER, 2},
        {{.word = TCP_ABORT, .status = LS_OK, .culprit = -7}, TCP_ABORT, LS_EPEER, 1},
        {{.word = 99, .status = INT32_MIN, .culprit = 1000}, TCP_ABORT, LS_EPEER, 1},
    };
    const struct tcp_hearer hearer = {.world = 3, .from = 1};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tcp_message message = cases[i].message;

        memset(message.reason, 'x', sizeof message.reason);
        lsi_tcp_word_check(&message, &hearer);
        cr_expect_eq(message.word, cases[i].word, "case %zu", i);
        cr_expect_eq(message.status, cases[i].status, "case %zu", i);
        cr_expect_eq(message.culprit, cases[i].culprit, "case %zu", i);
        cr_expect_eq(strnlen(message.reason, sizeof message.reason), sizeof message.reason - 1, "case %zu", i);
    }
}
