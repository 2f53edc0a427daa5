/* SPDX-License-Identifier: Apache-2.0 */
/* The compressor that a job asks for, over the gradients of its training step. */
#ifndef LOCKSTEP_WORKER_COMPRESS_OF_JOB_H
#define LOCKSTEP_WORKER_COMPRESS_OF_JOB_H

#include "worker/compress/compress.h"
#include "worker/step/step_program.h"

/* *compress stays NULL where the job compresses nothing. program: any training program of the job. A gradient is
 * compressed where it is the value of a reduce, as it is, and no later segment of the program uses it. group: as in
 * ls_compress_create, with rank and world of the member. Returned; ends with ls_compress_destroy. */
enum ls_status ls_compress_of_job(const struct ls_trainer *trainer, const struct ls_step_program *program, int rank,
                                  int world, struct ls_group *group, struct ls_compress **compress,
                                  struct ls_error *err);

#endif
