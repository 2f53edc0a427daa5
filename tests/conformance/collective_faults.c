/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conformance_collective_faults PROVIDER [CASE] (mpirun: mpi launched): what a group does when a member dies, stops,
 * differs or never comes. Every case ends by itself; each checks the status, the name in the sentence and the time it
 * took.
 */
#include "tests/conformance/board.h"
#include "tests/conformance/team.h"

#include "collective/group_impl.h"
#include "core/base/clock.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int expect(int rank, enum ls_status status, enum ls_status wanted, const char *name, const struct ls_error *err)
{
    if (status == wanted && (name == NULL || strstr(err->message, name) != NULL))
        return 0;
    fprintf(stderr, "rank %d: status %d, wanted %d with \"%s\": %s\n", rank, status, wanted, name != NULL ? name : "",
            err->message);
    return 1;
}

/* A member of a case, in its group. */
struct part {
    struct team *team;
    struct ls_group *group;
    int rank;
    void *argument;
    struct ls_error err;
};

/* What a member does; the number of checks that failed. */
struct act {
    int (*run)(struct part *part);
    void *argument;
};

/* Every case begins and ends alike: the member joins, and its group goes when it is through. */
static int take_part(struct team *team, int rank, void *argument)
{
    const struct act *act = argument;
    struct part part = {
        .team = team, .group = team_join(team, rank), .rank = rank, .argument = act->argument, .err = LS_ERROR_INIT};
    int failures;

    if (part.group == NULL)
        return 1;
    failures = act->run(&part);
    ls_group_destroy(part.group);
    return failures;
}

static int in_threads(struct team *team, int (*run)(struct part *part), void *argument)
{
    return team_run_threads(team, take_part, &(struct act){run, argument});
}

static int in_processes(struct team *team, int (*run)(struct part *part), void *argument)
{
    return team_run_processes(team, take_part, &(struct act){run, argument});
}

/* A barrier that is to end so. */
static int expect_barrier(struct part *part, struct ls_group *group, enum ls_status wanted, const char *name)
{
    struct ls_collective barrier = {.kind = LS_BARRIER};

    return expect(part->rank, ls_group_run(group, &barrier, &part->err), wanted, name, &part->err);
}

static void wait_a_little(void)
{
    for (uint64_t start = ls_clock_now_ns(); ls_clock_now_ns() - start < 20000000u;)
        (void)sched_yield();
}

static enum ls_status reduce(struct ls_group *group, float *src, float *dst, int64_t count, struct ls_error *err)
{
    struct ls_collective op = {.kind = LS_ALL_REDUCE, .dtype = LS_F32, .count = count, .src = src, .dst = dst};

    return ls_group_run(group, &op, err);
}

static void *abort_from_thread(void *argument)
{
    board_until(&board->ready, 3);
    wait_a_little();
    board_mark();
    ls_group_abort(argument, "the operator said so");
    ls_group_abort(argument, "and again");
    return NULL;
}

/* Ranks 0 to 2 wait for rank 3; another thread of rank 1 aborts: all four end at once with its reason, also later. */
static int abort_member(struct part *part)
{
    struct ls_collective barrier = {.kind = LS_BARRIER};
    pthread_t aborter;
    int failures = 0;

    if (part->rank == 1)
        pthread_create(&aborter, NULL, abort_from_thread, part->group);
    if (part->rank != 3) {
        atomic_fetch_add(&board->ready, 1);
        failures += expect_barrier(part, part->group, LS_EINTERRUPTED, "the operator said so");
        failures += board_soon(part->rank);
    }
    if (part->rank == 1)
        pthread_join(aborter, NULL);
    /* The others have given their part of the barrier: rank 3 may complete it, and nothing after it. */
    if (part->rank == 3) {
        board_until(&board->ended, 3);
        (void)ls_group_run(part->group, &barrier, &part->err);
    }
    failures += expect_barrier(part, part->group, LS_EINTERRUPTED, "the operator said so");
    atomic_fetch_add(&board->ended, 1);
    return failures;
}

static int case_abort(struct team *team)
{
    return in_threads(team, abort_member, NULL);
}

static int case_abort_processes(struct team *team)
{
    return in_processes(team, abort_member, NULL);
}

