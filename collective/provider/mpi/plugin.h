/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between lockstep and its MPI plug-in, which links none of our code: a table that the plug-in fills in. Peers are
 * ranks of MPI_COMM_WORLD; functions return 0 or an MPI error code, whose text `text` gives.
 */
#ifndef LOCKSTEP_COLLECTIVE_PROVIDER_MPI_PLUGIN_H
#define LOCKSTEP_COLLECTIVE_PROVIDER_MPI_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#define LS_MPI_PLUGIN_ABI 1
#define LS_MPI_PLUGIN_SYMBOL "lockstep_mpi_plugin"

/* A request of the MPI library, whatever its type there. */
struct ls_mpi_handle {
    uint64_t bits;
};

/* Messages of groups and the words that end one cannot overtake each other. */
enum ls_mpi_lane { LS_MPI_DATA, LS_MPI_ALARM, LS_MPI_LANES };

struct ls_mpi_plugin {
    size_t size;
    uint32_t abi;
    const char *library; /* what it was built with */
    /* Once a process. *any_thread: 1 where several threads may call at once. */
    int (*init)(int *rank, int *world, int *any_thread);
    int (*finalize)(void);
    /* Ends all processes of the launch; does not return where MPI runs. */
    void (*abort)(int exit_status);
    int (*broadcast)(void *data, size_t bytes, int root);
    /* The library's own sum, to compare with. */
    int (*all_reduce_f32)(const float *src, float *dst, int64_t count);
    /* bytes is at most 2^30. */
    int (*send)(enum ls_mpi_lane lane, const void *data, size_t bytes, int peer, int tag, struct ls_mpi_handle *handle);
    /* peer -1: anybody */
    int (*receive)(enum ls_mpi_lane lane, void *data, size_t bytes, int peer, int tag, struct ls_mpi_handle *handle);
    /* *done: 1 and the handle is over, or 0. */
    int (*test)(struct ls_mpi_handle *handle, int *done);
    /* Gives up a receive; the memory is free after it. */
    void (*cancel_receive)(struct ls_mpi_handle *handle);
    /* Forgets a send; MPI may read the memory until the peer or this process ends. */
    void (*forget_send)(struct ls_mpi_handle *handle);
    void (*text)(int code, char *text, size_t size);
};

typedef const struct ls_mpi_plugin *(*ls_mpi_plugin_get)(void);

#endif
