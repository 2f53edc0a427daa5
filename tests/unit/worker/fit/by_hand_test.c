/* SPDX-License-Identifier: Apache-2.0 */
/* Shares of a batch for loops by hand, and the reductions over them. */
#include "worker/fit/by_hand.h"

#include "core/ops/batch_norm.h"
#include "core/ops/ops.h"
#include "worker/fit/mirrored.h"

#include <criterion/criterion.h>
#include <string.h>

#define SAMPLES 50
#define CHANNELS 3

struct outcome {
    double sum;
    float moments[3 * CHANNELS];
    int64_t samples[LS_MAX_MEMBERS];
    float x[SAMPLES * CHANNELS];
};

static enum ls_status evaluate(struct outcome *o, struct ls_group *group, struct ls_device *device,
                               struct ls_error *err)
{
    struct ls_share share;
    struct ls_tree_reduce tree = {.group = group, .device = device, .share = &share};
    struct ls_context_options options = {.device = device, .reduce = ls_tree_reduce, .reduce_state = &tree};
    struct ls_context *context = NULL;
    struct ls_value *x, *row, *sum, *moments;
    enum ls_status status = ls_share_of(group, SAMPLES, 8, &share, err);

    if (status != LS_OK)
        return status;
    options.shards = share.shards;
    status = ls_context_create(&options, &context, err);
    if (status == LS_OK)
        status = ls_value_input(context, 0, LS_F32, &LS_SHAPE(share.samples, CHANNELS), LS_PER_SAMPLE, 1,
                                o->x + share.shards.first_sample * CHANNELS, &x, err);
    if (status == LS_OK)
        status = ls_unary(context, LS_OP_ROW_REDUCE_SUM, x, &row, err);
    if (status == LS_OK)
        status = ls_unary(context, LS_OP_SUM_F64, row, &sum, err);
    if (status == LS_OK)
        status = ls_reduce(context, sum, false, &sum, err);
    if (status == LS_OK)
        status = ls_unary(context, LS_OP_MOMENTS, x, &moments, err);
    if (status == LS_OK)
        status = ls_reduce(context, moments, true, &moments, err);
    o->samples[share.rank] = share.spare ? 0 : share.samples;
    if (status == LS_OK && share.rank == ls_group_world(group) - 1) {
        memcpy(&o->sum, ls_value_view(sum).data, sizeof o->sum);
        memcpy(o->moments, ls_value_view(moments).data, sizeof o->moments);
    }
    ls_context_destroy(context);
    return status;
}

static enum ls_status member(void *state, struct ls_group *group, struct ls_error *err)
{
    struct ls_device_options options = LS_DEVICE_OPTIONS_DEFAULT;
    struct ls_device *device = NULL;
    enum ls_status status = ls_device_open("ref", &options, &device, err);

    if (status == LS_OK)
        status = evaluate(state, group, device, err);
    ls_device_close(device);
    return status;
}

static void fill(struct outcome *o)
{
    memset(o, 0, sizeof *o);
    for (int i = 0; i < SAMPLES * CHANNELS; i++)
        o->x[i] = (float)((i * 7919) % 1000) / 300.0f;
}

/* Sums and moments have the same bits on 1, 2, 4 and 8 replicas, and on more than there are shards. */
Test(by_hand, one_value)
{
    static struct outcome first, other;
    struct ls_error err = LS_ERROR_INIT;
    static const int worlds[] = {2, 4, 8, 11};

    fill(&first);
    cr_assert_eq(ls_mirrored_run(1, member, &first, &err), LS_OK, "%s", err.message);
    cr_assert_eq(first.moments[0], SAMPLES);
    for (size_t i = 0; i < sizeof worlds / sizeof *worlds; i++) {
        int64_t samples = 0;

        fill(&other);
        cr_assert_eq(ls_mirrored_run(worlds[i], member, &other, &err), LS_OK, "%s", err.message);
        cr_assert_eq(memcmp(&other.sum, &first.sum, sizeof first.sum), 0);
        cr_assert_eq(memcmp(other.moments, first.moments, sizeof first.moments), 0);
        for (int r = 0; r < worlds[i]; r++)
            samples += other.samples[r];
        cr_assert_eq(samples, SAMPLES);
    }
}

/* Replicas that would get several ranges are refused in one sentence. */
Test(by_hand, several_ranges)
{
    static struct outcome o;
    struct ls_error err = LS_ERROR_INIT;

    fill(&o);
    cr_assert_eq(ls_mirrored_run(3, member, &o, &err), LS_EUNSUPPORTED);
    cr_assert_neq(strstr(err.message, "3 replicas"), NULL, "%s", err.message);
}
