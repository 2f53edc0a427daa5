/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The providers "hybrid", "hybrid-mpi" and "hybrid-nccl": the message engine over what carries between hosts (`over` of
 * the provider's table), with an inner group of shm for each host. What waits for the inner group sleeps on its bell,
 * everything else on the carrier. An end reaches members over the carrier and over the memory of their host, whichever
 * is first.
 */
#include "collective/provider/hybrid/hybrid.h"

#include "collective/provider/mpi/links.h"
#include "collective/provider/nccl/links.h"
#include "collective/transport/tcp/links.h"
#include "collective/transport/tcp/listen.h"

#include "core/base/alloc.h"

static enum ls_status hybrid_poll(void *state, int *culprit, struct ls_error *err)
{
    struct hybrid *h = state;
    enum ls_status status = h->over.ops->poll(h->over.links, culprit, err);

    return status != LS_OK ? status : lsi_hybrid_inner_look(h, culprit, err);
}

/* Something posted to or from another host is not done. */
static bool is_under_way(const struct hybrid *h)
{
    for (int r = 0; r < h->group->world; r++)
        if (h->link[r].sends_done != h->link[r].sends_posted || h->link[r].receives_done != h->link[r].receives_posted)
            return true;
    return false;
}

static bool hybrid_idle(void *state, int round)
{
    struct hybrid *h = state;
    int culprit;
    bool slept;

    /* The bell rings for this host: a carrier that moves in its calls would keep the others waiting meanwhile. */
    if (h->request == NULL || (h->over.ops->needs_polls && is_under_way(h)))
        return h->over.ops->idle(h->over.links, round);
    slept = h->inner->ops->idle(h->inner->state, round);
    /* Words of other hosts, an abort or for whom somebody waits, must be heard here too; what ends it the next poll
     * says. */
    if (slept || (round & 63) == 63)
        (void)h->over.ops->look(h->over.links, &culprit, NULL);
    return slept;
}

static enum ls_status hybrid_look(void *state, int *culprit, struct ls_error *err)
{
    struct hybrid *h = state;
    enum ls_status status = h->over.ops->look(h->over.links, culprit, err);

    return status != LS_OK ? status : lsi_hybrid_inner_look(h, culprit, err);
}

static void hybrid_abort(void *state)
{
    struct hybrid *h = state;

    h->over.ops->abort(h->over.links);
    lsi_hybrid_inner_abort(h);
}

static void hybrid_destroy(void *state)
{
    struct hybrid *h = state;

    lsi_hybrid_inner_destroy(h);
    h->over.ops->destroy(h->over.links);
    lsi_hybrid_plans_deinit(h);
    ls_free(h);
}

static const struct lsi_algorithm *hybrid_algorithm(void *state, const struct ls_request *request)
{
    const struct hybrid *h = state;

    if (request->way != LSI_HIERARCHY)
        return lsi_message_algorithm((int)request->op.kind, request->way);
    if (h->hosts == 1)
        return &lsi_hybrid_inside;
    if (request->op.kind <= LS_REDUCE_SCATTER)
        return &lsi_hybrid_reduce;
    if (request->op.kind == LS_ALL_GATHER)
        return &lsi_hybrid_all_gather;
    return request->op.kind == LS_BROADCAST ? &lsi_hybrid_broadcast : &lsi_hybrid_all_to_all;
}

static const struct lsi_links_ops links_ops = {
    .send = lsi_over_send,
    .receive = lsi_over_receive,
    .poll = hybrid_poll,
    .idle = hybrid_idle,
    .abort = hybrid_abort,
    .destroy = hybrid_destroy,
    .look = hybrid_look,
    .tell_wait = lsi_over_tell_wait,
    .heard_wait = lsi_over_heard_wait,
    .algorithm = hybrid_algorithm,
};

/* All members are on one host: the operation is the inner group's. */
static enum ls_status inside_begin(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    struct hybrid *h = hybrid_of(m);

    return ls_group_start(h->inner, &request->op, &h->request, err);
}

static enum ls_status inside_advance(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    (void)request;
    return lsi_hybrid_inner_test(m, err);
}

const struct lsi_algorithm lsi_hybrid_inside = {.name = "inside", .begin = inside_begin, .advance = inside_advance};

/* Ends a group that could not be formed, so that those who wait for it learn why. */
static void give_up(struct ls_group *group, enum ls_status status, const char *reason)
{
    (void)lsi_group_end(group, status, -1, reason);
    group->ops->abort(group->state);
    group->ops->destroy(group->state);
    group->state = NULL;
}

static enum ls_status hybrid_create(const struct ls_group_options *options, struct ls_group *group, void **state,
                                    struct ls_error *err)
{
    struct hybrid *h = ls_alloc_zeroed(1, sizeof *h);
    struct ls_error why = LS_ERROR_INIT;
    struct lsi_message *message;
    enum ls_status status;

    if (h == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for a group");
    h->group = group;
    h->over.ops = group->ops->over;
    lsi_hybrid_place(h);
    status = h->over.ops->open(options, group, &h->over.links, &h->link, err);
    if (status != LS_OK) {
        ls_free(h);
        return status;
    }
    status = lsi_message_create(group, &links_ops, h, h->link, &message, err);
    if (status != LS_OK)
        return status;
    /* Hosts meet with operations of the group itself. */
    *state = message;
    status = lsi_hybrid_meet(h, options, &why);
    if (status != LS_OK) {
        give_up(group, status, why.message);
        return ls_error_set(err, status, "%s", why.message);
    }
    if (group->ops->listens)
        ls_tcp_unlisten(options->listener);
    return LS_OK;
}

/* Memory that members of one host share. */
static enum ls_status hybrid_reserve(void *state, size_t bytes, struct ls_error *err)
{
    struct hybrid *h = hybrid_of(state);

    return h->inner->ops->reserve(h->inner->state, bytes, err);
}

static enum ls_status hybrid_map(void *state, size_t bytes, void **memory, struct ls_error *err)
{
    struct hybrid *h = hybrid_of(state);

    return h->inner->ops->map(h->inner->state, bytes, memory, err);
}

static bool hybrid_supports(int kind, enum lsi_way way)
{
    return way == LSI_HIERARCHY || lsi_message_supports(kind, way);
}

static bool drives_beside(const void *state)
{
    (void)state;
    return true;
}

/* What all compositions have alike. */
#define HYBRID_SLOTS(label, carrier)                                                                           \
    .size = sizeof(struct ls_provider_ops), .abi = LSI_PROVIDER_ABI, .name = (label), .create = hybrid_create, \
    .links = &links_ops, .over = (carrier), .reserve = hybrid_reserve, .map = hybrid_map

const struct ls_provider_ops lsi_hybrid_provider = {
    HYBRID_SLOTS("hybrid", &lsi_tcp_links),
    .supports = hybrid_supports,
    .listens = true,
    .drives_beside = drives_beside,
};

const struct ls_provider_ops lsi_hybrid_mpi_provider = {
    HYBRID_SLOTS("hybrid-mpi", &lsi_mpi_links), .supports = hybrid_supports,      .context = lsi_mpi_context,
    .drives_beside = lsi_mpi_drives_beside,     .one_thread = lsi_mpi_one_thread,
};

const struct ls_provider_ops lsi_hybrid_nccl_provider = {
    HYBRID_SLOTS("hybrid-nccl", &lsi_nccl_carrier),
    .supports = hybrid_supports,
    .listens = true,
};
