/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rank that is made slow, for tests of what others say about it: LOCKSTEP_DEBUG_SLOW="RANK:STEP:MILLISECONDS" lets
 * that rank rest once, before it computes that step.
 */
#ifndef LOCKSTEP_WORKER_SLOW_H
#define LOCKSTEP_WORKER_SLOW_H

#include "core/base/status.h"

#include <stdint.h>

/* LS_EUSAGE where the variable names a rank that a world of so many does not have. */
enum ls_status ls_slow_check(int world, struct ls_error *err);
void ls_slow_down(int rank, uint64_t step);

#endif
