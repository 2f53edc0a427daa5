/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conformance_collective_kills PROVIDER KILLS [SEED [LIMIT_MS]]: five processes run operations of every kind; at a
 * random moment one is killed, now and then one with much memory. Each survivor's request ends with the dead rank's
 * name, the four form a group of the next generation and sum in it. Prints how long noticing and forming took.
 */
#include "collective/transport/tcp/listen.h"
#include "tests/conformance/collective_suite.h"
#include "tests/conformance/team.h"

#include "core/base/clock.h"
#include "core/base/str.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORLD 5
#define MOST_KILLS 20000
#define MOST_COUNT 60000
#define MUCH_MEMORY ((size_t)512 << 20)
/* Generous: the machine may be busy with other work. A quiet one keeps 10. */
#define USUAL_LIMIT_MS 3000
#define UNCERTAIN_NS 1000000u

struct board {
    _Atomic int rounds;
    _Atomic int ready;
    _Atomic uint64_t kill_ns;     /* just before it */
    _Atomic uint64_t ready_ns;    /* when the last survivor was */
    _Atomic uint64_t noticed_ns;  /* by the slowest survivor, after the kill */
    _Atomic uint64_t together_ns; /* the slowest, after the last was ready */
    uint16_t ports[WORLD];
};

static struct board *board;

struct plan {
    uint64_t seed;
    int victim;
    bool much_memory;
};

static void raise_to(_Atomic uint64_t *most, uint64_t value)
{
    uint64_t seen = atomic_load(most);

    while (value > seen && !atomic_compare_exchange_weak(most, &seen, value))
        ;
}

/* Operation number i of the plan, the same in all members. */
static enum ls_status run_one(struct ls_group *group, uint64_t *random, struct ls_error *err)
{
    static float src[MOST_COUNT], dst[MOST_COUNT];
    int64_t counts[WORLD * WORLD];
    int world = ls_group_world(group);
    struct ls_collective op = {.kind = (enum ls_collective_kind)(1 + suite_random(random) % 6),
                               .dtype = LS_F32,
                               .src = src,
                               .dst = dst,
                               .counts = counts,
                               .root = (int)(suite_random(random) % (uint64_t)world)};

    op.count = (int64_t)(suite_random(random) % (suite_random(random) % 3 == 0 ? MOST_COUNT : 900) / 25) * 25;
    for (int i = 0; i < world * world; i++)
        counts[i] = op.kind == LS_ALL_TO_ALL ? op.count / 25 : op.count / world;
    if (op.kind == LS_REDUCE_SCATTER)
        op.count = op.count / world * world;
    return ls_group_run(group, &op, err);
}

/* The group of those that are left. */
static int go_on(struct team *team, int rank, const struct plan *plan)
{
    struct ls_group_options options = team_options(team, rank);
    struct ls_member members[WORLD - 1];
    struct ls_error err = LS_ERROR_INIT;
    struct ls_group *group;
    char rendezvous[112];
    float one = 1, sum = 0;
    struct ls_collective op = {.kind = LS_ALL_REDUCE, .dtype = LS_F32, .count = 1, .src = &one, .dst = &sum};

    options.listener = -1;
    if (team->listens && ls_tcp_listen("127.0.0.1", &options.listener, &board->ports[rank], &err) != LS_OK)
        return 1;
    raise_to(&board->ready_ns, ls_clock_now_ns());
    atomic_fetch_add(&board->ready, 1);
    while (atomic_load(&board->ready) < WORLD - 1)
        (void)sched_yield();
    for (int r = 0; r < WORLD - 1; r++) {
        int old = r + (r >= plan->victim);
        members[r] = team->members[old];
        members[r].port = board->ports[old];
    }
    (void)snprintf(rendezvous, sizeof rendezvous, "%s-next", team->rendezvous);
    options.members = members;
    options.world = WORLD - 1;
    options.rank = rank - (rank > plan->victim);
    options.rendezvous = rendezvous;
    options.generation++;
    if (ls_group_create(team->provider, &options, &group, &err) != LS_OK) {
        fprintf(stderr, "rank %d: %s\n", rank, err.message);
        return 1;
    }
    raise_to(&board->together_ns, ls_clock_now_ns() - atomic_load(&board->ready_ns));
    int failed = ls_group_run(group, &op, &err) != LS_OK || sum != WORLD - 1;
    ls_group_destroy(group);
    return failed;
}

