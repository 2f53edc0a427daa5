/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mesh of tcp connections as something that carries messages, for providers whose words go over it and whose data
 * go another way (nccl).
 */
#ifndef LOCKSTEP_COLLECTIVE_TRANSPORT_TCP_LINKS_H
#define LOCKSTEP_COLLECTIVE_TRANSPORT_TCP_LINKS_H

#include "collective/algo/message.h"

/* Connects all members, each of which has proved the job's secret. *links is returned and ends with
 * lsi_tcp_links.destroy; *link are its counters. The listener stays the caller's. */
enum ls_status lsi_tcp_links_open(const struct ls_group_options *options, struct ls_group *group, void **links,
                                  struct lsi_link **link, struct ls_error *err);
/* Watches the members of this host from now on, with a keeper (collective/liveness.h): for whoever has none of its own
 * that tells lsi_tcp_links.died. */
void lsi_tcp_links_watch(void *links);
extern const struct lsi_links_ops lsi_tcp_links;

#endif
