/* SPDX-License-Identifier: Apache-2.0 */
/* One rank of `bench allreduce`: its groups and buffers, the races, and rank 0's figures. */
#include "cli/bench_race.h"

#include "collective/bench.h"
#include "collective/transport/tcp/listen.h"
#include "core/base/alloc.h"
#include "core/base/str.h"
#include "core/job/transport.h"

#include <fcntl.h>
#include <jansson.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST_VARIANTS 8
#define WHOLE_ROUNDS_BYTES (16 << 20) /* a third of the rounds for what is larger */

struct race {
    const struct ls_bench_allreduce *bench;
    struct ls_member members[LS_BENCH_MAX_RANKS];
    struct ls_group *control; /* shm: starts, ends and the slowest rank's time */
    struct ls_group *other;   /* what races, where that is not shm */
    struct ls_group *wire;    /* tcp with bf16 on its way */
    struct ls_group *ways[MOST_VARIANTS];
    int way_count, joined;
    char flat[24]; /* the variant's name */
    void *shared;  /* registered with control */
    int64_t most_bytes;
    float *src, *dst;
    struct ls_bench_variant variants[MOST_VARIANTS];
    int count, copy, usual, kept, bf16; /* places among the variants; -1: not there */
    double *times;
    double round_trip_s;
    json_t *rows, *chosen;
};

/* way: NULL, or the one that all operations of the group go. */
static enum ls_status join(struct race *race, const char *backend, int listener, const char *way,
                           struct ls_group **group, struct ls_error *err)
{
    const struct ls_bench_allreduce *bench = race->bench;
    struct ls_group_options options = LS_GROUP_OPTIONS_DEFAULT;
    char rendezvous[96], choice[80];
    enum ls_status status;

    (void)snprintf(rendezvous, sizeof rendezvous, "%s/group%d", bench->directory, race->joined++);
    (void)snprintf(choice, sizeof choice, "any/any/any/any=%s", way);
    options.members = race->members;
    options.world = bench->ranks;
    options.rank = bench->rank;
    options.generation = (uint64_t)race->joined;
    options.rendezvous = rendezvous;
    options.listener = listener;
    options.collectives = way != NULL ? choice : NULL;
    options.any_order = way != NULL;
    options.bf16_wire = way != NULL && strcmp(way, "bf16") == 0;
    memcpy(options.secret, bench->secret, sizeof options.secret);
    status = ls_group_create(backend, &options, group, err);
    explicit_bzero(options.secret, sizeof options.secret);
    return status;
}

static int host_of(const struct ls_bench_allreduce *bench, int rank)
{
    return rank * bench->hosts / bench->ranks;
}

static enum ls_status join_control(struct race *race, struct ls_error *err)
{
    for (int r = 0; r < race->bench->ranks; r++) {
        race->members[r] = (struct ls_member){.worker = (uint64_t)r + 1, .incarnation = 1, .index = r};
        (void)snprintf(race->members[r].host, sizeof race->members[r].host, "host %d", host_of(race->bench, r));
        (void)ls_str_into(race->members[r].address, sizeof race->members[r].address, "127.0.0.1");
    }
    return join(race, race->bench->ranks == 1 ? "self" : "shm", -1, NULL, &race->control, err);
}

/* Everybody listens and tells everybody where. */
static enum ls_status join_listening(struct race *race, const char *backend, const char *way, struct ls_group **group,
                                     struct ls_error *err)
{
    int64_t counts[LS_BENCH_MAX_RANKS], ports[LS_BENCH_MAX_RANKS], own;
    uint16_t port;
    int listener;
    enum ls_status status = ls_tcp_listen("127.0.0.1", &listener, &port, err);

