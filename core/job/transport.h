/* SPDX-License-Identifier: Apache-2.0 */
/* The transports that a job may name (run.transport), and what a run needs to know of each before its groups form. */
#ifndef LOCKSTEP_CORE_JOB_TRANSPORT_H
#define LOCKSTEP_CORE_JOB_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>

/* All of them, for sentences; and those that are no choice between others. */
#define LS_TRANSPORTS_TEXT "auto, " LS_TRANSPORTS_NAMED_TEXT
#define LS_TRANSPORTS_NAMED_TEXT "shm, tcp, hybrid, mpi, hybrid-mpi, nccl or hybrid-nccl"

/* X(name, replicas bring a listener, mpirun starts the workers, what is between hosts (NULL: itself), its meaning) */
#define LS_TRANSPORT_LIST(X)                                                                               \
    X("auto", true, false, NULL,                                                                           \
      "shm on the coordinator's host, hybrid where a host of several has several replicas, else tcp")      \
    X("shm", false, false, NULL, "shared memory of one host")                                              \
    X("tcp", true, false, NULL, "tcp between all replicas")                                                \
    X("hybrid", true, false, "tcp", "shared memory inside each host, tcp between hosts")                   \
    X("mpi", false, true, NULL, "MPI between all replicas, under mpirun")                                  \
    X("hybrid-mpi", false, true, "mpi", "shared memory inside each host, MPI between hosts, under mpirun") \
    X("nccl", true, false, NULL, "NCCL between all replicas, words over tcp")                              \
    X("hybrid-nccl", true, false, "nccl", "shared memory inside each host, NCCL between hosts, words over tcp")

struct ls_transport {
    const char *name;
    bool listens;
    bool launched;
    const char *between; /* of what shares memory inside each host: the transport that is composed with that */
    const char *text;
};

/* NULL: there is none of that name. */
const struct ls_transport *ls_transport_find(const char *name);
/* Names in the order of the list; returns how many. */
size_t ls_transport_names(const char *const **names);

#endif
