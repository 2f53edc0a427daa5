/* SPDX-License-Identifier: Apache-2.0 */
/* The words of an alarm connection: messages of one size, which a network may cut anywhere. */
#ifndef LOCKSTEP_COLLECTIVE_TRANSPORT_TCP_WORDS_H
#define LOCKSTEP_COLLECTIVE_TRANSPORT_TCP_WORDS_H

#include "core/base/status.h"

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

/* The beginning of the next message. */
struct tcp_heard {
    struct tcp_message message;
    size_t bytes;
};
/* Reads without waiting. LS_OK: *message is there; LS_EAGAIN: not, or not all of it; LS_EPEER: the connection ended
 * (*error says why, 0: in order), or what came is none of ours. */
enum ls_status lsi_tcp_hear(int fd, struct tcp_heard *heard, struct tcp_message *message, int *error);

#endif
