/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All-reduce and reduce-scatter of f32 (sum, mean) that travel as bf16: the owner of a part gets everybody's sum of its
 * own leaves, rounded, adds them to its own in f32 in rank order, and gives the result, rounded again; it keeps what it
 * gives, so that all members have the same bits. In segments, two under way.
 * Cost, N bytes of f32, W ranks: 2 alpha + N (W - 1) / W beta: half of the canonical algorithm. Error: one rounding of
 * 2^-9 for each value that travels. Restrictions: any_order and bf16_wire only.
 */
#include "collective/algo/message.h"
#include "collective/bf16.h"
#include "collective/reduce.h"

#define SEGMENT_ELEMENTS (32 * 1024)
#define STAGING_BYTES (8 * 1024 * 1024)
#define SMALLEST_PIECE 4096
#define CHUNK 2048 /* elements that are added at a time, in the first-level cache */

enum room { VALUES_IN, VALUES_OUT, SUMS_IN, ROOMS };

/* Staging: [segment % 2][room][rank]; the own place among the sums is what the own part travels in. */
static uint16_t *room_of(const struct lsi_message *m, enum room room, int64_t s, int rank)
{
    int64_t index = ((s & 1) * ROOMS + (int64_t)room) * m->group->world + rank;

    return (uint16_t *)(void *)m->staging + index * m->piece;
}

static bool gives(const struct ls_request *request, int rank)
{
    return request->tree->first_leaf[rank + 1] > request->tree->first_leaf[rank];
}

static int64_t travelling(int64_t elements)
{
    return elements * (int64_t)sizeof(uint16_t);
}

/* Results so large that nobody finds them in a cache. */
static bool past_caches(const struct ls_request *request)
{
    return (size_t)request->signature.count * sizeof(float) >= LSI_STREAM_BYTES;
}

/* The own sum is the own leaf. */
static bool single(const struct lsi_message *m, const struct ls_request *request)
{
    return request->tree->first_leaf[m->group->rank + 1] - request->tree->first_leaf[m->group->rank] == 1;
}

/* Own sum of a piece, rounded for its way. */
static void narrow_own(struct lsi_message *m, const struct ls_request *request, const struct lsi_piece *piece,
                       uint16_t *out)
{
    float sum[CHUNK];

    if (single(m, request)) {
        lsi_bf16_narrow(out, (const float *)request->leaves[0] + piece->begin, piece->length);
        return;
    }
    for (int64_t i = 0; i < piece->length; i += CHUNK) {
        struct lsi_own own = {NULL, piece->begin + i, piece->length - i < CHUNK ? piece->length - i : CHUNK, 1};
        lsi_own_sum(m, request, &own, sum);
        lsi_bf16_narrow(out + i, sum, own.length);
    }
}

static enum ls_status post_values(struct lsi_message *m, struct ls_request *request, int64_t s, struct ls_error *err)
{
    int world = m->group->world, rank = m->group->rank;
    struct lsi_piece own = lsi_piece_of(request, m->piece, rank, s);
    enum ls_status status = LS_OK;

    for (int r = 0; r < world && status == LS_OK; r++) {
        struct lsi_piece piece = lsi_piece_of(request, m->piece, r, s);
        if (r != rank && gives(request, r))
            status = lsi_post_receive(m, r, room_of(m, VALUES_IN, s, r), travelling(own.length), err);
        if (r != rank && gives(request, rank) && piece.length > 0 && status == LS_OK) {
            narrow_own(m, request, &piece, room_of(m, VALUES_OUT, s, r));
            status = lsi_post_send(m, r, room_of(m, VALUES_OUT, s, r), travelling(piece.length), err);
        }
        m->receive_goal[(s & 1) * world + r] = m->link[r].receives_posted;
        m->send_goal[(s & 1) * world + r] = m->link[r].sends_posted;
    }
    m->posted++;
    return status;
}

static enum ls_status wait_for(struct lsi_message *m, int rank, const char *why)
{
    m->group->waits_for = rank;
    m->group->waits_why = why;
    return LS_EAGAIN;
}

/* Goals: set s & 1 for the values of segment s, 2 + (s & 1) for its sums. */
static enum ls_status look(struct lsi_message *m, int64_t set, bool receives, bool sends)
{
    int world = m->group->world;

    for (int r = 0; r < world; r++) {
        if (receives && m->link[r].receives_done < m->receive_goal[set * world + r])
            return wait_for(m, r, "has not sent its sums");
        if (sends && m->link[r].sends_done < m->send_goal[set * world + r])
            return wait_for(m, r, "has not taken its sums");
    }
    return LS_OK;
}

/* Own leaves, then what came from the ranks below `end` in rank order, for a range of the own piece. */
static void add_chunk(struct lsi_message *m, struct ls_request *request, int64_t s, const struct lsi_own *leaves,
                      int end, float *sum)
{
    int64_t i = leaves->begin - lsi_piece_of(request, m->piece, m->group->rank, s).begin;
    bool begun = gives(request, m->group->rank);

    if (begun)
        lsi_own_sum(m, request, leaves, sum);
    for (int r = 0; r < end; r++) {
        if (r == m->group->rank || !gives(request, r))
            continue;
        if (begun)
            lsi_bf16_add(sum, room_of(m, VALUES_IN, s, r) + i, leaves->length);
        else
            lsi_bf16_widen(sum, room_of(m, VALUES_IN, s, r) + i, leaves->length);
        begun = true;
    }
}

/* Whose values are added last; -1: nobody else gives any. */
static int last_giver(const struct lsi_message *m, const struct ls_request *request, int end)
{
    int r = end - 1;

    while (r >= 0 && (r == m->group->rank || !gives(request, r)))
        r--;
    return r;
}

