/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collective_sim [--seeds N] [--first SEED] [--verbose]: each seed makes a virtual network, a fault and a program of
 * operations that all members run, driven from one thread. Whatever happens, every member comes to the end of its
 * program with right results, or to an error that names the culprit, in bounded time, and nothing is left behind.
 */
#include "collective/group.h"
#include "collective/transport/sim/network.h"

#include "core/base/alloc.h"
#include "core/base/str.h"

#include <stdio.h>
#include <string.h>

#define MOST_MEMBERS 7
#define MOST_OPERATIONS 12
#define MOST_COUNT 12000
#define MOST_STEPS 200000
#define DEADLINE_MS 3000

enum fault { NO_FAULT, CRASH, SILENT_CRASH, PARTITION, SHORT_PARTITION, ABORT, STOP, MISMATCH, FAULTS };
static const char *const fault_names[] = {"none",  "crash", "silent crash", "partition", "short partition",
                                          "abort", "stop",  "mismatch"};

struct operation {
    enum ls_collective_kind kind;
    enum ls_dtype dtype; /* i32, i64, or f32 with sums that are exact */
    int root;
    int64_t count;
    int64_t counts[MOST_MEMBERS * MOST_MEMBERS]; /* all-to-all: all of them */
};

struct member {
    struct ls_group *group;
    struct ls_request *request;
    int at; /* in the program */
    bool over;
    enum ls_status status;
    struct ls_error err;
    void *src, *dst;
};

struct schedule {
    uint64_t seed, random;
    int world, count;
    enum fault fault;
    int culprit;
    uint64_t mask, fault_ns; /* of the partition */
    bool fired;
    struct operation program[MOST_OPERATIONS];
    struct member member[MOST_MEMBERS];
    struct ls_sim_network *network;
    int failures;
};

