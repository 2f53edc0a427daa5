/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nccl_faults [CASE|all [hybrid-nccl:abc]]: what the providers nccl and hybrid-nccl do where NCCL or CUDA is missing,
 * differs, fails, hangs or is aborted, over the stand-in of tests/support/nccl_stand_in (LOCKSTEP_NCCL_LIBRARY,
 * LOCKSTEP_CUDART_LIBRARY). Members are processes; each case checks the status, the sentence and the time.
 */
#include "tests/conformance/team.h"

#include "core/base/clock.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT 60000

static _Atomic int *ready; /* shared by the members */

static int expect(int rank, enum ls_status status, enum ls_status wanted, const char *text, const struct ls_error *err)
{
    if (status == wanted && (text == NULL || strstr(err->message, text) != NULL))
        return 0;
    fprintf(stderr, "rank %d: status %d, wanted %d with \"%s\": %s\n", rank, status, wanted, text != NULL ? text : "",
            err->message);
    return 1;
}

/* Generous: the machine may be busy with other work. What hangs takes the 3 s of an abort or a deadline of 20 s
 * longer. */
static int expect_within(int rank, uint64_t since_ns, uint64_t most_ms)
{
    uint64_t took = ls_clock_now_ns() - since_ns;

    if (took <= most_ms * 1000000u)
        return 0;
    fprintf(stderr, "rank %d: it took %.1f ms, at most %llu are due\n", rank, (double)took * 1e-6,
            (unsigned long long)most_ms);
    return 1;
}

static void meet(int count)
{
    atomic_fetch_add(ready, 1);
    while (atomic_load(ready) < count)
        (void)sched_yield();
}

/* What a case does to the environment of a rank (-1: all), and how forming must end there. */
struct trouble {
    const char *variable;
    const char *value;
    int rank;
    enum ls_status status;
    const char *text;
};

static void make_trouble(const struct trouble *trouble, int rank)
{
    if (trouble->rank < 0 || trouble->rank == rank)
        (void)setenv(trouble->variable, trouble->value, 1);
}

static int forming_member(struct team *team, int rank, void *argument)
{
    const struct trouble *trouble = argument;
    struct ls_group_options options = team_options(team, rank);
    struct ls_error err = LS_ERROR_INIT;
    struct ls_group *group = NULL;
    uint64_t start = ls_clock_now_ns();
    enum ls_status status;

    make_trouble(trouble, rank);
    status = ls_group_create(team->provider, &options, &group, &err);
    /* An abort of what hangs may take its deadline. */
    return expect(rank, status, trouble->status, trouble->text, &err) + expect_within(rank, start, 6000);
}

static int form(struct team *team, const char *variable, const char *value, int rank, enum ls_status status,
                const char *text)
{
    struct trouble trouble = {variable, value, rank, status, text};

    return team_run_processes(team, forming_member, &trouble);
}

/* A library that is missing in one place is missing for all, who learn where. */
static int case_missing(struct team *team)
{
    return form(team, "LOCKSTEP_NCCL_LIBRARY", "/nowhere/libnccl.so.2", 1, LS_EUNSUPPORTED, "/nowhere/libnccl.so.2");
}

static int case_missing_cuda(struct team *team)
{
    return form(team, "LOCKSTEP_CUDART_LIBRARY", "/nowhere/libcudart.so", -1, LS_EUNSUPPORTED,
                "LOCKSTEP_CUDART_LIBRARY");
}

/* A library that is something else. */
static int case_other_library(struct team *team)
{
    return form(team, "LOCKSTEP_NCCL_LIBRARY", "libm.so.6", -1, LS_EUNSUPPORTED, "there is no ncclGetVersion in it");
}

static int case_old(struct team *team)
{
    return form(team, "STAND_IN_VERSION", "21704", -1, LS_EUNSUPPORTED, "2.18 or later; this one is 2.17.4");
}

static int case_versions(struct team *team)
{
    return form(team, "STAND_IN_VERSION", "22705", 1, LS_EUNSUPPORTED, "they must be the same");
}

