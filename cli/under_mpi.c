/* SPDX-License-Identifier: Apache-2.0 */
/* A rank of mpirun: learns where the coordinator is from rank 0, then works like any worker. See under_mpi.h. */
#include "cli/under_mpi.h"

#include "cli/host.h"
#include "cli/outcome.h"
#include "cli/standard.h"
#include "cli/told.h"
#include "collective/provider/mpi/launch.h"
#include "core/base/alloc.h"
#include "core/base/hash.h"
#include "core/base/str.h"
#include "core/base/thread.h"
#include "core/base/trace.h"
#include "worker/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What rank 0 tells the others before anything else. */
struct boot {
    int32_t status;
    char coordinator[256];
    uint8_t secret[32];
};

struct hosting {
    struct ls_host host;
    bool open, started;
    pthread_t thread;
    char *summary;
    enum ls_status status;
    struct ls_error err;
};

bool ls_under_mpi(void)
{
    return ls_mpi_launch_detected() != NULL;
}

static void on_signal(int number, bool again)
{
    (void)number;
    (void)again;
    ls_worker_stop();
}

/* All ranks on this machine: then nobody else needs to reach the coordinator. */
static bool all_here(int world)
{
    const char *here = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
    int64_t count = 0;

    return world == 1 || (here != NULL && ls_str_to_i64(here, &count) && count == world);
}

static void *host_main(void *state)
{
    struct hosting *h = state;

    h->status = ls_host_run(&h->host, &h->summary, &h->err);
    return NULL;
}

static enum ls_status start_host(const struct ls_mpi_run *run, struct hosting *h, int world, struct boot *boot)
{
    struct ls_host_options options = {
        .job = run->job, .quiet = run->quiet, .fresh = run->fresh, .overwrite = run->overwrite};
    bool here = all_here(world);
    char name[200] = "127.0.0.1";

    options.listen = here ? "127.0.0.1:0" : "0.0.0.0:0";
    if (!here && gethostname(name, sizeof name - 1) != 0)
        return ls_error_set(&h->err, LS_EIO, "this machine does not know its name");
    if (ls_random_bytes(boot->secret, sizeof boot->secret) != LS_OK)
        return ls_error_set(&h->err, LS_EIO, "the system gives no random numbers for the job's secret");
    memcpy(options.secret, boot->secret, sizeof options.secret);
    h->open = true;
    h->status = ls_host_open(&options, &h->host, &h->err);
    explicit_bzero(options.secret, sizeof options.secret);
    if (h->status != LS_OK)
        return h->status;
    (void)snprintf(boot->coordinator, sizeof boot->coordinator, "%s:%u", name,
                   (unsigned)ls_server_port(h->host.server));
    h->status = ls_thread_start("coordinator", 0, host_main, h, &h->thread, &h->err);
    h->started = h->status == LS_OK;
    return h->status;
}

static enum ls_status work(const struct ls_mpi_run *run, const struct boot *boot, int rank, bool *told,
                           struct ls_error *err)
{
    struct ls_worker_options options = {.job = run->job,
                                        .coordinator = boot->coordinator,
                                        .index = rank,
                                        .save_weights = run->save_weights,
                                        .trace = run->trace};
    char *summary = NULL;
    enum ls_status status;

    memcpy(options.secret, boot->secret, sizeof options.secret);
    status = ls_worker_run(&options, &summary, told, err);
    explicit_bzero(options.secret, sizeof options.secret);
    ls_free(summary);
    return status;
}

/* Joins the coordinator's thread. What it says of the job goes before what this worker has seen of it, unless the
 * worker failed without having told it: then it has waited for nothing else. */
static enum ls_status end_host(struct hosting *h, bool told, enum ls_status status, struct ls_error *err)
{
    bool own = status != LS_OK && !told;

    if (own)
        ls_server_stop(h->host.server);
    (void)pthread_join(h->thread, NULL);
    if (own && (h->status == LS_OK || h->status == LS_EINTERRUPTED))
        return status;
    *err = h->err;
    return h->status;
}

/* The first rank that leaves with an error takes all others along: the one that says why gets the time to. */
#define SPEAK_MS 2000
#define TURN_MS 3000 /* longer than launchers let a process live that they want to end */
#define MOST_TURNS 4

static void let_others_speak(int64_t ms)
{
    struct timespec left = {ms / 1000, (long)(ms % 1000) * 1000000};

    while (nanosleep(&left, &left) != 0 && errno == EINTR) /* by the launcher, which wants all to leave */
        continue;
}

/* The first of the environment variables that holds a number; -1. */
static int64_t number_of(const char *const *names)
{
    int64_t number;

    for (; *names != NULL; names++) {
        const char *text = getenv(*names);

        if (text != NULL && ls_str_to_i64(text, &number) && number >= 0)
            return number;
    }
    return -1;
}

