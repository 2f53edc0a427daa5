/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Canonical all-reduce and reduce-scatter for any number of ranks and any shard ranges: the owner of a part receives
 * every rank's partials for it and adds them in tree order; then all parts go to all ranks. In segments, two under way.
 * Cost, P partials in all, N bytes, W ranks: 2 alpha + N ((P - own) / W + (W - 1) / W) beta a rank; for one partial a
 * rank that is the volume of a ring in two steps instead of 2 (W - 1). Source: reduce-scatter + all-gather as in
 * Thakur, Rabenseifner, Gropp: Optimization of collective communication operations in MPICH (2005), section 4.4.
 */
#include "collective/algo/message.h"

#define SEGMENT_BYTES (128 * 1024)
#define STAGING_BYTES (4 * 1024 * 1024)
#define SMALLEST_PIECE_BYTES (16 * 1024)

/* Staging: [segment % 2][partial] for what comes, then [segment % 2][owner][own partial] for what is added first. */
static uint8_t *incoming(const struct lsi_message *m, const struct ls_request *request, int64_t s, int partial)
{
    return m->staging + ((s & 1) * request->tree->partial_count + partial) * lsi_bytes_of(request, m->piece);
}

static uint8_t *outgoing(const struct lsi_message *m, const struct ls_request *request, int64_t s, int owner, int own)
{
    const struct lsi_tree *tree = request->tree;
    int64_t index = 2 * tree->partial_count + ((s & 1) * tree->world + owner) * tree->own_count + own;

    return m->staging + index * lsi_bytes_of(request, m->piece);
}

static const void *own_partial(struct lsi_message *m, const struct ls_request *request, int own,
                               const struct lsi_piece *piece, uint8_t *room)
{
    return lsi_own_partial(m, request, own, piece->begin, piece->length, room);
}

/* Own partials to the owners, places for the peers' partials of the own part. */
static enum ls_status post_values(struct lsi_message *m, struct ls_request *request, int64_t s, struct ls_error *err)
{
    const struct lsi_tree *tree = request->tree;
    int rank = m->group->rank;
    struct lsi_piece own = lsi_piece_of(request, m->piece, rank, s);
    enum ls_status status = LS_OK;

    for (int i = 0; i < tree->partial_count && status == LS_OK; i++)
        if (tree->partial_rank[i] != rank)
            status = lsi_post_receive(m, tree->partial_rank[i], incoming(m, request, s, i),
                                      lsi_bytes_of(request, own.length), err);
    for (int r = 0; r < tree->world; r++) {
        struct lsi_piece piece = lsi_piece_of(request, m->piece, r, s);
        for (int i = 0; i < tree->own_count && r != rank && piece.length > 0 && status == LS_OK; i++)
            status = lsi_post_send(m, r, own_partial(m, request, i, &piece, outgoing(m, request, s, r, i)),
                                   lsi_bytes_of(request, piece.length), err);
        m->receive_goal[(s & 1) * tree->world + r] = m->link[r].receives_posted;
        m->send_goal[(s & 1) * tree->world + r] = m->link[r].sends_posted;
    }
    m->posted++;
    return status;
}

static bool values_are_here(struct lsi_message *m, const struct ls_request *request, int64_t s)
{
    for (int r = 0; r < request->tree->world; r++)
        if (m->link[r].receives_done < m->receive_goal[(s & 1) * request->tree->world + r]) {
            m->group->waits_for = r;
            m->group->waits_why = "has not sent its partial sums";
            return false;
        }
    return true;
}

/* The sums that were sent from the staging memory of segment s have gone: it may be used again. */
static bool values_are_gone(struct lsi_message *m, const struct ls_request *request, int64_t s)
{
    for (int r = 0; r < request->tree->world; r++)
        if (m->link[r].sends_done < m->send_goal[(s & 1) * request->tree->world + r]) {
            m->group->waits_for = r;
            m->group->waits_why = "has not taken its partial sums";
            return false;
        }
    return true;
}

/* Adds the own part; sends it to all and posts places for theirs. */
static enum ls_status add_part(struct lsi_message *m, struct ls_request *request, int64_t s, struct ls_error *err)
{
    const struct lsi_tree *tree = request->tree;
    bool scatter = request->op.kind == LS_REDUCE_SCATTER;
    int rank = m->group->rank;
    struct lsi_piece own = lsi_piece_of(request, m->piece, rank, s);
    const void *top[LSI_MAX_LEAVES];
    void *out = (uint8_t *)request->op.dst + lsi_bytes_of(request, scatter ? own.inside : own.begin);
    enum ls_status status = LS_OK;

    for (int i = 0; i < tree->partial_count && own.length > 0; i++)
        top[i] = tree->partial_rank[i] != rank
                     ? incoming(m, request, s, i)
                     : own_partial(m, request, tree->partial_index[i], &own, incoming(m, request, s, i));
    lsi_add_result(request, &tree->top, top, out, own.length);
    m->done++;
    for (int r = 0; r < tree->world && !scatter && status == LS_OK; r++) {
        struct lsi_piece theirs = lsi_piece_of(request, m->piece, r, s);
        if (r == rank)
            continue;
        status = lsi_post_receive(m, r, (uint8_t *)request->op.dst + lsi_bytes_of(request, theirs.begin),
                                  lsi_bytes_of(request, theirs.length), err);
        if (status == LS_OK)
            status = lsi_post_send(m, r, out, lsi_bytes_of(request, own.length), err);
    }
    return status;
}

static enum ls_status begin(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    const struct lsi_tree *tree = request->tree;
    int64_t piece_bytes = STAGING_BYTES / (tree->partial_count + 1);
    int64_t segment_bytes = m->ops->segment_bytes > 0 ? m->ops->segment_bytes : SEGMENT_BYTES;
    int64_t longest = lsi_longest_part(request);
    enum ls_status status;

    if (piece_bytes > segment_bytes)
        piece_bytes = segment_bytes;
    if (piece_bytes < SMALLEST_PIECE_BYTES)
        piece_bytes = SMALLEST_PIECE_BYTES;
    m->piece = piece_bytes / (int64_t)request->element_bytes;
    if (m->piece > longest)
        m->piece = (longest + 63) & ~(int64_t)63;
    m->segments = m->piece > 0 ? (longest + m->piece - 1) / m->piece : 0;
    m->posted = 0;
    m->done = 0;
    status = lsi_message_staging(m,
                                 (size_t)(2 * (tree->partial_count + tree->world * tree->own_count)) *
                                     (size_t)lsi_bytes_of(request, m->piece),
                                 err);
    while (status == LS_OK && m->posted < m->segments && m->posted < 2)
        status = post_values(m, request, m->posted, err);
    return status;
}

static enum ls_status advance(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    enum ls_status status = LS_OK;

    while (status == LS_OK && m->done < m->segments) {
        /* Both sides post in the order A0 A1 B0 A2 B1 A3 ...: streams carry no labels. */
        bool last = m->posted == m->segments;
        if (!values_are_here(m, request, m->done) || (!last && !values_are_gone(m, request, m->done)))
            return LS_EAGAIN;
        status = add_part(m, request, m->done, err);
        if (status == LS_OK && !last)
            status = post_values(m, request, m->posted, err);
    }
    return status;
}

const struct lsi_algorithm lsi_all_reduce_canonical = {.name = "canonical", .begin = begin, .advance = advance};
