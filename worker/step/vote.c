/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The group's commit: one small all-gather in which every rank says which step it made from which parameters, and
 * brings its leaves' sums of loss and metrics. All votes equal is committed; of different ones the rank that is alone
 * with its own is named, by everybody alike.
 */
#include "worker/step/replica.h"

#include "core/base/clock.h"
#include "core/base/log.h"

#include <stdatomic.h>
#include <string.h>

#define FLAG_STOP 1u
#define FLAG_SAVE 2u
#define MODE_BETWEEN_STEPS UINT32_MAX /* ls_replica_agree; else the schedule's mode */

struct vote {
    uint64_t generation;
    uint64_t step;
    uint64_t fingerprint; /* of the parameters that the step started from, or that stand between steps */
    uint32_t flags;
    uint32_t mode;
    uint64_t spent_ns; /* from the step's first call to its last reduced value */
    double sums[];     /* [leaf][loss, metrics...] */
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

static void fill_head(const struct ls_replica *replica, uint32_t mode, struct vote *vote)
{
    memset(vote, 0, vote_bytes(replica));
    vote->generation = replica->generation;
    vote->step = replica->progress.step;
    vote->fingerprint = replica->fingerprint;
    vote->mode = mode;
}

static void fill(struct ls_replica *replica, const struct ls_schedule *schedule, struct vote *vote)
{
    const struct ls_step_program *program = schedule->calls[0].program;
    const struct ls_exchange *exchange = replica->exchange[schedule->mode];
    int metrics = replica->trainer->spec.metric_count, leaves = ls_plan_leaf_count(&schedule->plan, replica->rank);

    fill_head(replica, (uint32_t)schedule->mode, vote);
    vote->spent_ns = ls_clock_now_ns() - replica->evaluate_ns;
    vote->flags = (atomic_load(&replica->stop) ? FLAG_STOP : 0) | (wants_save(replica) ? FLAG_SAVE : 0);
    for (int l = 0; l < leaves; l++)
        for (int m = 0; m <= metrics; m++) {
            int output = m == 0 ? program->loss_output : program->metric_output[m - 1];
            int reduce = ls_program_output_at(program->program, output)->reduce;

            vote->sums[l * (1 + metrics) + m] = ls_exchange_scalar(exchange, l, reduce);
        }
}

static const struct vote *vote_of(const struct ls_replica *replica, int rank)
{
    return (const void *)(replica->votes + vote_bytes(replica) * (size_t)(rank + 1));
}

static bool same(const struct vote *a, const struct vote *b)
{
    return a->generation == b->generation && a->step == b->step && a->mode == b->mode &&
           a->fingerprint == b->fingerprint;
}

/* The lowest rank of those whose vote most have: everybody finds the same one. */
static int most_shared(const struct ls_replica *replica)
{
    int best = 0, best_count = 0;

    for (int r = 0; r < replica->world && 2 * best_count < replica->world; r++) {
        int count = 0;

        for (int k = 0; k < replica->world; k++)
            count += same(vote_of(replica, k), vote_of(replica, r));
        if (count > best_count) {
            best = r;
            best_count = count;
        }
    }
    return best;
}

static enum ls_status disagree(const struct ls_replica *replica, int odd, int other, struct ls_error *err)
{
    const struct vote *a = vote_of(replica, odd), *b = vote_of(replica, other);

    if (a->generation != b->generation || a->step != b->step || a->mode != b->mode)
        return ls_error_set(err, LS_EDIVERGED,
                            "rank %d is at step %llu of generation %llu, but rank %d is at step %llu of generation "
                            "%llu",
                            odd, (unsigned long long)a->step, (unsigned long long)a->generation, other,
                            (unsigned long long)b->step, (unsigned long long)b->generation);
    return ls_error_set(err, LS_EDIVERGED,
                        "rank %d %s step %llu %s other parameters (fingerprint %016llx) than rank %d (%016llx): a "
                        "processor, memory or build is not sound",
                        odd, a->mode == MODE_BETWEEN_STEPS ? "stands after" : "began", (unsigned long long)a->step,
                        a->mode == MODE_BETWEEN_STEPS ? "with" : "from", (unsigned long long)a->fingerprint, other,
                        (unsigned long long)b->fingerprint);
}

/* Gathers everyone's votes (the own one is filled) and compares them. */
static enum ls_status exchange_votes(struct ls_replica *replica, struct ls_error *err)
{
    int64_t counts[LS_MAX_MEMBERS];
    struct ls_collective gather = {.kind = LS_ALL_GATHER,
                                   .dtype = LS_U8,
                                   .src = replica->votes,
                                   .dst = replica->votes + vote_bytes(replica),
                                   .counts = counts,
                                   .label = LS_LABEL_VOTE};
    uint64_t began = ls_tracing_now(&replica->tracing);
    struct ls_trace_event *event;
    enum ls_status status;
    int usual;

