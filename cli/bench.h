/* SPDX-License-Identifier: Apache-2.0 */
/* The benches of `lockstep bench`: a row each in cmd_bench.c's table, named "bench WHAT". */
#ifndef LOCKSTEP_CLI_BENCH_H
#define LOCKSTEP_CLI_BENCH_H

#include "cli/command.h"

extern const struct ls_command ls_bench_train, ls_bench_allreduce, ls_bench_overlap;

#endif
