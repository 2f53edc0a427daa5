/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All-gather, all-to-all and broadcast as rounds of copies, two under way. Cost a rank, W ranks, N bytes given and M
 * taken: N + M bytes over the bus of the device beside what NCCL moves; an all-gather of equal parts and a broadcast
 * are NCCL's own (a ring's or a tree's volume), unequal parts and all-to-all are grouped sends and receives.
 */
#include "collective/provider/nccl/nccl_internal.h"

#include <string.h>

static int two_slots(const struct nccl *nccl, int64_t q)
{
    (void)nccl;
    return (int)(q & 1);
}

static int64_t behind_two(const struct nccl *nccl, int64_t q)
{
    (void)nccl;
    return q - 2;
}

/* Elements of a run of `length` that go in round q. */
static int64_t cut(const struct nccl *nccl, int64_t length, int64_t q)
{
    return lsi_cut(length, nccl->piece, q).length;
}

static void copy(void *dst, const void *src, size_t bytes)
{
    if (bytes > 0)
        memcpy(dst, src, bytes);
}

static void stage_all_gather(struct nccl *nccl, struct lsi_message *m, struct ls_request *request, int64_t q)
{
    const int64_t *counts = request->op.counts;
    struct nccl_slot *slot = &nccl->slots[q & 1];
    int rank = nccl->group->rank;
    int64_t bytes[LS_MAX_MEMBERS];

    (void)m;
    for (int r = 0; r < nccl->group->world; r++)
        bytes[r] = lsi_bytes_of(request, cut(nccl, counts[r], q));
    lsi_nccl_stage_gather(nccl, slot, bytes);
    copy(slot->host_out, (const uint8_t *)request->op.src + lsi_bytes_of(request, q * nccl->piece),
         (size_t)bytes[rank]);
}

static void consume_all_gather(struct nccl *nccl, struct lsi_message *m, struct ls_request *request, int64_t q)
{
    const int64_t *counts = request->op.counts;
    uint8_t *dst = request->op.dst;

    (void)m;
    for (int r = 0; r < nccl->group->world; r++) {
        uint8_t *at = dst + lsi_bytes_of(request, q * nccl->piece);
        size_t bytes = (size_t)lsi_bytes_of(request, cut(nccl, counts[r], q));
        if (r != nccl->group->rank)
            copy(at, lsi_nccl_gathered(&nccl->slots[q & 1], r), bytes);
        else
            copy(at, (const uint8_t *)request->op.src + lsi_bytes_of(request, q * nccl->piece), bytes);
        dst += lsi_bytes_of(request, counts[r]);
    }
}

static void stage_all_to_all(struct nccl *nccl, struct lsi_message *m, struct ls_request *request, int64_t q)
{
    struct nccl_slot *slot = &nccl->slots[q & 1];
    int rank = nccl->group->rank;

    (void)m;
    lsi_nccl_slot_clear(nccl, slot, ROUND_EXCHANGE);
    for (int r = 0; r < nccl->group->world; r++) {
        struct lsi_pair to = lsi_pair_of(request, rank, r), from = lsi_pair_of(request, r, rank);
        size_t out = (size_t)lsi_bytes_of(request, cut(nccl, to.length, q)),
               in = (size_t)lsi_bytes_of(request, cut(nccl, from.length, q));
        const uint8_t *src = (const uint8_t *)request->op.src + lsi_bytes_of(request, to.src + q * nccl->piece);
        if (r == rank) {
            copy((uint8_t *)request->op.dst + lsi_bytes_of(request, from.dst + q * nccl->piece), src, out);
            continue;
        }
        copy(lsi_nccl_slot_send(slot, r, out), src, out);
        (void)lsi_nccl_slot_receive(slot, r, in);
    }
}

static void consume_all_to_all(struct nccl *nccl, struct lsi_message *m, struct ls_request *request, int64_t q)
{
    int rank = nccl->group->rank;

    (void)m;
    for (int r = 0; r < nccl->group->world; r++) {
        struct lsi_pair from = lsi_pair_of(request, r, rank);
        if (r != rank)
            copy((uint8_t *)request->op.dst + lsi_bytes_of(request, from.dst + q * nccl->piece),
                 lsi_nccl_gathered(&nccl->slots[q & 1], r), (size_t)lsi_bytes_of(request, cut(nccl, from.length, q)));
    }
}

static void stage_broadcast(struct nccl *nccl, struct lsi_message *m, struct ls_request *request, int64_t q)
{
    struct nccl_slot *slot = &nccl->slots[q & 1];
    size_t bytes = (size_t)lsi_bytes_of(request, cut(nccl, request->op.count, q));
    bool is_root = request->op.root == nccl->group->rank;

    (void)m;
    lsi_nccl_slot_clear(nccl, slot, ROUND_BROADCAST);
    slot->root = request->op.root;
    slot->count = bytes;
    slot->out_bytes = is_root ? bytes : 0;
    slot->in_bytes = is_root ? 0 : bytes;
    if (is_root)
        copy(slot->host_out, (const uint8_t *)request->op.dst + lsi_bytes_of(request, q * nccl->piece), bytes);
}

static void consume_broadcast(struct nccl *nccl, struct lsi_message *m, struct ls_request *request, int64_t q)
{
    const struct nccl_slot *slot = &nccl->slots[q & 1];

    (void)m;
    copy((uint8_t *)request->op.dst + lsi_bytes_of(request, q * nccl->piece), slot->host_in, slot->in_bytes);
}

static const struct nccl_program all_gather = {two_slots, behind_two, stage_all_gather, consume_all_gather};
static const struct nccl_program all_to_all = {two_slots, behind_two, stage_all_to_all, consume_all_to_all};
static const struct nccl_program broadcast = {two_slots, behind_two, stage_broadcast, consume_broadcast};

void lsi_nccl_plan_copy(struct nccl *nccl, const struct ls_request *request)
{
    const struct ls_collective *op = &request->op;
    int world = nccl->group->world;
    int numbers = op->kind == LS_ALL_GATHER ? world : op->kind == LS_ALL_TO_ALL ? world * world : 0;
    int64_t longest = op->kind == LS_BROADCAST ? op->count : 0;

    for (int i = 0; i < numbers; i++)
        longest = op->counts[i] > longest ? op->counts[i] : longest;
    nccl->program = op->kind == LS_ALL_GATHER ? &all_gather : op->kind == LS_ALL_TO_ALL ? &all_to_all : &broadcast;
    nccl->piece = lsi_nccl_piece(request, op->kind == LS_BROADCAST ? 1 : world, longest);
    nccl->segments = longest > 0 ? (longest + nccl->piece - 1) / nccl->piece : 0;
    nccl->rounds = nccl->segments;
}