static int case_no_device(struct team *team)
{
    return form(team, "STAND_IN_DEVICES", "0", 2, LS_EUNSUPPORTED, "no CUDA-capable device");
}

static int case_init_error(struct team *team)
{
    return form(team, "STAND_IN_FAULT", "init-error:1:0", -1, LS_EPEER, "ncclCommInitRankConfig failed");
}

/* NCCL never connects: forming ends with its deadline. */
static int case_init_hang(struct team *team)
{
    team->form_deadline_ms = 400;
    return form(team, "STAND_IN_FAULT", "init-hang:1:0", -1, LS_ETIMEOUT, "rank 1 (worker 101");
}

static enum ls_status sum(struct ls_group *group, int64_t count, struct ls_error *err)
{
    static float src[COUNT], dst[COUNT];
    struct ls_collective op = {.kind = LS_ALL_REDUCE, .dtype = LS_F32, .count = count, .src = src, .dst = dst};

    return ls_group_run(group, &op, err);
}

/* Sums until the fault ends the group: all end soon, and all name rank 1. */
static int running_member(struct team *team, int rank, void *argument)
{
    const struct trouble *trouble = argument;
    struct ls_error err = LS_ERROR_INIT;
    enum ls_status status = LS_OK;
    struct ls_group *group;
    uint64_t start;
    int failures;

    make_trouble(trouble, rank);
    group = team_join(team, rank);
    if (group == NULL)
        return 1;
    start = ls_clock_now_ns();
    for (int i = 0; i < 20 && status == LS_OK; i++)
        status = sum(group, COUNT, &err);
    failures = expect(rank, status, trouble->status, trouble->text, &err);
    /* The grace for a death to be heard of is 300 ms, a deadline here 400. */
    failures += expect_within(rank, start, 6000);
    ls_group_destroy(group);
    return failures + expect_within(rank, start, 6000);
}

static int run_with(struct team *team, const char *fault, enum ls_status status, const char *text)
{
    struct trouble trouble = {"STAND_IN_FAULT", fault, -1, status, text};

    return team_run_processes(team, running_member, &trouble);
}

static int case_async_error(struct team *team)
{
    return run_with(team, "async-error:1:5", LS_EPEER, "failed: remote process exited");
}

static int case_call_error(struct team *team)
{
    return run_with(team, "call-error:1:4", LS_EPEER, "rank 1: a call failed");
}

/* A device that hangs: the deadline ends it for all. */
static int case_stuck(struct team *team)
{
    team->wait_deadline_ms = 400;
    return run_with(team, "stuck:1:3", LS_ETIMEOUT, "(all-reduce of 60000 float32, sum, ");
}

/* A process that is stopped while a round runs is named, though everybody waits in the same round. */
static int stopped_member(struct team *team, int rank, void *argument)
{
    static float src[COUNT], dst[COUNT];
    struct ls_collective op = {.kind = LS_ALL_REDUCE, .dtype = LS_F32, .count = COUNT, .src = src, .dst = dst};
    struct ls_group *group = team_join(team, rank);
    struct ls_error err = LS_ERROR_INIT;
    struct ls_request *request;
    uint64_t before;

    (void)argument;
    if (group == NULL || ls_group_run(group, &op, &err) != LS_OK)
        return 1;
    before = ls_group_bytes_moved(group);
    if (ls_group_start(group, &op, &request, &err) != LS_OK)
        return 1;
    while (rank == 2 && ls_group_bytes_moved(group) == before)
        (void)ls_request_test(request, &err);
    if (rank == 2)
        raise(SIGSTOP);
    int failures = expect(rank, ls_request_wait(request, &err), LS_ETIMEOUT, "for rank 2 (worker 102", &err);
    ls_group_destroy(group);
    return failures;
}

static int case_stopped(struct team *team)
{
    pid_t pids[3];
    int failures = 0, status;

    team->wait_deadline_ms = 1500;
    for (int r = 0; r < 3; r++)
        pids[r] = team_spawn(team, r, stopped_member, NULL);
    for (int r = 0; r < 2; r++) {
        (void)waitpid(pids[r], &status, 0);
        failures += status != 0;
    }
    kill(pids[2], SIGKILL);
    (void)waitpid(pids[2], &status, 0);
    return failures;
}

