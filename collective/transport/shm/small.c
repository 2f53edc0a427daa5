/* SPDX-License-Identifier: Apache-2.0 */
/* One phase for at most 4 KiB a rank: everybody reads everybody's post and works out the result alone. */
#include "collective/transport/shm/shm_internal.h"

#include <string.h>

static void gather(const struct shm *shm, const struct ls_request *request)
{
    const struct ls_collective *op = &request->op;
    uint8_t *dst = op->dst;

    for (int r = 0; r < shm->group->world; r++) {
        size_t bytes = (size_t)op->counts[r] * request->element_bytes;
        if (bytes > 0)
            memcpy(dst, shm_post(shm, r, request->sequence)->payload, bytes);
        dst += bytes;
    }
}

static void reduce(const struct shm *shm, const struct ls_request *request)
{
    const struct ls_collective *op = &request->op;
    const struct lsi_tree *tree = request->tree;
    int64_t begin = 0;
    int64_t length = op->count;

    if (op->kind == LS_REDUCE_SCATTER)
        shm_part(request, shm->group->rank, &begin, &length);
    for (int i = 0; i < tree->partial_count; i++)
        shm->inputs[i] = (const uint8_t *)shm_post(shm, tree->partial_rank[i], request->sequence)->payload +
                         (size_t)(tree->partial_index[i] * op->count + begin) * request->element_bytes;
    struct lsi_reduce sum = {
        .combine = lsi_combine_get(op->dtype, op->reduction),
        .element_bytes = request->element_bytes,
        .steps = &tree->top,
        .inputs = shm->inputs,
        .outs = &op->dst,
        .out_count = 1,
    };
    lsi_reduce_run(&sum, length);
}

enum ls_status shm_small(struct shm *shm, struct ls_request *request)
{
    const struct ls_collective *op = &request->op;

    if (op->kind <= LS_REDUCE_SCATTER)
        reduce(shm, request);
    else if (op->kind == LS_ALL_GATHER)
        gather(shm, request);
    else if (op->kind == LS_BROADCAST && op->root != shm->group->rank && op->count > 0)
        memcpy(op->dst, shm_post(shm, op->root, request->sequence)->payload,
               (size_t)op->count * request->element_bytes);
    atomic_fetch_add_explicit(&shm->group->bytes_moved,
                              (uint64_t)request->signature.count * (uint64_t)request->element_bytes,
                              memory_order_relaxed);
    return LS_OK;
}
