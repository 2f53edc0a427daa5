/* SPDX-License-Identifier: Apache-2.0 */
/* The listening socket that a member brings to a tcp group (ls_group_options.listener). */
#ifndef LOCKSTEP_COLLECTIVE_TRANSPORT_TCP_LISTEN_H
#define LOCKSTEP_COLLECTIVE_TRANSPORT_TCP_LISTEN_H

#include "core/base/status.h"

#include <stdint.h>

/* Connections for data between two members. */
#define LS_TCP_STREAMS_VARIABLE "LOCKSTEP_TCP_STREAMS"
#define LS_TCP_MOST_STREAMS 8

/* Listens on any port of the address by which this machine reaches host (loopback stays loopback). *fd is returned;
 * it ends with ls_tcp_unlisten, or with the group that takes it. LS_EIO names the host. */
enum ls_status ls_tcp_listen(const char *host, int *fd, uint16_t *port, struct ls_error *err);
/* Within a host nothing is congested: what paces its packets (bbr) only makes them wait. Every kernel has reno. Before
 * the connection is made: a connection that was bbr's for a moment goes on being paced. Accepted ones inherit it. */
void ls_tcp_unpace(int fd);
/* Accepts -1. */
void ls_tcp_unlisten(int fd);

#endif
