/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that carries collectives: in order, with the results of the caller's own, and never longer than the
 * group. */
#include "core/base/clock.h"
#include "tests/support/step_job.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#define PARCELS 40

static const char *const providers[] = {"shm", "tcp"};
#define PROVIDERS ((int)(sizeof providers / sizeof providers[0]))

static char directory[64];

static void make(void)
{
    lst_step_directory_init(directory);
}

static void discard(void)
{
    lst_step_directory_deinit(directory);
}

struct watch {
    _Atomic bool seen;
};

/* Both ranks end well over every provider: tcp, whose data a courier carries in a run, and shm, where it only may. */
static void check_over_all(lst_step_fn fn)
{
    struct ls_job *job = lst_step_job(directory, "mlp.json", "{workers: 2}");

    for (int p = 0; p < PROVIDERS; p++) {
        struct watch watch = {.seen = false};
        struct lst_step_ranks ranks;

        lst_step_run_over(providers[p], job, 2, fn, &watch, &ranks);
        for (int r = 0; r < 2; r++)
            cr_expect_eq(ranks.status[r], LS_OK, "%s, rank %d: %s", providers[p], r, ranks.err[r].message);
    }
    ls_job_destroy(job);
}

/* What parcels in a row give and what the group gives afterwards in the caller's thread. */
static enum ls_status carry_some(void *state, struct ls_replica *replica, struct ls_error *err)
{
    static const int64_t sizes[] = {1, 3000, 100000};
    struct ls_parcel parcels[PARCELS] = {{.way = NULL}};
    static _Thread_local float given[PARCELS][1], made[PARCELS][1], large[2][100000];
    struct ls_courier *courier = NULL;
    enum ls_status status = ls_courier_create(replica->group, &courier, err);

    (void)state;
    for (int i = 0; i < PARCELS && status == LS_OK; i++) {
        given[i][0] = (float)(i * (replica->rank + 1));
        parcels[i].op =
            (struct ls_collective){.kind = LS_ALL_REDUCE, .dtype = LS_F32, .count = 1, .src = given[i], .dst = made[i]};
        if (i < 3) {
            parcels[i].op.count = sizes[i];
            parcels[i].op.src = large[0];
            parcels[i].op.dst = large[1];
        }
        ls_courier_give(courier, &parcels[i]);
        if (i < 3)
            status = ls_courier_wait(courier, &parcels[i], err);
    }
    for (int i = PARCELS - 1; i >= 3 && status == LS_OK; i--) {
        status = ls_courier_wait(courier, &parcels[i], err);
        if (made[i][0] != (float)(i * 3))
            status = ls_error_set(err, LS_EINTERNAL, "parcel %d gave %g", i, (double)made[i][0]);
        if (parcels[i].way == NULL)
            status = ls_error_set(err, LS_EINTERNAL, "parcel %d went no way", i);
    }
    ls_courier_destroy(courier);
    return status == LS_OK ? ls_replica_agree(replica, err) : status;
}

/* Results are right, waits may come in any order, and behind them the group is the caller's again. */
Test(courier, carries_in_order, .init = make, .fini = discard)
{
    check_over_all(carry_some);
}

/* Rank 0 asks, from beside the thread that waits, what it waits for; rank 1 joins in only when that was seen. */
static enum ls_status watch_wait(void *state, struct ls_replica *replica, struct ls_error *err)
{
    struct watch *watch = state;
    float given = 1, made = 0;
    struct ls_parcel parcel = {
        .op = {.kind = LS_ALL_REDUCE, .dtype = LS_F32, .count = 1, .src = &given, .dst = &made, .label = 77}};
    struct ls_courier *courier = NULL;
    struct ls_group_wait wait = {.rank = -1};
    uint64_t until = ls_clock_now_ns() + UINT64_C(30000000000);
    enum ls_status status = ls_courier_create(replica->group, &courier, err);

    if (status != LS_OK)
        return status;
    while (replica->rank == 1 && !watch->seen && ls_clock_now_ns() < until)
        (void)sched_yield();
    ls_courier_give(courier, &parcel);
    while (replica->rank == 0 && !ls_group_waiting(replica->group, &wait) && ls_clock_now_ns() < until)
        (void)sched_yield();
    if (replica->rank == 0 && (wait.rank != 1 || wait.label != 77 || wait.kind != LS_ALL_REDUCE))
        status = ls_error_set(err, LS_EINTERNAL, "it waits for rank %d in operation %u", wait.rank, wait.label);
    watch->seen = true;
    if (status == LS_OK)
        status = ls_courier_wait(courier, &parcel, err);
    if (status == LS_OK && ls_group_waiting(replica->group, &wait))
        status = ls_error_set(err, LS_EINTERNAL, "it still waits for rank %d", wait.rank);
    ls_courier_destroy(courier);
    return status;
}

/* Whoever wants to know sees what a member waits for, by another thread, and that it no longer does. */
Test(courier, shows_what_it_waits_for, .init = make, .fini = discard)
{
    check_over_all(watch_wait);
}

