/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forming, over a mesh whose members have proved the secret: everybody tells whether it has NCCL and a device, rank 0
 * also the id that it made; then each starts a non-blocking communicator and asks after it until it is there, a peer
 * gives up, or the deadline passes; then everybody tells that it is ready. So a group is formed for all or for none.
 */
#include "collective/provider/nccl/card.h"
#include "collective/provider/nccl/nccl_internal.h"
#include "collective/transport/tcp/links.h"

#include "core/base/alloc.h"
#include "core/base/hash.h"

#include <stdio.h>
#include <string.h>

struct forming {
    struct nccl *nccl;
    const struct ls_group_options *options;
    struct lsi_link *link;
    uint64_t deadline_ns;
    struct nccl_card *own;   /* [round] */
    struct nccl_card *cards; /* [round][rank] */
    uint64_t goal[2];        /* receives that bring the cards of a round, the same for every rank */
};

static struct nccl_card *card_of(const struct forming *forming, int round, int rank)
{
    return &forming->cards[round * forming->nccl->group->world + rank];
}

static enum ls_status send_cards(struct forming *forming, int round, struct ls_error *err)
{
    const struct ls_group *group = forming->nccl->group;
    enum ls_status status = LS_OK;

    *card_of(forming, round, group->rank) = forming->own[round];
    for (int r = 0; r < group->world && status == LS_OK; r++)
        if (r != group->rank)
            status =
                lsi_tcp_links.send(forming->nccl->over.links, r, &forming->own[round], sizeof forming->own[0], err);
    return status;
}

static enum ls_status expect_cards(struct forming *forming, int round, struct ls_error *err)
{
    const struct ls_group *group = forming->nccl->group;
    enum ls_status status = LS_OK;

    for (int r = 0; r < group->world && status == LS_OK; r++)
        if (r != group->rank)
            status = lsi_tcp_links.receive(forming->nccl->over.links, r, card_of(forming, round, r),
                                           sizeof(struct nccl_card), err);
    forming->goal[round] = (uint64_t)round + 1;
    return status;
}

static bool has_card(const struct forming *forming, int round, int rank)
{
    return rank == forming->nccl->group->rank || forming->link[rank].receives_done >= forming->goal[round];
}

/* What has come of a round; *all: it is complete. */
static enum ls_status look_at_cards(struct forming *forming, int round, bool *all, struct ls_error *err)
{
    struct ls_group *group = forming->nccl->group;
    enum ls_status status;
    int culprit;

    status = lsi_tcp_links.poll(forming->nccl->over.links, &culprit, err);
    *all = true;
    for (int r = 0; r < group->world; r++) {
        enum ls_status judged = LS_OK;
        if (r == group->rank)
            continue;
        if (has_card(forming, round, r))
            /* A member that could not go on is named to all. */
            judged = lsi_nccl_card_judge(group, r, forming->own[0].version, card_of(forming, round, r), err);
        else
            *all = false;
        /* What a peer said before it went away explains more than that it went. */
        if (judged != LS_OK)
            return judged;
    }
    return status;
}

static enum ls_status too_late(const struct forming *forming, int round, struct ls_error *err)
{
    const struct ls_group *group = forming->nccl->group;
    char names[400] = "", who[128];
    size_t at = 0;

    for (int r = 0; r < group->world && at < sizeof names; r++)
        if (!has_card(forming, round, r) || (r == group->rank && round == 1 && forming->own[1].version == 0))
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", at > 0 ? ", " : "",
                                   lsi_member_text(group, r, who));
    return ls_error_set(
        err, LS_ETIMEOUT, "NCCL did not connect the group of generation %llu within %.1f s; not ready: %s",
        (unsigned long long)group->generation, (double)forming->options->form_deadline_ms * 1e-3, names);
}

static enum ls_status meet(struct forming *forming, struct ls_error *err)
{
    enum ls_status status = expect_cards(forming, 0, err);
    bool all = false;

