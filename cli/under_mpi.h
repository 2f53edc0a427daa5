/* SPDX-License-Identifier: Apache-2.0 */
/* Under mpirun: rank 0 hosts the coordinator beside its worker, every rank is a worker. */
#ifndef LOCKSTEP_CLI_UNDER_MPI_H
#define LOCKSTEP_CLI_UNDER_MPI_H

#include "core/job/job.h"

struct ls_mpi_run {
    struct ls_job *job; /* workers is set to the number of ranks */
    const char *path, *save_weights;
    bool json, quiet, fresh, overwrite;
};

/* Whether a launcher of MPI started this process as one of several. */
bool ls_under_mpi(void);
/* One rank's part. LS_EUNSUPPORTED names the plug-in that is missing. */
enum ls_status ls_mpi_train(const struct ls_mpi_run *run, struct ls_error *err);

#endif
