/* SPDX-License-Identifier: Apache-2.0 */
/* The engine of collectives over messages; see message.h. Cost of a small operation: one message to each peer. */
#include "collective/algo/message.h"

#include "core/base/alloc.h"

#include <string.h>

#define FRAME_ROOM (sizeof(struct lsi_frame) + LSI_SMALL_BYTES)

enum ls_status lsi_post_send(struct lsi_message *m, int peer, const void *data, int64_t bytes, struct ls_error *err)
{
    if (bytes == 0)
        return LS_OK;
    atomic_fetch_add_explicit(&m->group->bytes_moved, (uint64_t)bytes, memory_order_relaxed);
    return m->ops->send(m->links, peer, data, (size_t)bytes, err);
}

enum ls_status lsi_post_receive(struct lsi_message *m, int peer, void *data, int64_t bytes, struct ls_error *err)
{
    return bytes == 0 ? LS_OK : m->ops->receive(m->links, peer, data, (size_t)bytes, err);
}

enum ls_status lsi_message_staging(struct lsi_message *m, size_t bytes, struct ls_error *err)
{
    if (bytes <= m->staging_bytes)
        return LS_OK;
    ls_free(m->staging);
    m->staging_bytes = 0;
    m->staging = ls_alloc_aligned(bytes);
    if (m->staging == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for %zu bytes of a collective operation", bytes);
    m->staging_bytes = bytes;
    return LS_OK;
}

static struct lsi_frame *inbox_of(const struct lsi_message *m, int rank)
{
    return rank == m->group->rank ? m->frame : (struct lsi_frame *)(void *)(m->inbox + (size_t)rank * FRAME_ROOM);
}

/* Bytes of rank r's values in the frame of a small operation. */
static size_t payload_of(const struct ls_request *request, int r)
{
    const struct ls_collective *op = &request->op;

    if (op->kind == LS_BARRIER || request->way != LSI_ONE_SHOT)
        return 0;
    if (op->kind == LS_ALL_GATHER)
        return (size_t)op->counts[r] * request->element_bytes;
    if (op->kind == LS_ALL_TO_ALL)
        return (size_t)lsi_row(request, r) * request->element_bytes;
    if (op->kind == LS_BROADCAST)
        return r == op->root ? (size_t)op->count * request->element_bytes : 0;
    return (size_t)request->tree->partials_of[r] * (size_t)op->count * request->element_bytes;
}

static enum ls_status send_frames(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    size_t payload = payload_of(request, m->group->rank);
    enum ls_status status = LS_OK;

    m->frame->payload_bytes = (uint32_t)payload;
    m->frame->sequence = request->sequence;
    m->frame->signature = request->signature;
    if (request->way == LSI_ONE_SHOT)
        lsi_small_write(request, m->frame->payload);
    for (int r = 0; r < m->group->world && status == LS_OK; r++) {
        if (r == m->group->rank)
            continue;
        status = m->ops->send(m->links, r, m->frame, sizeof *m->frame, err);
        if (status == LS_OK)
            status = lsi_post_send(m, r, m->frame->payload, (int64_t)payload, err);
        if (status == LS_OK)
            status = m->ops->receive(m->links, r, inbox_of(m, r), sizeof *m->frame, err);
    }
    return status;
}

/* Everything that was posted to or from rank r is done; names it where not. */
static bool rank_done(struct lsi_message *m, int r, bool sends, const char *why)
{
    const struct lsi_link *link = &m->link[r];

    if (link->receives_done == link->receives_posted && (!sends || link->sends_done == link->sends_posted))
        return true;
    m->group->waits_for = r;
    m->group->waits_why = why;
    return false;
}

static bool all_done(struct lsi_message *m, bool sends, const char *why)
{
    for (int r = 0; r < m->group->world; r++)
        if (r != m->group->rank && !rank_done(m, r, sends, why))
            return false;
    return true;
}

enum ls_status lsi_frame_judge(const struct ls_request *request, int rank, const struct lsi_frame *frame,
                               struct ls_error *err)
{
    if (frame->magic != LSI_FRAME_MAGIC || frame->generation != request->group->generation ||
        frame->sequence != request->sequence)
        return ls_error_set(err, LS_EPEER, "rank %d sent something that is no frame of this group", rank);
    if (memcmp(&frame->signature, &request->signature, sizeof frame->signature) != 0)
        return lsi_mismatch(request, rank, &frame->signature, err);
    if (frame->payload_bytes != payload_of(request, rank))
        return ls_error_set(err, LS_EPEER, "rank %d sent %u bytes of values, %zu are due", rank, frame->payload_bytes,
                            payload_of(request, rank));
    return LS_OK;
}

/* Everybody runs the same operation: then their values may follow. */
static enum ls_status check_frames(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    enum ls_status status = LS_OK;

    for (int r = 0; r < m->group->world && status == LS_OK; r++) {
        const struct lsi_frame *frame = inbox_of(m, r);
        m->group->waits_for = r;
        status = lsi_frame_judge(request, r, frame, err);
        if (status == LS_OK && r != m->group->rank)
            status = lsi_post_receive(m, r, inbox_of(m, r)->payload, (int64_t)frame->payload_bytes, err);
    }
    return status;
}

const struct lsi_algorithm *lsi_message_algorithm(int kind, enum lsi_way way)
{
    static const struct {
        int kind;
        enum lsi_way way;
        const struct lsi_algorithm *algorithm;
    } all[] = {
        {LS_ALL_REDUCE, LSI_GATHER, &lsi_all_reduce_gather},
        {LS_ALL_REDUCE, LSI_CANONICAL, &lsi_all_reduce_canonical},
        {LS_ALL_REDUCE, LSI_HALVING, &lsi_all_reduce_halving},
        {LS_ALL_REDUCE, LSI_RING, &lsi_all_reduce_ring},
        {LS_ALL_REDUCE, LSI_BF16, &lsi_all_reduce_bf16},
        {LS_REDUCE_SCATTER, LSI_BF16, &lsi_all_reduce_bf16},
        {LS_REDUCE_SCATTER, LSI_CANONICAL, &lsi_all_reduce_canonical},
        {LS_ALL_GATHER, LSI_DIRECT, &lsi_all_gather_direct},
        {LS_BROADCAST, LSI_BINOMIAL, &lsi_broadcast_binomial},
        {LS_ALL_TO_ALL, LSI_DIRECT, &lsi_all_to_all_direct},
    };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i].way == way && (all[i].kind == kind || (all[i].kind == LS_ALL_REDUCE && kind == LS_ALL_REDUCE_TREE)))
            return all[i].algorithm;
    return NULL;
}