/* Where NCCL's abort itself hangs, the caller of an abort does not, requests end at once, and the end of the group
 * waits for its deadline only. */
static int abort_member(struct team *team, int rank, void *argument)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_group *group;
    uint64_t start;
    int failures;

    make_trouble(argument, rank);
    group = team_join(team, rank);
    if (group == NULL || sum(group, COUNT, &err) != LS_OK)
        return 1;
    meet(team->world);
    start = ls_clock_now_ns();
    if (rank == 0)
        ls_group_abort(group, "the operator said so");
    failures = rank == 0 ? expect_within(rank, start, 1000) : 0;
    failures += expect(rank, sum(group, COUNT, &err), LS_EINTERRUPTED, "the operator said so", &err);
    failures += expect_within(rank, start, 2000);
    ls_group_destroy(group);
    return failures + expect_within(rank, start, rank == 0 ? 5500 : 2500);
}

static int case_abort_hang(struct team *team)
{
    struct trouble trouble = {.variable = "STAND_IN_FAULT", .value = "abort-hang:0:0", .rank = 0};

    return team_run_processes(team, abort_member, &trouble);
}

/* Both a group and one that was split from it have rounds that never end. NCCL's abort of either would wait for the
 * other: they go in one call, and what ends the one ends the other for the same reason. */
static int family_member(struct team *team, int rank, void *argument)
{
    static float src[2][COUNT], dst[2][COUNT];
    struct ls_collective op = {.kind = LS_ALL_REDUCE, .dtype = LS_F32, .count = COUNT, .src = src[0], .dst = dst[0]};
    struct ls_collective other = {.kind = LS_ALL_REDUCE, .dtype = LS_F32, .count = COUNT, .src = src[1], .dst = dst[1]};
    struct ls_group *group, *split = NULL;
    struct ls_request *requests[2];
    struct ls_error err = LS_ERROR_INIT;
    uint64_t start;
    int failures = 0;

    make_trouble(argument, rank);
    group = team_join(team, rank);
    if (group == NULL || ls_group_split(group, 1, rank, &split, &err) != LS_OK ||
        ls_group_start(group, &op, &requests[0], &err) != LS_OK ||
        ls_group_start(split, &other, &requests[1], &err) != LS_OK)
        return 1;
    while (ls_group_bytes_moved(group) < 1000 || ls_group_bytes_moved(split) < 1000) {
        (void)ls_request_test(requests[0], &err);
        (void)ls_request_test(requests[1], &err);
    }
    meet(team->world);
    start = ls_clock_now_ns();
    if (rank == 0)
        ls_group_abort(split, "the operator said so");
    failures += expect(rank, ls_request_wait(requests[1], &err), LS_EINTERRUPTED, "the operator said so", &err);
    failures += expect(rank, ls_request_wait(requests[0], &err), LS_EINTERRUPTED, "the operator said so", &err);
    failures += expect_within(rank, start, 2000);
    ls_group_destroy(split);
    ls_group_destroy(group);
    return failures + expect_within(rank, start, 2500);
}

static int case_family(struct team *team)
{
    struct trouble trouble = {.variable = "STAND_IN_FAULT", .value = "stuck:0:0", .rank = -1};

    return team_run_processes(team, family_member, &trouble);
}

static uint64_t abort_after_ns; /* set before the members are started */

/* Another thread, while the group is split. */
static void *abort_later(void *argument)
{
    meet(4);
    for (uint64_t start = ls_clock_now_ns(); ls_clock_now_ns() - start < abort_after_ns;)
        (void)sched_yield();
    ls_group_abort(argument, "the operator said so");
    return NULL;
}

