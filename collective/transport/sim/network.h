/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network in one process and in virtual time, for tests of the provider "sim": packets are late, overtake each other,
 * are lost and sent again, come twice; hosts are cut off, members die. All of it follows from the seed. Time passes
 * only in ls_sim_step, or, where every member has a thread, when all of them wait.
 */
#ifndef LOCKSTEP_COLLECTIVE_TRANSPORT_SIM_NETWORK_H
#define LOCKSTEP_COLLECTIVE_TRANSPORT_SIM_NETWORK_H

#include "core/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ls_sim_network;

struct ls_sim_options {
    uint64_t seed;
    int world;
    uint64_t delay_ns;      /* of a packet at least, default 50,000 */
    uint64_t jitter_ns;     /* up to so much more, default 100,000: packets overtake each other */
    int slow_permille;      /* packets that take twenty times as long, default 0 */
    int loss_permille;      /* packets that are lost and sent again, default 0 */
    int duplicate_permille; /* packets that come twice, default 0 */
    size_t packet_bytes;    /* the largest packet, default 1,400 */
    size_t window_bytes;    /* sent and not taken by the receiver, at least packet_bytes, default 64 KiB */
    uint64_t retry_ns;      /* a lost packet is sent again after it, then after twice as long, default 1 ms */
    uint64_t give_up_ns;    /* a connection that is silent for so long is cut, default 1 s */
};
#define LS_SIM_OPTIONS_DEFAULT                                                                                    \
    {                                                                                                             \
        .delay_ns = 50000, .jitter_ns = 100000, .packet_bytes = 1400, .window_bytes = 65536, .retry_ns = 1000000, \
        .give_up_ns = 1000000000                                                                                  \
    }

/* Returned; ends with ls_sim_network_destroy after all groups on it. */
enum ls_status ls_sim_network_create(const struct ls_sim_options *options, struct ls_sim_network **network,
                                     struct ls_error *err);
/* Accepts NULL. */
void ls_sim_network_destroy(struct ls_sim_network *network);

/* From any time not yet reached. The process of a rank dies: peers see its connections end; silent: its host is gone
 * and they see nothing until they give up. */
enum ls_status ls_sim_crash(struct ls_sim_network *network, int rank, uint64_t at_ns, bool silent);
/* Nothing passes between the ranks of the mask and the others in [from, until); one partition a network. */
enum ls_status ls_sim_partition(struct ls_sim_network *network, uint64_t mask, uint64_t from_ns, uint64_t until_ns);

uint64_t ls_sim_now(struct ls_sim_network *network);
bool ls_sim_crashed(struct ls_sim_network *network, int rank);
/* To the next event, at most 5 ms on: for a test that drives all members from one thread. */
void ls_sim_step(struct ls_sim_network *network);
/* Members whose groups are open. */
int ls_sim_members(struct ls_sim_network *network);

#endif
