/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the loader (launch.c) and the provider (mpi.c). */
#ifndef LOCKSTEP_COLLECTIVE_PROVIDER_MPI_MPI_INTERNAL_H
#define LOCKSTEP_COLLECTIVE_PROVIDER_MPI_MPI_INTERNAL_H

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

#endif
