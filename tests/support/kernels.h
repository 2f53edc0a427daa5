/* SPDX-License-Identifier: Apache-2.0 */
/* Runs one op on the reference and on every fast device of this processor and compares the bits. */
#ifndef LOCKSTEP_TESTS_SUPPORT_KERNELS_H
#define LOCKSTEP_TESTS_SUPPORT_KERNELS_H

#include "core/device/device.h"

/* Which values: tame: within [-4, 4]; zeros: also zeros of both signs and denormals; wild: also infinities, NaN and
 * the ends of the range. */
enum lst_values { LST_TAME, LST_ZEROS, LST_WILD, LST_VALUES };

/* Small numbers that repeat from run to run. */
uint64_t lst_random(uint64_t below);
int64_t lst_between(int64_t low, int64_t high);

/* A view with memory (deliberately not aligned beyond its element) filled with random values; lst_view_free ends it.
 * Integers lie in [0, 100) for u8 and around zero for others. */
struct ls_view lst_view(enum ls_dtype dtype, struct ls_shape shape, enum lst_values values);
/* The same without values (0xa5 bytes): for outputs. */
struct ls_view lst_view_empty(enum ls_dtype dtype, struct ls_shape shape);
void lst_view_free(struct ls_view *view);
/* Equal bits, every NaN counted as one. */
bool lst_view_same(const struct ls_view *a, const struct ls_view *b);

/* Runs call (outputs have memory, which receives the reference's result) on "ref" and on "cpu" with each instruction
 * set this processor has, with one thread and with several; fails the test, naming `what`, where status, bits or (asked
 * without data) scratch differ. Returns the reference's status. */
enum ls_status lst_compare(struct ls_op_call *call, const char *what);
/* Runs call on "ref" alone; fails the test where that fails. */
void lst_run_ref(struct ls_op_call *call);

/* Runs fn for each fast device and its name. */
void lst_each_device(void (*fn)(struct ls_device *device, const char *name, void *state), void *state);
struct ls_device *lst_ref(void);

#endif
