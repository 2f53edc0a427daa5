/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mesh of tcp connections as something that carries messages, for providers whose words go over it and whose data
 * go another way (nccl).
 */
#ifndef LOCKSTEP_COLLECTIVE_TRANSPORT_TCP_LINKS_H
#define LOCKSTEP_COLLECTIVE_TRANSPORT_TCP_LINKS_H

#include "collective/algo/message.h"

/* Members that are connected have proved the job's secret. `watch` makes a keeper (collective/liveness.h): for whoever
 * has none of its own that tells `died`. */
extern const struct lsi_links_ops lsi_tcp_links;

#endif
