/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All-reduce by recursive halving along the canonical tree, then doubling: at level k the ranks whose places in the
 * tree differ in bit k give each other half of what they hold and add, the lower place first, so that each level is one
 * level of the tree: exact. Cost, N bytes, W ranks: 2 log2 W alpha + 2 N (W - 1) / W beta, log2 W messages a phase
 * where the canonical algorithm sends W - 1. Restrictions: W = 2^n, one partial a rank (lsi_tree.halves), at least 64 W
 * elements. Source: Thakur, Rabenseifner, Gropp: Optimization of collective communication operations in MPICH (2005),
 * 4.4.
 */
#include "collective/algo/message.h"

#define PIECE_BYTES (128 * 1024)
#define AHEAD 4

struct region {
    int64_t begin;
    int64_t length;
};

static int place_of(const struct ls_request *request, int rank)
{
    int place = 0;

    while (request->tree->partial_rank[place] != rank)
        place++;
    return place;
}

/* What a place holds after its first `levels` halves. */
static struct region region_of(const struct ls_request *request, int place, int levels)
{
    struct region region = {0, request->op.count};

    for (int k = 0; k < levels; k++) {
        int64_t lower = (region.length / 2 + 15) & ~(int64_t)15;
        region.begin += (place >> k & 1) != 0 ? lower : 0;
        region.length = (place >> k & 1) != 0 ? region.length - lower : lower;
    }
    return region;
}

static struct region piece_of(const struct lsi_message *m, struct region region, int64_t i)
{
    struct lsi_piece piece = lsi_cut(region.length, m->piece, i);

    return (struct region){region.begin + piece.begin, piece.length};
}

static int64_t pieces_of(const struct lsi_message *m, struct region region)
{
    return (region.length + m->piece - 1) / m->piece;
}

static int partner_of(const struct lsi_message *m, const struct ls_request *request)
{
    return request->tree->partial_rank[place_of(request, m->group->rank) ^ 1 << m->level];
}

static uint8_t *dst_at(const struct ls_request *request, int64_t element)
{
    return (uint8_t *)request->op.dst + lsi_bytes_of(request, element);
}

/* Values held: at first the own partial, which may be the caller's leaf. */
static const uint8_t *held_at(const struct lsi_message *m, const struct ls_request *request, int64_t element)
{
    const struct lsi_steps *own = &request->tree->own[0];

    if (m->level == 0 && own->count == 0)
        return (const uint8_t *)request->leaves[own->only] + lsi_bytes_of(request, element);
    return dst_at(request, element);
}

static enum ls_status send_region(struct lsi_message *m, struct ls_request *request, struct region region, bool held,
                                  struct ls_error *err)
{
    int partner = partner_of(m, request);
    enum ls_status status = LS_OK;

    for (int64_t i = 0; i < pieces_of(m, region) && status == LS_OK; i++) {
        struct region piece = piece_of(m, region, i);
        status = lsi_post_send(m, partner, held ? held_at(m, request, piece.begin) : dst_at(request, piece.begin),
                               lsi_bytes_of(request, piece.length), err);
    }
    return status;
}

/* The partner keeps the other half. */
static enum ls_status begin_half(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    int place = place_of(request, m->group->rank);

    m->posted = m->done = 0;
    return send_region(m, request, region_of(request, place ^ 1 << m->level, m->level + 1), true, err);
}

static void add_piece(struct lsi_message *m, const struct ls_request *request, struct region piece, const void *came)
{
    static const struct lsi_steps one = {.count = 1, .step = {{-1, 0, 1}}};
    bool lower = (place_of(request, m->group->rank) >> m->level & 1) == 0;
    const void *held = held_at(m, request, piece.begin);
    const void *inputs[2] = {lower ? held : came, lower ? came : held};
    void *out = dst_at(request, piece.begin);
    struct lsi_reduce reduce = {
        .combine = lsi_combine_get(request->op.dtype, request->op.reduction),
        .element_bytes = request->element_bytes,
        .steps = &one,
        .inputs = inputs,
        .outs = &out,
        .out_count = 1,
        .divisor = 2 << m->level == request->tree->world ? request->divisor : 1,
        .dtype = request->op.dtype,
    };

    lsi_reduce_run(&reduce, piece.length);
}

