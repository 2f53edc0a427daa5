/* SPDX-License-Identifier: Apache-2.0 */
/* lockstep bench allreduce: options, and the ranks: forked here, or started by mpirun where MPI is in the race. */
#include "cli/bench.h"
#include "cli/bench_gloo.h"
#include "cli/bench_race.h"
#include "collective/provider/mpi/launch.h"
#include "core/base/alloc.h"
#include "core/base/hash.h"
#include "core/base/str.h"
#include "core/job/transport.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define USUAL_SIZES "8,4K,32K,256K,1M,4M,16M,64M"
#define MOST_BYTES ((int64_t)4 << 30)
#define MOST_ROUNDS 1000
#define USUAL_RANKS 2

/* "8" or "64K" or "4M": bytes of whole elements. */
static bool parse_size(const char *word, size_t length, int64_t *bytes)
{
    char digits[24];
    int64_t unit = 1, value;

    if (length > 0 && (word[length - 1] == 'K' || word[length - 1] == 'k'))
        unit = 1 << 10;
    if (length > 0 && (word[length - 1] == 'M' || word[length - 1] == 'm'))
        unit = 1 << 20;
    length -= unit > 1;
    if (length == 0 || length >= sizeof digits)
        return false;
    (void)snprintf(digits, sizeof digits, "%.*s", (int)length, word);
    if (!ls_str_to_i64(digits, &value) || value < 1 || value > MOST_BYTES / unit || value * unit % 4 != 0)
        return false;
    *bytes = value * unit;
    return true;
}

static enum ls_status parse_sizes(struct ls_bench_allreduce *bench, const char *text, struct ls_error *err)
{
    for (const char *at = text; *at != '\0';) {
        size_t length = strcspn(at, ",");
        if (bench->size_count == LS_BENCH_MAX_SIZES)
            return ls_error_set(err, LS_EUSAGE, "--sizes takes %d sizes at most", LS_BENCH_MAX_SIZES);
        if (!parse_size(at, length, &bench->sizes[bench->size_count]))
            return ls_error_set(err, LS_EUSAGE,
                                "--sizes needs bytes in multiples of 4 such as 8,64K,4M (4096M at most), not \"%.*s\"",
                                (int)length, at);
        bench->size_count++;
        at += length + (at[length] == ',');
    }
    return LS_OK;
}

#define NOT_GIVEN (-1)

static enum ls_status check_hosts(struct ls_bench_allreduce *bench, int64_t hosts, struct ls_error *err)
{
    if (hosts != NOT_GIVEN && ls_transport_find(bench->backend)->between == NULL)
        return ls_error_set(err, LS_EUSAGE, "--hosts is for --backend hybrid, hybrid-mpi and hybrid-nccl");
    if (hosts != NOT_GIVEN && (hosts < 1 || hosts > bench->ranks))
        return ls_error_set(err, LS_EUSAGE, "--hosts is from 1 to the %d ranks, not %lld", bench->ranks,
                            (long long)hosts);
    bench->hosts = hosts != NOT_GIVEN ? (int)hosts : bench->ranks < 2 ? 1 : 2;
    return LS_OK;
}

/* A launcher has started the ranks already; a number that was typed beside it is theirs or an error. */
static enum ls_status count_ranks(struct ls_bench_allreduce *bench, int64_t *ranks, struct ls_error *err)
{
    enum ls_status status;

    if (ls_mpi_launch_detected() == NULL) {
        *ranks = *ranks == NOT_GIVEN ? USUAL_RANKS : *ranks;
        return LS_OK;
    }
    status = ls_mpi_launch_open(&bench->rank, &bench->ranks, err);
    if (status != LS_OK)
        return status;
    if (*ranks != NOT_GIVEN && *ranks != bench->ranks)
        return ls_error_set(err, LS_EUSAGE, "--ranks %lld, but the MPI launcher started %d; leave --ranks out",
                            (long long)*ranks, bench->ranks);
    if (bench->ranks > LS_BENCH_MAX_RANKS)
        return ls_error_set(err, LS_EUSAGE, "the bench takes %d ranks at most, but the MPI launcher started %d",
                            LS_BENCH_MAX_RANKS, bench->ranks);
    *ranks = bench->ranks;
    return LS_OK;
}

static enum ls_status check(struct ls_bench_allreduce *bench, int64_t ranks, int64_t rounds, const char *against,
                            struct ls_error *err)
{
    const char *backend = bench->backend;
    const struct ls_transport *transport = ls_transport_find(backend);

