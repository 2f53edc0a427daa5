/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private memory: chunks go through a ring of slots in shared memory. For chunk c, a rank stages its values for the
 * other ranks (in), sums its own part from everybody's (sum), and takes the others' parts (out); the three run up to
 * eight chunks apart. A gather or broadcast has no sum. Chunk numbers rise over the life of the group.
 */
#include "collective/transport/shm/shm_internal.h"

#include <string.h>

static bool reduces(const struct ls_request *request)
{
    return request->op.kind <= LS_REDUCE_SCATTER;
}

static int64_t longest_pair(const struct ls_request *request)
{
    int numbers = request->group->world * request->group->world;
    int64_t longest = 0;

    for (int i = 0; i < numbers; i++)
        longest = request->op.counts[i] > longest ? request->op.counts[i] : longest;
    return longest;
}

enum ls_status lsi_shm_staged_begin(struct shm *shm, const struct ls_request *request, struct ls_error *err)
{
    int64_t per_slot = SHM_SLOT_BYTES / (int64_t)request->element_bytes;
    int64_t longest = request->op.kind == LS_ALL_TO_ALL ? longest_pair(request) : lsi_longest_part(request);

    if (request->op.kind == LS_ALL_TO_ALL)
        per_slot /= shm->group->world;
    if (reduces(request))
        per_slot /= (int64_t)shm->group->world * request->tree->max_partials;
    if (per_slot > 64)
        per_slot &= ~(int64_t)63;
    if (per_slot < 1)
        return ls_error_set(err, LS_EUNSUPPORTED, "%d partials a rank in a group of %d do not fit the staging memory",
                            request->tree != NULL ? request->tree->max_partials : 1, shm->group->world);
    shm->run.piece = per_slot;
    shm->run.chunks = (uint64_t)((longest + per_slot - 1) / per_slot);
    shm->run.in = shm->run.sum = shm->run.out = 0;
    shm->run.large = reduces(request) && (size_t)request->signature.count * request->element_bytes >= LSI_STREAM_BYTES;
    if (shm->run.large && shm->group->rank == 0)
        lsi_shm_tune_begin(shm);
    /* Peers may still be at the operation before. */
    shm->run.peers_in = shm->run.peers_sum = shm->run.peers_out = 0;
    return lsi_shm_reserve_staging(shm, err);
}

static uint8_t *staged_at(const struct shm *shm, const struct ls_request *request, int from, int owner, int partial,
                          uint64_t c)
{
    size_t index = 0;

    if (reduces(request))
        index = (size_t)owner * (size_t)request->tree->max_partials + (size_t)partial;
    if (request->op.kind == LS_ALL_TO_ALL)
        index = (size_t)owner;

    return shm_slot(shm, from, shm->chunk_base + c, false) + index * (size_t)shm->run.piece * request->element_bytes;
}

static void moved(struct shm *shm, size_t bytes)
{
    atomic_fetch_add_explicit(&shm->group->bytes_moved, bytes, memory_order_relaxed);
}

static bool past_caches(const struct shm *shm)
{
    return shm->run.large && atomic_load_explicit(&shm->control->past_caches, memory_order_relaxed) != 0;
}

/* Own partial i of a piece into out. leaves are bound at the piece's begin. */
static void add_own(struct shm *shm, const struct ls_request *request, int i, const struct lsi_piece *piece, void *out)
{
    const struct lsi_tree *tree = request->tree;
    int own = tree->first_leaf[shm->group->rank + 1] - tree->first_leaf[shm->group->rank];

    for (int k = 0; k < own; k++)
        shm->inputs[k] = (const uint8_t *)request->leaves[k] + (size_t)piece->begin * request->element_bytes;
    struct lsi_reduce reduce = {
        .combine = lsi_combine_get(request->op.dtype, request->op.reduction),
        .element_bytes = request->element_bytes,
        .steps = &tree->own[i],
        .inputs = shm->inputs,
        .outs = &out,
        .out_count = 1,
        .stream = past_caches(shm),
        .spread = lsi_spread_get(request->op.dtype, request->op.reduction),
    };
    lsi_reduce_run(&reduce, piece->length);
    moved(shm, (size_t)piece->length * request->element_bytes);
}

/* Into the caller's memory: past the cache where the whole is large. */
static void deliver(const struct ls_request *request, int64_t at, const void *from, int64_t length)
{
    uint8_t *to = (uint8_t *)request->op.dst + (size_t)at * request->element_bytes;
    size_t bytes = (size_t)length * request->element_bytes;

    if (bytes == 0)
        return;
    if ((size_t)request->signature.count * request->element_bytes >= LSI_STREAM_BYTES)
        lsi_copy_stream(to, from, bytes);
    else
        memcpy(to, from, bytes);
}

