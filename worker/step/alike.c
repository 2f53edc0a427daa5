/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the workers of a job may not choose one by one, though it is outside the job's fingerprint: it decides which
 * collectives they run, and when. Every group compares it at its start, where a difference still has a name.
 */
#include "worker/step/replica.h"

struct settings {
    uint64_t ways;
    int64_t max_steps;
    int64_t every_steps; /* of checkpoints */
    int64_t eager;
};

static const char *execution(const struct settings *settings)
{
    return settings->eager != 0 ? "eager" : "graph";
}

static enum ls_status differ(const char *key, int64_t first, int64_t other, int rank, struct ls_error *err)
{
    return ls_error_set(err, LS_EINVAL, "%s is %lld on rank 0 and %lld on rank %d; give all workers the same", key,
                        (long long)first, (long long)other, rank);
}

/* The same sentence in all ranks: of rank 0, and the first that differs. */
static enum ls_status judge(const struct settings *all, int world, struct ls_error *err)
{
    for (int r = 1; r < world; r++) {
        if (all[r].eager != all[0].eager)
            return ls_error_set(err, LS_EINVAL,
                                "run.execution is %s on rank 0 and %s on rank %d; give all workers the same",
                                execution(&all[0]), execution(&all[r]), r);
        if (all[r].max_steps != all[0].max_steps)
            return differ("run.max_steps", all[0].max_steps, all[r].max_steps, r, err);
        if (all[r].every_steps != all[0].every_steps)
            return differ("run.checkpoint.every_steps", all[0].every_steps, all[r].every_steps, r, err);
        if (all[r].ways != all[0].ways)
            return ls_error_set(err, LS_EINVAL,
                                "LOCKSTEP_COLLECTIVES of rank %d is not that of rank 0; give all workers the same", r);
    }
    return LS_OK;
}

enum ls_status ls_replica_alike(struct ls_replica *replica, struct ls_error *err)
{
    const struct ls_job *job = replica->trainer->job;
    struct settings own = {.ways = ls_group_ways_digest(replica->group),
                           .max_steps = job->max_steps,
                           .every_steps = job->checkpoint_every_steps,
                           .eager = job->eager};
    struct settings all[LS_MAX_MEMBERS];
    int64_t counts[LS_MAX_MEMBERS];
    /* One way, whatever the rows say that are compared here. */
    struct ls_collective gather = {
        .kind = LS_ALL_GATHER, .dtype = LS_U8, .src = &own, .dst = all, .counts = counts, .way = "one-shot"};
    struct ls_collective barrier = {.kind = LS_BARRIER};
    enum ls_status status;

    for (int r = 0; r < replica->world; r++)
        counts[r] = (int64_t)sizeof own;
    status = ls_group_run(replica->group, &gather, err);
    if (status != LS_OK)
        return status;
    status = judge(all, replica->world, err);
    /* Nobody leaves while others have not read it all: they would tell of the end of the group instead. */
    if (status != LS_OK)
        (void)ls_group_run(replica->group, &barrier, NULL);
    return status;
}