    if (ranks < 1 || ranks > LS_BENCH_MAX_RANKS)
        return ls_error_set(err, LS_EUSAGE, "--ranks is from 1 to %d, not %lld", LS_BENCH_MAX_RANKS, (long long)ranks);
    if (rounds < 1 || rounds > MOST_ROUNDS)
        return ls_error_set(err, LS_EUSAGE, "--rounds is from 1 to %d, not %lld", MOST_ROUNDS, (long long)rounds);
    if (transport == NULL || strcmp(backend, "auto") == 0)
        return ls_error_set(err, LS_EUSAGE, "--backend may be " LS_TRANSPORTS_NAMED_TEXT ", not \"%s\"", backend);
    if (against != NULL && strcmp(against, "mpi") != 0 && strcmp(against, "gloo") != 0)
        return ls_error_set(err, LS_EUSAGE, "--against knows mpi and gloo, not \"%s\"", against);
    bench->gloo = against != NULL && strcmp(against, "gloo") == 0;
    if (bench->gloo && (bench->table || (strcmp(backend, "shm") != 0 && strcmp(backend, "tcp") != 0)))
        return ls_error_set(err, LS_EUSAGE, "--against gloo is for --backend shm or tcp, without --table");
    if (bench->gloo && ls_mpi_launch_detected() != NULL)
        return ls_error_set(err, LS_EUSAGE, "--against gloo starts its ranks itself; start it without mpirun");
    bench->ranks = (int)ranks;
    bench->rounds = (int)rounds;
    bench->mpi = (against != NULL && !bench->gloo) || transport->launched;
    return LS_OK;
}

/* What races against tcp goes over tcp too: by itself Open MPI takes shared memory within a host. */
static int add_transport(const struct ls_bench_allreduce *bench, char **words, int at)
{
    static char set[] = "--mca", engine[] = "pml", ob1[] = "ob1", carriers[] = "btl", tcp[] = "tcp,self";

    if (strcmp(bench->backend, "tcp") != 0)
        return at;
    words[at++] = set;
    words[at++] = engine;
    words[at++] = ob1;
    words[at++] = set;
    words[at++] = carriers;
    words[at++] = tcp;
    return at;
}

/* This command again, by mpirun; returns only where that is not there. */
static enum ls_status become_mpirun(const struct ls_bench_allreduce *bench, int argc, char **argv, struct ls_error *err)
{
    static char launcher[] = "mpirun", spare[] = "--oversubscribe", count_option[] = "-n", first[] = "bench";
    char program[PATH_MAX], count[16], **words = ls_alloc_zeroed((size_t)argc + 16, sizeof *words);
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    int at = 0;

    if (words == NULL || length < 0)
        return ls_error_set(err, LS_ENOMEM, "cannot start this program by mpirun");
    program[length] = '\0';
    (void)snprintf(count, sizeof count, "%d", bench->ranks);
    words[at++] = launcher;
    words[at++] = spare;
    words[at++] = count_option;
    words[at++] = count;
    at = add_transport(bench, words, at);
    words[at++] = program;
    words[at++] = first;
    for (int i = 0; i < argc; i++)
        words[at++] = argv[i];
    (void)execvp(words[0], words);
    ls_free(words);
    return ls_error_set(err, LS_ENOENT, "MPI in the race needs mpirun on the PATH: %s", strerror(errno));
}

static enum ls_status make_directory(struct ls_bench_allreduce *bench, struct ls_error *err)
{
    const char *const parents[] = {getenv("XDG_RUNTIME_DIR"), "/tmp"};
    enum ls_status status = ls_workdir_make(parents, 2, sizeof bench->directory - 1, &bench->workdir, err);

    if (status != LS_OK)
        return status;
    (void)ls_str_into(bench->directory, sizeof bench->directory, ls_workdir_path(bench->workdir));
    return ls_random_bytes(bench->secret, sizeof bench->secret);
}

/* A process that mpirun started, as count_ranks() has seen; process 0 makes the directory for all. */
static enum ls_status run_launched(struct ls_bench_allreduce *bench, struct ls_error *err)
{
    enum ls_status status = LS_OK;

    bench->mpi = true;
    if (bench->rank == 0)
        status = make_directory(bench, err);
    if (status == LS_OK)
        status = ls_mpi_bcast_bytes(bench->directory, sizeof bench->directory, 0, err);
    if (status == LS_OK)
        status = ls_mpi_bcast_bytes(bench->secret, sizeof bench->secret, 0, err);
    if (status == LS_OK)
        status = ls_bench_allreduce_race(bench, err);
    ls_workdir_remove(bench->workdir);
    /* With a status it ends all processes and does not come back. */
    if (status != LS_OK)
        fprintf(stderr, "lockstep: rank %d: %s\n", bench->rank, err->message);
    (void)fflush(stdout);
    ls_mpi_finalize(ls_status_exit(status));
    return status;
}