/* Until an operation fails. */
static enum ls_status sum_without_end(struct part *part, int64_t count)
{
    static float src[40000], dst[40000];
    enum ls_status status = LS_OK;

    while (status == LS_OK) {
        status = reduce(part->group, src, dst, count, &part->err);
        atomic_fetch_add(&board->rounds, 1);
    }
    return status;
}

/* Sums without end until rank 1 is killed; the others name it. */
static int killed_member(struct part *part)
{
    enum ls_status status = sum_without_end(part, *(int64_t *)part->argument);

    return expect(part->rank, status, LS_EPEER, "rank 1 (worker 101", &part->err) + board_soon(part->rank);
}

static int kill_one(struct team *team, int64_t count)
{
    pid_t pids[4];
    int failures = 0;

    atomic_store(&board->rounds, 0);
    for (int r = 0; r < 4; r++)
        pids[r] = team_spawn(team, r, take_part, &(struct act){killed_member, &count});
    board_until(&board->rounds, 200);
    board_mark();
    kill(pids[1], SIGKILL);
    for (int r = 0; r < 4; r++) {
        int status;
        waitpid(pids[r], &status, 0);
        failures += r != 1 && status != 0;
    }
    return failures;
}

static int case_kill(struct team *team)
{
    int64_t counts[] = {1, 5000, 40000};
    int failures = 0;

    for (int i = 0; i < 3; i++) {
        team->generation++;
        failures += kill_one(team, counts[i]);
    }
    return failures;
}

/* Sums without end until one member is stopped, wherever it is: all others name that one, not each other. */
static int stopped_member(struct part *part)
{
    enum ls_status status = sum_without_end(part, 40000);
    char name[40];

    atomic_fetch_add(&board->ended, 1);
    (void)snprintf(name, sizeof name, "for rank %d (worker", *(int *)part->argument);
    return expect(part->rank, status, LS_ETIMEOUT, name, &part->err);
}

static int case_stopped(struct team *team)
{
    int failures = 0;

    team->wait_deadline_ms = 2000;
    for (int victim = 0; victim < team->world; victim += team->world - 1) {
        pid_t pids[4];
        atomic_store(&board->rounds, 0);
        atomic_store(&board->ended, 0);
        team->generation++;
        for (int r = 0; r < team->world; r++)
            pids[r] = team_spawn(team, r, take_part, &(struct act){stopped_member, &victim});
        while (atomic_load(&board->rounds) < 100 + 13 * victim && atomic_load(&board->ended) == 0)
            (void)sched_yield();
        kill(pids[victim], SIGSTOP);
        for (int r = 0; r < team->world; r++) {
            int status = 0;
            if (r != victim)
                waitpid(pids[r], &status, 0);
            failures += status != 0;
        }
        kill(pids[victim], SIGKILL);
        waitpid(pids[victim], NULL, 0);
    }
    return failures;
}

/* Rank 2 sums another number of elements: everybody hears of both sides, nobody hangs. */
static int mismatch_member(struct part *part)
{
    static float src[8][9000];
    static float dst[8][9000];
    int64_t count = *(int64_t *)part->argument;
    int rank = part->rank;
    int failures = expect(rank, reduce(part->group, src[rank], dst[rank], 100, &part->err), LS_OK, NULL, &part->err);

    failures += expect(rank, reduce(part->group, src[rank], dst[rank], rank == 2 ? count - 1 : count, &part->err),
                       LS_EDIVERGED, "rank 2", &part->err);
    return failures + (strstr(part->err.message, "all-reduce of") == NULL);
}

static int case_mismatch(struct team *team)
{
    int64_t counts[] = {10, 8000};
    int failures = 0;

    for (int i = 0; i < 2; i++) {
        failures += in_processes(team, mismatch_member, &counts[i]);
        team->generation++;
    }
    return failures;
}

/* Rank 1 never starts the second operation: the others say so after the deadline. */
static int deadline_member(struct part *part)
{
    int failures = expect_barrier(part, part->group, LS_OK, NULL);

    if (part->rank != 1)
        failures += expect_barrier(part, part->group, LS_ETIMEOUT, "for rank 1 (worker 101");
    atomic_fetch_add(&board->ready, 1);
    board_until(&board->ready, part->team->world);
    return failures;
}