void ls_mpi_let_first_speak(enum ls_status status)
{
    static const char *const here[] = {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "MV2_COMM_WORLD_LOCAL_RANK",
                                       "SLURM_LOCALID", NULL};
    static const char *const of_all[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", NULL};
    int64_t rank = number_of(of_all), place = number_of(here);

    if (rank <= 0)
        return;
    ls_outcome_set_json(false);
    if (place == 0)
        return;
    let_others_speak(SPEAK_MS);
    exit(ls_status_exit(status));
}

/* A job that failed leaves a file of each rank. A worker writes its own before it takes leave of the coordinator, which
 * has waited for all that still could: those of this machine are there. */
static void join_traces(const struct ls_mpi_run *run)
{
    if (run->trace != NULL)
        (void)ls_trace_join(run->trace, run->job->workers * run->job->replicas, NULL);
}

/* Rank 0 is gone, and with it the coordinator, as each of the others has seen. The lowest of them that is left speaks
 * in its place: the others have been ended before it is their turn. */
static void speak_for_rank_0(int rank, struct ls_error *err)
{
    int turns = rank - 1 < MOST_TURNS ? rank - 1 : MOST_TURNS;

    let_others_speak((int64_t)turns * TURN_MS);
    (void)ls_error_wrap(err, "rank 0, which led the job, was lost");
}

/* A launcher ends all ranks as soon as one has left with a status other than 0: rank 0 has said everything before MPI
 * ends, and no rank leaves before that, for the end of MPI waits for all. Where rank 0 is lost meanwhile, the launcher
 * ends this wait and the rank with it. */
static enum ls_status end_in_order(const struct ls_mpi_run *run, const char *summary, int rank, enum ls_status status,
                                   struct ls_error *err)
{
    enum ls_status written = LS_OK;

    if (rank == 0)
        ls_summary_print(summary, &run->view, status, err);
    if (rank == 0 && status != LS_OK)
        ls_outcome_tell(status, err);
    if (status == LS_OK)
        written = ls_standard_flush(err);
    ls_mpi_finalize(0);
    if (rank != 0 || status != LS_OK)
        exit(ls_status_exit(status));
    return written;
}

/* Rank 0 says how the job ended; others speak only of what could not be told to it. */
static enum ls_status end(const struct ls_mpi_run *run, struct hosting *h, int rank, bool told, enum ls_status status,
                          struct ls_error *err)
{
    if (h->started)
        status = end_host(h, told, status, err);
    if (h->open)
        ls_host_close(&h->host);
    if (status == LS_OK || status == LS_EINTERRUPTED)
        return end_in_order(run, h->summary, rank, status, err);
    if (rank == 0)
        join_traces(run);
    else if (!told && status == LS_EPEER)
        speak_for_rank_0(rank, err);
    else
        ls_outcome_set_json(false);
    if (rank == 0 || !told)
        ls_outcome_tell(status, err);
    if (rank != 0 && told)
        let_others_speak(SPEAK_MS);
    ls_mpi_finalize(ls_status_exit(status));
    return status;
}

/* The job file's number is for runs without a launcher; one that was typed beside it is an error. */
static enum ls_status compare_workers(const struct ls_mpi_run *run, int world, struct ls_error *err)
{
    const struct ls_job *job = run->job;

    if (!job->workers_overridden || job->workers == world)
        return LS_OK;
    if (run->workers_typed)
        return ls_error_set(err, LS_EUSAGE, "--workers %d, but the MPI launcher started %d; leave --workers out",
                            job->workers, world);
    return ls_error_set(err, LS_EUSAGE,
                        "--set run.workers=%d, but the MPI launcher started %d; leave run.workers out of --set",
                        job->workers, world);
}

enum ls_status ls_mpi_train(const struct ls_mpi_run *run, struct ls_error *err)
{
    struct boot boot = {.status = LS_OK};
    struct hosting h = {.status = LS_OK};
    bool told = false;
    int rank, world;
    enum ls_status status = ls_mpi_launch_open(&rank, &world, err);

    if (status != LS_OK)
        return status;
    status = compare_workers(run, world, err);
    if (status != LS_OK) {
        ls_mpi_finalize(0);
        return status;
    }
    run->job->workers = world;
    if (strcmp(run->job->transport, "auto") == 0)
        memcpy(run->job->transport, "mpi", sizeof "mpi");
    if (rank == 0)
        boot.status = (int32_t)start_host(run, &h, world, &boot);
    status = ls_mpi_bcast_bytes(&boot, sizeof boot, 0, err);
    if (status == LS_OK && boot.status != LS_OK) {
        *err = h.err;
        return end(run, &h, rank, rank != 0, ls_status_of_peer(boot.status, LS_EPEER), err);
    }
    if (rank != 0)
        ls_told_attach(on_signal);
    if (status == LS_OK)
        status = work(run, &boot, rank, &told, err);
    explicit_bzero(boot.secret, sizeof boot.secret);
    status = end(run, &h, rank, told, status, err);
    ls_free(h.summary);
    return status;
}