static enum ls_status wait_for(struct lsi_message *m, int partner, const char *why)
{
    m->group->waits_for = partner;
    m->group->waits_why = why;
    return LS_EAGAIN;
}

static enum ls_status advance_half(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    int partner = partner_of(m, request);
    const struct lsi_link *link = &m->link[partner];
    struct region own = region_of(request, place_of(request, m->group->rank), m->level + 1);
    int64_t pieces = pieces_of(m, own);
    enum ls_status status = LS_OK;

    while (m->done < pieces && status == LS_OK) {
        for (; m->posted < pieces && m->posted < m->done + AHEAD && status == LS_OK; m->posted++)
            status = lsi_post_receive(m, partner, m->staging + lsi_bytes_of(request, m->posted % AHEAD * m->piece),
                                      lsi_bytes_of(request, piece_of(m, own, m->posted).length), err);
        if (status != LS_OK)
            return status;
        if ((int64_t)(link->receives_posted - link->receives_done) >= m->posted - m->done)
            return wait_for(m, partner, "has not sent its half");
        add_piece(m, request, piece_of(m, own, m->done),
                  m->staging + lsi_bytes_of(request, m->done % AHEAD * m->piece));
        m->done++;
    }
    return status;
}

/* Gives what is complete, and takes the partner's, straight into the result. */
static enum ls_status begin_double(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    int place = place_of(request, m->group->rank), partner = partner_of(m, request);
    struct region theirs = region_of(request, place ^ 1 << m->level, m->level + 1);
    enum ls_status status = LS_OK;

    for (int64_t i = 0; i < pieces_of(m, theirs) && status == LS_OK; i++) {
        struct region piece = piece_of(m, theirs, i);
        status = lsi_post_receive(m, partner, dst_at(request, piece.begin), lsi_bytes_of(request, piece.length), err);
    }
    if (status == LS_OK)
        status = send_region(m, request, region_of(request, place, m->level + 1), false, err);
    return status;
}

static enum ls_status begin(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    int64_t half = region_of(request, 0, 1).length;
    enum ls_status status;

    m->piece = PIECE_BYTES / (int64_t)request->element_bytes;
    if (m->piece > half)
        m->piece = half;
    m->level = 0;
    m->gathers = false;
    status = lsi_message_staging(m, (size_t)(AHEAD * lsi_bytes_of(request, m->piece)), err);
    if (status != LS_OK)
        return status;
    (void)lsi_own_partial(m, request, 0, 0, request->op.count, request->op.dst);
    return begin_half(m, request, err);
}

static enum ls_status advance(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    enum ls_status status = LS_OK;

    while (!m->gathers) {
        status = advance_half(m, request, err);
        if (status != LS_OK)
            return status;
        m->gathers = 2 << m->level == request->tree->world;
        m->posted = 0;
        if (m->gathers)
            break;
        m->level++;
        status = begin_half(m, request, err);
        if (status != LS_OK)
            return status;
    }
    for (; m->level >= 0; m->level--, m->posted = 0) {
        int partner = partner_of(m, request);
        const struct lsi_link *link = &m->link[partner];
        /* What was sent from there before has gone. */
        if (m->posted == 0 && link->sends_done < link->sends_posted)
            return wait_for(m, partner, "has not taken its half");
        if (m->posted++ == 0)
            status = begin_double(m, request, err);
        if (status != LS_OK)
            return status;
        if (link->receives_done < link->receives_posted)
            return wait_for(m, partner, "has not sent its sums");
    }
    return LS_OK;
}

const struct lsi_algorithm lsi_all_reduce_halving = {.name = "halving", .begin = begin, .advance = advance};
