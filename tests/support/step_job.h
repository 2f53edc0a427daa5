/* SPDX-License-Identifier: Apache-2.0 */
/* A small job over synthetic images in a directory of its own, for tests of the step loop. */
#ifndef LOCKSTEP_TESTS_SUPPORT_STEP_JOB_H
#define LOCKSTEP_TESTS_SUPPORT_STEP_JOB_H

#include "worker/step/replica.h"

#define LST_STEP_SAMPLES 300 /* batches of 64 leave a short one of 44: 5 steps an epoch, 2 epochs */

/* x.npy (u8 28 x 28) and y.npy (i32) in a fresh directory under /tmp. */
void lst_step_directory_init(char directory[64]);
void lst_step_directory_deinit(const char *directory);
void lst_step_write_npy(const char *directory, const char *name, enum ls_dtype dtype, struct ls_shape shape,
                        void *data);
/* The job; model: of examples/mnist, run: the job's `run` block as a YAML flow map. Ends with ls_job_destroy. */
struct ls_job *lst_step_job(const char *directory, const char *model, const char *run);
/* The same with overrides as of `--set`. */
struct ls_job *lst_step_job_with(const char *directory, const char *model, const char *run,
                                 const char *const *overrides, int override_count);

/* One rank's part with an open replica; whatever it returns is kept by rank. */
typedef enum ls_status (*lst_step_fn)(void *state, struct ls_replica *replica, struct ls_error *err);
struct lst_step_ranks {
    enum ls_status status[16];
    struct ls_error err[16];
};
/* Runs fn in `world` threads, each with a replica of the job in a shared-memory group of them. */
void lst_step_run(struct ls_job *job, int world, lst_step_fn fn, void *state, struct lst_step_ranks *ranks);
/* The same over a provider of one process's threads: "shm", "tcp", or "hybrid", where each but the last two ranks has a
 * host of its own. A world of one is "self". */
void lst_step_run_over(const char *provider, struct ls_job *job, int world, lst_step_fn fn, void *state,
                       struct lst_step_ranks *ranks);

#endif
