/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_exact [ROUNDS [MOST_MIB]]: what exactness costs over shared memory. For each number of ranks and size the
 * canonical all-reduce races in turns against the fastest sum of any order (each rank adds its slice of all inputs in
 * rank order with the same kernels and writes it to all results, between two barriers in shared memory) and against the
 * all-reduce of one vector a rank. 3 and 5 ranks have several partials each: 8 shards dealt in rank order.
 */
#include "collective/bench.h"
#include "collective/reduce.h"
#include "tests/conformance/team.h"

#include "core/base/alloc.h"
#include "core/base/str.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST_WORLD 8
#define MOST_PARTIALS 8
#define SHARDS 8
#define MIB ((int64_t)1 << 20)
#define STREAM_BYTES (4 * MIB)

/* What the sum of any order shares; made before the ranks are. */
struct common {
    _Atomic uint32_t arrived __attribute__((aligned(128)));
    _Atomic uint32_t turn __attribute__((aligned(128)));
};

struct setting {
    struct common *common;
    float *memory; /* an input and a result for each rank */
    int64_t most;  /* elements */
    int rounds;
};

struct plain {
    const struct setting *setting;
    int world, rank, spins;
    struct lsi_steps chain;
};

static void meet(struct common *common, int world, int spins)
{
    uint32_t turn = atomic_load_explicit(&common->turn, memory_order_acquire);

    if (atomic_fetch_add(&common->arrived, 1) == (uint32_t)world - 1) {
        atomic_store_explicit(&common->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&common->turn, turn + 1, memory_order_release);
        return;
    }
    for (int round = 0; atomic_load_explicit(&common->turn, memory_order_acquire) == turn; round++)
        if (round > spins)
            (void)sched_yield();
}

static float *input_of(const struct setting *setting, int r)
{
    return setting->memory + 2 * r * setting->most;
}

/* (((0 + 1) + 2) + 3) ..., in pieces that the caches hold. */
static enum ls_status run_plain(void *state, const float *src, float *dst, int64_t count, struct ls_error *err)
{
    const struct plain *plain = state;
    const struct setting *setting = plain->setting;
    int64_t begin = count * plain->rank / plain->world / 64 * 64;
    int64_t end = plain->rank == plain->world - 1 ? count : count * (plain->rank + 1) / plain->world / 64 * 64;
    const void *inputs[MOST_WORLD];
    void *outs[MOST_WORLD];

    (void)src;
    (void)dst;
    (void)err;
    meet(setting->common, plain->world, plain->spins);
    for (int64_t at = begin; at < end; at += MIB / 4) {
        struct lsi_reduce sum = {.combine = lsi_combine_get(LS_F32, LS_SUM),
                                 .spread = lsi_spread_get(LS_F32, LS_SUM),
                                 .element_bytes = 4,
                                 .steps = &plain->chain,
                                 .inputs = inputs,
                                 .outs = outs,
                                 .out_count = plain->world,
                                 .stream = count * 4 >= STREAM_BYTES};
        for (int r = 0; r < plain->world; r++) {
            inputs[r] = input_of(setting, r) + at;
            /* The own result first: ranks write to different memory at a time. */
            outs[(r - plain->rank + plain->world) % plain->world] = input_of(setting, r) + setting->most + at;
        }
        lsi_reduce_run(&sum, end - at < MIB / 4 ? end - at : MIB / 4);
    }
    meet(setting->common, plain->world, plain->spins);
    return LS_OK;
}

struct exact {
    struct ls_group *group;
    struct ls_tree_layout layout;
    int partials;
};

static enum ls_status run_exact(void *state, const float *src, float *dst, int64_t count, struct ls_error *err)
{
    const struct exact *exact = state;
    const void *leaves[MOST_PARTIALS];
    struct ls_collective op = {.kind = LS_ALL_REDUCE_TREE,
                               .dtype = LS_F32,
                               .count = count,
                               .dst = dst,
                               .layout = &exact->layout,
                               .leaves = leaves};

    for (int i = 0; i < exact->partials; i++)
        leaves[i] = src + i * count;
    return ls_group_run(exact->group, &op, err);
}

/* Shards dealt in rank order, cut into aligned ranges. */
static void deal(struct ls_tree_layout *layout, int world)
{
    layout->v_total = SHARDS;
    layout->world = world;
    for (int r = 0; r < world; r++) {
        int at = SHARDS * r / world, end = SHARDS * (r + 1) / world;
        layout->first_range[r] = layout->range_count;
        while (at < end) {
            int size = 1;
            while (at % (2 * size) == 0 && at + 2 * size <= end)
                size *= 2;
            layout->ranges[layout->range_count++] = (struct ls_range){at, size};
            at += size;
        }
    }
    layout->first_range[world] = layout->range_count;
}