static uint64_t draw(struct schedule *s)
{
    uint64_t z = (s->random += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int below(struct schedule *s, int n)
{
    return (int)(draw(s) % (uint64_t)n);
}

static void fail(struct schedule *s, int rank, const char *what)
{
    s->failures++;
    fprintf(stderr, "seed %llu (%d members, %s of rank %d): rank %d at operation %d of %d: %s: %s\n",
            (unsigned long long)s->seed, s->world, fault_names[s->fault], s->culprit, rank, s->member[rank].at + 1,
            s->count, what, s->member[rank].err.message);
}

/* Element i of what a rank gives in an operation: small, so that sums are exact in every dtype. */
static int64_t value_of(const struct schedule *s, int rank, int op, int64_t i)
{
    return (int64_t)((s->seed * 31 + (uint64_t)rank * 1009 + (uint64_t)op * 77 + (uint64_t)i * 13) % 4093) - 2000;
}

static void store(enum ls_dtype dtype, void *at, int64_t i, int64_t value)
{
    if (dtype == LS_F32)
        ((float *)at)[i] = (float)value;
    else if (dtype == LS_I32)
        ((int32_t *)at)[i] = (int32_t)value;
    else
        ((int64_t *)at)[i] = value;
}

static int64_t load(enum ls_dtype dtype, const void *at, int64_t i)
{
    if (dtype == LS_F32)
        return (int64_t)((const float *)at)[i];
    return dtype == LS_I32 ? ((const int32_t *)at)[i] : ((const int64_t *)at)[i];
}

static void draw_operation(struct schedule *s, struct operation *op)
{
    static const enum ls_collective_kind kinds[] = {LS_ALL_REDUCE, LS_ALL_TO_ALL, LS_REDUCE_SCATTER,
                                                    LS_ALL_GATHER, LS_BROADCAST,  LS_BARRIER};
    static const enum ls_dtype dtypes[] = {LS_F32, LS_I32, LS_I64};
    int64_t most = below(s, 4) == 0 ? MOST_COUNT : 900, left;

    op->kind = kinds[below(s, 6)];
    op->dtype = dtypes[below(s, 3)];
    op->root = below(s, s->world);
    op->count = left = below(s, (int)most + 1);
    for (int r = 0; r < s->world; r++) {
        op->counts[r] = r == s->world - 1 ? left : below(s, (int)left + 1);
        left -= op->counts[r];
    }
    for (int i = 0; i < s->world * s->world && op->kind == LS_ALL_TO_ALL; i++)
        op->counts[i] = below(s, (int)op->count / s->world + 1);
}

/* Elements that a rank gives. */
static int64_t given(const struct schedule *s, const struct operation *op, int rank)
{
    int64_t sum = 0;

    if (op->kind == LS_ALL_GATHER)
        return op->counts[rank];
    for (int r = 0; r < s->world && op->kind == LS_ALL_TO_ALL; r++)
        sum += op->counts[rank * s->world + r];
    return op->kind == LS_ALL_TO_ALL ? sum : op->count;
}

/* And that it gets. */
static int64_t taken(const struct schedule *s, const struct operation *op, int rank)
{
    int64_t sum = 0;

    if (op->kind == LS_BARRIER || op->kind == LS_REDUCE_SCATTER)
        return op->kind == LS_BARRIER ? 0 : op->counts[rank];
    for (int r = 0; r < s->world && op->kind == LS_ALL_TO_ALL; r++)
        sum += op->counts[r * s->world + rank];
    return op->kind == LS_ALL_TO_ALL ? sum : op->count;
}

static bool make_network(struct schedule *s)
{
    struct ls_sim_options options = LS_SIM_OPTIONS_DEFAULT;

    options.seed = draw(s);
    options.world = s->world;
    options.jitter_ns = below(s, 3) == 0 ? 0 : (uint64_t)below(s, 2000000);
    options.slow_permille = below(s, 3) == 0 ? below(s, 100) : 0;
    options.loss_permille = below(s, 2) == 0 ? below(s, 300) : 0;
    options.duplicate_permille = below(s, 2) == 0 ? below(s, 200) : 0;
    options.packet_bytes = (size_t)(below(s, 3) == 0 ? 64 + below(s, 400) : 1400 + below(s, 30000));
    options.window_bytes = options.packet_bytes + (size_t)below(s, 65536);
    return ls_sim_network_create(&options, &s->network, NULL) == LS_OK;
}

static void plan_fault(struct schedule *s)
{
    s->fault = (enum fault)below(s, FAULTS);
    s->culprit = below(s, s->world);
    s->fault_ns = (uint64_t)below(s, 40) * (uint64_t)below(s, 1000000);
    if (s->world == 1)
        s->fault = NO_FAULT;
    if (s->fault == CRASH || s->fault == SILENT_CRASH)
        (void)ls_sim_crash(s->network, s->culprit, s->fault_ns, s->fault == SILENT_CRASH);
    if (s->fault == PARTITION || s->fault == SHORT_PARTITION) {
        s->mask = 1 + (uint64_t)below(s, (1 << s->world) - 2);
        (void)ls_sim_partition(s->network, s->mask, s->fault_ns,
                               s->fault_ns + (s->fault == PARTITION ? UINT64_C(100000000000) : 300000000u));
    }
}

static bool make_groups(struct schedule *s)
{
    static const char *const ways[] = {"sim/all-reduce/any/any=gather", "any/any/any/any=canonical",
                                       "any/any/any/any=halving", "any/any/any/any=ring"};
    struct ls_member members[MOST_MEMBERS];

    memset(members, 0, sizeof members);
    for (int r = 0; r < s->world; r++)
        members[r].worker = 100 + (uint64_t)r;
    for (int r = 0; r < s->world; r++) {
        struct ls_group_options options = LS_GROUP_OPTIONS_DEFAULT;
        options.members = members;
        options.world = s->world;
        options.rank = r;
        options.generation = s->seed;
        options.network = s->network;
        options.wait_deadline_ms = DEADLINE_MS;
        options.collectives = ways[s->seed % 4];
        options.any_order = s->seed % 4 == 3;
        s->member[r].src = ls_alloc_aligned(MOST_COUNT * 8);
        s->member[r].dst = ls_alloc_aligned(MOST_COUNT * 8);
        if (s->member[r].src == NULL || s->member[r].dst == NULL ||
            ls_group_create("sim", &options, &s->member[r].group, &s->member[r].err) != LS_OK)
            return false;
    }
    return true;
}

static void start(struct schedule *s, int rank)
{
    struct member *m = &s->member[rank];
    const struct operation *op = &s->program[m->at];
    struct ls_collective c = {.kind = op->kind,
                              .dtype = op->dtype,
                              .count = op->count,
                              .counts = op->counts,
                              .root = op->root,
                              .src = m->src,
                              .dst = m->dst};

    for (int64_t i = 0; i < given(s, op, rank); i++)
        store(op->dtype, op->kind == LS_BROADCAST ? m->dst : m->src, i,
              op->kind == LS_BROADCAST && rank != op->root ? -1 : value_of(s, rank, m->at, i));
    if (s->fault == MISMATCH && rank == s->culprit && m->at == s->count / 2) {
        c.kind = LS_BROADCAST;
        c.count = op->count + 1;
        c.root = s->culprit;
    }
    m->status = ls_group_start(m->group, &c, &m->request, &m->err);
    m->over = m->status != LS_OK;
}

/* What must be at place i of the result. */
static int64_t expected(const struct schedule *s, int rank, int at, int64_t i)
{
    const struct operation *op = &s->program[at];
    int64_t sum = 0;

    if (op->kind == LS_BROADCAST)
        return value_of(s, op->root, at, i);
    if (op->kind == LS_ALL_GATHER) {
        int r = 0;
        while (i >= op->counts[r])
            i -= op->counts[r++];
        return value_of(s, r, at, i);
    }
    if (op->kind == LS_ALL_TO_ALL) {
        int r = 0;
        while (i >= op->counts[r * s->world + rank])
            i -= op->counts[r++ * s->world + rank];
        for (int to = 0; to < rank; to++)
            i += op->counts[r * s->world + to];
        return value_of(s, r, at, i);
    }
    for (int r = 0; r < rank && op->kind == LS_REDUCE_SCATTER; r++)
        i += op->counts[r];
    for (int r = 0; r < s->world; r++)
        sum += value_of(s, r, at, i);
    return sum;
}

static void check_result(struct schedule *s, int rank)
{
    struct member *m = &s->member[rank];
    const struct operation *op = &s->program[m->at];

    for (int64_t i = 0; i < taken(s, op, rank); i++)
        if (load(op->dtype, m->dst, i) != expected(s, rank, m->at, i)) {
            fail(s, rank, "a wrong result");
            return;
        }
}

/* One look at a member. */
static void drive(struct schedule *s, int rank)
{
    struct member *m = &s->member[rank];

    if (m->over || ls_sim_crashed(s->network, rank))
        return;
    if (m->request == NULL) {
        start(s, rank);
        if (m->over)
            return;
    }
    m->status = ls_request_test(m->request, &m->err);
    if (m->status == LS_EAGAIN)
        return;
    if (m->status != LS_OK) {
        (void)ls_request_wait(m->request, &m->err);
        m->request = NULL;
        m->over = true;
        return;
    }
    m->request = NULL;
    check_result(s, rank);
    if (++m->at < s->count)
        return;
    m->over = true;
    /* Some leave while others are still at it. */
    if (s->seed % 2 == 0) {
        ls_group_destroy(m->group);
        m->group = NULL;
    }
}

static bool all_over(struct schedule *s)
{
    bool stopped = s->fault == STOP && s->fired;

    for (int r = 0; r < s->world; r++)
        if (!s->member[r].over && !ls_sim_crashed(s->network, r) && !(stopped && r == s->culprit))
            return false;
    return true;
}

static void run(struct schedule *s)
{
    for (int step = 0; step < MOST_STEPS && !all_over(s); step++) {
        int first = below(s, s->world);
        if (!s->fired && ls_sim_now(s->network) >= s->fault_ns) {
            s->fired = true;
            if (s->fault == ABORT && s->member[s->culprit].group != NULL)
                ls_group_abort(s->member[s->culprit].group, "the schedule says so");
        }
        for (int i = 0; i < s->world; i++) {
            int r = (first + i) % s->world;
            if (s->fault != STOP || !s->fired || r != s->culprit)
                drive(s, r);
        }
        ls_sim_step(s->network);
    }
}

/* An error must be one that the fault explains, with the culprit's name. */
static void check_end(struct schedule *s, int rank)
{
    struct member *m = &s->member[rank];
    char name[32];

    (void)snprintf(name, sizeof name, "rank %d ", s->culprit);
    if (!m->over) {
        if (!ls_sim_crashed(s->network, rank) && !(s->fault == STOP && rank == s->culprit))
            fail(s, rank, "it hangs");
        return;
    }
    if (m->status == LS_OK)
        return;
    switch (s->fault) {
    case CRASH:
    case SILENT_CRASH:
        if (m->status != LS_EPEER || strstr(m->err.message, name) == NULL)
            fail(s, rank, "the dead rank is not named");
        break;
    case ABORT:
        if (m->status != LS_EINTERRUPTED || strstr(m->err.message, "the schedule says so") == NULL ||
            strstr(m->err.message, name) == NULL)
            fail(s, rank, "the reason of the abort is not told");
        break;
    case STOP:
        (void)snprintf(name, sizeof name, "for rank %d ", s->culprit);
        if (m->status != LS_ETIMEOUT || strstr(m->err.message, name) == NULL)
            fail(s, rank, "the silent rank is not named");
        break;
    case MISMATCH:
        if (m->status != LS_EDIVERGED || strstr(m->err.message, name) == NULL)
            fail(s, rank, "the other operation is not named");
        break;
    case PARTITION:
        if (m->status != LS_EPEER || strstr(m->err.message, "does not answer") == NULL)
            fail(s, rank, "the partition is not named");
        break;
    default:
        fail(s, rank, "an error where nothing is wrong");
    }
}

static int run_seed(uint64_t seed, bool verbose, int reached[FAULTS])
{
    struct schedule *s = ls_alloc_zeroed(1, sizeof *s);
    int ended = 0, failures;

    s->seed = seed;
    s->random = seed;
    s->world = 1 + below(s, MOST_MEMBERS);
    s->count = 1 + below(s, MOST_OPERATIONS);
    for (int i = 0; i < s->count; i++)
        draw_operation(s, &s->program[i]);
    if (!make_network(s) || !make_groups(s))
        return 1;
    plan_fault(s);
    run(s);
    for (int r = 0; r < s->world; r++) {
        check_end(s, r);
        ended += s->member[r].status != LS_OK && s->member[r].status != LS_EAGAIN;
        if (verbose)
            printf("seed %llu rank %d of %d, %s of %d: at %d of %d, status %d %s\n", (unsigned long long)seed, r,
                   s->world, fault_names[s->fault], s->culprit, s->member[r].at, s->count, s->member[r].status,
                   s->member[r].err.message);
    }
    reached[s->fault] += s->fault == NO_FAULT || s->fault == SHORT_PARTITION || ended > 0;
    for (int r = 0; r < s->world; r++) {
        ls_group_destroy(s->member[r].group);
        ls_free(s->member[r].src);
        ls_free(s->member[r].dst);
    }
    if (ls_sim_members(s->network) != 0) {
        fprintf(stderr, "seed %llu: %d groups are left open\n", (unsigned long long)seed, ls_sim_members(s->network));
        s->failures++;
    }
    ls_sim_network_destroy(s->network);
    failures = s->failures;
    ls_free(s);
    return failures;
}

int main(int argc, char **argv)
{
    int64_t seeds = 1000, first = 1;
    int reached[FAULTS] = {0}, failures = 0;
    bool verbose = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else if (i + 1 < argc && strcmp(argv[i], "--seeds") == 0 && ls_str_to_i64(argv[i + 1], &seeds))
            i++;
        else if (i + 1 < argc && strcmp(argv[i], "--first") == 0 && ls_str_to_i64(argv[i + 1], &first))
            i++;
        else {
            fprintf(stderr, "usage: %s [--seeds N] [--first SEED] [--verbose]\n", argv[0]);
            return 2;
        }
    }
    for (int64_t seed = first; seed < first + seeds && failures < 20; seed++)
        failures += run_seed((uint64_t)seed, verbose, reached);
    printf("%lld seeds, %d failures; schedules in which the fault ended the group:", (long long)seeds, failures);
    for (int f = 0; f < FAULTS; f++)
        printf(" %s %d%s", fault_names[f], reached[f], f + 1 < FAULTS ? "," : "\n");
    return failures != 0;
}