static int case_deadline(struct team *team)
{
    team->wait_deadline_ms = 200;
    return in_processes(team, deadline_member, NULL);
}

/* Ranks 1 and 2 do not start; rank 1 has said that it waits for rank 2: rank 0 names the one that keeps both
 * waiting. */
static int waits_member(struct part *part)
{
    int failures = 0;

    if (part->rank == 1)
        part->group->ops->tell_wait(part->group->state, 2);
    if (part->rank == 0) {
        failures = expect_barrier(part, part->group, LS_ETIMEOUT, "for rank 2 (worker 102");
        failures += strstr(part->err.message, "rank 1 waits for as well") == NULL;
    }
    atomic_fetch_add(&board->ready, 1);
    board_until(&board->ready, part->team->world);
    return failures;
}

static int case_waits(struct team *team)
{
    team->wait_deadline_ms = 200;
    return in_processes(team, waits_member, NULL);
}

/* Rank 1 computes for long in the middle of an operation that it has started, and reads nothing: rank 0 waits for
 * it. */
static int busy_member(struct part *part)
{
    static float src[2][16 << 20], dst[2][16 << 20];
    struct ls_collective op = {
        .kind = LS_ALL_REDUCE, .dtype = LS_F32, .count = 16 << 20, .src = src[part->rank], .dst = dst[part->rank]};
    struct ls_request *request = NULL;
    int failures = expect(part->rank, ls_group_start(part->group, &op, &request, &part->err), LS_OK, NULL, &part->err);

    for (uint64_t start = ls_clock_now_ns(); part->rank == 1 && ls_clock_now_ns() - start < UINT64_C(13000000000);)
        (void)sched_yield();
    return failures + expect(part->rank, ls_request_wait(request, &part->err), LS_OK, NULL, &part->err);
}

static int case_busy(struct team *team)
{
    return in_processes(team, busy_member, NULL);
}

/* Ranks 1 and 2 have a group of their own, in which rank 1 waits; rank 0, which is not in it, ends the whole: rank 1 is
 * told at once. */
static int split_member(struct part *part)
{
    struct ls_group *split = NULL;
    int failures = expect(part->rank, ls_group_split(part->group, part->rank == 0 ? -1 : 5, 0, &split, &part->err),
                          LS_OK, NULL, &part->err);

    if (failures > 0)
        return failures;
    atomic_fetch_add(&board->ready, 1);
    if (part->rank == 0) {
        board_until(&board->ready, 3);
        wait_a_little();
        board_mark();
        ls_group_abort(part->group, "the operator said so");
    }
    if (part->rank == 1) {
        failures += expect_barrier(part, split, LS_EINTERRUPTED, "the operator said so");
        failures += board_soon(part->rank);
    }
    atomic_fetch_add(&board->ended, 1);
    board_until(&board->ended, 3);
    ls_group_destroy(split);
    return failures;
}

static int case_split(struct team *team)
{
    return in_processes(team, split_member, NULL);
}

/* Says what a member says that takes part in a split, and no more. */
static int answer_split(struct part *part)
{
    struct lsi_split_card card = {.color = 1, .port = 1}, cards[LS_MAX_MEMBERS];
    int64_t counts[LS_MAX_MEMBERS];
    struct ls_collective op = {.kind = LS_ALL_GATHER, .dtype = LS_U8, .src = &card, .dst = cards, .counts = counts};

    for (int r = 0; r < ls_group_world(part->group); r++)
        counts[r] = sizeof card;
    return expect(part->rank, ls_group_run(part->group, &op, &part->err), LS_OK, NULL, &part->err);
}

static int expect_no_split(struct part *part)
{
    struct ls_group *split = NULL;

    return expect(part->rank, ls_group_split(part->group, 1, 0, &split, &part->err), LS_EINTERRUPTED,
                  "the operator said so", &part->err);
}

/* Rank 0 answers the others, who split the group, and ends it instead of coming to the new one: they do not wait for it
 * there, but are told why. */