    if (status == LS_OK)
        status = send_cards(forming, 0, err);
    for (int i = 0; status == LS_OK && !all; i++) {
        status = look_at_cards(forming, 0, &all, err);
        if (status == LS_OK && !all && lsi_form_over(forming->nccl->group, forming->options, forming->deadline_ns))
            return too_late(forming, 0, err);
        if (status == LS_OK && !all)
            (void)lsi_tcp_links.idle(forming->nccl->over.links, i);
    }
    return status;
}

/* The group that this one is split from ended meanwhile, and took the communicator with it. */
static enum ls_status aborted(const struct nccl *nccl, struct ls_error *err)
{
    const struct ls_group *ended = lsi_ended_parent(nccl->group);

    if (ended != NULL)
        return lsi_group_end_error(ended, err);
    return ls_error_set(err, LS_EINTERRUPTED, "rank %d: a communicator was aborted while it formed", nccl->group->rank);
}

static enum ls_status start_communicator(struct forming *forming, struct ls_error *err)
{
    struct nccl *nccl = forming->nccl;
    struct nccl_config config = NCCL_CONFIG_DEFAULT;
    int previous, code;

    config.blocking = 0;
    if (!lsi_nccl_handle_enter(nccl->handle))
        return aborted(nccl, err);
    previous = lsi_nccl_device_enter(nccl);
    code = nccl->library->nccl.comm_init(&nccl->handle->comm, nccl->group->world, card_of(forming, 0, 0)->id,
                                         nccl->group->rank, &config);
    lsi_nccl_handle_leave(nccl->handle);
    lsi_nccl_device_leave(nccl, previous);
    return code == NCCL_OK || code == NCCL_IN_PROGRESS ? LS_OK
                                                       : lsi_nccl_failed(nccl, "ncclCommInitRankConfig", code, err);
}

/* LS_EAGAIN: not there yet. */
static enum ls_status ask_communicator(struct nccl *nccl, struct ls_error *err)
{
    int state = NCCL_IN_PROGRESS, code;

    /* One that ended before this communicator was there did not take it along. */
    if (lsi_ended_parent(nccl->group) != NULL || !lsi_nccl_handle_enter(nccl->handle))
        return aborted(nccl, err);
    code = nccl->library->nccl.comm_async_error(nccl->handle->comm, &state);
    lsi_nccl_handle_leave(nccl->handle);
    if (code == NCCL_OK && state == NCCL_IN_PROGRESS)
        return LS_EAGAIN;
    if (code == NCCL_OK && state == NCCL_OK)
        return LS_OK;
    return lsi_nccl_failed(nccl, "ncclCommInitRankConfig", code != NCCL_OK ? code : state, err);
}

/* Own failures are told to the peers, which would wait for this member otherwise. */
static void tell_failure(struct forming *forming, int round, enum ls_status status, const struct ls_error *why)
{
    int culprit;

    forming->own[round].status = status;
    (void)snprintf(forming->own[round].reason, sizeof forming->own[round].reason, "%s", why->message);
    (void)send_cards(forming, round, NULL);
    for (int i = 0; i < 3; i++)
        (void)lsi_tcp_links.poll(forming->nccl->over.links, &culprit, NULL);
}

static enum ls_status connect_all(struct forming *forming, struct ls_error *err)
{
    struct ls_error own = LS_ERROR_INIT;
    enum ls_status mine = start_communicator(forming, &own), status = LS_OK;
    bool all = false, ready = false;

    for (int i = 0; status == LS_OK && !all; i++) {
        if (mine == LS_OK && !ready)
            mine = ask_communicator(forming->nccl, &own);
        if (mine == LS_OK && !ready) {
            ready = true;
            forming->own[1].version = forming->own[0].version;
            status = send_cards(forming, 1, err);
        } else if (mine != LS_OK && mine != LS_EAGAIN) {
            tell_failure(forming, 1, mine, &own);
            return ls_error_set(err, mine, "%s", own.message);
        }
        mine = LS_OK;
        if (status == LS_OK)
            status = look_at_cards(forming, 1, &all, err);
        all = all && ready;
        if (status == LS_OK && !all && lsi_form_over(forming->nccl->group, forming->options, forming->deadline_ns)) {
            (void)too_late(forming, 1, &own);
            if (!ready)
                tell_failure(forming, 1, LS_ETIMEOUT, &own);
            return ls_error_set(err, LS_ETIMEOUT, "%s", own.message);
        }
        if (status == LS_OK && !all)
            (void)lsi_tcp_links.idle(forming->nccl->over.links, i);
    }
    return status;
}

