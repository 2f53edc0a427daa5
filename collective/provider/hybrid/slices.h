/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the elements of a reduction over hosts are (reduce.c: inside a host, between.c: between hosts): segments of the
 * result, slices of a segment that the lanes carry, pieces of a slice that the hosts own, and their rooms in the
 * staging memory. Elements count from the beginning of the whole result, unless said otherwise.
 */
#ifndef LOCKSTEP_COLLECTIVE_PROVIDER_HYBRID_SLICES_H
#define LOCKSTEP_COLLECTIVE_PROVIDER_HYBRID_SLICES_H

#include "collective/provider/hybrid/hybrid.h"

static inline bool hybrid_scatters(const struct ls_request *request)
{
    return request->op.kind == LS_REDUCE_SCATTER;
}

/* Bytes of elements between hosts. */
static inline int64_t hybrid_travelling(const struct hybrid *h, const struct ls_request *request, int64_t elements)
{
    return h->run.wire != NULL ? elements * (int64_t)sizeof(uint16_t) : lsi_bytes_of(request, elements);
}

/* What all lanes carry at a time. */
static inline struct hybrid_span hybrid_segment(const struct hybrid *h, const struct ls_request *request, int64_t s)
{
    struct lsi_piece piece = lsi_cut(request->op.count, h->run.piece * h->lanes, s);

    return (struct hybrid_span){piece.begin, piece.length};
}

/* The part of segment s that a lane carries. */
static inline struct hybrid_span hybrid_slice(const struct hybrid *h, const struct ls_request *request, int64_t s,
                                              int lane)
{
    struct hybrid_span segment = hybrid_segment(h, request, s), slice;

    lsi_slice(segment.length, h->lanes, lane, &slice.begin, &slice.length);
    slice.begin += segment.begin;
    return slice;
}

static inline struct hybrid_span hybrid_overlap(struct hybrid_span a, int64_t begin, int64_t end)
{
    int64_t from = a.begin > begin ? a.begin : begin;
    int64_t to = a.begin + a.length < end ? a.begin + a.length : end;

    return (struct hybrid_span){from, to > from ? to - from : 0};
}

/* A slice is made of pieces, each owned by a host: one a host, or the parts of the ranks. */
static inline int hybrid_pieces(const struct lsi_message *m, const struct ls_request *request)
{
    return hybrid_scatters(request) ? m->group->world : hybrid_of(m)->hosts;
}

/* Piece i of a slice; gives the host that owns it. */
static inline int hybrid_piece(const struct hybrid *h, const struct ls_request *request, struct hybrid_span slice,
                               int i, struct hybrid_span *piece)
{
    if (hybrid_scatters(request)) {
        *piece = hybrid_overlap(slice, h->part_begin[i], h->part_begin[i + 1]);
        return h->host_of[i];
    }
    lsi_slice(slice.length, h->hosts, i, &piece->begin, &piece->length);
    piece->begin += slice.begin;
    return i;
}

/* Staging: [segment % 2][own partial] of the own slice, then [segment % 2][partial] of the pieces that are ours. */
static inline uint8_t *hybrid_own_place(const struct lsi_message *m, const struct ls_request *request, int64_t s,
                                        int own)
{
    const struct hybrid_running *run = &hybrid_of(m)->run;

    return m->staging + ((s & 1) * run->plan->hosts->own_count + own) * lsi_bytes_of(request, run->piece);
}

/* at: elements of our pieces of the slice before the one meant. */
static inline uint8_t *hybrid_place(const struct lsi_message *m, const struct ls_request *request, int64_t s,
                                    int partial, int64_t at)
{
    const struct hybrid_running *run = &hybrid_of(m)->run;
    const struct lsi_tree *tree = run->plan->hosts;
    int64_t index = 2 * tree->own_count + (s & 1) * tree->partial_count + partial;

    return m->staging + index * lsi_bytes_of(request, run->piece) + lsi_bytes_of(request, at);
}

/* Rooms of bf16, [segment % 2]: one for each own partial, one for each partial of the pieces that are ours, one for
 * sums. */
enum hybrid_room { HYBRID_OUT, HYBRID_IN, HYBRID_SUMS };

static inline int hybrid_wire_rooms(const struct lsi_tree *tree)
{
    return tree->max_partials + tree->partial_count + 1;
}

static inline uint16_t *hybrid_wire(const struct hybrid *h, enum hybrid_room room, int64_t s, int partial)
{
    const struct lsi_tree *tree = h->run.plan->hosts;
    int64_t index = (s & 1) * hybrid_wire_rooms(tree) + partial;

    if (room == HYBRID_IN)
        index += tree->max_partials;
    if (room == HYBRID_SUMS)
        index += tree->max_partials + tree->partial_count;
    return h->run.wire + index * h->run.piece;
}

/* between.c; for lanes, s is the segment. Give: the partials of the own slice to those who own its pieces. Are here: of
 * all our pieces, else names who is waited for. Add: our pieces along the tree, and the sums to the lane's members.
 * Widen: sums that came as bf16, into the own window. */
enum ls_status lsi_hybrid_give_partials(struct lsi_message *m, struct ls_request *request, int64_t s,
                                        struct ls_error *err);
bool lsi_hybrid_partials_are_here(struct lsi_message *m, int64_t s);
enum ls_status lsi_hybrid_add_between(struct lsi_message *m, struct ls_request *request, int64_t s,
                                      struct ls_error *err);
void lsi_hybrid_widen_sums(struct lsi_message *m, struct ls_request *request, int64_t s);

#endif
