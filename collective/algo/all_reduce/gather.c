/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All-reduce in one step: everybody sends its partials to everybody, and each adds all of them in tree order, in
 * segments, two under way. Cost, P partials in all, N bytes, W ranks: alpha + N own (W - 1) beta to send, N (P - own)
 * beta to receive, N (P - 1) additions. For two ranks that is the volume of the canonical algorithm and one step less,
 * but twice its additions; for more ranks it pays for short vectors only.
 */
#include "collective/algo/message.h"

#define SEGMENT_BYTES (128 * 1024)
#define STAGING_BYTES (4 * 1024 * 1024)
#define SMALLEST_PIECE_BYTES (4 * 1024)

/* Staging: [segment % 2][partial]; an own partial that is added first stands at its place. */
static uint8_t *place(const struct lsi_message *m, const struct ls_request *request, int64_t s, int partial)
{
    return m->staging + ((s & 1) * request->tree->partial_count + partial) * lsi_bytes_of(request, m->piece);
}

/* Own partial of segment s: the leaf itself, or its leaves added into their place. */
static const void *own_partial(struct lsi_message *m, const struct ls_request *request, int64_t s, int partial)
{
    return lsi_own_partial(m, request, request->tree->partial_index[partial], s * m->piece,
                           lsi_cut(request->op.count, m->piece, s).length, place(m, request, s, partial));
}

static enum ls_status post_segment(struct lsi_message *m, struct ls_request *request, int64_t s, struct ls_error *err)
{
    const struct lsi_tree *tree = request->tree;
    int64_t bytes = lsi_bytes_of(request, lsi_cut(request->op.count, m->piece, s).length);
    enum ls_status status = LS_OK;

    for (int i = 0; i < tree->partial_count && status == LS_OK; i++) {
        if (tree->partial_rank[i] != m->group->rank) {
            status = lsi_post_receive(m, tree->partial_rank[i], place(m, request, s, i), bytes, err);
            continue;
        }
        const void *own = own_partial(m, request, s, i);
        for (int r = 0; r < tree->world && status == LS_OK; r++)
            if (r != m->group->rank)
                status = lsi_post_send(m, r, own, bytes, err);
    }
    for (int r = 0; r < tree->world; r++) {
        m->receive_goal[(s & 1) * tree->world + r] = m->link[r].receives_posted;
        m->send_goal[(s & 1) * tree->world + r] = m->link[r].sends_posted;
    }
    m->posted++;
    return status;
}

/* What was posted for segment s has come, and its staging is free to be used again. */
static bool complete(struct lsi_message *m, const struct ls_request *request, int64_t s)
{
    int world = request->tree->world;

    for (int r = 0; r < world; r++) {
        bool here = m->link[r].receives_done >= m->receive_goal[(s & 1) * world + r];
        if (here && m->link[r].sends_done >= m->send_goal[(s & 1) * world + r])
            continue;
        m->group->waits_for = r;
        m->group->waits_why = here ? "has not taken the partial sums" : "has not sent its partial sums";
        return false;
    }
    return true;
}

static void add_segment(struct lsi_message *m, struct ls_request *request, int64_t s)
{
    const struct lsi_tree *tree = request->tree;
    const void *top[LSI_MAX_LEAVES];
    void *out = (uint8_t *)request->op.dst + lsi_bytes_of(request, s * m->piece);

    for (int i = 0; i < tree->partial_count; i++) {
        const struct lsi_steps *own = &tree->own[tree->partial_index[i]];
        top[i] = place(m, request, s, i);
        /* An own partial of one leaf was sent from where it lies. */
        if (tree->partial_rank[i] == m->group->rank && own->count == 0)
            top[i] = (const uint8_t *)request->leaves[own->only] + lsi_bytes_of(request, s * m->piece);
    }
    lsi_add_result(request, &tree->top, top, out, lsi_cut(request->op.count, m->piece, s).length);
    m->done++;
}

static enum ls_status begin(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    int64_t piece_bytes = STAGING_BYTES / (2 * request->tree->partial_count);
    enum ls_status status;

    if (piece_bytes > SEGMENT_BYTES)
        piece_bytes = SEGMENT_BYTES;
    if (piece_bytes < SMALLEST_PIECE_BYTES)
        piece_bytes = SMALLEST_PIECE_BYTES;
    m->piece = piece_bytes / (int64_t)request->element_bytes;
    m->segments = (request->op.count + m->piece - 1) / m->piece;
    m->posted = 0;
    m->done = 0;
    status = lsi_message_staging(
        m, (size_t)(2 * request->tree->partial_count) * (size_t)lsi_bytes_of(request, m->piece), err);
    while (status == LS_OK && m->posted < m->segments && m->posted < 2)
        status = post_segment(m, request, m->posted, err);
    return status;
}

static enum ls_status advance(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    enum ls_status status = LS_OK;

    while (status == LS_OK && m->done < m->segments) {
        if (!complete(m, request, m->done))
            return LS_EAGAIN;
        add_segment(m, request, m->done);
        if (m->posted < m->segments)
            status = post_segment(m, request, m->posted, err);
    }
    return status;
}

const struct lsi_algorithm lsi_all_reduce_gather = {.name = "gather", .begin = begin, .advance = advance};
