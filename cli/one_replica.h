/* SPDX-License-Identifier: Apache-2.0 */
/* A single replica in this process, loaded from a checkpoint: what evaluate and predict run on. */
#ifndef LOCKSTEP_CLI_ONE_REPLICA_H
#define LOCKSTEP_CLI_ONE_REPLICA_H

#include "worker/step/replica.h"

/* A group of one. Returned; ends with ls_group_destroy, or with the replica that takes it. */
enum ls_status ls_group_of_one(struct ls_group **group, struct ls_error *err);
/* The newest checkpoint of directory (NULL: the job's); LS_ENOENT says that there is none and what to do. */
enum ls_status ls_checkpoint_of_job(const struct ls_job *job, const char *directory, struct ls_ckpt **ckpt,
                                    struct ls_error *err);

#endif