/* The k-th member of a host takes its k-th device; where each process sees one device only, it takes that one. */
static enum ls_status choose_device(struct nccl *nccl, struct ls_error *err)
{
    const struct ls_group *group = nccl->group;
    int before = 0, count = 0, code = nccl->library->cuda.device_count(&count);

    if (code != CUDA_OK || count < 1)
        return ls_error_set(err, LS_EUNSUPPORTED, "the transport 'nccl' needs a CUDA device, and CUDA finds none: %s",
                            code != CUDA_OK ? nccl->library->cuda.error_text(code) : "there is no device");
    for (int r = 0; r < group->rank; r++)
        before += strcmp(group->members[r].host, group->members[group->rank].host) == 0;
    nccl->device = before % count;
    return LS_OK;
}

/* What this member needs before it speaks to the others. */
static enum ls_status prepare(struct forming *forming, struct ls_error *err)
{
    struct nccl *nccl = forming->nccl;
    enum ls_status status = lsi_nccl_library_get(&nccl->library, err);

    if (status == LS_OK)
        status = choose_device(nccl, err);
    if (status == LS_OK)
        status = lsi_nccl_stage_create(nccl, err);
    if (status == LS_OK && (nccl->handle = lsi_nccl_handle_create(nccl->library, nccl->device)) == NULL)
        status = ls_error_set(err, LS_ENOMEM, "no memory for a group");
    if (status != LS_OK)
        return status;
    forming->own[0].version = nccl->library->version;
    if (nccl->group->rank == 0) {
        int previous = lsi_nccl_device_enter(nccl), code = nccl->library->nccl.get_unique_id(&forming->own[0].id);
        lsi_nccl_device_leave(nccl, previous);
        if (code != NCCL_OK)
            return lsi_nccl_failed(nccl, "ncclGetUniqueId", code, err);
    }
    return LS_OK;
}

/* Communicators that are aborted together: those of one group and of all that were split from it. */
static uint64_t family_of(const struct nccl *nccl, const struct nccl_id *id)
{
    const struct lsi_origin *origin = nccl->group->origin;
    const struct nccl *parent = origin != NULL ? lsi_links_of(origin->group) : NULL;

    return parent != NULL ? parent->handle->family : ls_xxh3(id->bytes, sizeof id->bytes, 0) | 1;
}

enum ls_status lsi_nccl_form(struct nccl *nccl, const struct ls_group_options *options, struct lsi_link *link,
                             uint64_t deadline_ns, struct ls_error *err)
{
    size_t world = (size_t)nccl->group->world;
    struct forming forming = {.nccl = nccl, .options = options, .link = link, .deadline_ns = deadline_ns};
    struct ls_error own = LS_ERROR_INIT;
    enum ls_status status;

    forming.own = ls_alloc_zeroed(2, sizeof forming.own[0]);
    forming.cards = ls_alloc_zeroed(2 * world, sizeof forming.cards[0]);
    if (forming.own == NULL || forming.cards == NULL) {
        ls_free(forming.own);
        ls_free(forming.cards);
        return ls_error_set(err, LS_ENOMEM, "no memory for a group of %zu", world);
    }
    status = prepare(&forming, &own);
    if (status != LS_OK) {
        tell_failure(&forming, 0, status, &own);
        (void)ls_error_set(err, status, "%s", own.message);
    } else {
        status = meet(&forming, err);
    }
    if (status == LS_OK) {
        nccl->handle->family = family_of(nccl, &card_of(&forming, 0, 0)->id);
        status = expect_cards(&forming, 1, err);
    }
    if (status == LS_OK)
        status = connect_all(&forming, err);
    /* The links may still hold places in them where forming failed; the caller ends the links first. */
    nccl->cards[0] = forming.own;
    nccl->cards[1] = forming.cards;
    return status;
}