/* A scattered part stays as exact as it is: nobody takes it over. So does a mean until it has been divided. */
static void add_own(struct lsi_message *m, struct ls_request *request, int64_t s, const struct lsi_piece *own,
                    float *out)
{
    uint16_t *sums = room_of(m, SUMS_IN, s, m->group->rank);
    bool scatter = request->op.kind == LS_REDUCE_SCATTER;

    for (int64_t i = 0; i < own->length; i += CHUNK) {
        struct lsi_own leaves = {NULL, own->begin + i, own->length - i < CHUNK ? own->length - i : CHUNK, 1};
        add_chunk(m, request, s, &leaves, m->group->world, out + i);
        lsi_bf16_divide(out + i, request->divisor, leaves.length);
        if (!scatter)
            lsi_bf16_settle(sums + i, out + i, leaves.length);
    }
}

/* The same for a sum that goes to all, in one sweep over each of the own leaf (or what stands in the cache of it), what
 * came last, and the result. */
static void close_own(struct lsi_message *m, struct ls_request *request, int64_t s, const struct lsi_piece *own,
                      int last)
{
    float room[CHUNK];
    bool straight = single(m, request) && last_giver(m, request, last) < 0;
    int64_t most = straight ? own->length : CHUNK;

    for (int64_t i = 0; i < own->length; i += most) {
        struct lsi_own leaves = {NULL, own->begin + i, own->length - i < most ? own->length - i : most, 1};
        struct lsi_bf16_close close = {
            .sum = straight ? (const float *)request->leaves[0] + leaves.begin : room,
            .came = room_of(m, VALUES_IN, s, last) + i,
            .out = room_of(m, SUMS_IN, s, m->group->rank) + i,
            .kept = (float *)request->op.dst + leaves.begin,
            .past = past_caches(request),
        };
        if (!straight)
            add_chunk(m, request, s, &leaves, last, room);
        lsi_bf16_close(&close, leaves.length);
    }
}

static enum ls_status add_part(struct lsi_message *m, struct ls_request *request, int64_t s, struct ls_error *err)
{
    bool scatter = request->op.kind == LS_REDUCE_SCATTER;
    int rank = m->group->rank, last = last_giver(m, request, m->group->world);
    struct lsi_piece own = lsi_piece_of(request, m->piece, rank, s);
    enum ls_status status = LS_OK;

    if (last >= 0 && gives(request, rank) && !scatter && request->divisor <= 1)
        close_own(m, request, s, &own, last);
    else
        add_own(m, request, s, &own, (float *)request->op.dst + (scatter ? own.inside : own.begin));
    m->done++;
    m->widened += scatter;
    for (int r = 0; r < m->group->world && !scatter && status == LS_OK; r++) {
        if (r == rank)
            continue;
        status = lsi_post_receive(m, r, room_of(m, SUMS_IN, s, r),
                                  travelling(lsi_piece_of(request, m->piece, r, s).length), err);
        if (status == LS_OK)
            status = lsi_post_send(m, r, room_of(m, SUMS_IN, s, rank), travelling(own.length), err);
        m->receive_goal[(2 + (s & 1)) * m->group->world + r] = m->link[r].receives_posted;
        m->send_goal[(2 + (s & 1)) * m->group->world + r] = m->link[r].sends_posted;
    }
    return status;
}

static void widen_parts(struct lsi_message *m, const struct ls_request *request, int64_t s)
{
    for (int r = 0; r < m->group->world; r++) {
        struct lsi_piece piece = lsi_piece_of(request, m->piece, r, s);
        float *to = (float *)request->op.dst + piece.begin;
        if (r == m->group->rank)
            continue;
        if (past_caches(request))
            lsi_bf16_widen_past(to, room_of(m, SUMS_IN, s, r), piece.length);
        else
            lsi_bf16_widen(to, room_of(m, SUMS_IN, s, r), piece.length);
    }
    m->widened++;
}

static enum ls_status begin(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    int rooms = 2 * ROOMS * m->group->world;
    int64_t longest = lsi_longest_part(request);
    enum ls_status status;

    m->piece = STAGING_BYTES / (int64_t)sizeof(uint16_t) / rooms;
    if (m->piece > SEGMENT_ELEMENTS)
        m->piece = SEGMENT_ELEMENTS;
    if (m->piece < SMALLEST_PIECE)
        m->piece = SMALLEST_PIECE;
    if (m->piece > longest)
        m->piece = (longest + 63) & ~(int64_t)63;
    m->segments = m->piece > 0 ? (longest + m->piece - 1) / m->piece : 0;
    m->posted = m->done = m->widened = 0;
    status = lsi_message_staging(m, (size_t)rooms * (size_t)travelling(m->piece), err);
    while (status == LS_OK && m->posted < m->segments && m->posted < 2)
        status = post_values(m, request, m->posted, err);
    return status;
}

static enum ls_status advance(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    enum ls_status status = LS_OK;

    while (status == LS_OK && m->widened < m->segments) {
        bool last = m->posted == m->segments;
        if (m->widened < m->done && look(m, 2 + (m->widened & 1), true, false) == LS_OK) {
            widen_parts(m, request, m->widened);
            continue;
        }
        if (m->done == m->segments || m->done - m->widened == 2)
            return LS_EAGAIN;
        /* Both sides post in the order A0 A1 B0 A2 B1 A3 ...: streams carry no labels. */
        if (look(m, m->done & 1, true, !last) != LS_OK || look(m, 2 + (m->done & 1), false, true) != LS_OK)
            return LS_EAGAIN;
        status = add_part(m, request, m->done, err);
        if (status == LS_OK && !last)
            status = post_values(m, request, m->posted, err);
    }
    return status;
}

const struct lsi_algorithm lsi_all_reduce_bf16 = {.name = "bf16", .begin = begin, .advance = advance};