    if (status != LS_OK)
        return status;
    own = port;
    for (int r = 0; r < race->bench->ranks; r++)
        counts[r] = 1;
    struct ls_collective op = {.kind = LS_ALL_GATHER, .dtype = LS_I64, .src = &own, .dst = ports, .counts = counts};
    status = ls_group_run(race->control, &op, err);
    for (int r = 0; r < race->bench->ranks; r++)
        race->members[r].port = (uint16_t)ports[r];
    if (status == LS_OK)
        status = join(race, backend, listener, way, group, err);
    if (status != LS_OK)
        ls_tcp_unlisten(listener);
    return status;
}

/* A processor a rank where there are enough, the same ones for all that races. */
static void bind(const struct ls_bench_allreduce *bench)
{
    cpu_set_t one;

    if (bench->ranks > sysconf(_SC_NPROCESSORS_ONLN))
        return;
    CPU_ZERO(&one);
    CPU_SET((unsigned)bench->rank, &one);
    (void)sched_setaffinity(0, sizeof one, &one);
}

/* Each pretended host has processors of its own, as far as there are enough: ranks of one wait as on a real one. */
static void bind_to_host(const struct ls_bench_allreduce *bench)
{
    int processors = (int)sysconf(_SC_NPROCESSORS_ONLN), host = host_of(bench, bench->rank);
    int each = processors / bench->hosts;
    cpu_set_t own;

    if (ls_transport_find(bench->backend)->between == NULL || each < 1)
        return;
    CPU_ZERO(&own);
    for (int i = 0; i < each; i++)
        CPU_SET((unsigned)(host * each + i), &own);
    (void)sched_setaffinity(0, sizeof own, &own);
}

static void measure_round_trip(struct race *race)
{
    struct ls_collective barrier = {.kind = LS_BARRIER};
    char path[96];
    void *page;
    int fd;

    (void)snprintf(path, sizeof path, "%s/line", race->bench->directory);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    page =
        fd >= 0 && ftruncate(fd, 4096) == 0 ? mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (ls_group_run(race->control, &barrier, NULL) == LS_OK && race->bench->rank < 2 && page != MAP_FAILED)
        race->round_trip_s = ls_bench_round_trip(page, race->bench->rank);
    if (page != MAP_FAILED)
        (void)munmap(page, 4096);
    if (fd >= 0)
        (void)close(fd);
    (void)ls_group_run(race->control, &barrier, NULL);
    (void)unlink(path);
}

static int add(struct race *race, struct ls_bench_variant variant)
{
    race->variants[race->count] = variant;
    return race->count++;
}

static enum ls_status join_backend(struct race *race, const char *backend, const char *way, struct ls_group **group,
                                   struct ls_error *err)
{
    return ls_transport_find(backend)->listens ? join_listening(race, backend, way, group, err)
                                               : join(race, backend, -1, way, group, err);
}

/* Beside the composed hosts: all ranks over what is between them. */
static enum ls_status add_flat(struct race *race, const char *between, struct ls_error *err)
{
    struct ls_group **group = &race->ways[race->way_count];
    enum ls_status status = join_backend(race, between, NULL, group, err);

    if (status != LS_OK)
        return status;
    race->way_count++;
    (void)snprintf(race->flat, sizeof race->flat, "%s, flat", between);
    (void)add(race, (struct ls_bench_variant){race->flat, ls_bench_group, *group, race->src, race->dst, NULL});
    return LS_OK;
}

/* A group for each way; over shared memory each has its registered buffers. */
static enum ls_status add_ways(struct race *race, struct ls_error *err)
{
    struct ls_group *asked = race->other != NULL ? race->other : race->control;
    const char *names[8];
    bool shm = race->other == NULL;
    int count = ls_bench_ways(asked, names);
    enum ls_status status = LS_OK;