/* Piece c of what one rank gives another in an all-to-all. */
static struct lsi_pair pair_piece(const struct shm *shm, const struct ls_request *request, int from, int to, uint64_t c)
{
    struct lsi_pair pair = lsi_pair_of(request, from, to);
    int64_t skip = (int64_t)c * shm->run.piece < pair.length ? (int64_t)c * shm->run.piece : pair.length;

    pair.src += skip;
    pair.dst += skip;
    pair.length = pair.length - skip < shm->run.piece ? pair.length - skip : shm->run.piece;
    return pair;
}

static void give_pairs(struct shm *shm, const struct ls_request *request, uint64_t c)
{
    size_t size = request->element_bytes;
    int rank = shm->group->rank;

    for (int to = 0; to < shm->group->world; to++) {
        struct lsi_pair pair = pair_piece(shm, request, rank, to, c);
        uint8_t *out =
            to == rank ? (uint8_t *)request->op.dst + (size_t)pair.dst * size : staged_at(shm, request, rank, to, 0, c);
        if (pair.length > 0)
            memcpy(out, (const uint8_t *)request->op.src + (size_t)pair.src * size, (size_t)pair.length * size);
        moved(shm, (size_t)pair.length * size);
    }
}

static void take_pairs(struct shm *shm, const struct ls_request *request, uint64_t c)
{
    int rank = shm->group->rank;

    for (int from = 0; from < shm->group->world; from++) {
        struct lsi_pair pair = pair_piece(shm, request, from, rank, c);
        if (from != rank)
            deliver(request, pair.dst, staged_at(shm, request, from, rank, 0, c), pair.length);
    }
}

static void stage_in(struct shm *shm, const struct ls_request *request, uint64_t c)
{
    const struct ls_collective *op = &request->op;
    int rank = shm->group->rank;

    if (reduces(request)) {
        for (int owner = 0; owner < shm->group->world; owner++) {
            struct lsi_piece piece = lsi_piece_of(request, shm->run.piece, owner, (int64_t)c);
            for (int i = 0; i < request->tree->own_count && piece.length > 0; i++)
                if (owner != rank || request->tree->own[i].count > 0)
                    add_own(shm, request, i, &piece, staged_at(shm, request, rank, owner, i, c));
        }
        return;
    }
    if (op->kind == LS_ALL_TO_ALL) {
        give_pairs(shm, request, c);
        return;
    }
    struct lsi_piece piece = lsi_piece_of(request, shm->run.piece, rank, (int64_t)c);
    if (piece.length == 0)
        return;
    size_t bytes = (size_t)piece.length * request->element_bytes;
    uint8_t *dst = (uint8_t *)op->dst + (size_t)piece.begin * request->element_bytes;
    if (op->kind == LS_ALL_GATHER)
        memcpy(dst, (const uint8_t *)op->src + (size_t)piece.inside * request->element_bytes, bytes);
    memcpy(staged_at(shm, request, rank, rank, 0, c), dst, bytes);
    moved(shm, bytes);
}

static void stage_sum(struct shm *shm, const struct ls_request *request, uint64_t c)
{
    const struct lsi_tree *tree = request->tree;
    int rank = shm->group->rank;
    struct lsi_piece piece = lsi_piece_of(request, shm->run.piece, rank, (int64_t)c);
    int64_t at = request->op.kind == LS_REDUCE_SCATTER ? piece.inside : piece.begin;
    void *outs[] = {shm_slot(shm, rank, shm->chunk_base + c, true),
                    (uint8_t *)request->op.dst + (size_t)at * request->element_bytes};
    /* Nobody takes a slice of a reduce-scatter out of the slot. */
    int skip = request->op.kind == LS_REDUCE_SCATTER ? 1 : 0;

    if (piece.length == 0)
        return;
    for (int i = 0; i < tree->partial_count; i++) {
        int r = tree->partial_rank[i];
        int index = tree->partial_index[i];
        /* An own partial of one leaf needs no staging. */
        if (r == rank && tree->own[index].count == 0)
            shm->inputs[i] =
                (const uint8_t *)request->leaves[tree->own[index].only] + (size_t)piece.begin * request->element_bytes;
        else
            shm->inputs[i] = staged_at(shm, request, r, rank, index, c);
    }
    struct lsi_reduce reduce = {
        .combine = lsi_combine_get(request->op.dtype, request->op.reduction),
        .element_bytes = request->element_bytes,
        .steps = &tree->top,
        .inputs = shm->inputs,
        .outs = outs + skip,
        .out_count = 2 - skip,
        .stream = shm->run.large,
        .cached = past_caches(shm) || skip > 0 ? 0 : 1,
        .spread = lsi_spread_get(request->op.dtype, request->op.reduction),
        .divisor = request->divisor,
        .dtype = request->op.dtype,
    };
    lsi_reduce_run(&reduce, piece.length);
    if (shm->run.large && rank == 0)
        lsi_shm_tune_chunk(shm);
    moved(shm, (size_t)piece.length * request->element_bytes);
}

