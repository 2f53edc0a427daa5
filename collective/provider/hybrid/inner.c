/* SPDX-License-Identifier: Apache-2.0 */
/* The inner group of a host: its operations, one at a time, its end, its windows; and what is due between hosts. */
#include "collective/provider/hybrid/hybrid.h"

enum ls_status lsi_hybrid_inner_start(struct hybrid *h, const struct ls_collective *op, struct ls_error *err)
{
    return hybrid_size(h, h->host) > 1 ? ls_group_start(h->inner, op, &h->request, err) : LS_OK;
}

/* A rank of the inner group as one of the whole. */
static int whole_rank(const struct hybrid *h, int inner)
{
    return inner >= 0 && inner < hybrid_size(h, h->host) ? hybrid_rank(h, h->host, inner) : -1;
}

/* The inner group's progress and bytes count for the whole. */
static void take_over(struct hybrid *h)
{
    uint64_t bytes = ls_group_bytes_moved(h->inner);

    if (h->inner->ticks != h->inner_ticks)
        h->group->ticks++;
    h->inner_ticks = h->inner->ticks;
    atomic_fetch_add_explicit(&h->group->bytes_moved, bytes - h->inner_bytes, memory_order_relaxed);
    h->inner_bytes = bytes;
}

enum ls_status lsi_hybrid_inner_test(struct lsi_message *m, struct ls_error *err)
{
    struct hybrid *h = hybrid_of(m);
    enum ls_status status;

    if (h->request == NULL)
        return LS_OK;
    status = ls_request_test(h->request, NULL);
    take_over(h);
    if (status == LS_EAGAIN) {
        m->group->waits_for = whole_rank(h, h->inner->waits_for);
        m->group->waits_why = h->inner->waits_why;
        return LS_EAGAIN;
    }
    if (status != LS_OK) {
        status = ls_request_wait(h->request, err);
        m->group->waits_for = whole_rank(h, h->inner->end.culprit);
    }
    h->request = NULL;
    return status;
}

enum ls_status lsi_hybrid_inner_look(struct hybrid *h, int *culprit, struct ls_error *err)
{
    int inner = -1;
    enum ls_status status;

    if (h->inner == NULL)
        return LS_OK;
    status = h->inner->ops->look(h->inner->state, &inner, err);
    if (status != LS_OK)
        *culprit = whole_rank(h, inner);
    return status;
}

void lsi_hybrid_inner_died(void *state, int rank)
{
    const struct hybrid *h = state;

    if (h->over.ops->died != NULL)
        h->over.ops->died(h->over.links, whole_rank(h, rank));
}

/* From any thread: members of the host read the same reason as the others. */
void lsi_hybrid_inner_abort(struct hybrid *h)
{
    struct ls_error why = LS_ERROR_INIT;
    int culprit;

    if (h->inner == NULL)
        return;
    /* It waits until another thread has written the end. */
    (void)lsi_group_end_error(h->group, &why);
    culprit = h->group->end.culprit;
    culprit = culprit >= 0 && h->host_of[culprit] == h->host ? h->index_of[culprit] : -1;
    (void)lsi_group_end(h->inner, why.status, culprit, why.message);
    h->inner->ops->abort(h->inner->state);
}

void lsi_hybrid_inner_destroy(struct hybrid *h)
{
    if (h->inner == NULL)
        return;
    if (h->request != NULL) {
        if (!lsi_group_ended(h->inner))
            ls_group_abort(h->inner, "it was closed while an operation ran");
        (void)ls_request_wait(h->request, NULL);
    }
    ls_group_destroy(h->inner);
}

enum ls_status lsi_hybrid_send(struct lsi_message *m, int peer, const void *data, int64_t bytes, struct ls_error *err)
{
    const struct lsi_over *over = &hybrid_of(m)->over;

    if (over->ops->send_values == NULL || bytes == 0)
        return lsi_post_send(m, peer, data, bytes, err);
    atomic_fetch_add_explicit(&m->group->bytes_moved, (uint64_t)bytes, memory_order_relaxed);
    return over->ops->send_values(over->links, peer, data, (size_t)bytes, err);
}

enum ls_status lsi_hybrid_receive(struct lsi_message *m, int peer, void *data, int64_t bytes, struct ls_error *err)
{
    const struct lsi_over *over = &hybrid_of(m)->over;

    if (over->ops->receive_values == NULL || bytes == 0)
        return lsi_post_receive(m, peer, data, bytes, err);
    return over->ops->receive_values(over->links, peer, data, (size_t)bytes, err);
}

void lsi_hybrid_flush(struct lsi_message *m)
{
    const struct lsi_over *over = &hybrid_of(m)->over;

    if (over->ops->flush != NULL)
        over->ops->flush(over->links);
}

uint8_t *lsi_hybrid_window(const struct hybrid *h, int index, int64_t s)
{
    uint8_t *own = h->inner->ops->peer(h->inner->state, h->windows, index);

    return own + (size_t)(s & 1) * HYBRID_WINDOW_BYTES;
}

bool lsi_hybrid_done(struct lsi_message *m, bool receives, const uint64_t *goal, const char *why)
{
    int late = -1;

    for (int r = 0; r < m->group->world; r++) {
        const struct lsi_link *link = &m->link[r];
        uint64_t posted = receives ? link->receives_posted : link->sends_posted;
        if (r == m->group->rank || (receives ? link->receives_done : link->sends_done) >= (goal ? goal[r] : posted))
            continue;
        /* Messages that travel together are done together: the one who is silent keeps the others, who tell so. */
        if (late < 0 || (lsi_over_heard_wait(m->links, late) >= 0 && lsi_over_heard_wait(m->links, r) < 0))
            late = r;
    }
    if (late < 0)
        return true;
    m->group->waits_for = late;
    m->group->waits_why = why;
    return false;
}

bool lsi_hybrid_received(struct lsi_message *m, const char *why)
{
    return lsi_hybrid_done(m, true, NULL, why);
}

bool lsi_hybrid_sent(struct lsi_message *m, const char *why)
{
    return lsi_hybrid_done(m, false, NULL, why);
}
