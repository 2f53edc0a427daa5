/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All-reduce and reduce-scatter over hosts, in segments, each cut into a slice a lane: (1) the host's partials of the
 * slices are added inside the host, (2) members of one lane give each other the partials of the pieces that their hosts
 * own, and each adds its piece along the tree, (3) an all-reduce: the sums go to the lane's members on the other hosts,
 * (4) all members of a host take them from the lanes' windows. While a segment is between hosts the next is added
 * inside. Cost, N bytes, H hosts, K lanes, P partials of hosts, own of them of this one: between hosts a lane moves
 * N / K ((P - own) / H + (H - 1) / H) beta instead of N ((P' - own') / W + (W - 1) / W) with W ranks and their
 * partials; inside a host about 3 N gamma through shared memory.
 * With bf16_wire sums of f32 travel between hosts as bf16, rounded once, and the owner keeps the sum that it gives:
 * half of the beta terms, the same bits in all members.
 * Streams carry no labels: between two hosts values of segment s + 1 go before the sums of segment s, on both sides.
 */
#include "collective/provider/hybrid/slices.h"

#include <string.h>

#define STAGING_BYTES (16 * 1024 * 1024)
#define STREAM_BYTES (4 << 20) /* results from here on go past the cache */
#define GRAIN 1024             /* elements; slices of a whole segment are alike */

enum { REDUCE_INSIDE, REDUCE_INSIDE_WAIT, REDUCE_ADD, REDUCE_MEET, REDUCE_MEET_WAIT };

static bool narrows(const struct ls_request *request)
{
    return request->group->options.bf16_wire && request->op.dtype == LS_F32 &&
           (request->op.reduction == LS_SUM || request->op.reduction == LS_MEAN);
}

/* Starts the sum of one of this host's partials of segment s. */
static enum ls_status add_inside(struct lsi_message *m, struct ls_request *request, int64_t s, struct ls_error *err)
{
    struct hybrid *h = hybrid_of(m);
    const struct hybrid_plan *plan = h->run.plan;
    int partial = h->run.partial, first = plan->first_own[partial], own = plan->first_own[partial + 1] - first;
    const struct lsi_steps *steps = &plan->hosts->own[partial];
    struct hybrid_span segment = hybrid_segment(h, request, s);
    void *out = hybrid_own_place(m, request, s, partial);

    for (int i = 0; i < own; i++)
        h->leaves[i] = (const uint8_t *)request->leaves[plan->own[first + i]] + lsi_bytes_of(request, segment.begin);
    h->run.values[s & 1][partial] = out;
    if (hybrid_size(h, h->host) > 1) {
        struct ls_collective op = {.kind = LS_REDUCE_SCATTER,
                                   .reduction = request->op.reduction == LS_MEAN ? LS_SUM : request->op.reduction,
                                   .dtype = request->op.dtype,
                                   .count = segment.length,
                                   .dst = out,
                                   .counts = h->counts,
                                   .layout = &plan->inside[partial],
                                   .leaves = h->leaves};
        for (int i = 0; i < hybrid_size(h, h->host); i++)
            h->counts[i] = i < h->lanes ? hybrid_slice(h, request, s, i).length : 0;
        return lsi_hybrid_inner_start(h, &op, err);
    }
    if (steps->count == 0) {
        h->run.values[s & 1][partial] = h->leaves[0];
        return LS_OK;
    }
    /* Steps count the leaves of all partials of the host: all of them are ours. */
    for (int i = 0; i < plan->first_own[plan->hosts->own_count]; i++)
        h->leaves[i] = (const uint8_t *)request->leaves[i] + lsi_bytes_of(request, segment.begin);
    lsi_add_partial(request, steps, h->leaves, out, segment.length);
    return LS_OK;
}

/* Everything of segment s that this member wants, from the windows of the lanes. */
static void take(struct lsi_message *m, struct ls_request *request, int64_t s)
{
    struct hybrid *h = hybrid_of(m);
    int rank = m->group->rank;
    uint8_t *dst = request->op.dst;
    int64_t begin = hybrid_scatters(request) ? h->part_begin[rank] : 0;
    int64_t end = hybrid_scatters(request) ? h->part_begin[rank + 1] : request->op.count;

    for (int lane = 0; lane < h->lanes; lane++) {
        struct hybrid_span slice = hybrid_slice(h, request, s, lane);
        struct hybrid_span part = hybrid_overlap(slice, begin, end);
        if (part.length == 0)
            continue;
        const uint8_t *from = lsi_hybrid_window(h, lane, s) + lsi_bytes_of(request, part.begin - slice.begin);
        uint8_t *to = dst + lsi_bytes_of(request, part.begin - begin);
        /* Nobody reads the beginning of a large result soon. */
        if (lsi_bytes_of(request, end - begin) >= STREAM_BYTES)
            lsi_copy_stream(to, from, (size_t)lsi_bytes_of(request, part.length));
        else
            memcpy(to, from, (size_t)lsi_bytes_of(request, part.length));
        atomic_fetch_add_explicit(&m->group->bytes_moved, (uint64_t)lsi_bytes_of(request, part.length),
                                  memory_order_relaxed);
    }
}

