/* SPDX-License-Identifier: Apache-2.0 */
/* The words of an alarm connection: messages of one size, which a network may cut anywhere. */
#ifndef LOCKSTEP_COLLECTIVE_TRANSPORT_TCP_WORDS_H
#define LOCKSTEP_COLLECTIVE_TRANSPORT_TCP_WORDS_H

#include "core/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* TCP_WAITS: the sender has waited long for the culprit (-1: not any more). TCP_ALIVE: where its page is. TCP_DIED: its
 * keeper noticed the culprit's death. */
enum tcp_word { TCP_BYE = 1, TCP_ABORT = 2, TCP_WAITS = 3, TCP_ALIVE = 4, TCP_DIED = 5 };

/* What goes over an alarm connection. */
struct tcp_message {
    uint32_t magic;
    uint32_t word;
    int32_t status;
    int32_t culprit;
    char reason[400];
};
#define TCP_MESSAGE_MAGIC UINT32_C(0x6c73616c)

/* In the place of a reason of TCP_ALIVE. */
struct tcp_told {
    int32_t pid;
    int32_t fd;
    uint8_t nonce[32];
};

/* The beginning of the next message. */
struct tcp_heard {
    struct tcp_message message;
    size_t bytes;
};
/* Reads without waiting. LS_OK: *message is there; LS_EAGAIN: not, or not all of it; LS_EPEER: the connection ended
 * (*error says why, 0: in order), or what came is none of ours. */
enum ls_status lsi_tcp_hear(int fd, struct tcp_heard *heard, struct tcp_message *message, int *error);
/* The same where so many bytes, no more than the message lacks, have been put behind those that are there. */
enum ls_status lsi_tcp_heard_more(struct tcp_heard *heard, size_t bytes, struct tcp_message *message);

/* From whom a message came, in a group of so many. */
struct tcp_hearer {
    int world;
    int from;
};
/* Makes a whole message fit to be used: the word is one of tcp_word, the reason ends, the status is a failure and the
 * culprit a rank where the word has them (TCP_WAITS, TCP_DIED: or -1). A word that is none of these is taken for an
 * abort. */
void lsi_tcp_word_check(struct tcp_message *message, const struct tcp_hearer *hearer);
/* False: it names nothing that could be a page. */
bool lsi_tcp_told_read(const struct tcp_message *message, struct tcp_told *told);

#endif
