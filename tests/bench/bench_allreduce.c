/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_allreduce [RANKS [ROUNDS]]: all-reduce of f32 sums over shm (registered and private memory) and tcp, beside a
 * memcpy in all ranks at once. Under mpirun it takes its processes and adds MPI_Allreduce and the mpi transport.
 */
#include "collective/bench.h"
#include "collective/provider/mpi/launch.h"
#include "tests/conformance/team.h"

#include "core/base/alloc.h"
#include "core/base/str.h"

#include <arpa/inet.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_COUNT ((int64_t)64 << 20)
#define MOST_VARIANTS 8

static const int64_t sizes[] = {8, 4096, 32 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20};

struct bench {
    int rounds;
    bool mpi;
    struct ls_bench_variant variants[MOST_VARIANTS];
    int count;
};

static void add(struct bench *bench, const char *name,
                enum ls_status (*run)(void *, const float *, float *, int64_t, struct ls_error *), void *state,
                float *src, float *dst)
{
    bench->variants[bench->count++] = (struct ls_bench_variant){name, run, state, src, dst};
}

static int run_member(struct team *team, int rank, void *argument)
{
    struct bench bench = *(struct bench *)argument;
    struct team over_tcp = *team;
    struct team over_mpi = *team;
    struct ls_error err = LS_ERROR_INIT;
    struct ls_bench_figure figures[MOST_VARIANTS];
    void *shared = NULL;
    float *src = ls_alloc_aligned((size_t)MOST_COUNT * 4);
    float *dst = ls_alloc_aligned((size_t)MOST_COUNT * 4);
    cpu_set_t one;

    if (team->world <= sysconf(_SC_NPROCESSORS_ONLN)) {
        CPU_ZERO(&one);
        CPU_SET(rank, &one);
        (void)sched_setaffinity(0, sizeof one, &one);
    }
    /* One processor a rank is what the group sees after the binding: let it know there is room. */
    struct ls_group *shm = team_join(team, rank);
    over_tcp.provider = "tcp";
    struct ls_group *tcp = bench.mpi ? NULL : team_join(&over_tcp, rank);
    over_mpi.provider = "mpi";
    struct ls_group *mpi = bench.mpi ? team_join(&over_mpi, rank) : NULL;
    if (shm == NULL || (bench.mpi ? mpi : tcp) == NULL || src == NULL || dst == NULL ||
        ls_group_register(shm, (size_t)MOST_COUNT * 8, &shared, &err) != LS_OK) {
        fprintf(stderr, "rank %d: %s\n", rank, err.message);
        return 1;
    }
    add(&bench, "shm direct", ls_bench_group, shm, shared, (float *)shared + MOST_COUNT);
    add(&bench, "shm staged", ls_bench_group, shm, src, dst);
    add(&bench, "memcpy", ls_bench_copy, NULL, src, dst);
    if (bench.mpi) {
        add(&bench, "MPI_Allreduce", ls_bench_mpi, NULL, src, dst);
        add(&bench, "over mpi", ls_bench_group, mpi, src, dst);
    } else {
        add(&bench, "over tcp", ls_bench_group, tcp, src, dst);
    }
    if (rank == 0) {
        printf("%12s", "bytes");
        for (int v = 0; v < bench.count; v++)
            printf("  %13s [fast, slow] ", bench.variants[v].name);
        printf(" us, %d ranks, %d rounds\n", team->world, bench.rounds);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        enum ls_status status =
            ls_bench_race(shm, bench.variants, bench.count, sizes[i] / 4,
                          sizes[i] >= 64 << 20 ? (bench.rounds + 2) / 3 : bench.rounds, figures, &err);
        if (status != LS_OK) {
            fprintf(stderr, "rank %d: %s\n", rank, err.message);
            return 1;
        }
        if (rank != 0)
            continue;
        printf("%12lld", (long long)sizes[i]);
        for (int v = 0; v < bench.count; v++)
            printf("  %10.2f [%8.1f,%9.1f]", figures[v].median_s * 1e6, figures[v].fastest_s * 1e6,
                   figures[v].slowest_s * 1e6);
        printf("\n");
        fflush(stdout);
    }
    ls_group_destroy(shm);
    ls_group_destroy(tcp);
    ls_group_destroy(mpi);
    ls_free(src);
    ls_free(dst);
    return 0;
}

/* Process 0's rendezvous for all. */
static int run_launched(struct team *team, struct bench *bench)
{
    struct ls_error err = LS_ERROR_INIT;
    int rank;
    int world;

    bench->mpi = true;
    if (ls_mpi_launch_open(&rank, &world, &err) != LS_OK || !team_init(team, "shm", world) ||
        ls_mpi_bcast_bytes(team->rendezvous, sizeof team->rendezvous, 0, &err) != LS_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    int failed = run_member(team, rank, bench);
    team_deinit(team);
    ls_mpi_finalize(failed);
    return failed;
}

int main(int argc, char **argv)
{
    struct team team;
    struct bench bench = {.rounds = 15};
    int64_t ranks = 2;
    int64_t rounds = 15;

    if ((argc > 1 && !ls_str_to_i64(argv[1], &ranks)) || (argc > 2 && !ls_str_to_i64(argv[2], &rounds)))
        return 2;
    bench.rounds = (int)rounds;
    if (ls_mpi_launch_detected() != NULL)
        return run_launched(&team, &bench);
    if (!team_init(&team, "shm", (int)ranks))
        return 2;
    /* The tcp group needs listeners beside the rendezvous. */
    struct team tcp;
    if (!team_init(&tcp, "tcp", (int)ranks))
        return 2;
    memcpy(team.members, tcp.members, sizeof team.members);
    memcpy(team.listeners, tcp.listeners, sizeof team.listeners);
    int failed = team_run_processes(&team, run_member, &bench);
    team_deinit(&tcp);
    team_deinit(&team);
    return failed != 0;
}
