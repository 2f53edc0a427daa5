/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MPI as something that carries messages, for providers that compose it with something else (hybrid); and what such a
 * provider's table takes over from that of "mpi". The functions do not look at their state.
 */
#ifndef LOCKSTEP_COLLECTIVE_PROVIDER_MPI_LINKS_H
#define LOCKSTEP_COLLECTIVE_PROVIDER_MPI_LINKS_H

#include "collective/algo/message.h"

extern const struct lsi_links_ops lsi_mpi_links;
/* As in ls_provider_ops. */
uint32_t lsi_mpi_context(void *state);
bool lsi_mpi_drives_beside(const void *state);
bool lsi_mpi_one_thread(const void *state);

#endif
