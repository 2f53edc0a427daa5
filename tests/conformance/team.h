/* SPDX-License-Identifier: Apache-2.0 */
/* A team of members for tests of groups: addresses, listeners, a rendezvous, and ways to run one function in each. */
#ifndef LOCKSTEP_TESTS_CONFORMANCE_TEAM_H
#define LOCKSTEP_TESTS_CONFORMANCE_TEAM_H

#include "collective/group.h"

#include <sys/types.h>

struct team {
    const char *provider;
    char name[16];
    const char *hosts; /* a letter a rank, over and over: those with one letter share a host; NULL: the real ones */
    bool listens;      /* members bring listeners */
    int world;
    uint64_t generation;
    int64_t form_deadline_ms;
    int64_t wait_deadline_ms;
    struct ls_member members[LS_MAX_MEMBERS];
    int listeners[LS_MAX_MEMBERS];
    char directory[64];
    char rendezvous[96];
    struct ls_sim_network *network; /* sim */
    bool any_order, bf16_wire;      /* as in ls_group_options */
};

/* 0 is success. */
typedef int (*team_member)(struct team *team, int rank, void *argument);

/* provider: "tcp", or with hosts "hybrid:aab". Name: for team_run_launched, which makes the rest. Init: false where the
 * sockets or the directory cannot be made. */
void team_name(struct team *team, const char *provider);
bool team_init(struct team *team, const char *provider, int world);
void team_deinit(struct team *team);
/* Options of one member; the secret is the same for all. */
struct ls_group_options team_options(const struct team *team, int rank);
/* Forms the group of this member; prints the reason where it cannot. */
struct ls_group *team_join(struct team *team, int rank);
/* Runs the function in `world` threads, or processes; returns how many failed. */
int team_run_threads(struct team *team, team_member function, void *argument);
int team_run_processes(struct team *team, team_member function, void *argument);
/* mpirun started this process: `replicas` threads a process are the members, and the team is made for them. */
int team_run_launched(struct team *team, int replicas, team_member function, void *argument);
/* One process; the caller waits for it. */
pid_t team_spawn(struct team *team, int rank, team_member function, void *argument);

#endif
