/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gather, broadcast and all-to-all over hosts. Cost with beta a byte between hosts, gamma one through shared memory:
 * - all-gather: each part crosses to each other host once, to one proxy there: own part (hosts - 1) beta out, N gamma.
 * - broadcast: along a binomial tree of hosts, one proxy each: (segments + log2 hosts) segment beta, N gamma.
 * - all-to-all: pairs on different hosts exchange straight, those of one host through windows: no byte crosses twice.
 */
#include "collective/provider/hybrid/hybrid.h"

#include <string.h>

/* Segment s of a run of elements. */
static struct hybrid_span segment_of(const struct hybrid *h, int64_t length, int64_t s)
{
    struct hybrid_span span = {.begin = s * h->run.piece < length ? s * h->run.piece : length};

    span.length = length - span.begin < h->run.piece ? length - span.begin : h->run.piece;
    return span;
}

static void copy(struct lsi_message *m, void *to, const void *from, int64_t bytes)
{
    if (bytes == 0)
        return;
    memcpy(to, from, (size_t)bytes);
    atomic_fetch_add_explicit(&m->group->bytes_moved, (uint64_t)bytes, memory_order_relaxed);
}

/* All-gather. */

/* Where rank r's piece of segment s stands on this host. */
static uint8_t *piece_at(const struct hybrid *h, const struct ls_request *request, int r, int64_t s)
{
    return lsi_hybrid_window(h, hybrid_proxy(h, h->host, r), s) + h->place_of[r] * lsi_bytes_of(request, h->run.piece);
}

/* The own piece into the own window and to one proxy on each other host; places for those that this member stands
 * for. */
static enum ls_status gather_post(struct lsi_message *m, struct ls_request *request, int64_t s, struct ls_error *err)
{
    struct hybrid *h = hybrid_of(m);
    const int64_t *counts = request->op.counts;
    int rank = m->group->rank;
    struct hybrid_span own = segment_of(h, counts[rank], s);
    const uint8_t *src = (const uint8_t *)request->op.src + lsi_bytes_of(request, own.begin);
    enum ls_status status = LS_OK;

    copy(m, piece_at(h, request, rank, s), src, lsi_bytes_of(request, own.length));
    for (int host = 0; host < h->hosts && status == LS_OK; host++)
        if (host != h->host)
            status = lsi_hybrid_send(m, hybrid_rank(h, host, hybrid_proxy(h, host, rank)), src,
                                     lsi_bytes_of(request, own.length), err);
    for (int r = 0; r < m->group->world && status == LS_OK; r++)
        if (h->host_of[r] != h->host && hybrid_proxy(h, h->host, r) == h->index)
            status = lsi_hybrid_receive(m, r, piece_at(h, request, r, s),
                                        lsi_bytes_of(request, segment_of(h, counts[r], s).length), err);
    return status;
}

static enum ls_status gather_ready(struct lsi_message *m, struct ls_request *request, int64_t s, struct ls_error *err)
{
    (void)request;
    (void)s;
    (void)err;
    return lsi_hybrid_received(m, "has not sent its part") ? LS_OK : LS_EAGAIN;
}

static void gather_take(struct lsi_message *m, struct ls_request *request, int64_t s)
{
    struct hybrid *h = hybrid_of(m);
    uint8_t *dst = request->op.dst;

    for (int r = 0; r < m->group->world; r++) {
        struct hybrid_span span = segment_of(h, request->op.counts[r], s);
        copy(m, dst + lsi_bytes_of(request, span.begin), piece_at(h, request, r, s),
             lsi_bytes_of(request, span.length));
        dst += lsi_bytes_of(request, request->op.counts[r]);
    }
}

static enum ls_status gather_begin(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    int64_t longest = 0;

    (void)err;
    for (int r = 0; r < m->group->world; r++)
        longest = request->op.counts[r] > longest ? request->op.counts[r] : longest;
    lsi_hybrid_relay_begin(m, HYBRID_WINDOW_BYTES / hybrid_of(m)->most_held / (int64_t)request->element_bytes, longest);
    return LS_OK;
}

