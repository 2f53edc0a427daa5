/* SPDX-License-Identifier: Apache-2.0 */
/* Large staged sums over shared memory: their slots are written both ways while rank 0 tries them; the bits are the
 * same. */
#include "collective/group.h"
#include "core/base/alloc.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MOST_WORLD 3
#define COUNT ((int64_t)6 << 20) /* 24 MiB: more chunks than the trials take */
#define RUNS 3

struct common {
    char directory[64];
    struct ls_member members[MOST_WORLD];
    int world;
    int shift;    /* of the result, in elements: it may begin anywhere */
    bool crowded; /* all members on one processor */
};

struct rank {
    const struct common *common;
    int rank;
    pthread_t thread;
    bool failed;
    char why[200];
};

static float value_of(int r, int64_t i, int run)
{
    return (float)((i * 7 + r * 13 + run) % 1009) * 0.37f;
}

/* Leaves of a canonical tree: (0 + 1) + 2. */
static float sum_of(int world, int64_t i, int run)
{
    float sum = value_of(0, i, run) + value_of(1, i, run);

    return world == 3 ? sum + value_of(2, i, run) : sum;
}

static struct ls_group *join(const struct rank *rank, struct ls_error *err)
{
    struct ls_group_options options = LS_GROUP_OPTIONS_DEFAULT;
    struct ls_group *group = NULL;
    char rendezvous[80];

    (void)snprintf(rendezvous, sizeof rendezvous, "%s/group", rank->common->directory);
    options.members = rank->common->members;
    options.world = rank->common->world;
    options.rank = rank->rank;
    options.generation = 1;
    options.secret[0] = 5;
    options.rendezvous = rendezvous;
    return ls_group_create("shm", &options, &group, err) == LS_OK ? group : NULL;
}

static bool is_sum(const float *dst, int world, int64_t first, int64_t count, int run)
{
    for (int64_t i = 0; i < count; i++)
        if (dst[i] != sum_of(world, first + i, run))
            return false;
    return true;
}

static bool run_all(struct ls_group *group, const struct rank *rank, float *src, float *dst, struct ls_error *err)
{
    int world = rank->common->world;
    int64_t counts[MOST_WORLD] = {COUNT / world, COUNT / world, COUNT / world};
    int64_t first = rank->rank * counts[0];

    for (int run = 0; run < RUNS; run++) {
        struct ls_collective op = {.kind = run == RUNS - 1 ? LS_REDUCE_SCATTER : LS_ALL_REDUCE,
                                   .dtype = LS_F32,
                                   .count = COUNT / world * world,
                                   .src = src,
                                   .dst = dst + rank->common->shift,
                                   .counts = counts};
        bool part = op.kind == LS_REDUCE_SCATTER;
        for (int64_t i = 0; i < COUNT; i++)
            src[i] = value_of(rank->rank, i, run);
        if (ls_group_run(group, &op, err) != LS_OK ||
            !is_sum(op.dst, world, part ? first : 0, part ? counts[0] : op.count, run))
            return false;
    }
    return true;
}

/* The first of the processors that this process has. */
static void share_one(void)
{
    cpu_set_t set, one;
    unsigned i = 0;

    CPU_ZERO(&one);
    cr_assert_eq(sched_getaffinity(0, sizeof set, &set), 0);
    while (!CPU_ISSET(i, &set))
        i++;
    CPU_SET(i, &one);
    cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0);
}

static void *rank_main(void *argument)
{
    struct rank *rank = argument;
    struct ls_error err = LS_ERROR_INIT;
    struct ls_group *group;

    if (rank->common->crowded)
        share_one();
    group = join(rank, &err);
    float *src = ls_alloc_aligned((size_t)COUNT * sizeof *src);
    float *dst = ls_alloc_aligned(((size_t)COUNT + 64) * sizeof *dst);

    rank->failed = group == NULL || src == NULL || dst == NULL || !run_all(group, rank, src, dst, &err);
    (void)snprintf(rank->why, sizeof rank->why, "%s", err.message);
    ls_group_destroy(group);
    ls_free(src);
    ls_free(dst);
    return NULL;
}

static void check(int world, int shift, bool crowded)
{
    struct common common = {
        .directory = "/tmp/lockstep-staged-XXXXXX", .world = world, .shift = shift, .crowded = crowded};
    struct rank ranks[MOST_WORLD];
    char path[80];

    cr_assert_not_null(mkdtemp(common.directory));
    for (int r = 0; r < world; r++)
        common.members[r] =
            (struct ls_member){.worker = 1 + (uint64_t)r, .incarnation = 1, .host = "here", .address = "127.0.0.1"};
    for (int r = 0; r < world; r++) {
        ranks[r] = (struct rank){.common = &common, .rank = r};
        cr_assert_eq(pthread_create(&ranks[r].thread, NULL, rank_main, &ranks[r]), 0);
    }
    for (int r = 0; r < world; r++) {
        (void)pthread_join(ranks[r].thread, NULL);
        cr_expect_not(ranks[r].failed, "rank %d of %d: a wrong sum, or %s", r, world, ranks[r].why);
    }
    (void)snprintf(path, sizeof path, "%s/group", common.directory);
    (void)unlink(path);
    (void)rmdir(common.directory);
}

Test(staged, large_sums)
{
    check(2, 0, false);
    check(2, 3, false);
    check(3, 16, false);
}

/* Members take turns on a processor: trials are timed in another way. */
Test(staged, large_sums_in_turns)
{
    check(3, 0, true);
}