    for (int i = 0; i < count && status == LS_OK; i++) {
        struct ls_group **group = &race->ways[race->way_count];
        float *src = race->src, *dst = race->dst;
        status = join_backend(race, race->bench->backend, names[i], group, err);
        /* Some do not suit every number of members. */
        if (status == LS_OK &&
            strcmp(ls_bench_chosen(*group, race->most_bytes / (int64_t)sizeof(float)), names[i]) != 0) {
            ls_group_destroy(*group);
            *group = NULL;
            continue;
        }
        race->way_count += status == LS_OK;
        if (status == LS_OK && shm) {
            status = ls_group_register(*group, (size_t)race->most_bytes * 2, &race->shared, err);
            src = race->shared;
            dst = src + race->most_bytes / (int64_t)sizeof *src;
        }
        if (status == LS_OK)
            (void)add(race, (struct ls_bench_variant){names[i], ls_bench_group, *group, src, dst, NULL});
    }
    return status;
}

static enum ls_status add_variants(struct race *race, struct ls_error *err)
{
    const char *between = ls_transport_find(race->bench->backend)->between;
    float *src = race->src, *dst = race->dst;
    enum ls_status status = LS_OK;

    race->copy = race->usual = race->kept = race->bf16 = -1;
    if (race->bench->table) {
        status = add_ways(race, err);
        if (status != LS_OK)
            return status;
    } else if (race->other == NULL) {
        status = ls_group_register(race->control, (size_t)race->most_bytes * 2, &race->shared, err);
        if (status != LS_OK)
            return status;
        float *second = (float *)race->shared + race->most_bytes / (int64_t)sizeof *second;
        (void)add(race, (struct ls_bench_variant){"shm, registered", ls_bench_group, race->control, race->shared,
                                                  second, NULL});
        (void)add(race, (struct ls_bench_variant){"shm, any memory", ls_bench_group, race->control, src, dst, NULL});
    } else {
        (void)add(race, (struct ls_bench_variant){race->bench->backend, ls_bench_group, race->other, src, dst, NULL});
        if (between != NULL)
            status = add_flat(race, between, err);
        if (status != LS_OK)
            return status;
    }
    if (!race->bench->table && strcmp(race->bench->backend, "tcp") == 0) {
        status = join_backend(race, "tcp", "bf16", &race->wire, err);
        if (status != LS_OK)
            return status;
        race->bf16 = add(race, (struct ls_bench_variant){"tcp, bf16 wire", ls_bench_group, race->wire, src, dst, NULL});
    }
    race->copy = add(race, (struct ls_bench_variant){"memcpy", ls_bench_copy, NULL, src, dst, NULL});
    if (race->bench->mpi) {
        race->usual =
            add(race, (struct ls_bench_variant){"MPI_Allreduce", ls_bench_mpi, NULL, src, dst, ls_bench_heap_usual});
        race->kept =
            add(race, (struct ls_bench_variant){"MPI, heap kept", ls_bench_mpi, NULL, src, dst, ls_bench_heap_kept});
    }
    return LS_OK;
}

static enum ls_status prepare(struct race *race, struct ls_error *err)
{
    const struct ls_bench_allreduce *bench = race->bench;
    enum ls_status status;