static void be_child(struct ls_bench_allreduce *bench)
{
    struct ls_error why = LS_ERROR_INIT;
    enum ls_status status;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    status = ls_bench_allreduce_race(bench, &why);
    if (status != LS_OK)
        fprintf(stderr, "lockstep: rank %d: %s\n", bench->rank, why.message);
    _exit(ls_status_exit(status));
}

/* This process is rank 0. */
static enum ls_status run_forked(struct ls_bench_allreduce *bench, struct ls_error *err)
{
    pid_t children[LS_BENCH_MAX_RANKS] = {0};
    enum ls_status status = make_directory(bench, err);

    for (int r = 1; r < bench->ranks && status == LS_OK; r++) {
        children[r] = fork();
        if (children[r] < 0)
            status = ls_error_set(err, LS_EIO, "cannot start rank %d: %s", r, strerror(errno));
        if (children[r] == 0) {
            bench->rank = r;
            be_child(bench);
        }
    }
    if (status == LS_OK)
        status = ls_bench_allreduce_race(bench, err);
    for (int r = 1; r < bench->ranks; r++) {
        if (children[r] <= 0)
            continue;
        if (status != LS_OK)
            (void)kill(children[r], SIGKILL);
        (void)waitpid(children[r], NULL, 0);
    }
    ls_workdir_remove(bench->workdir);
    return status;
}

static enum ls_status run(const struct ls_command *command, int argc, char **argv, struct ls_error *err)
{
    struct ls_bench_allreduce bench = {.backend = "shm"};
    const char *against = NULL, *sizes = USUAL_SIZES;
    int64_t ranks = NOT_GIVEN, rounds = 15, hosts = NOT_GIVEN;
    const struct ls_option options[] = {
        {"ranks", "N", "processes (2; under mpirun those it started)", LS_OPTION_COUNT, &ranks},
        {"backend", "NAME", LS_TRANSPORTS_NAMED_TEXT " (shm)", LS_OPTION_TEXT, &bench.backend},
        {"hosts", "N", "hosts to pretend for --backend hybrid, hybrid-mpi and hybrid-nccl (2)", LS_OPTION_COUNT,
         &hosts},
        {"sizes", "LIST", "bytes, e.g. 8,64K,4M (" USUAL_SIZES ")", LS_OPTION_TEXT, &sizes},
        {"rounds", "N", "rounds (15); a third of them above 16M", LS_OPTION_COUNT, &rounds},
        {"against", "NAME", "mpi: MPI_Allreduce, mpirun starts the ranks; gloo: tests/bench/gloo.py; in turns",
         LS_OPTION_TEXT, &against},
        {"table", NULL, "race the ways of the backend and show which the table of choices takes", LS_OPTION_FLAG,
         &bench.table},
        {"json", NULL, "print one line of JSON", LS_OPTION_FLAG, &bench.json},
        {NULL, NULL, NULL, LS_OPTION_FLAG, NULL}};
    enum ls_status status = ls_options_parse(command, options, argc, argv, 0, 0, NULL, err);

    if (status == LS_OK)
        status = count_ranks(&bench, &ranks, err);
    if (status == LS_OK)
        status = check(&bench, ranks, rounds, against, err);
    if (status == LS_OK)
        status = check_hosts(&bench, hosts, err);
    if (status == LS_OK)
        status = parse_sizes(&bench, sizes, err);
    if (status != LS_OK) {
        ls_mpi_finalize(0); /* all ranks are here alike */
        return status;
    }
    if (bench.gloo)
        return ls_bench_gloo(&bench, sizes, err);
    if (ls_mpi_launch_detected() != NULL)
        status = run_launched(&bench, err);
    else
        status = bench.mpi ? become_mpirun(&bench, argc, argv, err) : run_forked(&bench, err);
    explicit_bzero(bench.secret, sizeof bench.secret);
    return status;
}

const struct ls_command ls_bench_allreduce = {
    .name = "bench allreduce",
    .arguments = "[options]",
    .summary = "Measure the all-reduce beside a memcpy in all ranks at once, alone or against MPI",
    .about =
        "Variants run in turns within each round, each rank rewrites its input before each; a time is the slowest\n"
        "rank's, a figure the median of the rounds with the fastest and slowest, a ratio the median of the\n"
        "rounds' ratios. Bus bandwidth is 2 (N - 1) / N of the algorithm's, as in nccl-tests.",
    .run = run};