static enum ls_status gather_advance(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    static const struct hybrid_relay relay = {gather_post, gather_ready, gather_take};

    return lsi_hybrid_relay(m, request, &relay, err);
}

const struct lsi_algorithm lsi_hybrid_all_gather = {
    .name = "hierarchy", .begin = gather_begin, .advance = gather_advance};

/* Broadcast. */

/* Hosts are counted from the root's; a parent is the number without its lowest bit. */
static int relative_host(const struct hybrid *h, const struct ls_request *request)
{
    return (h->host - h->host_of[request->op.root] + h->hosts) % h->hosts;
}

static int proxy_of(const struct hybrid *h, const struct ls_request *request, int relative)
{
    int host = (relative + h->host_of[request->op.root]) % h->hosts;

    return hybrid_rank(h, host, hybrid_proxy(h, host, request->op.root));
}

static bool is_proxy(const struct hybrid *h, const struct ls_request *request)
{
    return hybrid_proxy(h, h->host, request->op.root) == h->index;
}

/* The window is free again when what was handed on from it two segments ago has gone. */
static bool handed_on(struct lsi_message *m, int64_t s)
{
    return lsi_hybrid_done(m, false, &m->send_goal[(s & 1) * m->group->world],
                           "has not taken what was handed on to it");
}

static enum ls_status broadcast_post(struct lsi_message *m, struct ls_request *request, int64_t s, struct ls_error *err)
{
    struct hybrid *h = hybrid_of(m);
    struct hybrid_span span = segment_of(h, request->op.count, s);
    int relative = relative_host(h, request);

    if (!is_proxy(h, request))
        return LS_OK;
    if (s >= 2 && !handed_on(m, s))
        return LS_EAGAIN;
    if (relative > 0)
        return lsi_hybrid_receive(m, proxy_of(h, request, relative & (relative - 1)), lsi_hybrid_window(h, h->index, s),
                                  lsi_bytes_of(request, span.length), err);
    copy(m, lsi_hybrid_window(h, h->index, s), (const uint8_t *)request->op.dst + lsi_bytes_of(request, span.begin),
         lsi_bytes_of(request, span.length));
    return LS_OK;
}

static enum ls_status broadcast_ready(struct lsi_message *m, struct ls_request *request, int64_t s,
                                      struct ls_error *err)
{
    struct hybrid *h = hybrid_of(m);
    int64_t bytes = lsi_bytes_of(request, segment_of(h, request->op.count, s).length);
    int own = relative_host(h, request);
    enum ls_status status = LS_OK;

    if (!is_proxy(h, request))
        return LS_OK;
    if (!lsi_hybrid_received(m, "has not handed it on"))
        return LS_EAGAIN;
    for (int bit = 1; bit < h->hosts && (own & bit) == 0 && status == LS_OK; bit <<= 1)
        if (own + bit < h->hosts)
            status = lsi_hybrid_send(m, proxy_of(h, request, own + bit), lsi_hybrid_window(h, h->index, s), bytes, err);
    for (int r = 0; r < m->group->world; r++)
        m->send_goal[(s & 1) * m->group->world + r] = m->link[r].sends_posted;
    return status;
}

static void broadcast_take(struct lsi_message *m, struct ls_request *request, int64_t s)
{
    struct hybrid *h = hybrid_of(m);
    struct hybrid_span span = segment_of(h, request->op.count, s);

    if (m->group->rank != request->op.root)
        copy(m, (uint8_t *)request->op.dst + lsi_bytes_of(request, span.begin),
             lsi_hybrid_window(h, hybrid_proxy(h, h->host, request->op.root), s), lsi_bytes_of(request, span.length));
}

static enum ls_status broadcast_begin(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    (void)err;
    lsi_hybrid_relay_begin(m, HYBRID_WINDOW_BYTES / (int64_t)request->element_bytes, request->op.count);
    return LS_OK;
}

static enum ls_status broadcast_advance(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    static const struct hybrid_relay relay = {broadcast_post, broadcast_ready, broadcast_take};

    return lsi_hybrid_relay(m, request, &relay, err);
}

