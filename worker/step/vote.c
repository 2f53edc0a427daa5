/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The group's commit: one small all-gather in which every rank says which step it made from which parameters, and
 * brings its leaves' sums of loss and metrics. All votes equal is committed; a different one names its rank.
 */
#include "worker/step/replica.h"

#include "core/base/clock.h"

#include <stdatomic.h>
#include <string.h>

#define FLAG_STOP 1u
#define FLAG_SAVE 2u

struct vote {
    uint64_t generation;
    uint64_t step;
    uint64_t fingerprint; /* of the parameters that the step started from */
    uint32_t flags;
    uint32_t mode;
    double sums[]; /* [leaf][loss, metrics...] */
};

static size_t vote_bytes(const struct ls_replica *replica)
{
    size_t values = 1 + (size_t)replica->trainer->spec.metric_count;

    return sizeof(struct vote) + (size_t)replica->max_leaves * values * sizeof(double);
}

size_t ls_vote_bytes(const struct ls_replica *replica)
{
    return (size_t)(replica->world + 1) * vote_bytes(replica);
}

/* Checkpoints by time are rank 0's to ask for: clocks differ. */
static bool wants_save(const struct ls_replica *replica)
{
    double minutes = replica->trainer->job->checkpoint_every_minutes;

    return replica->rank == 0 && minutes > 0 && (double)(ls_clock_now_ns() - replica->saved_ns) > minutes * 60e9;
}

static void fill(struct ls_replica *replica, const struct ls_schedule *schedule, struct vote *vote)
{
    const struct ls_step_program *program = schedule->calls[0].program;
    const struct ls_exchange *exchange = replica->exchange[schedule->mode];
    int metrics = replica->trainer->spec.metric_count, leaves = ls_plan_leaf_count(&schedule->plan, replica->rank);

    memset(vote, 0, vote_bytes(replica));
    vote->generation = replica->generation;
    vote->step = replica->progress.step;
    vote->fingerprint = replica->fingerprint;
    vote->flags = (atomic_load(&replica->stop) ? FLAG_STOP : 0) | (wants_save(replica) ? FLAG_SAVE : 0);
    vote->mode = (uint32_t)schedule->mode;
    for (int l = 0; l < leaves; l++)
        for (int m = 0; m <= metrics; m++) {
            int output = m == 0 ? program->loss_output : program->metric_output[m - 1];
            int reduce = ls_program_output_at(program->program, output)->reduce;

            vote->sums[l * (1 + metrics) + m] = ls_exchange_scalar(exchange, l, reduce);
        }
}

static enum ls_status compare(struct ls_replica *replica, const struct vote *own, struct ls_error *err)
{
    size_t bytes = vote_bytes(replica);

    for (int r = 0; r < replica->world; r++) {
        const struct vote *other = (const void *)(replica->votes + bytes * (size_t)(r + 1));

        if (other->generation != own->generation || other->step != own->step || other->mode != own->mode)
            return ls_error_set(err, LS_EDIVERGED,
                                "rank %d is at step %llu of generation %llu, but rank %d is at step %llu of "
                                "generation %llu",
                                r, (unsigned long long)other->step, (unsigned long long)other->generation,
                                replica->rank, (unsigned long long)own->step, (unsigned long long)own->generation);
        if (other->fingerprint != own->fingerprint)
            return ls_error_set(err, LS_EDIVERGED,
                                "rank %d began step %llu from other parameters (fingerprint %016llx) than rank %d "
                                "(%016llx): a processor, memory or build is not sound",
                                r, (unsigned long long)own->step, (unsigned long long)other->fingerprint, replica->rank,
                                (unsigned long long)own->fingerprint);
        if ((other->flags & FLAG_STOP) != 0)
            replica->stopping = true;
        if ((other->flags & FLAG_SAVE) != 0)
            replica->save_asked = true;
    }
    return LS_OK;
}

/* The batch's sum of value m: the tree over the leaves of all ranks. */
static double tree_value(struct ls_replica *replica, const struct ls_schedule *schedule,
                         const struct ls_tree_program *tree, int m)
{
    const struct ls_tree_layout *layout = &schedule->plan.layout;
    const void *leaves[2 * LS_MAX_SHARDS];
    size_t bytes = vote_bytes(replica);
    int values = 1 + replica->trainer->spec.metric_count;
    double sum = 0;

    for (int r = 0; r < replica->world; r++) {
        const struct vote *vote = (const void *)(replica->votes + bytes * (size_t)(r + 1));

        for (int k = layout->first_range[r]; k < layout->first_range[r + 1]; k++)
            leaves[k] = &vote->sums[(k - layout->first_range[r]) * values + m];
    }
    ls_device_tree_sum(replica->device, LS_F64, tree, leaves, &sum, 1);
    return sum;
}

enum ls_status ls_replica_vote(struct ls_replica *replica, const struct ls_schedule *schedule, struct ls_sums *sums,
                               struct ls_error *err)
{
    struct vote *own = (void *)replica->votes;
    int64_t bytes = (int64_t)vote_bytes(replica), counts[LS_MAX_MEMBERS];
    struct ls_tree_program tree;
    enum ls_status status;

    fill(replica, schedule, own);
    for (int r = 0; r < replica->world; r++)
        counts[r] = bytes;
    status = ls_group_run(
        replica->group,
        &(struct ls_collective){
            .kind = LS_ALL_GATHER, .dtype = LS_U8, .src = own, .dst = replica->votes + bytes, .counts = counts},
        err);
    if (status == LS_OK)
        status = compare(replica, own, err);
    if (status != LS_OK)
        return status;
    ls_tree_program_build(schedule->plan.layout.ranges, schedule->plan.layout.range_count, schedule->plan.v_total,
                          &tree);
    sums->samples += schedule->batch_samples;
    sums->loss += tree_value(replica, schedule, &tree, 0);
    for (int m = 0; m < replica->trainer->spec.metric_count; m++)
        sums->metrics[m] += tree_value(replica, schedule, &tree, m + 1);
    return LS_OK;
}
