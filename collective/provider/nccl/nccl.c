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

static enum ls_status nccl_send(void *state, int peer, const void *data, size_t bytes, struct ls_error *err)
{
    return lsi_tcp_links.send(((struct nccl *)state)->links, peer, data, bytes, err);
}

static enum ls_status nccl_receive(void *state, int peer, void *data, size_t bytes, struct ls_error *err)
{
    return lsi_tcp_links.receive(((struct nccl *)state)->links, peer, data, bytes, err);
}

/* While rounds run nothing is expected over the mesh: deaths and words are looked for now and then. */
static enum ls_status nccl_poll(void *state, int *culprit, struct ls_error *err)
{
    struct nccl *nccl = state;

    if (rounds_run(nccl) && nccl->polls++ % LOOK_ROUNDS == 0)
        return lsi_tcp_links.look(nccl->links, culprit, err);
    return lsi_tcp_links.poll(nccl->links, culprit, err);
}

static enum ls_status nccl_look(void *state, int *culprit, struct ls_error *err)
{
    return lsi_tcp_links.look(((struct nccl *)state)->links, culprit, err);
}

/* An event wakes nobody: while rounds run, a sleep is short. */
static bool nccl_idle(void *state, int round)
{
    struct nccl *nccl = state;
    struct timespec pause = {0, 20000};

    if (!rounds_run(nccl))
        return lsi_tcp_links.idle(nccl->links, round);
    if (round < YIELD_ROUNDS) {
        (void)sched_yield();
        return false;
    }
    (void)nanosleep(&pause, NULL);
    return true;
}

static void nccl_abort(void *state)
{
    struct nccl *nccl = state;

    lsi_tcp_links.abort(nccl->links);
    lsi_nccl_handle_abort(nccl->handle);
}

static void nccl_tell_wait(void *state, int rank)
{
    lsi_tcp_links.tell_wait(((struct nccl *)state)->links, rank);
}

static int nccl_heard_wait(void *state, int peer)
{
    return lsi_tcp_links.heard_wait(((struct nccl *)state)->links, peer);
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
    bool orderly = atomic_load(&nccl->group->end_state) == 0 && nccl->formed;
    bool is_gone = nccl->handle == NULL || lsi_nccl_handle_close(nccl->handle, orderly);

    lsi_nccl_stage_destroy(nccl, !is_gone);
    if (nccl->links != NULL)
        lsi_tcp_links.destroy(nccl->links);
    ls_free(nccl->cards[0]);
    ls_free(nccl->cards[1]);
    ls_free(nccl);
}

static const struct lsi_links_ops links_ops = {
    .send = nccl_send,
    .receive = nccl_receive,
    .poll = nccl_poll,
    .idle = nccl_idle,
    .abort = nccl_abort,
    .destroy = nccl_destroy,
    .look = nccl_look,
    .tell_wait = nccl_tell_wait,
    .heard_wait = nccl_heard_wait,
    .algorithm = nccl_algorithm,
};

static enum ls_status nccl_create(const struct ls_group_options *options, struct ls_group *group, void **state,
                                  struct ls_error *err)
{
    uint64_t deadline = ls_clock_now_ns() + (uint64_t)options->form_deadline_ms * 1000000u;
    struct nccl *nccl = ls_alloc_zeroed(1, sizeof *nccl);
    struct lsi_message *message;
    struct lsi_link *link = NULL;
    enum ls_status status;

    if (nccl == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for a group");
    nccl->group = group;
    status = lsi_tcp_links_open(options, group, &nccl->links, &link, err);
    if (status == LS_OK)
        lsi_tcp_links_watch(nccl->links);
    if (status == LS_OK)
        status = lsi_nccl_form(nccl, options, link, deadline, err);
    if (status != LS_OK) {
        nccl_destroy(nccl);
        return status;
    }
    nccl->formed = true;
    lsi_nccl_handle_publish(nccl->handle, group, nccl->links);
    status = lsi_message_create(group, &links_ops, nccl, link, &message, err);
    if (status != LS_OK)
        return status;
    ls_tcp_unlisten(options->listener);
    *state = message;
    return LS_OK;
}

const struct ls_provider_ops lsi_nccl_provider = {
    .size = sizeof(struct ls_provider_ops),
    .abi = LSI_PROVIDER_ABI,
    .name = "nccl",
    .create = nccl_create,
    .publish = lsi_message_publish,
    .progress = lsi_message_progress,
    .idle = lsi_message_idle,
    .abort = lsi_message_abort,
    .destroy = lsi_message_destroy,
    .supports = lsi_nccl_supports,
    .look = lsi_message_look,
    .listens = true,
    .tell_wait = lsi_message_tell_wait,
    .heard_wait = lsi_message_heard_wait,
};
