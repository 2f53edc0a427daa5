/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All-reduce around a ring: W parts; in step t rank r gives part r - t to the next rank, which adds its own leaves;
 * after W - 1 steps each part is complete somewhere and goes round once more. In segments, handed on as they come.
 * Cost, N bytes, W ranks: 2 (W - 1) alpha + 2 N (W - 1) / W beta, whatever the number of partials. Restrictions: each
 * part is added in another order (any_order only), every rank has a leaf, at least 64 W elements.
 * Source: Patarasuk, Yuan: Bandwidth optimal all-reduce algorithms for clusters of workstations (2009).
 */
#include "collective/algo/message.h"

#define SEGMENT_BYTES (128 * 1024)
#define AHEAD 4

struct item {
    int step;
    int64_t begin;
    int64_t length;
};

static int64_t part_begin(const struct ls_request *request, int part)
{
    int world = request->group->world;

    return part == world ? request->op.count : request->op.count / 16 * part / world * 16;
}

/* Number i of what this rank sends, or gets; segments of one part follow each other. */
static struct item item_of(const struct lsi_message *m, const struct ls_request *request, int64_t i, bool sent)
{
    int world = m->group->world;
    struct item item = {.step = (int)(i / m->segments)};
    int part = (m->group->rank - item.step - (sent ? 0 : 1) + 2 * world) % world;
    int64_t s = i % m->segments, first = part_begin(request, part), length = part_begin(request, part + 1) - first;

    item.begin = first + length * s / m->segments;
    item.length = first + length * (s + 1) / m->segments - item.begin;
    return item;
}

static uint8_t *dst_at(const struct ls_request *request, int64_t element)
{
    return (uint8_t *)request->op.dst + lsi_bytes_of(request, element);
}

static int next_of(const struct lsi_message *m)
{
    return (m->group->rank + 1) % m->group->world;
}

static int previous_of(const struct lsi_message *m)
{
    return (m->group->rank + m->group->world - 1) % m->group->world;
}

/* Segment i of the own part begins its way; a single leaf is sent from where it lies. */
static enum ls_status send_own(struct lsi_message *m, struct ls_request *request, int64_t i, struct ls_error *err)
{
    const struct lsi_tree *tree = request->tree;
    struct item item = item_of(m, request, i, true);
    struct lsi_own own = {NULL, item.begin, item.length, 1};
    const void *values = dst_at(request, item.begin);

    if (tree->first_leaf[m->group->rank + 1] - tree->first_leaf[m->group->rank] == 1)
        values = (const uint8_t *)request->leaves[0] + lsi_bytes_of(request, item.begin);
    else
        lsi_own_sum(m, request, &own, dst_at(request, item.begin));
    return lsi_post_send(m, next_of(m), values, lsi_bytes_of(request, item.length), err);
}

static enum ls_status begin(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    int64_t longest = request->op.count / m->group->world + 32;
    enum ls_status status;

    m->segments = (lsi_bytes_of(request, longest) + SEGMENT_BYTES - 1) / SEGMENT_BYTES;
    m->piece = longest / m->segments + 1;
    m->posted = m->done = 0;
    /* Counts of what was posted before: the first message here is number base + 1. */
    m->send_goal[0] = m->link[next_of(m)].sends_posted;
    m->receive_goal[0] = m->link[previous_of(m)].receives_posted;
    status = lsi_message_staging(m, (size_t)(AHEAD * lsi_bytes_of(request, m->piece)), err);
    for (int64_t i = 0; i < m->segments && status == LS_OK; i++)
        status = send_own(m, request, i, err);
    return status;
}

/* Places for what comes: sums on their way into the staging memory, complete ones into the result, where nothing waits
 * to be sent any more. */
static enum ls_status post_receives(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    int adding = m->group->world - 1;
    int64_t items = 2 * adding * m->segments;
    enum ls_status status = LS_OK;

    for (; m->posted < items && m->posted < m->done + AHEAD && status == LS_OK; m->posted++) {
        struct item item = item_of(m, request, m->posted, false);
        uint8_t *place = m->staging + lsi_bytes_of(request, m->posted % AHEAD * m->piece);
        if (item.step >= adding) {
            int64_t sent = m->posted - adding * m->segments;
            if (m->link[next_of(m)].sends_done <= m->send_goal[0] + (uint64_t)sent)
                return LS_OK;
            place = dst_at(request, item.begin);
        }
        status = lsi_post_receive(m, previous_of(m), place, lsi_bytes_of(request, item.length), err);
    }
    return status;
}

/* Adds the own leaves to what came, or takes it as it is, and hands it on. */
static enum ls_status take(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    int world = m->group->world;
    struct item item = item_of(m, request, m->done, false);
    struct lsi_own own = {m->staging + lsi_bytes_of(request, m->done % AHEAD * m->piece), item.begin, item.length,
                          item.step == world - 2 ? request->divisor : 1};

    if (item.step < world - 1)
        lsi_own_sum(m, request, &own, dst_at(request, item.begin));
    m->done++;
    if (item.step == 2 * world - 3)
        return LS_OK;
    return lsi_post_send(m, next_of(m), dst_at(request, item.begin), lsi_bytes_of(request, item.length), err);
}

static enum ls_status advance(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    int64_t items = 2 * (m->group->world - 1) * m->segments;
    enum ls_status status = LS_OK;

    while (m->done < items && status == LS_OK) {
        status = post_receives(m, request, err);
        if (status != LS_OK)
            return status;
        if (m->link[previous_of(m)].receives_done <= m->receive_goal[0] + (uint64_t)m->done) {
            bool blocked = m->posted == m->done;
            m->group->waits_for = blocked ? next_of(m) : previous_of(m);
            m->group->waits_why = blocked ? "has not taken its sums" : "has not handed its sums on";
            return LS_EAGAIN;
        }
        status = take(m, request, err);
    }
    return status;
}

const struct lsi_algorithm lsi_all_reduce_ring = {.name = "ring", .begin = begin, .advance = advance};