/* Room for two segments of all partials, within bounds. */
static enum ls_status begin(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    struct hybrid *h = hybrid_of(m);
    int64_t size = (int64_t)request->element_bytes, places, wires, piece;
    enum ls_status status = lsi_hybrid_plan(h, request, &h->run.plan, err);

    if (status != LS_OK)
        return status;
    /* All members must cut alike: by what is the same for all. */
    places = 2 * (int64_t)h->run.plan->hosts->partial_count + 2 * h->run.plan->hosts->max_partials;
    piece = HYBRID_WINDOW_BYTES / size;
    /* Two segments of half the size. */
    wires = narrows(request) ? hybrid_wire_rooms(h->run.plan->hosts) : 0;
    if (piece > STAGING_BYTES / (places + wires) / size)
        piece = STAGING_BYTES / (places + wires) / size;
    h->run.piece = piece > GRAIN ? piece / GRAIN * GRAIN : GRAIN;
    h->run.segments = (request->op.count + h->run.piece * h->lanes - 1) / (h->run.piece * h->lanes);
    h->run.inside = 0;
    h->run.done = 0;
    h->run.partial = 0;
    h->run.step = REDUCE_INSIDE;
    h->part_begin[0] = 0;
    for (int r = 0; r < m->group->world && hybrid_scatters(request); r++)
        h->part_begin[r + 1] = h->part_begin[r] + request->op.counts[r];
    status = lsi_message_staging(m, hybrid_is_lane(h) ? (size_t)((places + wires) * h->run.piece * size) : 64, err);
    h->run.wire = NULL;
    if (status == LS_OK && wires > 0)
        h->run.wire = (uint16_t *)(void *)(m->staging + (hybrid_is_lane(h) ? places * h->run.piece * size : 0));
    return status;
}

/* Partials inside the host, up to one segment ahead of what is between hosts. */
static enum ls_status inside(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    struct hybrid *h = hybrid_of(m);
    struct hybrid_running *run = &h->run;
    enum ls_status status = LS_OK;

    if (run->step == REDUCE_INSIDE_WAIT) {
        status = lsi_hybrid_inner_test(m, err);
        if (status != LS_OK)
            return status;
        run->partial++;
        run->step = REDUCE_INSIDE;
    }
    if (run->inside == run->segments || run->inside == run->done + 2) {
        run->step = REDUCE_ADD;
        return LS_OK;
    }
    /* The places of two segments ago are free again. */
    if (run->partial == 0 && run->inside >= 2 && !lsi_hybrid_sent(m, "has not taken the sums of this host"))
        return LS_EAGAIN;
    if (run->partial < run->plan->hosts->own_count) {
        status = add_inside(m, request, run->inside, err);
        run->step = status == LS_OK ? REDUCE_INSIDE_WAIT : REDUCE_INSIDE;
        return status;
    }
    if (hybrid_is_lane(h))
        status = lsi_hybrid_give_partials(m, request, run->inside, err);
    lsi_hybrid_flush(m);
    run->partial = 0;
    run->inside++;
    return status;
}

static enum ls_status advance(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    static const struct ls_collective barrier = {.kind = LS_BARRIER};
    struct hybrid *h = hybrid_of(m);
    struct hybrid_running *run = &h->run;
    enum ls_status status = LS_OK;

    while (status == LS_OK && run->done < run->segments) {
        switch (run->step) {
        case REDUCE_INSIDE:
        case REDUCE_INSIDE_WAIT:
            status = inside(m, request, err);
            break;
        case REDUCE_ADD:
            if (hybrid_is_lane(h) && !lsi_hybrid_partials_are_here(m, run->done))
                return LS_EAGAIN;
            if (hybrid_is_lane(h))
                status = lsi_hybrid_add_between(m, request, run->done, err);
            lsi_hybrid_flush(m);
            run->step = REDUCE_MEET;
            break;
        case REDUCE_MEET:
            if (!lsi_hybrid_received(m, "has not sent its sums"))
                return LS_EAGAIN;
            if (run->wire != NULL && hybrid_is_lane(h) && !hybrid_scatters(request))
                lsi_hybrid_widen_sums(m, request, run->done);
            status = lsi_hybrid_inner_start(h, &barrier, err);
            run->step = status == LS_OK ? REDUCE_MEET_WAIT : REDUCE_MEET;
            break;
        default:
            status = lsi_hybrid_inner_test(m, err);
            if (status != LS_OK)
                break;
            take(m, request, run->done++);
            m->group->ticks++;
            run->step = REDUCE_INSIDE;
            break;
        }
    }
    return status;
}

const struct lsi_algorithm lsi_hybrid_reduce = {.name = "hierarchy", .begin = begin, .advance = advance};