static int forming_member(struct part *part)
{
    int failures;

    if (part->rank == 0) {
        failures = answer_split(part);
        wait_a_little();
        board_mark();
        ls_group_abort(part->group, "the operator said so");
    } else {
        failures = expect_no_split(part);
        failures += board_soon(part->rank);
    }
    atomic_fetch_add(&board->ended, 1);
    board_until(&board->ended, 3);
    return failures;
}

static int case_forming(struct team *team)
{
    return in_processes(team, forming_member, NULL);
}

/* Rank 2 does not come: everybody names it when forming ends. */
static int missing_member(struct team *team, int rank, void *argument)
{
    struct ls_group_options options = team_options(team, rank);
    struct ls_error err = LS_ERROR_INIT;
    struct ls_group *group = NULL;

    (void)argument;
    if (rank == 2)
        return 0;
    return expect(rank, ls_group_create(team->provider, &options, &group, &err), LS_ETIMEOUT, "rank 2 (worker 102",
                  &err);
}

static int case_missing(struct team *team)
{
    team->form_deadline_ms = 300;
    return team_run_threads(team, missing_member, NULL);
}

/* Rank 1 has another secret: it is refused and the others name it as missing. */
static int secret_member(struct team *team, int rank, void *argument)
{
    struct ls_group_options options = team_options(team, rank);
    struct ls_error err = LS_ERROR_INIT;
    struct ls_group *group = NULL;

    (void)argument;
    if (rank == 1)
        options.secret[0] ^= 1;
    enum ls_status status = ls_group_create(team->provider, &options, &group, &err);
    if (rank == 1)
        return expect(rank, status, LS_EAUTH, "secret", &err);
    return status == LS_EAUTH || status == LS_ETIMEOUT ? 0 : expect(rank, status, LS_ETIMEOUT, "rank 1", &err);
}

static int case_secret(struct team *team)
{
    team->form_deadline_ms = 500;
    return team_run_threads(team, secret_member, NULL);
}

/* Threads of this process with that name. */
static int threads_named(const char *name)
{
    DIR *tasks = opendir("/proc/self/task");
    int count = 0;

    for (struct dirent *task; tasks != NULL && (task = readdir(tasks)) != NULL;) {
        char path[300], comm[32] = "";
        FILE *file;

        (void)snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        file = fopen(path, "r");
        if (file == NULL)
            continue;
        count += fgets(comm, sizeof comm, file) != NULL && strncmp(comm, name, strlen(name)) == 0;
        fclose(file);
    }
    if (tasks != NULL)
        closedir(tasks);
    return count;
}

/* One keeper watches for a member, whatever it is made of. */
static int keepers_member(struct part *part)
{
    int failures = expect_barrier(part, part->group, LS_OK, NULL), keepers = threads_named("keeper");

    if (keepers > 1) {
        fprintf(stderr, "rank %d: %d keepers\n", part->rank, keepers);
        failures++;
    }
    return failures + expect_barrier(part, part->group, LS_OK, NULL);
}

static int case_keepers(struct team *team)
{
    return in_processes(team, keepers_member, NULL);
}

/* Members that make different numbers of connections: both are told so at once, long before the forming deadline. */
static int differ_member(struct team *team, int rank, void *argument)
{
    struct ls_group_options options = team_options(team, rank);
    struct ls_error err = LS_ERROR_INIT;
    struct ls_group *group = NULL;
    uint64_t start = ls_clock_now_ns();
    int failures;

    (void)argument;
    (void)setenv("LOCKSTEP_TCP_STREAMS", rank == 0 ? "2" : "3", 1);
    failures = expect(rank, ls_group_create(team->provider, &options, &group, &err), LS_EUSAGE,
                      "LOCKSTEP_TCP_STREAMS is 3 for rank 1 (worker 101", &err);
    failures += expect(rank, LS_OK, LS_OK, "and 2 for rank 0; set the same", &err);
    if (ls_clock_now_ns() - start > (uint64_t)team->form_deadline_ms * 1000000 / 2) {
        fprintf(stderr, "rank %d: it took %.1f s\n", rank, (double)(ls_clock_now_ns() - start) * 1e-9);
        failures++;
    }
    return failures;
}

static int case_differ(struct team *team)
{
    return team->listens ? team_run_processes(team, differ_member, NULL) : 0;
}

