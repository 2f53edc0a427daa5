/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small interpreter in f64 of what a context recorded: plain loops that share nothing with the kernels, to check
 * gradients by central differences. Integers are kept as f64; sums are plain; a REDUCE passes on.
 */
#ifndef LOCKSTEP_TESTS_SUPPORT_F64_EVAL_H
#define LOCKSTEP_TESTS_SUPPORT_F64_EVAL_H

#include "core/ops/context.h"

struct lst_f64;

/* Memory for every value made so far; the context must be eager (constants and inputs are read from it). */
struct lst_f64 *lst_f64_create(const struct ls_context *context);
void lst_f64_destroy(struct lst_f64 *eval);
/* The value's elements, to read, or to change before a run where it is an input or variable. */
double *lst_f64_of(struct lst_f64 *eval, const struct ls_value *value);
/* Computes every recorded result in program order. */
void lst_f64_run(struct lst_f64 *eval);

#endif
