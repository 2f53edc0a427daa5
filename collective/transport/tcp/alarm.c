/* SPDX-License-Identifier: Apache-2.0 */
/* The alarm of each pair: tells why the streams end. */
#include "collective/transport/tcp/tcp_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define PATIENCE_MS 100 /* a reason was sent before the streams ended: it is here, or it never comes */

/* From any thread: a message of some hundred bytes into a nearly empty socket never waits. */
void lsi_tcp_alarm_send(struct tcp *tcp, enum tcp_word word, int culprit)
{
    struct tcp_message message = {.magic = TCP_MESSAGE_MAGIC, .word = (uint32_t)word, .culprit = culprit};

    if (word == TCP_ABORT) {
        message.status = tcp->group->end.status;
        message.culprit = tcp->group->end.culprit;
        memcpy(message.reason, tcp->group->end.reason, sizeof message.reason);
    }
    for (int r = 0; r < tcp->group->world; r++)
        if (r != tcp->group->rank)
            (void)send(tcp->peers[r].alarm, &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void note(struct tcp *tcp, int rank, enum ls_status status, int culprit, const char *reason)
{
    tcp->peers[rank].ended = true;
    if (tcp->loss.status != LS_OK)
        return;
    tcp->culprit = culprit;
    (void)ls_error_set(&tcp->loss, status, "%s", reason);
}

void lsi_tcp_alarm_died(struct tcp *tcp, int rank)
{
    char who[128];
    char reason[300];

    (void)snprintf(reason, sizeof reason, "%s died", lsi_member_text(tcp->group, rank, who));
    note(tcp, rank, LS_EPEER, rank, reason);
}

static void note_death(struct tcp *tcp, int rank, int error)
{
    char who[128];
    char reason[300];

    (void)snprintf(reason, sizeof reason, "%s died: its connection ended%s%s", lsi_member_text(tcp->group, rank, who),
                   error == 0 || error == ESHUTDOWN ? "" : ", ",
                   error == 0 || error == ESHUTDOWN ? "" : strerror(error));
    note(tcp, rank, LS_EPEER, rank, reason);
}

/* A peer has ended the group. An end always has a reason. */
static void note_end(struct tcp *tcp, int rank, const struct tcp_message *message)
{
    bool died = message->word == TCP_DIED;
    char who[128];
    char reason[300];

    (void)lsi_member_text(tcp->group, rank, who);
    if (died && message->culprit == tcp->group->rank)
        (void)snprintf(reason, sizeof reason, "%s ended the group because it took rank %d for dead, which is alive",
                       who, lsi_rank_name(tcp->group, tcp->group->rank));
    else if (died)
        (void)snprintf(reason, sizeof reason, "%s told of the death of a member that there is not", who);
    else
        (void)snprintf(reason, sizeof reason, "%s ended the group and gave no reason", who);
    note(tcp, rank, (enum ls_status)message->status, died ? rank : message->culprit,
         died || message->reason[0] == '\0' ? reason : message->reason);
}

void lsi_tcp_alarm_read(struct tcp *tcp, int rank)
{
    struct tcp_peer *peer = &tcp->peers[rank];
    struct tcp_hearer hearer = {.world = tcp->group->world, .from = rank};
    struct tcp_message message;
    enum ls_status status;
    int error;

    if (peer->left || peer->ended)
        return;
    status = lsi_tcp_hear(peer->alarm, &peer->heard, &message, &error);
    if (status == LS_EPEER)
        note_death(tcp, rank, error);
    if (status != LS_OK)
        return;
    lsi_tcp_word_check(&message, &hearer);
    switch (message.word) {
    case TCP_BYE:
        peer->left = true;
        peer->waits_for = -1;
        return;
    case TCP_WAITS:
        peer->waits_for = message.culprit;
        return;
    case TCP_ALIVE:
        lsi_tcp_alive_heard(tcp, rank, &message);
        return;
    case TCP_DIED:
        if (message.culprit >= 0 && message.culprit != tcp->group->rank)
            lsi_tcp_alarm_died(tcp, message.culprit);
        else
            note_end(tcp, rank, &message);
        return;
    default:
        note_end(tcp, rank, &message);
    }
}

enum ls_status lsi_tcp_lost(struct tcp *tcp, int rank, int error, int *culprit, struct ls_error *err)
{
    struct tcp_peer *peer = &tcp->peers[rank];
    char who[128];

    /* An abort by another thread of this member closed it: nothing more will come. */
    for (int waited = 0; waited < PATIENCE_MS && !peer->left && !peer->ended && !lsi_group_ended(tcp->group);
         waited += 10) {
        struct pollfd wait = {peer->alarm, POLLIN, 0};
        (void)poll(&wait, 1, 10);
        lsi_tcp_alarm_read(tcp, rank);
    }
    if (peer->left) {
        *culprit = rank;
        return ls_error_set(err, LS_EPEER, "%s has left the group while it was needed",
                            lsi_member_text(tcp->group, rank, who));
    }
    if (!peer->ended)
        note_death(tcp, rank, error);
    *culprit = tcp->culprit;
    return ls_error_set(err, tcp->loss.status, "%s", tcp->loss.message);
}