static void stage_out(struct shm *shm, const struct ls_request *request, uint64_t c)
{
    bool summed = reduces(request);

    if (request->op.kind == LS_REDUCE_SCATTER)
        return;
    if (request->op.kind == LS_ALL_TO_ALL) {
        take_pairs(shm, request, c);
        return;
    }
    for (int owner = 0; owner < shm->group->world; owner++) {
        if (owner == shm->group->rank)
            continue;
        struct lsi_piece piece = lsi_piece_of(request, shm->run.piece, owner, (int64_t)c);
        size_t bytes = (size_t)piece.length * request->element_bytes;
        if (bytes == 0)
            continue;
        deliver(request, piece.begin, shm_slot(shm, owner, shm->chunk_base + c, summed), piece.length);
        moved(shm, bytes);
    }
}

/* All peers' flag (at `offset` of the flags) is at least `wanted`; *known is the slowest as last seen. */
static bool peers_reached(struct shm *shm, size_t offset, uint64_t wanted, uint64_t *known, const char *why)
{
    uint64_t slowest = UINT64_MAX;

    if (*known >= wanted)
        return true;
    for (int r = 0; r < shm->group->world; r++) {
        if (r == shm->group->rank)
            continue;
        _Atomic uint64_t *flag = (_Atomic uint64_t *)(void *)((uint8_t *)&shm_lane(shm, r)->flags + offset);
        uint64_t value = atomic_load_explicit(flag, memory_order_acquire);
        if (value < wanted) {
            shm->group->waits_for = r;
            shm->group->waits_why = why;
        }
        slowest = value < slowest ? value : slowest;
    }
    *known = slowest;
    return slowest >= wanted;
}

#define FLAG(name) offsetof(struct shm_lane, flags.name) - offsetof(struct shm_lane, flags)

static void run_stage(struct shm *shm, const struct ls_request *request, enum shm_stage stage, uint64_t c)
{
    uint64_t began_ns = lsi_shm_tune_start(shm, c);

    if (stage == SHM_OUT)
        stage_out(shm, request, c);
    else if (stage == SHM_IN)
        stage_in(shm, request, c);
    else if (reduces(request))
        stage_sum(shm, request, c);
    if (began_ns != 0)
        lsi_shm_tune_stop(shm, stage, began_ns);
}

/* One stage of one chunk where one is ready, the latest stage first. */
static bool step(struct shm *shm, struct ls_request *request)
{
    struct shm_running *run = &shm->run;
    struct shm_lane *own = shm_lane(shm, shm->group->rank);
    uint64_t base = shm->chunk_base;

    if (run->out < run->sum &&
        peers_reached(shm, FLAG(sum), base + run->out + 1, &run->peers_sum, "has not summed its part")) {
        run_stage(shm, request, SHM_OUT, run->out++);
        atomic_store_explicit(&own->flags.out, base + run->out, memory_order_release);
        return true;
    }
    if (run->sum < run->in && (!reduces(request) || peers_reached(shm, FLAG(in), base + run->sum + 1, &run->peers_in,
                                                                  "has not given its values"))) {
        run_stage(shm, request, SHM_SUM, run->sum++);
        atomic_store_explicit(&own->flags.sum, base + run->sum, memory_order_release);
        return true;
    }
    /* A slot is free when everybody is through with what was in it eight chunks ago. */
    if (run->in < run->chunks && run->in - run->out < SHM_SLOTS &&
        (base + run->in < SHM_SLOTS ||
         peers_reached(shm, FLAG(out), base + run->in + 1 - SHM_SLOTS, &run->peers_out, "has not taken the values"))) {
        run_stage(shm, request, SHM_IN, run->in++);
        atomic_store_explicit(&own->flags.in, base + run->in, memory_order_release);
        return true;
    }
    return false;
}

enum ls_status lsi_shm_staged(struct shm *shm, struct ls_request *request)
{
    if (shm->run.out < shm->run.chunks && step(shm, request)) {
        shm->group->ticks++;
        lsi_shm_notify(shm);
    }
    if (shm->run.out < shm->run.chunks)
        return LS_EAGAIN;
    shm->chunk_base += shm->run.chunks;
    return LS_OK;
}