/* A group that ends while one is split from it, before NCCL connects that or meanwhile: forming ends too, for all. */
static int split_member(struct team *team, int rank, void *argument)
{
    struct ls_group *group, *split = NULL;
    struct ls_error err = LS_ERROR_INIT;
    pthread_t aborter;
    uint64_t start;
    int failures;

    make_trouble(argument, rank);
    group = team_join(team, rank);
    if (group == NULL || (rank == 0 && pthread_create(&aborter, NULL, abort_later, group) != 0))
        return 1;
    meet(4);
    start = ls_clock_now_ns();
    failures =
        expect(rank, ls_group_split(group, 1, rank, &split, &err), LS_EINTERRUPTED, "the operator said so", &err);
    failures += expect_within(rank, start, 5000);
    if (rank == 0)
        pthread_join(aborter, NULL);
    ls_group_destroy(group);
    return failures;
}

static int case_split(struct team *team)
{
    static const uint64_t after_us[] = {50000, 500, 1000, 1500, 2000, 3000, 5000};
    struct trouble trouble = {.variable = "STAND_IN_FAULT", .value = "init-hang:1:1", .rank = -1};
    int failures = 0;

    for (size_t i = 0; i < sizeof after_us / sizeof *after_us; i++) {
        abort_after_ns = after_us[i] * 1000;
        atomic_store(ready, 0);
        team->generation++;
        failures += team_run_processes(team, split_member, &trouble);
    }
    return failures;
}

static int check_value(int rank, const char *what, double got, double wanted)
{
    if (got == wanted || (isnan(got) && isnan(wanted)))
        return 0;
    fprintf(stderr, "rank %d: %s: %g, wanted %g\n", rank, what, got, wanted);
    return 1;
}

/* An element of small whole numbers, which every dtype holds exactly. */
static void put(enum ls_dtype dtype, void *element, int value)
{
    static const uint16_t f16[7] = {0, 0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600};
    float f32 = (float)value;
    double f64 = value;
    int64_t i64 = value;

    if (dtype == LS_F16)
        memcpy(element, &f16[value], 2);
    else if (dtype == LS_BF16)
        memcpy(element, (uint8_t *)&f32 + 2, 2);
    else
        memcpy(element,
               dtype == LS_F32   ? (void *)&f32
               : dtype == LS_F64 ? (void *)&f64
                                 : (void *)&i64,
               ls_dtype_size(dtype));
}

/* 1, 2 and 3 from three ranks, in every dtype: sums and products are 6 in any order, the largest integer is 3. */
static int try_dtypes(struct ls_group *group, int rank)
{
    static const enum ls_dtype dtypes[] = {LS_F32, LS_F64, LS_BF16, LS_F16, LS_I32, LS_I64};
    static uint64_t src[COUNT], dst[COUNT];
    struct ls_error err = LS_ERROR_INIT;
    int failures = 0;

    for (int k = 0; k < 18 && failures == 0; k++) {
        enum ls_reduction reduction = (enum ls_reduction[]){LS_SUM, LS_PRODUCT, LS_MAX}[k / 6];
        enum ls_dtype dtype = dtypes[k % 6];
        size_t size = ls_dtype_size(dtype);
        struct ls_collective op = {
            .kind = LS_ALL_REDUCE, .reduction = reduction, .dtype = dtype, .count = COUNT, .src = src, .dst = dst};
        uint8_t wanted[8];
        for (size_t i = 0; i < COUNT; i++)
            put(dtype, (uint8_t *)src + i * size, 1 + rank);
        put(dtype, wanted, reduction == LS_MAX ? 3 : 6);
        failures += expect(rank, ls_group_run(group, &op, &err), LS_OK, NULL, &err);
        for (size_t i = 0; i < COUNT && failures == 0; i++)
            failures += memcmp((uint8_t *)dst + i * size, wanted, size) != 0;
        if (failures > 0)
            fprintf(stderr, "rank %d: reduction %d of %s\n", rank, (int)reduction, ls_dtype_name(dtype));
    }
    return failures;
}