    bind_to_host(bench);
    status = join_control(race, err);
    for (int i = 0; i < bench->size_count; i++)
        race->most_bytes = bench->sizes[i] > race->most_bytes ? bench->sizes[i] : race->most_bytes;
    if (status == LS_OK && strcmp(bench->backend, "shm") != 0)
        status = join_backend(race, bench->backend, NULL, &race->other, err);
    if (status != LS_OK)
        return status;
    bind(bench);
    race->src = ls_alloc_aligned((size_t)race->most_bytes);
    race->dst = ls_alloc_aligned((size_t)race->most_bytes);
    race->times = ls_alloc_zeroed((size_t)bench->rounds * MOST_VARIANTS, sizeof *race->times);
    race->rows = json_array();
    race->chosen = json_array();
    if (race->src == NULL || race->dst == NULL || race->times == NULL || race->rows == NULL || race->chosen == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for buffers of %lld bytes", (long long)race->most_bytes);
    if (bench->ranks > 1)
        measure_round_trip(race);
    return add_variants(race, err);
}

static void note_ratio(const struct race *race, json_t *row, const char *name, int v, int against, int rounds)
{
    char key[48];

    if (against < 0 || against == v) {
        if (!race->bench->json)
            printf("  %22s", "");
        return;
    }
    struct ls_bench_figure ratio = ls_bench_ratio_of(race->times + (size_t)v * (size_t)rounds,
                                                     race->times + (size_t)against * (size_t)rounds, rounds);
    (void)snprintf(key, sizeof key, "%s", name);
    (void)json_object_set_new(row, key, json_real(ratio.median));
    (void)snprintf(key, sizeof key, "%s_min", name);
    (void)json_object_set_new(row, key, json_real(ratio.least));
    (void)snprintf(key, sizeof key, "%s_max", name);
    (void)json_object_set_new(row, key, json_real(ratio.most));
    if (!race->bench->json)
        printf("  %6.3f [%5.2f,%6.2f]", ratio.median, ratio.least, ratio.most);
}

static void report_variant(struct race *race, int64_t bytes, int v, int rounds)
{
    struct ls_bench_figure time = ls_bench_figure_of(race->times + (size_t)v * (size_t)rounds, rounds);
    double ranks = race->bench->ranks, rate = (double)bytes / time.median * 1e-9;
    bool moves = v != race->copy;
    json_t *row =
        json_pack("{s:I, s:s, s:f, s:f, s:f, s:f}", "bytes", (json_int_t)bytes, "name", race->variants[v].name, "us",
                  time.median * 1e6, "us_min", time.least * 1e6, "us_max", time.most * 1e6, "algorithm_gb_s", rate);

    if (!race->bench->json) {
        printf("%11lld  %-15s", (long long)bytes, race->variants[v].name);
        printf(" %11.2f [%9.2f,%10.2f]", time.median * 1e6, time.least * 1e6, time.most * 1e6);
        printf(" %8.2f", rate);
        if (moves)
            printf(" %8.2f", rate * 2 * (ranks - 1) / ranks);
        else
            printf(" %8s", "");
    }
    if (moves)
        (void)json_object_set_new(row, "bus_gb_s", json_real(rate * 2 * (ranks - 1) / ranks));
    note_ratio(race, row, "x_memcpy", v, race->copy, rounds);
    note_ratio(race, row, "x_mpi", v, race->usual, rounds);
    note_ratio(race, row, "x_mpi_kept", v, race->kept, rounds);
    if (race->bf16 >= 0)
        note_ratio(race, row, "x_exact", race->bf16, v == race->bf16 ? 0 : -1, rounds);
    if (!race->bench->json)
        printf("\n");
    (void)json_array_append_new(race->rows, row);
}

/* The transports that mpirun gave Open MPI; its choice where it gave none. */
static const char *mpi_transport(void)
{
    const char *given = getenv("OMPI_MCA_btl");

    return given != NULL ? given : "chosen by MPI";
}

static void print_head(const struct race *race)
{
    const struct ls_bench_allreduce *bench = race->bench;
    double load = 0;

    (void)getloadavg(&load, 1);
    printf("all-reduce (sum of float32) over %s, %d ranks on %ld processors, %d rounds; load %.1f; "
           "a cache line goes to the other processor and back in %.0f ns\n",
           bench->backend, bench->ranks, sysconf(_SC_NPROCESSORS_ONLN), bench->rounds, load, race->round_trip_s * 1e9);
    if (bench->mpi)
        printf("MPI's transport: %s\n", mpi_transport());
    printf("%11s  %-15s %11s [%9s,%10s] %8s %8s", "bytes", "", "us", "fastest", "slowest", "alg GB/s", "bus GB/s");
    printf("  %-22s", "x memcpy");
    if (race->usual >= 0)
        printf("  %-22s  %-22s", "x MPI_Allreduce", "x MPI, heap kept");
    else if (race->bf16 >= 0)
        printf("  %-22s  %-22s", "", "");
    if (race->bf16 >= 0)
        printf("  x exact");
    printf("\n");
}

static void print_json(struct race *race)
{
    const struct ls_bench_allreduce *bench = race->bench;
    double load = 0;
    json_t *o;

    (void)getloadavg(&load, 1);
    o = json_pack("{s:i, s:i, s:s, s:i, s:f, s:f, s:O}", "ranks", bench->ranks, "processors",
                  (int)sysconf(_SC_NPROCESSORS_ONLN), "backend", bench->backend, "rounds", bench->rounds, "load", load,
                  "round_trip_ns", race->round_trip_s * 1e9, "rows", race->rows);
    if (bench->mpi)
        (void)json_object_set_new(o, "mpi_transport", json_string(mpi_transport()));
    if (bench->table)
        (void)json_object_set(o, "choices", race->chosen);
    (void)json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(o);
}

/* What the table says for this size and what was fastest here. */
static void report_choice(struct race *race, int64_t bytes, int rounds)
{
    struct ls_group *group = race->other != NULL ? race->other : race->control;
    const char *chosen = ls_bench_chosen(group, bytes / (int64_t)sizeof(float));
    double best = 0;
    int fastest = 0;

    for (int v = 0; v < race->way_count; v++) {
        double time = ls_bench_figure_of(race->times + (size_t)v * (size_t)rounds, rounds).median;
        if (v == 0 || time < best) {
            best = time;
            fastest = v;
        }
    }
    if (race->bench->json)
        (void)json_array_append_new(race->chosen, json_pack("{s:I, s:s, s:s}", "bytes", (json_int_t)bytes, "chosen",
                                                            chosen, "fastest", race->variants[fastest].name));
    else
        printf("%11lld  the table chooses %s; fastest was %s\n", (long long)bytes, chosen,
               race->variants[fastest].name);
}

/* The rows in force, as LOCKSTEP_COLLECTIVES takes them. */
static void print_table(const struct race *race)
{
    const struct ls_group *group = race->other != NULL ? race->other : race->control;
    char row[80];

    printf("the first row that fits is taken; LOCKSTEP_COLLECTIVES puts others before them:\n");
    for (int i = 0; ls_bench_row(group, i, row); i++)
        printf("  %s\n", row);
}

static enum ls_status run_sizes(struct race *race, struct ls_error *err)
{
    const struct ls_bench_allreduce *bench = race->bench;
    enum ls_status status = LS_OK;

