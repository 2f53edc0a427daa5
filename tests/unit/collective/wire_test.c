/* SPDX-License-Identifier: Apache-2.0 */
/* Large sums that travel as bf16, whose results go past the caches: every element to the bit, on every member, with the
 * result anywhere. Shorter ones are the conformance suite's. */
#include "collective/group_impl.h"
#include "collective/transport/tcp/listen.h"
#include "core/base/alloc.h"
#include "core/tensor/bf16.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>

#define MOST_WORLD 3
#define COUNT (((int64_t)5 << 18) + 77) /* 5 MiB, no whole number of blocks */

struct common {
    struct ls_member members[MOST_WORLD];
    int listeners[MOST_WORLD];
    int world, shift;
    enum ls_reduction reduction;
};

struct rank {
    const struct common *common;
    int rank;
    pthread_t thread;
    int64_t wrong; /* the first element that is; -1: none */
    char why[200];
};

static float value_of(int r, int64_t i)
{
    return (float)((i * 7 + r * 13) % 1009) * 0.37f;
}

/* The owner's own value, the others' rounded, in rank order; the result rounded. */
static float sum_of(const struct common *common, int owner, int64_t i)
{
    volatile float sum = value_of(owner, i);

    for (int r = 0; r < common->world; r++)
        if (r != owner)
            sum += lsi_f32_of_bf16(lsi_bf16_of_f32(value_of(r, i)));
    if (common->reduction == LS_MEAN)
        sum /= (float)common->world;
    return lsi_f32_of_bf16(lsi_bf16_of_f32(sum));
}

static int64_t first_wrong(const struct common *common, const float *dst)
{
    for (int owner = 0; owner < common->world; owner++) {
        int64_t begin, length;
        lsi_slice(COUNT, common->world, owner, &begin, &length);
        for (int64_t i = begin; i < begin + length; i++)
            if (dst[i] != sum_of(common, owner, i))
                return i;
    }
    return -1;
}

static void run_all(struct rank *rank, struct ls_group *group, struct ls_error *err)
{
    float *src = ls_alloc_aligned((size_t)COUNT * sizeof *src);
    float *room = ls_alloc_aligned(((size_t)COUNT + 64) * sizeof *room), *dst = room + rank->common->shift;
    struct ls_collective op = {.kind = LS_ALL_REDUCE,
                               .reduction = rank->common->reduction,
                               .dtype = LS_F32,
                               .count = COUNT,
                               .src = src,
                               .dst = dst};

    for (int64_t i = 0; i < COUNT; i++)
        src[i] = value_of(rank->rank, i);
    if (ls_group_run(group, &op, err) == LS_OK)
        rank->wrong = first_wrong(rank->common, dst);
    ls_free(src);
    ls_free(room);
}

static void *rank_main(void *argument)
{
    struct rank *rank = argument;
    struct ls_group_options options = LS_GROUP_OPTIONS_DEFAULT;
    struct ls_error err = LS_ERROR_INIT;
    struct ls_group *group = NULL;

    options.members = rank->common->members;
    options.world = rank->common->world;
    options.rank = rank->rank;
    options.generation = 1;
    options.secret[0] = 5;
    options.listener = rank->common->listeners[rank->rank];
    options.any_order = options.bf16_wire = true;
    rank->wrong = COUNT;
    if (ls_group_create("tcp", &options, &group, &err) == LS_OK)
        run_all(rank, group, &err);
    (void)snprintf(rank->why, sizeof rank->why, "%s", err.message);
    ls_group_destroy(group);
    return NULL;
}

static void check(int world, int shift, enum ls_reduction reduction)
{
    struct common common = {.world = world, .shift = shift, .reduction = reduction};
    struct rank ranks[MOST_WORLD];

    for (int r = 0; r < world; r++) {
        common.members[r] =
            (struct ls_member){.worker = 1 + (uint64_t)r, .incarnation = 1, .host = "here", .address = "127.0.0.1"};
        cr_assert_eq(ls_tcp_listen("127.0.0.1", &common.listeners[r], &common.members[r].port, NULL), LS_OK);
    }
    for (int r = 0; r < world; r++) {
        ranks[r] = (struct rank){.common = &common, .rank = r};
        cr_assert_eq(pthread_create(&ranks[r].thread, NULL, rank_main, &ranks[r]), 0);
    }
    for (int r = 0; r < world; r++) {
        (void)pthread_join(ranks[r].thread, NULL);
        cr_expect_eq(ranks[r].wrong, -1, "rank %d of %d: element %lld is wrong, or %s", r, world,
                     (long long)ranks[r].wrong, ranks[r].why);
    }
}

Test(wire, large_sums)
{
    check(2, 0, LS_SUM);
    check(2, 3, LS_SUM);
    check(3, 16, LS_SUM);
    check(2, 0, LS_MEAN);
}
