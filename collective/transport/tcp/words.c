/* SPDX-License-Identifier: Apache-2.0 */
/* What comes over an alarm connection, made out of bytes: a peer's, of which only the form is trusted. See words.h. */
#include "collective/transport/tcp/words.h"

#include "collective/group_impl.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

enum ls_status lsi_tcp_heard_more(struct tcp_heard *heard, size_t bytes, struct tcp_message *message)
{
    heard->bytes += bytes;
    if (heard->bytes < sizeof heard->message)
        return LS_EAGAIN;
    heard->bytes = 0;
    *message = heard->message;
    return message->magic == TCP_MESSAGE_MAGIC ? LS_OK : LS_EPEER;
}

enum ls_status lsi_tcp_hear(int fd, struct tcp_heard *heard, struct tcp_message *message, int *error)
{
    ssize_t n = recv(fd, (uint8_t *)&heard->message + heard->bytes, sizeof heard->message - heard->bytes, MSG_DONTWAIT);

    *error = n < 0 ? errno : 0;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return LS_EAGAIN;
    if (n <= 0)
        return LS_EPEER;
    return lsi_tcp_heard_more(heard, (size_t)n, message);
}

static bool is_rank(int rank, int world)
{
    return rank >= 0 && rank < world;
}

void lsi_tcp_word_check(struct tcp_message *message, const struct tcp_hearer *hearer)
{
    bool named = is_rank(message->culprit, hearer->world);

    message->reason[sizeof message->reason - 1] = '\0';
    if (message->word == TCP_BYE || message->word == TCP_ALIVE)
        return;
    message->status = ls_status_of_peer(message->status, LS_EPEER);
    if (message->word == TCP_WAITS || message->word == TCP_DIED) {
        message->culprit = named ? message->culprit : -1;
        return;
    }
    message->word = TCP_ABORT;
    message->culprit = named ? message->culprit : hearer->from;
}

bool lsi_tcp_told_read(const struct tcp_message *message, struct tcp_told *told)
{
    memcpy(told, message->reason, sizeof *told);
    return told->pid > 0 && told->fd >= 0;
}