/* 1e8 - 1e8 + 1 is 1 along the tree of three ranks; the stand-in's all-reduce, which begins with the last, gives 0. */
static int order_member(struct team *team, int rank, void *argument)
{
    static const float values[3] = {1e8f, -1e8f, 1.0f};
    static float src[COUNT], dst[COUNT];
    bool any_order = *(bool *)argument;
    struct ls_group_options options = team_options(team, rank);
    struct ls_collective op = {.kind = LS_ALL_REDUCE, .dtype = LS_F32, .count = COUNT, .src = src, .dst = dst};
    struct ls_error err = LS_ERROR_INIT;
    struct ls_group *group;
    int failures = 0;

    options.any_order = any_order;
    if (ls_group_create(team->provider, &options, &group, &err) != LS_OK)
        return 1;
    for (int i = 0; i < COUNT; i++)
        src[i] = values[rank];
    failures += expect(rank, ls_group_run(group, &op, &err), LS_OK, NULL, &err);
    failures += check_value(rank, "sum", (double)dst[COUNT - 1], any_order ? 0.0 : 1.0);
    op.reduction = LS_MEAN;
    src[0] = (float)(3 * rank);
    failures += expect(rank, ls_group_run(group, &op, &err), LS_OK, NULL, &err);
    failures += check_value(rank, "mean", (double)dst[0], 3.0);
    /* NCCL's minimum passes over NaN, ours does not: it goes the canonical way. */
    op.reduction = LS_MIN;
    src[0] = rank == 1 ? __builtin_nanf("") : 1.0f;
    failures += expect(rank, ls_group_run(group, &op, &err), LS_OK, NULL, &err);
    failures += check_value(rank, "minimum", (double)dst[0], (double)NAN);
    failures += try_dtypes(group, rank);
    ls_group_destroy(group);
    return failures;
}

static int case_order(struct team *team)
{
    bool exact = false, any = true;
    int failures = team_run_processes(team, order_member, &exact);

    team->generation++;
    return failures + team_run_processes(team, order_member, &any);
}

/* Members that are told differently whether the order matters hear of it. */
static int told_member(struct team *team, int rank, void *argument)
{
    struct ls_group_options options = team_options(team, rank);
    struct ls_error err = LS_ERROR_INIT;
    struct ls_group *group;
    int failures;

    (void)argument;
    options.any_order = rank == 1;
    if (ls_group_create(team->provider, &options, &group, &err) != LS_OK)
        return 1;
    failures = expect(rank, sum(group, COUNT, &err), LS_EDIVERGED, "native", &err);
    ls_group_destroy(group);
    return failures;
}

static int case_told(struct team *team)
{
    return team_run_processes(team, told_member, NULL);
}

static const struct {
    const char *name;
    int world;
    int (*run)(struct team *team);
} cases[] = {
    {"missing", 3, case_missing},
    {"missing-cuda", 2, case_missing_cuda},
    {"other-library", 2, case_other_library},
    {"old", 2, case_old},
    {"versions", 3, case_versions},
    {"no-device", 3, case_no_device},
    {"init-error", 3, case_init_error},
    {"init-hang", 3, case_init_hang},
    {"async-error", 3, case_async_error},
    {"call-error", 3, case_call_error},
    {"stuck", 3, case_stuck},
    {"stopped", 3, case_stopped},
    {"abort-hang", 3, case_abort_hang},
    {"family", 3, case_family},
    {"order", 3, case_order},
    {"told", 3, case_told},
    {"split", 3, case_split},
};

int main(int argc, char **argv)
{
    int failures = 0;

    ready = mmap(NULL, sizeof *ready, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct team team;
        int failed;
        if (argc > 1 && strcmp(argv[1], "all") != 0 && strcmp(argv[1], cases[i].name) != 0)
            continue;
        if (argc > 2 && (cases[i].run == case_order || cases[i].run == case_told))
            continue; /* of NCCL's own sum, which a composition does not take */
        atomic_store(ready, 0);
        if (!team_init(&team, argc > 2 ? argv[2] : "nccl", cases[i].world))
            return 2;
        failed = cases[i].run(&team);
        team_deinit(&team);
        printf("%s %s: %s\n", team.provider, cases[i].name, failed == 0 ? "ok" : "FAILED");
        fflush(stdout); /* children must not inherit it */
        failures += failed;
    }
    return failures != 0;
}
