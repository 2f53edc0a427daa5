/* SPDX-License-Identifier: Apache-2.0 */
/* A small training state whose values follow from the step, so that a loaded checkpoint can be told right from
 * wrong. */
#ifndef LOCKSTEP_TESTS_SUPPORT_CHECKPOINTS_H
#define LOCKSTEP_TESTS_SUPPORT_CHECKPOINTS_H

#include "core/ckpt/ckpt.h"

/* Writes the checkpoint of a step with a number of parts and commits it. */
enum ls_status lst_ckpt_save(const char *directory, uint64_t step, int parts, int keep, struct ls_error *err);
/* True where every tensor of the checkpoint holds exactly the state of its step. */
bool lst_ckpt_is_right(const struct ls_ckpt *ckpt);
/* Opens the newest and gives its step; fails the test program's expectations through *right. -1: does not open. */
int64_t lst_ckpt_newest(const char *directory, bool *right, bool *fell_back);

#endif
