/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reductions. Canonical: round V of a segment brings every owner all partials of its part, the host adds them along the
 * tree with the kernels of every other provider (so the bits are theirs), round G gathers the sums; in the order V0 V1
 * G0 V2 G1 ..., so that the sums of one segment overlap the next one's round. Cost, P partials, N bytes, W ranks:
 * N ((P - own) / W + (W - 1) / W) bytes through NCCL and twice that over the bus. Native, where any order will do:
 * NCCL's own all-reduce.
 */
#include "collective/provider/nccl/nccl_internal.h"

#include <string.h>

/* Own partial of a piece into room. */
static void write_partial(struct lsi_message *m, const struct ls_request *request, int own,
                          const struct lsi_piece *piece, uint8_t *room)
{
    int leaves = request->tree->first_leaf[m->group->rank + 1] - request->tree->first_leaf[m->group->rank];

    for (int i = 0; i < leaves; i++)
        m->inputs[i] = (const uint8_t *)request->leaves[i] + lsi_bytes_of(request, piece->begin);
    lsi_add_partial(request, &request->tree->own[own], m->inputs, room, piece->length);
}

/* Partials of rank r stand one after another, each piece->length long. */
static void stage_values(struct nccl *nccl, struct lsi_message *m, struct ls_request *request, int64_t s)
{
    const struct lsi_tree *tree = request->tree;
    struct nccl_slot *slot = &nccl->slots[s & 1];
    int rank = nccl->group->rank;
    struct lsi_piece own = lsi_piece_of(request, nccl->piece, rank, s);

    lsi_nccl_slot_clear(nccl, slot, ROUND_EXCHANGE);
    for (int r = 0; r < tree->world; r++) {
        struct lsi_piece piece = lsi_piece_of(request, nccl->piece, r, s);
        size_t bytes = (size_t)lsi_bytes_of(request, piece.length);
        uint8_t *out;
        if (r == rank)
            continue;
        out = lsi_nccl_slot_send(slot, r, bytes * (size_t)tree->own_count);
        for (int i = 0; i < tree->own_count && piece.length > 0; i++)
            write_partial(m, request, i, &piece, out + (size_t)i * bytes);
        (void)lsi_nccl_slot_receive(slot, r, (size_t)(lsi_bytes_of(request, own.length) * tree->partials_of[r]));
    }
}

/* The own part of segment s, from what has come and the own partials, into its place in the result and into also. */
static void add_part(struct nccl *nccl, struct lsi_message *m, struct ls_request *request, int64_t s, void *also)
{
    const struct lsi_tree *tree = request->tree;
    const struct nccl_slot *slot = &nccl->slots[s & 1];
    bool scatter = request->op.kind == LS_REDUCE_SCATTER;
    int rank = nccl->group->rank;
    struct lsi_piece own = lsi_piece_of(request, nccl->piece, rank, s);
    const void *top[LSI_MAX_LEAVES];
    void *outs[2] = {(uint8_t *)request->op.dst + lsi_bytes_of(request, scatter ? own.inside : own.begin), also};
    /* The stage of what was sent is free again: the own partials are made there. */
    uint8_t *room = slot->host_out;

    if (own.length == 0)
        return;
    for (int i = 0; i < tree->partial_count; i++) {
        int r = tree->partial_rank[i], index = tree->partial_index[i];
        if (r != rank) {
            top[i] = lsi_nccl_gathered(slot, r) + lsi_bytes_of(request, own.length) * index;
            continue;
        }
        write_partial(m, request, index, &own, room);
        top[i] = room;
        room += lsi_bytes_of(request, own.length);
    }
    struct lsi_reduce reduce = {
        .combine = lsi_combine_get(request->op.dtype, request->op.reduction),
        .element_bytes = request->element_bytes,
        .steps = &tree->top,
        .inputs = top,
        .outs = outs,
        .out_count = also != NULL ? 2 : 1,
        .divisor = request->divisor,
        .dtype = request->op.dtype,
    };
    lsi_reduce_run(&reduce, own.length);
}

static int scatter_slot(const struct nccl *nccl, int64_t q)
{
    (void)nccl;
    return (int)(q & 1);
}

static int64_t scatter_gate(const struct nccl *nccl, int64_t q)
{
    (void)nccl;
    return q - 2;
}

static void scatter_consume(struct nccl *nccl, struct lsi_message *m, struct ls_request *request, int64_t q)
{
    add_part(nccl, m, request, q, NULL);
}

/* Round q of V0 V1 G0 V2 G1 ... V(n-1) G(n-2) G(n-1): its segment, and whether it gathers. */
static int64_t segment_of(const struct nccl *nccl, int64_t q, bool *gathers)
{
    *gathers = q > 0 && (q == nccl->rounds - 1 || (q & 1) == 0);
    if (!*gathers)
        return (q + 1) / 2;
    return q == nccl->rounds - 1 ? nccl->segments - 1 : q / 2 - 1;
}

static int canonical_slot(const struct nccl *nccl, int64_t q)
{
    bool gathers;
    int64_t s = segment_of(nccl, q, &gathers);

    return (int)(s & 1) + (gathers ? 2 : 0);
}

/* G needs the values of its segment, and its slot the gather before the last. V uses a slot whose values were added
 * when an earlier gather was staged. */