static enum ls_status leave_early(void *state, struct ls_replica *replica, struct ls_error *err)
{
    float given = 1, made;
    struct ls_parcel parcel = {.op = {.kind = LS_ALL_REDUCE, .dtype = LS_F32, .count = 1, .src = &given, .dst = &made}};
    struct ls_courier *courier = NULL;
    struct watch *watch = state;
    uint64_t until = ls_clock_now_ns() + UINT64_C(30000000000);
    enum ls_status status = ls_courier_create(replica->group, &courier, err);

    if (status != LS_OK)
        return status;
    if (replica->rank == 0) {
        ls_courier_give(courier, &parcel); /* of which the others know nothing */
        ls_courier_destroy(courier);
        watch->seen = true;
        return parcel.status;
    }
    while (!watch->seen && ls_clock_now_ns() < until)
        (void)sched_yield();
    ls_courier_destroy(courier);
    return ls_replica_agree(replica, err);
}

/* A courier that ends with a parcel on its way ends the group: its memory is free afterwards, and peers hear of it. */
Test(courier, ends_in_the_middle, .init = make, .fini = discard)
{
    struct ls_job *job = lst_step_job(directory, "mlp.json", "{workers: 2}");

    for (int p = 0; p < PROVIDERS; p++) {
        struct watch watch = {.seen = false};
        struct lst_step_ranks ranks;

        lst_step_run_over(providers[p], job, 2, leave_early, &watch, &ranks);
        cr_expect_eq(ranks.status[0], LS_EINTERRUPTED, "%s", providers[p]);
        cr_expect_neq(ranks.status[1], LS_OK, "%s", providers[p]);
    }
    ls_job_destroy(job);
}

/* The job to its end with gradients cut and carried one way; the fingerprint that it leaves. */
struct way {
    struct ls_arrangement arrangement;
    uint64_t fingerprint[3];
};

static enum ls_status run_one_way(void *state, struct ls_replica *replica, struct ls_error *err)
{
    struct way *way = state;
    enum ls_status status;

    replica->tuner.candidate[0] = way->arrangement;
    replica->tuner.chosen = 0;
    status = ls_replica_run(replica, err);
    way->fingerprint[replica->rank] = replica->fingerprint;
    return status;
}

static const struct ls_arrangement arrangements[] = {
    {256 << 10, 4 << 20, true, NULL},     {1, 1, false, NULL},
    {1, 1, true, "no such way"},          {64 << 20, 64 << 20, false, NULL},
    {256 << 10, 4 << 20, true, "gather"}, {1000, 300000, false, "staged"},
};
#define ARRANGEMENTS ((int)(sizeof arrangements / sizeof arrangements[0]))
#define FEW 3

static const char *const one_epoch[] = {"epochs=1"};

/* The first `count` arrangements over a provider leave one fingerprint: *expected, where that is not 0. */
static void check_arrangements(struct ls_job *job, const char *provider, int count, int world, uint64_t *expected)
{
    for (int i = 0; i < count; i++) {
        struct way way = {.arrangement = arrangements[i]};
        struct lst_step_ranks ranks;

        lst_step_run_over(provider, job, world, run_one_way, &way, &ranks);
        for (int r = 0; r < world; r++) {
            cr_assert_eq(ranks.status[r], LS_OK, "%s, way %d: %s", provider, i, ranks.err[r].message);
            if (*expected == 0)
                *expected = way.fingerprint[0];
            cr_expect_eq(way.fingerprint[r], *expected, "%s, way %d, rank %d", provider, i, r);
        }
    }
}

/* However gradients are cut, and whatever carries them on whichever way, the parameters get the same bits. */
Test(courier, no_arrangement_moves_a_bit, .init = make, .fini = discard)
{
    struct ls_job *job = lst_step_job_with(directory, "mlp.json", "{workers: 2}", one_epoch, 1);
    uint64_t fingerprint = 0;

    check_arrangements(job, "shm", ARRANGEMENTS, 2, &fingerprint);
    check_arrangements(job, "tcp", ARRANGEMENTS, 2, &fingerprint);
    check_arrangements(job, "hybrid", FEW, 3, &fingerprint);
    ls_job_destroy(job);
}

/* Nor where they are compressed: the sums depend on the world then, and on nothing else. The last method sends the
 * first steps whole. */
Test(courier, no_arrangement_moves_a_compressed_bit, .init = make, .fini = discard)
{
    const struct ls_compression_options methods[] = {{.name = "bf16"},
                                                     {.name = "top_k", .ratio = 0.05},
                                                     {.name = "power_sgd", .rank = 2},
                                                     {.name = "power_sgd", .rank = 1, .start_step = 2}};

    for (size_t m = 0; m < sizeof methods / sizeof methods[0]; m++) {
        struct ls_job *job = lst_step_job_with(directory, "mlp.json", "{workers: 2}", one_epoch, 1);
        struct ls_error err = LS_ERROR_INIT;
        uint64_t fingerprint = 0;

        job->fast = true; /* for the key alone: the kernels stay the exact ones, which are always there */
        cr_assert_eq(ls_job_set_compression(job, &methods[m], &err), LS_OK, "%s", err.message);
        job->fast = false;
        check_arrangements(job, "shm", 1, 2, &fingerprint);
        check_arrangements(job, "tcp", FEW, 2, &fingerprint);
        ls_job_destroy(job);
    }
}
