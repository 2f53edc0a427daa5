/* SPDX-License-Identifier: Apache-2.0 */
/* `bench allreduce --against gloo`: this command and tests/bench/gloo.py (PyTorch over Gloo) run in turns. */
#ifndef LOCKSTEP_CLI_BENCH_GLOO_H
#define LOCKSTEP_CLI_BENCH_GLOO_H

#include "cli/bench_race.h"

/* sizes: as given on the command line. Prints. LS_ENOENT: gloo.py is not here. */
enum ls_status ls_bench_gloo(const struct ls_bench_allreduce *bench, const char *sizes, struct ls_error *err);

#endif