/* Members that leave one after another disturb nobody, and what a process held is given back. */
static int leave_member(struct part *part)
{
    return expect_barrier(part, part->group, LS_OK, NULL);
}

static int open_descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < 1024; fd++)
        count += lseek(fd, 0, SEEK_CUR) >= 0 || dup2(fd, fd) == fd;
    return count;
}

static int case_leave(struct team *team)
{
    int listeners = team->listeners[0] >= 0 ? team->world : 0;
    int before = open_descriptors();
    int failures = in_threads(team, leave_member, NULL);
    int after = open_descriptors() + listeners;

    if (before != after) {
        fprintf(stderr, "%d descriptors before, %d after\n", before, after);
        failures++;
    }
    return failures;
}

static const struct {
    const char *name;
    int world;
    int (*run)(struct team *team);
} cases[] = {
    {"abort", 4, case_abort},       {"abort-processes", 4, case_abort_processes},
    {"kill", 4, case_kill},         {"mismatch", 3, case_mismatch},
    {"deadline", 3, case_deadline}, {"missing", 3, case_missing},
    {"secret", 2, case_secret},     {"leave", 4, case_leave},
    {"waits", 3, case_waits},       {"split", 3, case_split},
    {"stopped", 4, case_stopped},   {"busy", 2, case_busy},
    {"differ", 2, case_differ},     {"keepers", 3, case_keepers},
    {"forming", 3, case_forming},
};

/* The cases in which no member dies, for processes that mpirun started. */
static int launched_abort(struct part *part)
{
    struct ls_collective barrier = {.kind = LS_BARRIER};
    /* Rank 1 may be through the barrier, and abort, while others are still in it. */
    enum ls_status status = ls_group_run(part->group, &barrier, &part->err);
    int failures =
        part->rank != 1 && status == LS_EINTERRUPTED ? 0 : expect(part->rank, status, LS_OK, NULL, &part->err);

    if (part->rank == 1)
        ls_group_abort(part->group, "the operator said so");
    return failures + expect_barrier(part, part->group, LS_EINTERRUPTED, "the operator said so");
}

/* As forming_member, without a board: soon is far from the forming deadline. */
static int launched_forming(struct part *part)
{
    uint64_t start = ls_clock_now_ns();
    int failures = part->rank == 0 ? answer_split(part) : expect_no_split(part);

    wait_a_little();
    if (part->rank == 0)
        ls_group_abort(part->group, "the operator said so");
    if (ls_clock_now_ns() - start < UINT64_C(5000000000))
        return failures;
    fprintf(stderr, "rank %d: it took %.1f s\n", part->rank, (double)(ls_clock_now_ns() - start) * 1e-9);
    return failures + 1;
}

static int launched_member(struct team *team, int rank, void *argument)
{
    int64_t count = 10;
    int failures = take_part(team, rank, &(struct act){launched_abort, argument});

    /* A listener is good for one group. */
    if (team->listeners[rank] >= 0)
        return failures;
    team->generation++;
    failures += take_part(team, rank, &(struct act){mismatch_member, &count});
    team->generation++;
    return failures + take_part(team, rank, &(struct act){launched_forming, NULL});
}

int main(int argc, char **argv)
{
    int failures = 0;

    if (argc > 2 && strcmp(argv[2], "launched") == 0) {
        struct team team;
        team_name(&team, argv[1]);
        return team_run_launched(&team, 1, launched_member, NULL) != 0;
    }

    if (argc < 2) {
        fprintf(stderr, "usage: %s PROVIDER [CASE]\n", argv[0]);
        return 2;
    }
    if (!board_open())
        return 2;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct team team;
        if (argc > 2 ? strcmp(argv[2], cases[i].name) != 0 : cases[i].run == case_busy)
            continue; /* the busy one takes 13 s: only where it is asked for */
        board_clear();
        if (!team_init(&team, argv[1], cases[i].world))
            return 2;
        int failed = cases[i].run(&team);
        team_deinit(&team);
        printf("%s %s: %s", argv[1], cases[i].name, failed == 0 ? "ok" : "FAILED");
        board_print();
        printf("\n");
        fflush(stdout); /* children must not inherit it */
        failures += failed;
    }
    return failures != 0;
}
