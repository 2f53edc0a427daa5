/* SPDX-License-Identifier: Apache-2.0 */
/* The provider of a world of one: every operation is a local sum or copy. */
#include "collective/group_impl.h"

#include <string.h>

static enum ls_status self_create(const struct ls_group_options *options, struct ls_group *group, void **state,
                                  struct ls_error *err)
{
    if (options->world != 1)
        return ls_error_set(err, LS_EINVAL, "the transport 'self' is for one member, not %d", options->world);
    *state = group;
    return LS_OK;
}

static enum ls_status self_publish(void *state, struct ls_request *request, struct ls_error *err)
{
    (void)state;
    (void)request;
    (void)err;
    return LS_OK;
}

static enum ls_status self_progress(void *state, struct ls_request *request, struct ls_error *err)
{
    const struct ls_collective *op = &request->op;

    (void)state;
    (void)err;
    if (op->kind <= LS_REDUCE_SCATTER) {
        lsi_add_result(request, &request->tree->own[0], request->leaves, op->dst, op->count);
    } else if ((op->kind == LS_ALL_GATHER || op->kind == LS_ALL_TO_ALL) && op->counts[0] > 0) {
        memcpy(op->dst, op->src, (size_t)op->counts[0] * request->element_bytes);
    }
    return LS_OK;
}

static bool self_idle(void *state, int round)
{
    (void)state;
    (void)round;
    return false;
}

static void self_end(void *state)
{
    (void)state;
}

const struct ls_provider_ops lsi_self_provider = {
    .size = sizeof(struct ls_provider_ops),
    .abi = LSI_PROVIDER_ABI,
    .name = "self",
    .create = self_create,
    .publish = self_publish,
    .progress = self_progress,
    .idle = self_idle,
    .abort = self_end,
    .destroy = self_end,
};
