/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that mpirun (or srun with PMI) started: who they are, and a broadcast to begin with (the coordinator's
 * address and secret). Needs the plug-in lockstep_mpi.so. One launch a process; the transport "mpi" stands on it.
 */
#ifndef LOCKSTEP_COLLECTIVE_PROVIDER_MPI_LAUNCH_H
#define LOCKSTEP_COLLECTIVE_PROVIDER_MPI_LAUNCH_H

#include "core/base/status.h"

#include <stddef.h>
#include <stdint.h>

/* The environment variable that says an MPI launcher started this process, or NULL. Static memory. */
const char *ls_mpi_launch_detected(void);
/* Loads the plug-in and starts MPI, once a process. LS_EUNSUPPORTED names the plug-in and where it was looked for. */
enum ls_status ls_mpi_launch_open(int *rank, int *world, struct ls_error *err);
/* bytes of root's data to all processes; all call it. */
enum ls_status ls_mpi_bcast_bytes(void *data, size_t bytes, int root, struct ls_error *err);
/* MPI_Allreduce of f32, at most 2^31 - 1 elements: for benchmarks. All processes call it. */
enum ls_status ls_mpi_all_reduce_f32(const float *src, float *dst, int64_t count, struct ls_error *err);
/* Ends MPI. exit_status 0: in good order, all processes call it. Otherwise all processes of the launch are ended with
 * that status and the call does not return. Does nothing where MPI was not started. */
void ls_mpi_finalize(int exit_status);

#endif
