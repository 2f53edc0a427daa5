/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of a rank's leaves, see schedule.h. */
#include "worker/step/schedule.h"

#include "core/base/alloc.h"

static enum ls_status add_call(struct ls_schedule *s, struct ls_step_programs *programs, struct ls_scheduled_call call,
                               struct ls_error *err)
{
    enum ls_status status = ls_step_programs_get(programs, s->mode, &call.shards, &call.program, err);
    size_t bytes;

    if (status != LS_OK)
        return status;
    s->segment_count = ls_program_segment_count(call.program->program);
    call.arena = s->segment_count > 1 ? s->call_count : 0;
    if (call.arena >= s->arena_count)
        s->arena_count = call.arena + 1;
    bytes = ls_program_arena_bytes(call.program->program);
    if (bytes > s->arena_bytes)
        s->arena_bytes = bytes;
    if (call.depth + 1 > s->depth)
        s->depth = call.depth + 1;
    call.first_sample = s->samples;
    s->samples += call.shards.offset[call.shards.count];
    s->calls[s->call_count++] = call;
    return LS_OK;
}

/* A leaf's calls and the merges after each: the tree program over their ranges, run as they come. */
static enum ls_status add_leaf(struct ls_schedule *s, struct ls_step_programs *programs, int rank, int leaf,
                               struct ls_error *err)
{
    struct ls_range ranges[LS_MAX_SHARDS];
    struct ls_tree_program tree;
    int found = ls_plan_calls(&s->plan, ls_plan_leaf(&s->plan, rank, leaf), ranges), depth = 0, at = 0;
    enum ls_status status = LS_OK;

    ls_tree_program_build(ranges, found, s->plan.v_total, &tree);
    for (int c = 0; c < found && status == LS_OK; c++) {
        struct ls_scheduled_call call = {.leaf = leaf, .depth = depth};

        call.shards = ls_shards_of(s->batch_samples, s->plan.v_total, ranges[c].first, ranges[c].count);
        for (at++; at < tree.length && tree.code[at] == LS_TREE_ADD; at++)
            call.merges++;
        depth += 1 - call.merges;
        call.final = found == 1 && leaf == ls_plan_leaf_count(&s->plan, rank) - 1;
        status = add_call(s, programs, call, err);
    }
    return status;
}

enum ls_status ls_schedule_create(struct ls_step_programs *programs, enum ls_step_mode mode,
                                  const struct ls_plan_options *options, int rank, struct ls_schedule **schedule,
                                  struct ls_error *err)
{
    struct ls_schedule *made = ls_alloc_zeroed(1, sizeof *made);
    enum ls_status status = LS_OK;
    int leaves;

    if (made != NULL)
        made->calls = ls_alloc_zeroed(LS_MAX_SHARDS, sizeof *made->calls);
    if (made == NULL || made->calls == NULL)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to schedule a batch");
    else
        status = ls_plan_build(options, &made->plan, err);
    if (status == LS_OK) {
        made->mode = mode;
        made->batch_samples = options->batch_samples;
        leaves = ls_plan_leaf_count(&made->plan, rank);
        for (int l = 0; l < leaves && status == LS_OK; l++)
            status = add_leaf(made, programs, rank, l, err);
        if (leaves == 0 && status == LS_OK)
            status = add_call(made, programs,
                              (struct ls_scheduled_call){.shards = {.total = made->plan.v_total,
                                                                    .count = 1,
                                                                    .batch_samples = options->batch_samples,
                                                                    .offset = {0, 1}}},
                              err);
    }
    if (status != LS_OK)
        ls_schedule_destroy(made);
    else
        *schedule = made;
    return status;
}

void ls_schedule_destroy(struct ls_schedule *schedule)
{
    if (schedule == NULL)
        return;
    ls_free(schedule->calls);
    ls_free(schedule);
}
