/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registered memory: each rank sums its slice straight from everybody's leaves, in tree order, into everybody's result
 * (all-reduce) or its own (reduce-scatter); gathers and broadcasts copy straight from the source. Two flags a rank and
 * no staging: N read and N written per rank for two ranks.
 */
#include "collective/transport/shm/shm_internal.h"

#include <string.h>

bool lsi_shm_direct_fits(const struct shm *shm, const struct ls_request *request)
{
    int kind = request->op.kind;
    uint32_t needed = kind <= LS_ALL_REDUCE ? SHM_SRC_SHARED | SHM_DST_SHARED : SHM_SRC_SHARED;

    if (kind == LS_BROADCAST)
        return shm_post(shm, request->op.root, request->sequence)->flags & SHM_DST_SHARED;
    for (int r = 0; r < shm->group->world; r++)
        if ((shm_post(shm, r, request->sequence)->flags & needed) != needed)
            return false;
    return true;
}

/* Inputs at element `at` of the whole result; false where a peer's offset is not in a region. */
static bool bind_leaves(struct shm *shm, const struct ls_request *request, int64_t at)
{
    const struct lsi_tree *tree = request->tree;
    size_t bytes = (size_t)request->op.count * request->element_bytes;

    for (int i = 0; i < tree->leaf_count; i++) {
        int r = tree->leaf_rank[i];
        const uint8_t *leaf =
            r == shm->group->rank
                ? request->leaves[tree->leaf_index[i]]
                : lsi_shm_at(shm, shm_post(shm, r, request->sequence)->payload[tree->leaf_index[i]], bytes);
        if (leaf == NULL)
            return false;
        shm->inputs[i] = leaf + (size_t)at * request->element_bytes;
    }
    return true;
}

static bool bind_results(struct shm *shm, const struct ls_request *request, int64_t at, int *count)
{
    size_t bytes = (size_t)request->op.count * request->element_bytes;

    shm->outs[0] = (uint8_t *)request->op.dst + (size_t)at * request->element_bytes;
    *count = 1;
    if (request->op.kind == LS_REDUCE_SCATTER)
        return true;
    for (int r = 0; r < shm->group->world; r++) {
        if (r == shm->group->rank)
            continue;
        uint8_t *dst = lsi_shm_at(shm, shm_post(shm, r, request->sequence)->dst, bytes);
        if (dst == NULL)
            return false;
        shm->outs[(*count)++] = dst + (size_t)at * request->element_bytes;
    }
    return true;
}

/* Next piece of the own slice. LS_EAGAIN: there is more. */
static enum ls_status sum_piece(struct shm *shm, const struct ls_request *request, struct ls_error *err)
{
    const struct ls_collective *op = &request->op;
    int64_t most = SHM_PIECE_BYTES / (int64_t)request->element_bytes;
    int64_t begin;
    int64_t length;
    int outs;

    lsi_part(request, shm->group->rank, &begin, &length);
    int64_t left = length - shm->run.cursor;
    int64_t count = left < most ? left : most;
    int64_t to = op->kind == LS_REDUCE_SCATTER ? shm->run.cursor : begin + shm->run.cursor;
    if (!bind_leaves(shm, request, begin + shm->run.cursor) || !bind_results(shm, request, to, &outs))
        return ls_error_set(err, LS_EPEER, "a member of the group gave an offset outside its shared memory");
    struct lsi_reduce sum = {
        .combine = lsi_combine_get(op->dtype, op->reduction),
        .spread = lsi_spread_get(op->dtype, op->reduction),
        .element_bytes = request->element_bytes,
        .steps = &request->tree->all,
        .inputs = shm->inputs,
        .outs = shm->outs,
        .out_count = outs,
        .stream = (size_t)op->count * request->element_bytes >= LSI_STREAM_BYTES,
        .divisor = request->divisor,
        .dtype = op->dtype,
    };
    lsi_reduce_run(&sum, count);
    shm->run.cursor += count;
    atomic_fetch_add_explicit(&shm->group->bytes_moved,
                              (uint64_t)count * request->element_bytes * (uint64_t)(request->tree->leaf_count + outs),
                              memory_order_relaxed);
    return shm->run.cursor < length ? LS_EAGAIN : LS_OK;
}

/* Copies from one rank a call: cursor is the rank. */
static enum ls_status copy_from(struct shm *shm, const struct ls_request *request, struct ls_error *err)
{
    const struct ls_collective *op = &request->op;
    int r = (int)shm->run.cursor;
    const struct shm_post *post = shm_post(shm, r, request->sequence);
    int64_t begin;
    int64_t length;

    uint64_t offset = op->kind == LS_BROADCAST ? post->dst : post->payload[0];
    bool own = r == shm->group->rank;
    size_t skip = 0;
    if (op->kind == LS_ALL_TO_ALL) {
        struct lsi_pair pair = lsi_pair_of(request, r, shm->group->rank);
        begin = pair.dst;
        length = pair.length;
        skip = (size_t)pair.src * request->element_bytes;
    } else {
        lsi_part(request, r, &begin, &length);
    }
    size_t bytes = (size_t)length * request->element_bytes;
    if (bytes > 0 && !(own && op->kind == LS_BROADCAST)) {
        const void *from = own ? (const uint8_t *)op->src + skip : lsi_shm_at(shm, offset + skip, bytes);
        if (from == NULL)
            return ls_error_set(err, LS_EPEER, "rank %d gave an offset outside its shared memory", r);
        memcpy((uint8_t *)op->dst + (size_t)begin * request->element_bytes, from, bytes);
        atomic_fetch_add_explicit(&shm->group->bytes_moved, bytes, memory_order_relaxed);
    }
    return ++shm->run.cursor < shm->group->world ? LS_EAGAIN : LS_OK;
}

enum ls_status lsi_shm_direct(struct shm *shm, struct ls_request *request, struct ls_error *err)
{
    if (request->op.kind <= LS_REDUCE_SCATTER)
        return sum_piece(shm, request, err);
    return copy_from(shm, request, err);
}
