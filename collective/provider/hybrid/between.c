/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of a reduction that go between hosts; see reduce.c for the whole and its cost. Members of one lane exchange
 * their hosts' partials, each adds the pieces that its host owns along the tree, and the sums go back the same way.
 */
#include "collective/bf16.h"
#include "collective/provider/hybrid/slices.h"

/* A piece of an own partial, from `at` of the slice on, to the host that owns it. */
static enum ls_status give_piece(struct lsi_message *m, struct ls_request *request, int64_t s, int own, int owner,
                                 struct hybrid_span inside, struct ls_error *err)
{
    struct hybrid *h = hybrid_of(m);
    const void *values = h->run.values[s & 1][own] + lsi_bytes_of(request, inside.begin);

    if (h->run.wire != NULL) {
        uint16_t *narrow = hybrid_wire(h, HYBRID_OUT, s, own) + inside.begin;
        lsi_bf16_narrow(narrow, values, inside.length);
        values = narrow;
    }
    return lsi_hybrid_send(m, hybrid_rank(h, owner, h->index), values, hybrid_travelling(h, request, inside.length),
                           err);
}

/* The partials of segment s to those who own the pieces, places for the ones of the pieces that are ours. */
enum ls_status lsi_hybrid_give_partials(struct lsi_message *m, struct ls_request *request, int64_t s,
                                        struct ls_error *err)
{
    struct hybrid *h = hybrid_of(m);
    const struct lsi_tree *tree = h->run.plan->hosts;
    struct hybrid_span slice = hybrid_slice(h, request, s, h->index), piece;
    int64_t at = 0;
    enum ls_status status = LS_OK;

    for (int i = 0; i < hybrid_pieces(m, request); i++) {
        int owner = hybrid_piece(h, request, slice, i, &piece);
        struct hybrid_span inside = {piece.begin - slice.begin, piece.length};
        for (int own = 0; own < tree->own_count && owner != h->host && status == LS_OK; own++)
            status = give_piece(m, request, s, own, owner, inside, err);
        for (int p = 0; p < tree->partial_count && owner == h->host && status == LS_OK; p++)
            if (tree->partial_rank[p] != h->host)
                status = lsi_hybrid_receive(m, hybrid_rank(h, tree->partial_rank[p], h->index),
                                            h->run.wire != NULL ? (void *)(hybrid_wire(h, HYBRID_IN, s, p) + at)
                                                                : hybrid_place(m, request, s, p, at),
                                            hybrid_travelling(h, request, piece.length), err);
        at += owner == h->host ? piece.length : 0;
    }
    for (int r = 0; r < m->group->world; r++)
        m->receive_goal[(s & 1) * m->group->world + r] = m->link[r].receives_posted;
    return status;
}

bool lsi_hybrid_partials_are_here(struct lsi_message *m, int64_t s)
{
    return lsi_hybrid_done(m, true, &m->receive_goal[(s & 1) * m->group->world],
                           "has not sent the partial sums of its host");
}

/* One of our pieces into the own window. */
static void add_piece(struct lsi_message *m, struct ls_request *request, int64_t s, struct hybrid_span piece,
                      int64_t at)
{
    struct hybrid *h = hybrid_of(m);
    const struct lsi_tree *tree = h->run.plan->hosts;
    int64_t begin = piece.begin - hybrid_slice(h, request, s, h->index).begin, skip = lsi_bytes_of(request, begin);
    const void *top[LSI_MAX_LEAVES];
    void *out = lsi_hybrid_window(h, h->index, s) + skip;

    for (int p = 0; p < tree->partial_count; p++) {
        bool own = tree->partial_rank[p] == h->host;
        top[p] = own ? h->run.values[s & 1][tree->partial_index[p]] + skip : hybrid_place(m, request, s, p, at);
        if (!own && h->run.wire != NULL)
            lsi_bf16_widen((void *)hybrid_place(m, request, s, p, at), hybrid_wire(h, HYBRID_IN, s, p) + at,
                           piece.length);
    }
    lsi_add_result(request, &tree->top, top, out, piece.length);
    if (h->run.wire != NULL && !hybrid_scatters(request))
        lsi_bf16_settle(hybrid_wire(h, HYBRID_SUMS, s, 0) + begin, out, piece.length);
}

/* Adds our pieces of segment s; sends them to the lane's members, and posts places for theirs. */
enum ls_status lsi_hybrid_add_between(struct lsi_message *m, struct ls_request *request, int64_t s,
                                      struct ls_error *err)
{
    struct hybrid *h = hybrid_of(m);
    struct hybrid_span slice = hybrid_slice(h, request, s, h->index), piece;
    int64_t at = 0;
    enum ls_status status = LS_OK;

    for (int i = 0; i < hybrid_pieces(m, request) && status == LS_OK; i++) {
        int owner = hybrid_piece(h, request, slice, i, &piece);
        int64_t skip = piece.begin - slice.begin, bytes = hybrid_travelling(h, request, piece.length);
        void *sums = h->run.wire != NULL ? (void *)(hybrid_wire(h, HYBRID_SUMS, s, 0) + skip)
                                         : lsi_hybrid_window(h, h->index, s) + lsi_bytes_of(request, skip);
        if (owner != h->host && !hybrid_scatters(request))
            status = lsi_hybrid_receive(m, hybrid_rank(h, owner, h->index), sums, bytes, err);
        if (owner != h->host || bytes == 0)
            continue;
        add_piece(m, request, s, piece, at);
        at += piece.length;
        for (int host = 0; host < h->hosts && !hybrid_scatters(request) && status == LS_OK; host++)
            if (host != h->host)
                status = lsi_hybrid_send(m, hybrid_rank(h, host, h->index), sums, bytes, err);
    }
    return status;
}

/* The sums that came from other hosts as bf16, into the own window. */
void lsi_hybrid_widen_sums(struct lsi_message *m, struct ls_request *request, int64_t s)
{
    struct hybrid *h = hybrid_of(m);
    struct hybrid_span slice = hybrid_slice(h, request, s, h->index), piece;

    for (int i = 0; i < hybrid_pieces(m, request); i++) {
        int owner = hybrid_piece(h, request, slice, i, &piece);
        int64_t skip = piece.begin - slice.begin;
        if (owner != h->host)
            lsi_bf16_widen((void *)(lsi_hybrid_window(h, h->index, s) + lsi_bytes_of(request, skip)),
                           hybrid_wire(h, HYBRID_SUMS, s, 0) + skip, piece.length);
    }
}