    for (int r = 0; r < replica->world; r++)
        counts[r] = (int64_t)vote_bytes(replica);
    status = ls_group_run(replica->group, &gather, err);
    if (status != LS_OK)
        return status;
    event = ls_tracing_add(&replica->tracing, LS_TRACE_VOTE, began, replica->progress.step);
    if (event != NULL)
        event->peer = ls_group_missing(replica->group);
    usual = most_shared(replica);
    for (int r = 0; r < replica->world; r++) {
        if (!same(vote_of(replica, r), vote_of(replica, usual)))
            return disagree(replica, r, usual, err);
        if ((vote_of(replica, r)->flags & FLAG_STOP) != 0)
            replica->stopping = true;
        if ((vote_of(replica, r)->flags & FLAG_SAVE) != 0)
            replica->save_asked = true;
    }
    return LS_OK;
}

enum ls_status ls_replica_agree(struct ls_replica *replica, struct ls_error *err)
{
    fill_head(replica, MODE_BETWEEN_STEPS, (void *)replica->votes);
    return exchange_votes(replica, err);
}

/* The batch's sum of value m: the tree over the leaves of all ranks. */
static double tree_value(struct ls_replica *replica, const struct ls_schedule *schedule,
                         const struct ls_tree_program *tree, int m)
{
    const struct ls_tree_layout *layout = &schedule->plan.layout;
    const void *leaves[2 * LS_MAX_SHARDS];
    int values = 1 + replica->trainer->spec.metric_count;
    double sum = 0;

    for (int r = 0; r < replica->world; r++) {
        const struct vote *vote = vote_of(replica, r);

        for (int k = layout->first_range[r]; k < layout->first_range[r + 1]; k++)
            leaves[k] = &vote->sums[(k - layout->first_range[r]) * values + m];
    }
    ls_device_tree_sum(replica->device, LS_F64, tree, leaves, &sum, 1);
    return sum;
}

/* What the time of the slowest rank says: how long to wait for each other, and how to cut gradients. Of whole batches
 * only, so that times can be compared. */
static void tune(struct ls_replica *replica, const struct ls_schedule *schedule)
{
    uint64_t slowest = 0;

    if (schedule != replica->schedules[LS_STEP_TRAIN][0])
        return;
    for (int r = 0; r < replica->world; r++)
        slowest = vote_of(replica, r)->spent_ns > slowest ? vote_of(replica, r)->spent_ns : slowest;
    ls_group_set_pace(replica->group, slowest);
    if (ls_tuner_tell(&replica->tuner, slowest) && replica->rank == 0)
        ls_log(LS_LOG_INFO, "exchange.tuned", "gradients travel in buckets of %zu KiB%s%s%s",
               ls_tuner_arrangement(&replica->tuner)->bucket_bytes >> 10,
               ls_tuner_arrangement(&replica->tuner)->beside ? ", beside compute" : "",
               ls_tuner_arrangement(&replica->tuner)->way != NULL ? ", way " : "",
               ls_tuner_arrangement(&replica->tuner)->way != NULL ? ls_tuner_arrangement(&replica->tuner)->way : "");
}

enum ls_status ls_replica_vote(struct ls_replica *replica, const struct ls_schedule *schedule, struct ls_sums *sums,
                               struct ls_error *err)
{
    struct ls_tree_program tree;
    enum ls_status status;

    status = ls_exchange_wait_all(replica->exchange[schedule->mode], err);
    if (status != LS_OK)
        return status;
    fill(replica, schedule, (void *)replica->votes);
    status = exchange_votes(replica, err);
    if (status != LS_OK)
        return status;
    tune(replica, schedule);
    ls_tree_program_build(schedule->plan.layout.ranges, schedule->plan.layout.range_count, schedule->plan.v_total,
                          &tree);
    sums->samples += schedule->batch_samples;
    sums->loss += tree_value(replica, schedule, &tree, 0);
    for (int m = 0; m < replica->trainer->spec.metric_count; m++)
        sums->metrics[m] += tree_value(replica, schedule, &tree, m + 1);
    return LS_OK;
}