static int member(struct team *team, int rank, void *argument)
{
    const struct plan *plan = argument;
    struct ls_group *group;
    struct ls_error err = LS_ERROR_INIT;
    uint64_t random = plan->seed;
    enum ls_status status = LS_OK;
    char name[32];

    if (rank == plan->victim && plan->much_memory) {
        char *memory =
            mmap(NULL, MUCH_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (memory == MAP_FAILED)
            return 1;
    }
    group = team_join(team, rank);
    if (group == NULL)
        return 1;
    while (status == LS_OK) {
        status = run_one(group, &random, &err);
        atomic_fetch_add(&board->rounds, 1);
    }
    raise_to(&board->noticed_ns, ls_clock_now_ns() - atomic_load(&board->kill_ns));
    (void)snprintf(name, sizeof name, "rank %d (worker", plan->victim);
    if (status != LS_EPEER || strstr(err.message, name) == NULL) {
        fprintf(stderr, "rank %d of a group that lost rank %d: status %d: %s\n", rank, plan->victim, status,
                err.message);
        return 1;
    }
    /* The slowest survivor has noticed before the next measurement begins. */
    ls_group_destroy(group);
    return go_on(team, rank, plan);
}

struct result {
    double noticed_ms, together_ms;
    bool much_memory;
    bool uncertain; /* this process lost its processor around the kill: nobody knows when it was */
};

static int run_kill(const char *provider, uint64_t *random, struct result *result)
{
    struct plan plan = {.seed = suite_random(random),
                        .victim = (int)(suite_random(random) % WORLD),
                        .much_memory = suite_random(random) % 20 == 0};
    int rounds = (int)(suite_random(random) % 300);
    int failures = 0;
    uint64_t pause_ns = suite_random(random) % 300000;
    pid_t pids[WORLD];
    struct team team;

    memset(board, 0, sizeof *board);
    if (!team_init(&team, provider, WORLD))
        return 1;
    for (int r = 0; r < WORLD; r++)
        pids[r] = team_spawn(&team, r, member, &plan);
    for (int r = 0; r < WORLD; r++)
        if (team.listeners[r] >= 0)
            close(team.listeners[r]);
    while (atomic_load(&board->rounds) < rounds + 1)
        (void)sched_yield();
    for (uint64_t start = ls_clock_now_ns(); ls_clock_now_ns() - start < pause_ns;)
        ;
    uint64_t before = ls_clock_now_ns();
    atomic_store(&board->kill_ns, before);
    kill(pids[plan.victim], SIGKILL);
    result->uncertain = ls_clock_now_ns() - before > UNCERTAIN_NS;
    for (int r = 0; r < WORLD; r++) {
        int status;
        waitpid(pids[r], &status, 0);
        failures += r != plan.victim && status != 0;
    }
    result->much_memory = plan.much_memory;
    result->noticed_ms = (double)atomic_load(&board->noticed_ns) * 1e-6;
    result->together_ms = (double)atomic_load(&board->together_ns) * 1e-6;
    team_deinit(&team);
    return failures;
}

enum figure { NOTICED_SMALL, NOTICED_LARGE, TOGETHER };

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Those of `what` that are wanted; the slowest of them. */
static double print_times(const char *what, const struct result *results, int64_t kills, enum figure figure)
{
    static double times[MOST_KILLS];
    int count = 0;

    for (int64_t i = 0; i < kills; i++) {
        const struct result *result = &results[i];
        if (figure == TOGETHER)
            times[count++] = result->together_ms;
        else if (!result->uncertain && result->much_memory == (figure == NOTICED_LARGE))
            times[count++] = result->noticed_ms;
    }
    if (count == 0)
        return 0;
    qsort(times, (size_t)count, sizeof *times, ascending);
    printf("  %s: %d, median %.2f ms, 99 of 100 within %.2f ms, slowest %.2f ms\n", what, count, times[count / 2],
           times[(count * 99 - 1) / 100], times[count - 1]);
    return times[count - 1];
}

static bool parse(int argc, char **argv, int64_t *kills, int64_t *seed, int64_t *limit_ms)
{
    return argc >= 2 && (argc < 3 || ls_str_to_i64(argv[2], kills)) && (argc < 4 || ls_str_to_i64(argv[3], seed)) &&
           (argc < 5 || ls_str_to_i64(argv[4], limit_ms)) && *kills >= 1 && *kills <= MOST_KILLS && *limit_ms >= 1;
}

int main(int argc, char **argv)
{
    static struct result results[MOST_KILLS];
    int64_t kills = 10, seed = 1, limit_ms = USUAL_LIMIT_MS;
    int failures = 0;

    if (!parse(argc, argv, &kills, &seed, &limit_ms)) {
        fprintf(stderr, "usage: %s shm|tcp|nccl|hybrid:PLACES KILLS [SEED [LIMIT_MS]]\n", argv[0]);
        return 2;
    }
    uint64_t random = (uint64_t)seed;
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int64_t i = 0; i < kills && failures == 0; i++)
        failures += run_kill(argv[1], &random, &results[i]);
    printf("%s: %lld kills, %d failures\n", argv[1], (long long)kills, failures);
    double slowest[] = {print_times("noticed by the slowest survivor", results, kills, NOTICED_SMALL),
                        print_times("the same of 512 MiB", results, kills, NOTICED_LARGE),
                        print_times("four survivors together", results, kills, TOGETHER)};
    for (int i = 0; i < 3 && failures == 0; i++)
        if (slowest[i] > (double)limit_ms) {
            fprintf(stderr, "the slowest took more than %lld ms\n", (long long)limit_ms);
            failures++;
        }
    return failures != 0;
}
