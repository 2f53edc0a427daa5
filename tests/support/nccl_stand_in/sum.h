/* SPDX-License-Identifier: Apache-2.0 */
/* What the stand-in's all-reduce adds, last rank first: another order than the canonical one. */
#ifndef LOCKSTEP_TESTS_SUPPORT_NCCL_STAND_IN_SUM_H
#define LOCKSTEP_TESTS_SUPPORT_NCCL_STAND_IN_SUM_H

#include <stddef.h>
#include <stdint.h>

struct stand_in_operation {
    int dtype; /* enum nccl_dtype */
    int op;    /* enum nccl_op */
};

/* Bytes of an element; ends the process where the dtype is not known. */
size_t stand_in_size(int dtype);
/* dst of `count` elements from `world` vectors, one after another in values. */
void stand_in_sum(uint8_t *dst, const uint8_t *values, int world, size_t count, struct stand_in_operation operation);

#endif
