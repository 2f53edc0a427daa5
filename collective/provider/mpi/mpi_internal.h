/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the loader (launch.c), the forming of groups (form.c) and what carries their bytes (mpi.c). */
#ifndef LOCKSTEP_COLLECTIVE_PROVIDER_MPI_MPI_INTERNAL_H
#define LOCKSTEP_COLLECTIVE_PROVIDER_MPI_MPI_INTERNAL_H

#include "collective/provider/mpi/links.h"
#include "collective/provider/mpi/plugin.h"

#include <stdbool.h>

struct mpi_launch {
    const struct ls_mpi_plugin *plugin; /* NULL: MPI does not run */
    int rank;
    int world;
    bool any_thread;
};

/* The launch of this process. */
const struct mpi_launch *lsi_mpi_launch_get(void);

struct mpi_item {
    struct ls_mpi_handle handle;
    bool last; /* of its message: messages beyond 1 GiB go in several */
};

struct mpi_queue {
    struct mpi_item *items;
    size_t capacity;
    size_t first;
    size_t count;
};

struct mpi_peer {
    int process;
    int replica;
    struct mpi_queue out;
    struct mpi_queue in;
};

/* The word that ends a group. */
struct mpi_word {
    int32_t status;
    int32_t culprit;
    char reason[400];
};

struct mpi {
    struct ls_group *group;
    const struct ls_mpi_plugin *plugin;
    struct mpi_peer *peers;
    struct lsi_link *links;
    struct ls_mpi_handle alarm;
    bool alarm_posted;
    bool has_heard;
    struct mpi_word heard;
    struct mpi_word said;
    _Atomic int has_said;
    uint32_t context; /* of its tags: 0 to 63 by generation, 64 to 127 sub-groups */
};

/* form.c. Forms the group: its context, peers and links; greets all members within options->form_deadline_ms. On
 * failure what was made stays the state's. */
enum ls_status lsi_mpi_form(struct mpi *mpi, const struct ls_group_options *options, struct ls_error *err);
/* mpi.c, as in lsi_links_ops; state: struct mpi. Listen: for the word that ends the group. */
enum ls_status lsi_mpi_send(void *state, int peer, const void *data, size_t bytes, struct ls_error *err);
enum ls_status lsi_mpi_receive(void *state, int peer, void *data, size_t bytes, struct ls_error *err);
enum ls_status lsi_mpi_poll(void *state, int *culprit, struct ls_error *err);
bool lsi_mpi_idle(void *state, int round);
enum ls_status lsi_mpi_listen(struct mpi *mpi);

#endif