static int most_partials(const struct ls_tree_layout *layout)
{
    int most = 0;

    for (int r = 0; r < layout->world; r++) {
        int own = layout->first_range[r + 1] - layout->first_range[r];
        most = own > most ? own : most;
    }
    return most;
}

static void print(int world, int partials, int64_t count, const double *times, int rounds)
{
    struct ls_bench_figure exact = ls_bench_figure_of(times, rounds);
    struct ls_bench_figure one = ls_bench_ratio_of(times, times + rounds, rounds);
    struct ls_bench_figure any = ls_bench_ratio_of(times, times + 2 * rounds, rounds);

    printf("%5d %8d %9.0f %11.1f   %6.3f [%5.2f,%6.2f]   %6.3f [%5.2f,%6.2f]\n", world, partials,
           (double)count * 4 / (double)MIB, exact.median * 1e6, one.median, one.least, one.most, any.median, any.least,
           any.most);
    (void)fflush(stdout);
}

static enum ls_status race(struct ls_group *group, const struct setting *setting, struct exact *exact,
                           struct plain *plain, struct ls_error *err)
{
    double *times = ls_alloc((size_t)setting->rounds * 3 * sizeof *times);
    int partials = most_partials(&exact->layout);
    float *registered;
    enum ls_status status =
        ls_group_register(group, (size_t)setting->most * 4 * (size_t)(partials + 3), (void **)&registered, err);

    if (status == LS_OK && times == NULL)
        status = ls_error_set(err, LS_ENOMEM, "no memory for the times");
    for (int64_t count = MIB / 4; count <= setting->most && status == LS_OK; count *= 4) {
        /* Each variant has memory of its own, so that no other leaves it in a cache. */
        float *dst = registered + partials * setting->most, *src = dst + setting->most;
        const struct ls_bench_variant variants[] = {
            {"exact", run_exact, exact, registered, dst, NULL},
            {"one vector", ls_bench_group, group, src, src + setting->most, NULL},
            {"any order", run_plain, plain, input_of(setting, plain->rank), NULL, NULL},
        };
        status = ls_bench_race(group, variants, 3, count, setting->rounds, times, err);
        if (status == LS_OK && plain->rank == 0)
            print(plain->world, partials, count, times, setting->rounds);
    }
    ls_free(times);
    return status;
}

static int member(struct team *team, int rank, void *argument)
{
    const struct setting *setting = argument;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct plain plain = {
        .setting = setting, .world = team->world, .rank = rank, .spins = team->world <= processors ? 2000 : 20};
    struct exact exact = {.group = team_join(team, rank)};
    struct ls_error err = LS_ERROR_INIT;
    cpu_set_t one;

    if (exact.group == NULL)
        return 1;
    CPU_ZERO(&one);
    CPU_SET((unsigned)(rank % processors), &one);
    (void)sched_setaffinity(0, sizeof one, &one);
    deal(&exact.layout, team->world);
    exact.partials = exact.layout.first_range[rank + 1] - exact.layout.first_range[rank];
    plain.chain.count = team->world - 1;
    for (int i = 0; i < team->world - 1; i++)
        plain.chain.step[i] = (struct lsi_step){-1, (int16_t)(i == 0 ? 0 : -1), (int16_t)(i + 1)};
    if (race(exact.group, setting, &exact, &plain, &err) != LS_OK)
        fprintf(stderr, "rank %d: %s\n", rank, err.message);
    ls_group_destroy(exact.group);
    return err.message[0] != '\0';
}

int main(int argc, char **argv)
{
    static const int worlds[] = {2, 4, 8, 3, 5};
    int64_t rounds = 31, most_mib = 16;

    if ((argc > 1 && !ls_str_to_i64(argv[1], &rounds)) || (argc > 2 && !ls_str_to_i64(argv[2], &most_mib)) ||
        rounds < 1 || rounds > 1000 || most_mib < 1 || most_mib > 256) {
        fprintf(stderr, "usage: %s [ROUNDS [MOST_MIB]]\n", argv[0]);
        return 2;
    }
    printf("%5s %8s %9s %11s   %-22s   %-22s\n", "ranks", "partials", "MiB", "exact us", "x one vector a rank",
           "x sum of any order");
    (void)fflush(stdout);
    for (size_t i = 0; i < sizeof worlds / sizeof worlds[0]; i++) {
        size_t bytes = (size_t)(2 * worlds[i] * most_mib * MIB);
        struct setting setting = {.most = most_mib * MIB / 4, .rounds = (int)rounds};
        struct team team;
        setting.common = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        setting.memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if ((void *)setting.common == MAP_FAILED || (void *)setting.memory == MAP_FAILED ||
            !team_init(&team, "shm", worlds[i]))
            return 1;
        int failures = team_run_processes(&team, member, &setting);
        team_deinit(&team);
        (void)munmap(setting.memory, bytes);
        (void)munmap(setting.common, 4096);
        if (failures > 0)
            return 1;
    }
    return 0;
}
