/* SPDX-License-Identifier: Apache-2.0 */
/* What each rank of `bench allreduce` does once it knows who it is. */
#ifndef LOCKSTEP_CLI_BENCH_RACE_H
#define LOCKSTEP_CLI_BENCH_RACE_H

#include "core/base/status.h"
#include "core/base/workdir.h"

#include <stdbool.h>
#include <stdint.h>

#define LS_BENCH_MAX_SIZES 32
#define LS_BENCH_MAX_RANKS 64

/* The same in all ranks, but rank. */
struct ls_bench_allreduce {
    int rank;
    int ranks;
    int rounds;
    int hosts; /* composed: pretended ones, of as many ranks as can be */
    bool mpi;  /* MPI was started: MPI_Allreduce races too */
    bool gloo; /* PyTorch over Gloo races, in processes of its own */
    bool json;
    bool table;          /* one variant for each way of the backend */
    const char *backend; /* a name of core/job/transport.h but "auto" */
    int64_t sizes[LS_BENCH_MAX_SIZES];
    int size_count;
    struct ls_workdir *workdir; /* rank 0's, and its path */
    char directory[64];
    uint8_t secret[32];
};

/* All ranks call it; rank 0 prints. */
enum ls_status ls_bench_allreduce_race(const struct ls_bench_allreduce *bench, struct ls_error *err);

#endif
