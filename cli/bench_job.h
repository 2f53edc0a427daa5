/* SPDX-License-Identifier: Apache-2.0 */
/* The jobs that `bench train` runs: model, random data and job file in a temporary directory. */
#ifndef LOCKSTEP_CLI_BENCH_JOB_H
#define LOCKSTEP_CLI_BENCH_JOB_H

#include "core/base/status.h"
#include "core/base/workdir.h"

#include <stdint.h>

struct ls_bench_model {
    const char *name;
    int64_t batch;
    int64_t steps;      /* of a round */
    double flops;       /* of a training step: multiplications and additions of all products */
    const char *layers; /* Keras layers behind the InputLayer */
};

/* NULL where there is none of that name. */
const struct ls_bench_model *ls_bench_model_find(const char *name);
/* Writes everything into a new directory, also on failure the caller's where it is not NULL; path (of the job file)
 * holds 128 bytes. */
enum ls_status ls_bench_job_make(const struct ls_bench_model *model, struct ls_workdir **workdir, char *path,
                                 struct ls_error *err);

#endif