static int64_t canonical_gate(const struct nccl *nccl, int64_t q)
{
    bool gathers;
    int64_t s = segment_of(nccl, q, &gathers);

    if (!gathers)
        return -1;
    return s == 0 ? 0 : 2 * s - 1;
}

static void canonical_stage(struct nccl *nccl, struct lsi_message *m, struct ls_request *request, int64_t q)
{
    bool gathers;
    int64_t s = segment_of(nccl, q, &gathers);
    struct nccl_slot *slot = &nccl->slots[canonical_slot(nccl, q)];
    int64_t bytes[LS_MAX_MEMBERS];

    if (!gathers) {
        stage_values(nccl, m, request, s);
        return;
    }
    for (int r = 0; r < nccl->group->world; r++)
        bytes[r] = lsi_bytes_of(request, lsi_piece_of(request, nccl->piece, r, s).length);
    lsi_nccl_stage_gather(nccl, slot, bytes);
    add_part(nccl, m, request, s, slot->host_out);
}

static void canonical_consume(struct nccl *nccl, struct lsi_message *m, struct ls_request *request, int64_t q)
{
    bool gathers;
    int64_t s = segment_of(nccl, q, &gathers);
    const struct nccl_slot *slot = &nccl->slots[canonical_slot(nccl, q)];

    (void)m;
    for (int r = 0; r < nccl->group->world && gathers; r++) {
        struct lsi_piece piece = lsi_piece_of(request, nccl->piece, r, s);
        if (r != nccl->group->rank && piece.length > 0)
            memcpy((uint8_t *)request->op.dst + lsi_bytes_of(request, piece.begin), lsi_nccl_gathered(slot, r),
                   (size_t)lsi_bytes_of(request, piece.length));
    }
}

static int dtype_of(enum ls_dtype dtype)
{
    switch ((int)dtype) {
    case LS_F64:
        return NCCL_FLOAT64;
    case LS_BF16:
        return NCCL_BFLOAT16;
    case LS_F16:
        return NCCL_FLOAT16;
    case LS_I32:
        return NCCL_INT32;
    case LS_I64:
        return NCCL_INT64;
    default:
        return NCCL_FLOAT32;
    }
}

static int op_of(enum ls_reduction reduction)
{
    return reduction == LS_MIN       ? NCCL_MIN
           : reduction == LS_MAX     ? NCCL_MAX
           : reduction == LS_PRODUCT ? NCCL_PRODUCT
                                     : NCCL_SUM;
}

/* Every rank has one partial, and NCCL's operation is ours: its minimum and maximum pass over NaN. */
static bool fits_native(const struct ls_request *request)
{
    bool whole = request->op.dtype == LS_I32 || request->op.dtype == LS_I64;

    for (int r = 0; r < request->tree->world; r++)
        if (request->tree->partials_of[r] != 1)
            return false;
    return whole || (request->op.reduction != LS_MIN && request->op.reduction != LS_MAX);
}

static void native_stage(struct nccl *nccl, struct lsi_message *m, struct ls_request *request, int64_t q)
{
    struct lsi_piece piece = lsi_cut(request->op.count, nccl->piece, q);
    struct nccl_slot *slot = &nccl->slots[q & 1];

    lsi_nccl_slot_clear(nccl, slot, ROUND_REDUCE);
    slot->out_bytes = slot->in_bytes = (size_t)lsi_bytes_of(request, piece.length);
    slot->count = (size_t)piece.length;
    slot->dtype = dtype_of(request->op.dtype);
    slot->op = op_of(request->op.reduction);
    write_partial(m, request, 0, &piece, slot->host_out);
}

/* Copied, or divided where it is a mean. */
static void native_consume(struct nccl *nccl, struct lsi_message *m, struct ls_request *request, int64_t q)
{
    static const struct lsi_steps only = {.count = 0, .only = 0};
    struct lsi_piece piece = lsi_cut(request->op.count, nccl->piece, q);
    const void *in = nccl->slots[q & 1].host_in;
    void *out = (uint8_t *)request->op.dst + lsi_bytes_of(request, piece.begin);

    (void)m;
    lsi_add_result(request, &only, &in, out, piece.length);
}

static const struct nccl_program scatter = {scatter_slot, scatter_gate, stage_values, scatter_consume};
static const struct nccl_program canonical = {canonical_slot, canonical_gate, canonical_stage, canonical_consume};
static const struct nccl_program native = {scatter_slot, scatter_gate, native_stage, native_consume};

void lsi_nccl_plan_reduce(struct nccl *nccl, const struct ls_request *request)
{
    const struct lsi_tree *tree = request->tree;
    bool is_native = request->way == LSI_NATIVE && fits_native(request);
    int64_t parts = (int64_t)tree->world * tree->max_partials;
    int64_t longest = is_native ? request->op.count : lsi_longest_part(request);

    nccl->program = is_native ? &native : request->op.kind == LS_REDUCE_SCATTER ? &scatter : &canonical;
    nccl->piece = lsi_nccl_piece(request, is_native ? 1 : parts, longest);
    nccl->segments = longest > 0 ? (longest + nccl->piece - 1) / nccl->piece : 0;
    nccl->rounds = nccl->program == &canonical ? 2 * nccl->segments : nccl->segments;
}