bool lsi_message_supports(int kind, enum lsi_way way)
{
    return lsi_message_algorithm(kind, way) != NULL;
}

static enum ls_status begin_algorithm(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    m->phase = LSI_MESSAGE_PAYLOADS;
    if (request->way == LSI_ONE_SHOT)
        return LS_OK;
    m->phase = LSI_MESSAGE_ALGORITHM;
    m->algorithm = m->ops->algorithm != NULL ? m->ops->algorithm(m->links, request)
                                             : lsi_message_algorithm((int)request->op.kind, request->way);
    return m->algorithm->begin(m, request, err);
}

static enum ls_status finish_small(struct lsi_message *m, struct ls_request *request)
{
    const void *payload[LS_MAX_MEMBERS];

    for (int r = 0; r < m->group->world; r++)
        payload[r] = inbox_of(m, r)->payload;
    lsi_small_finish(request, payload, m->inputs);
    return LS_OK;
}

static enum ls_status advance(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    enum ls_status status = LS_OK;

    if (m->phase == LSI_MESSAGE_FRAMES) {
        if (!all_done(m, false, "has not started it"))
            return LS_EAGAIN;
        status = check_frames(m, request, err);
        if (status == LS_OK)
            status = begin_algorithm(m, request, err);
    }
    if (status == LS_OK && m->phase == LSI_MESSAGE_ALGORITHM) {
        status = m->algorithm->advance(m, request, err);
        if (status == LS_OK)
            m->phase = LSI_MESSAGE_DRAIN;
    }
    if (status != LS_OK)
        return status;
    if (!all_done(m, true,
                  m->phase == LSI_MESSAGE_DRAIN ? "has not taken or sent all of it" : "has not sent its values"))
        return LS_EAGAIN;
    return m->phase == LSI_MESSAGE_PAYLOADS ? finish_small(m, request) : LS_OK;
}