const struct lsi_algorithm lsi_hybrid_broadcast = {
    .name = "hierarchy", .begin = broadcast_begin, .advance = broadcast_advance};

/* All-to-all. */

/* Into the own window: a piece for each other member of this host. */
static enum ls_status exchange_post(struct lsi_message *m, struct ls_request *request, int64_t s, struct ls_error *err)
{
    struct hybrid *h = hybrid_of(m);

    (void)err;
    for (int j = 0; j < hybrid_size(h, h->host); j++) {
        struct lsi_pair pair = lsi_pair_of(request, m->group->rank, hybrid_rank(h, h->host, j));
        struct hybrid_span span = segment_of(h, pair.length, s);
        if (j != h->index)
            copy(m, lsi_hybrid_window(h, h->index, s) + j * lsi_bytes_of(request, h->run.piece),
                 (const uint8_t *)request->op.src + lsi_bytes_of(request, pair.src + span.begin),
                 lsi_bytes_of(request, span.length));
    }
    return LS_OK;
}

static enum ls_status exchange_ready(struct lsi_message *m, struct ls_request *request, int64_t s, struct ls_error *err)
{
    (void)m;
    (void)request;
    (void)s;
    (void)err;
    return LS_OK;
}

static void exchange_take(struct lsi_message *m, struct ls_request *request, int64_t s)
{
    struct hybrid *h = hybrid_of(m);

    for (int j = 0; j < hybrid_size(h, h->host); j++) {
        struct lsi_pair pair = lsi_pair_of(request, hybrid_rank(h, h->host, j), m->group->rank);
        struct hybrid_span span = segment_of(h, pair.length, s);
        if (j != h->index)
            copy(m, (uint8_t *)request->op.dst + lsi_bytes_of(request, pair.dst + span.begin),
                 lsi_hybrid_window(h, j, s) + h->index * lsi_bytes_of(request, h->run.piece),
                 lsi_bytes_of(request, span.length));
    }
}

/* What goes to and comes from other hosts, straight from and into the caller's memory; the own block. */
static enum ls_status exchange_begin(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    struct hybrid *h = hybrid_of(m);
    const uint8_t *src = request->op.src;
    uint8_t *dst = request->op.dst;
    int rank = m->group->rank;
    int64_t longest = 0;
    enum ls_status status = LS_OK;

    for (int r = 0; r < m->group->world && status == LS_OK; r++) {
        struct lsi_pair gives = lsi_pair_of(request, rank, r), takes = lsi_pair_of(request, r, rank);
        if (r == rank)
            copy(m, dst + lsi_bytes_of(request, gives.dst), src + lsi_bytes_of(request, gives.src),
                 lsi_bytes_of(request, gives.length));
        if (h->host_of[r] == h->host)
            continue;
        status =
            lsi_hybrid_receive(m, r, dst + lsi_bytes_of(request, takes.dst), lsi_bytes_of(request, takes.length), err);
        if (status == LS_OK)
            status =
                lsi_hybrid_send(m, r, src + lsi_bytes_of(request, gives.src), lsi_bytes_of(request, gives.length), err);
    }
    lsi_hybrid_flush(m);
    for (int i = 0; i < hybrid_size(h, h->host); i++)
        for (int j = 0; j < hybrid_size(h, h->host); j++) {
            int64_t length =
                request->op.counts[hybrid_rank(h, h->host, i) * m->group->world + hybrid_rank(h, h->host, j)];
            longest = i != j && length > longest ? length : longest;
        }
    lsi_hybrid_relay_begin(m, HYBRID_WINDOW_BYTES / hybrid_size(h, h->host) / (int64_t)request->element_bytes, longest);
    return status;
}

static enum ls_status exchange_advance(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    static const struct hybrid_relay relay = {exchange_post, exchange_ready, exchange_take};

    return lsi_hybrid_relay(m, request, &relay, err);
}

const struct lsi_algorithm lsi_hybrid_all_to_all = {
    .name = "hierarchy", .begin = exchange_begin, .advance = exchange_advance};
