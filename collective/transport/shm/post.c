/* SPDX-License-Identifier: Apache-2.0 */
/* What a member publishes when it starts an operation: the signature and, inline, its values or where they lie. */
#include "collective/transport/shm/shm_internal.h"

/* Where the values of a large operation lie, as far as peers can reach them. */
static void write_places(const struct shm *shm, struct shm_post *post, const struct ls_request *request)
{
    const struct ls_collective *op = &request->op;
    int rank = shm->group->rank;
    size_t bytes = (size_t)(request->signature.count) * request->element_bytes;
    bool shared = true;

    if (lsi_shm_offset_of(shm, op->dst, bytes, &post->dst))
        post->flags |= SHM_DST_SHARED;
    if (op->kind == LS_ALL_GATHER)
        shared = lsi_shm_offset_of(shm, op->src, (size_t)op->counts[rank] * request->element_bytes, &post->payload[0]);
    if (op->kind == LS_ALL_TO_ALL)
        shared =
            lsi_shm_offset_of(shm, op->src, (size_t)lsi_row(request, rank) * request->element_bytes, &post->payload[0]);
    if (request->tree != NULL) {
        int own = request->tree->first_leaf[rank + 1] - request->tree->first_leaf[rank];
        for (int i = 0; i < own && shared; i++)
            shared = lsi_shm_offset_of(shm, request->leaves[i], bytes, &post->payload[i]);
    }
    if (shared)
        post->flags |= SHM_SRC_SHARED;
}

/* The post may be used again when all ranks have finished the operation that was in it. */
static bool room(struct shm *shm, uint64_t sequence)
{
    uint64_t all = UINT64_MAX;

    if (sequence <= SHM_POSTS || shm->all_done >= sequence - SHM_POSTS)
        return true;
    for (int r = 0; r < shm->group->world; r++) {
        uint64_t done = atomic_load_explicit(&shm_lane(shm, r)->flags.done, memory_order_acquire);
        if (done < sequence - SHM_POSTS) {
            shm->group->waits_for = r;
            shm->group->waits_why = "has not finished an earlier operation";
        }
        all = done < all ? done : all;
    }
    shm->all_done = all;
    return all >= sequence - SHM_POSTS;
}

enum ls_status lsi_shm_publish(void *state, struct ls_request *request, struct ls_error *err)
{
    struct shm *shm = state;
    struct shm_post *post = shm_post(shm, shm->group->rank, request->sequence);

    (void)err;
    if (!room(shm, request->sequence))
        return LS_EAGAIN;
    post->signature = request->signature;
    post->flags = 0;
    post->dst = 0;
    if (request->way == LSI_ONE_SHOT)
        lsi_small_write(request, shm_tiny(request) ? &post->dst : post->payload);
    else
        write_places(shm, post, request);
    atomic_store_explicit(&post->sequence, request->sequence, memory_order_release);
    lsi_shm_notify(shm);
    return LS_OK;
}