static void count_progress(struct lsi_message *m)
{
    uint64_t moved = 0;

    for (int r = 0; r < m->group->world; r++)
        moved += m->link[r].sends_done + m->link[r].receives_done;
    m->group->ticks += moved != m->moved;
    m->moved = moved;
}

/* Only the oldest operation is on the wire: the streams carry one after another. */
enum ls_status lsi_message_publish(void *state, struct ls_request *request, struct ls_error *err)
{
    (void)state;
    (void)request;
    (void)err;
    return LS_OK;
}

enum ls_status lsi_message_progress(void *state, struct ls_request *request, struct ls_error *err)
{
    struct lsi_message *m = state;
    enum ls_status status = LS_OK;

    if (m->sequence != request->sequence) {
        m->sequence = request->sequence;
        m->phase = LSI_MESSAGE_FRAMES;
        status = send_frames(m, request, err);
    }
    for (int pass = 0; status == LS_OK && pass < 2; pass++) {
        int culprit = m->group->waits_for;
        enum ls_status polled = m->ops->poll(m->links, &culprit, err);
        count_progress(m);
        /* What has come completely is completed, even where a peer was lost meanwhile. */
        status = advance(m, request, polled == LS_OK ? err : NULL);
        if (status == LS_OK)
            break;
        if (polled != LS_OK) {
            m->group->waits_for = culprit;
            return polled;
        }
        if (status != LS_EAGAIN)
            break;
        /* What advance has just posted goes out at once. */
        status = pass == 0 ? LS_OK : LS_EAGAIN;
    }
    return status;
}

void lsi_message_destroy(void *state)
{
    struct lsi_message *m = state;

    if (m == NULL)
        return;
    m->ops->destroy(m->links);
    ls_free(m->frame);
    ls_free(m->inbox);
    ls_free(m->staging);
    ls_free(m->inputs);
    ls_free(m->receive_goal);
    ls_free(m->send_goal);
    ls_free(m);
}

enum ls_status lsi_message_create(struct ls_group *group, const struct lsi_links_ops *ops, void *links,
                                  struct lsi_link *link, struct lsi_message **message, struct ls_error *err)
{
    struct lsi_message *m = ls_alloc_zeroed(1, sizeof *m);

    if (m == NULL) {
        ops->destroy(links);
        return ls_error_set(err, LS_ENOMEM, "no memory for a group");
    }
    m->group = group;
    m->ops = ops;
    m->links = links;
    m->link = link;
    m->frame = ls_alloc_aligned(FRAME_ROOM);
    m->inbox = ls_alloc_aligned((size_t)group->world * FRAME_ROOM);
    m->inputs = ls_alloc_zeroed(LSI_MAX_LEAVES, sizeof m->inputs[0]);
    m->receive_goal = ls_alloc_zeroed(4 * (size_t)group->world, sizeof m->receive_goal[0]);
    m->send_goal = ls_alloc_zeroed(4 * (size_t)group->world, sizeof m->send_goal[0]);
    if (m->frame == NULL || m->inbox == NULL || m->inputs == NULL || m->receive_goal == NULL || m->send_goal == NULL) {
        lsi_message_destroy(m);
        return ls_error_set(err, LS_ENOMEM, "no memory for a group of %d", group->world);
    }
    m->frame->magic = LSI_FRAME_MAGIC;
    m->frame->generation = group->generation;
    *message = m;
    return LS_OK;
}
