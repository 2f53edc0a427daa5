/* SPDX-License-Identifier: Apache-2.0 */
/* Under mpirun: rank 0 hosts the coordinator beside its worker, every rank is a worker. */
#ifndef LOCKSTEP_CLI_UNDER_MPI_H
#define LOCKSTEP_CLI_UNDER_MPI_H

#include "cli/host.h"

struct ls_mpi_run {
    struct ls_job *job; /* workers is set to the number of ranks */
    struct ls_summary_view view;
    const char *save_weights, *trace;
    bool workers_typed; /* --workers was given, not --set run.workers */
    bool quiet, fresh, overwrite;
};

/* Whether a launcher of MPI started this process as one of several. */
bool ls_under_mpi(void);
/* A failure that every rank sees alike (a bad job file, a wrong option), before the ranks can talk: the first rank of
 * each machine returns from here to say it, and the first of all also as JSON; the others leave without a word. */
void ls_mpi_let_first_speak(enum ls_status status);
/* One rank's part. LS_EUNSUPPORTED names the plug-in that is missing. */
enum ls_status ls_mpi_train(const struct ls_mpi_run *run, struct ls_error *err);

#endif
