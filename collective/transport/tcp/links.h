/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mesh of tcp connections as something that carries messages, for providers whose words go over it and whose data
 * go another way (nccl).
 */
#ifndef LOCKSTEP_COLLECTIVE_TRANSPORT_TCP_LINKS_H
#define LOCKSTEP_COLLECTIVE_TRANSPORT_TCP_LINKS_H

#include "collective/algo/message.h"

/* Connects all members, each of which has proved the job's secret; no keeper watches them, which lsi_tcp_links.open
 * starts. *links is returned and ends with lsi_tcp_links.destroy; *link are its counters. The listener stays the
 * caller's. */
enum ls_status lsi_tcp_links_open(const struct ls_group_options *options, struct ls_group *group, void **links,
                                  struct lsi_link **link, struct ls_error *err);
extern const struct lsi_links_ops lsi_tcp_links;

#endif