    if (bench->rank == 0 && !bench->json)
        print_head(race);
    for (int i = 0; i < bench->size_count && status == LS_OK; i++) {
        int64_t bytes = bench->sizes[i];
        int rounds = bytes > WHOLE_ROUNDS_BYTES ? (bench->rounds + 2) / 3 : bench->rounds;
        status = ls_bench_race(race->control, race->variants, race->count, bytes / (int64_t)sizeof(float), rounds,
                               race->times, err);
        for (int v = 0; v < race->count && status == LS_OK && bench->rank == 0; v++)
            report_variant(race, bytes, v, rounds);
        if (status == LS_OK && bench->rank == 0 && bench->table)
            report_choice(race, bytes, rounds);
        if (bench->rank == 0)
            (void)fflush(stdout);
    }
    if (status == LS_OK && bench->rank == 0 && bench->json)
        print_json(race);
    else if (status == LS_OK && bench->rank == 0 && bench->table)
        print_table(race);
    return status;
}

enum ls_status ls_bench_allreduce_race(const struct ls_bench_allreduce *bench, struct ls_error *err)
{
    struct race *race = ls_alloc_zeroed(1, sizeof *race);
    enum ls_status status;

    if (race == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for the bench");
    race->bench = bench;
    status = prepare(race, err);
    if (status == LS_OK)
        status = run_sizes(race, err);
    ls_group_destroy(race->wire);
    ls_group_destroy(race->other);
    ls_group_destroy(race->control);
    for (int i = 0; i < race->way_count; i++)
        ls_group_destroy(race->ways[i]);
    json_decref(race->rows);
    json_decref(race->chosen);
    ls_free(race->times);
    ls_free(race->src);
    ls_free(race->dst);
    ls_free(race);
    return status;
}
