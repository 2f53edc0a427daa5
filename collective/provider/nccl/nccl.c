/* SPDX-License-Identifier: Apache-2.0 */
/* The provider "nccl": the message engine with its words on the mesh of tcp and its values in rounds of NCCL. */
#include "collective/provider/nccl/nccl_internal.h"
#include "collective/transport/tcp/links.h"
#include "collective/transport/tcp/listen.h"

#include "core/base/alloc.h"
#include "core/base/clock.h"

#include <sched.h>
#include <time.h>

#define YIELD_ROUNDS 20
#define LOOK_ROUNDS 16

static bool rounds_run(const struct nccl *nccl)
{
    return nccl->done < nccl->rounds;
}

/* While rounds run nothing is expected over the mesh: deaths and words are looked for now and then. */
static enum ls_status nccl_poll(void *state, int *culprit, struct ls_error *err)
{
    struct nccl *nccl = state;

    if (rounds_run(nccl) && nccl->polls++ % LOOK_ROUNDS == 0)
        return lsi_tcp_links.look(nccl->over.links, culprit, err);
    return lsi_tcp_links.poll(nccl->over.links, culprit, err);
}

/* An event wakes nobody: while rounds run, a sleep is short. */
static bool nccl_idle(void *state, int round)
{
    struct nccl *nccl = state;
    struct timespec pause = {0, 20000};

    if (!rounds_run(nccl))
        return lsi_tcp_links.idle(nccl->over.links, round);
    if (round < YIELD_ROUNDS) {
        (void)sched_yield();
        return false;
    }
    (void)nanosleep(&pause, NULL);
    return true;
}

void lsi_nccl_abort(void *state)
{
    struct nccl *nccl = state;

    lsi_tcp_links.abort(nccl->over.links);
    lsi_nccl_handle_abort(nccl->handle);
}

static const struct lsi_algorithm *nccl_algorithm(void *state, const struct ls_request *request)
{
    (void)state;
    (void)request;
    return &lsi_nccl_algorithm;
}

/* Peers read the bye, or the reason, when the communicator is over: it may need them to end in good order. */
static void nccl_destroy(void *state)
{
    struct nccl *nccl = state;
    bool orderly = !lsi_group_ended(nccl->group) && nccl->formed;
    bool is_gone = nccl->handle == NULL || lsi_nccl_handle_close(nccl->handle, orderly);

    lsi_nccl_stage_destroy(nccl, !is_gone);
    if (nccl->over.links != NULL)
        lsi_tcp_links.destroy(nccl->over.links);
    ls_free(nccl->cards[0]);
    ls_free(nccl->cards[1]);
    ls_free(nccl);
}

enum ls_status lsi_nccl_open(const struct ls_group_options *options, struct ls_group *group, bool watched,
                             struct nccl **made, struct lsi_link **link, struct ls_error *err)
{
    uint64_t deadline = ls_clock_now_ns() + (uint64_t)options->form_deadline_ms * 1000000u;
    struct nccl *nccl = ls_alloc_zeroed(1, sizeof *nccl);
    enum ls_status status;

    if (nccl == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for a group");
    nccl->over.ops = &lsi_tcp_links;
    nccl->group = group;
    status = lsi_tcp_links.open(options, group, &nccl->over.links, link, err);
    if (status == LS_OK && watched)
        lsi_tcp_links.watch(nccl->over.links);
    if (status == LS_OK)
        status = lsi_nccl_form(nccl, options, *link, deadline, err);
    if (status != LS_OK) {
        nccl_destroy(nccl);
        return status;
    }
    nccl->formed = true;
    lsi_nccl_handle_publish(nccl->handle, group, nccl->over.links);
    *made = nccl;
    return LS_OK;
}

static enum ls_status nccl_open(const struct ls_group_options *options, struct ls_group *group, void **links,
                                struct lsi_link **link, struct ls_error *err)
{
    struct nccl *nccl = NULL;
    enum ls_status status = lsi_nccl_open(options, group, true, &nccl, link, err);

    *links = nccl;
    return status;
}

const struct lsi_links_ops lsi_nccl_links = {
    .open = nccl_open,
    .send = lsi_over_send,
    .receive = lsi_over_receive,
    .poll = nccl_poll,
    .idle = nccl_idle,
    .abort = lsi_nccl_abort,
    .destroy = nccl_destroy,
    .look = lsi_over_look,
    .tell_wait = lsi_over_tell_wait,
    .heard_wait = lsi_over_heard_wait,
    .algorithm = nccl_algorithm,
};

const struct ls_provider_ops lsi_nccl_provider = {
    .size = sizeof(struct ls_provider_ops),
    .abi = LSI_PROVIDER_ABI,
    .name = "nccl",
    .links = &lsi_nccl_links,
    .supports = lsi_nccl_supports,
    .listens = true,
};
