/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider "sim": the message engine over a virtual network (network.h). Forming does not wait: a member that never
 * comes is silent. A member that leaves in order says so; one that ends its group tells the reason; one that dies says
 * nothing, and its connections end. Words overtake data, as they do over the second connection of tcp.
 */
#include "collective/transport/sim/sim_internal.h"

#include "core/base/alloc.h"
#include "core/base/thread.h"

#include <stdio.h>
#include <string.h>

#define SLEEP_NS 5000000
/* After so many sleeps time passes although some member does something else. */
#define MOST_STALLS 40

struct sim {
    struct ls_group *group;
    struct ls_sim_network *network;
    struct lsi_link *links;
};

static enum ls_status post(struct sim *sim, struct sim_queue *queue, const void *data, size_t bytes,
                           struct ls_error *err)
{
    (void)pthread_mutex_lock(&sim->network->lock);
    bool pushed = lsi_sim_queue_push(queue, data, bytes);
    (void)pthread_mutex_unlock(&sim->network->lock);
    return pushed ? LS_OK : ls_error_set(err, LS_ENOMEM, "no memory for another message");
}

static enum ls_status sim_send(void *state, int peer, const void *data, size_t bytes, struct ls_error *err)
{
    struct sim *sim = state;

    sim->links[peer].sends_posted++;
    return post(sim, &sim_stream(sim->network, sim->group->rank, peer)->out, data, bytes, err);
}

static enum ls_status sim_receive(void *state, int peer, void *data, size_t bytes, struct ls_error *err)
{
    struct sim *sim = state;

    sim->links[peer].receives_posted++;
    return post(sim, &sim_stream(sim->network, peer, sim->group->rank)->in, data, bytes, err);
}

/* What came from a peer, or that it is missed. */
static enum ls_status judge(struct sim *sim, int peer, int *culprit, struct ls_error *err)
{
    const struct sim_stream *from = sim_stream(sim->network, peer, sim->group->rank);
    const struct sim_stream *to = sim_stream(sim->network, sim->group->rank, peer);
    char who[128];

    *culprit = peer;
    if (from->short_of_memory || to->short_of_memory)
        return ls_error_set(err, LS_ENOMEM, "no memory for packets between ranks %d and %d", sim->group->rank, peer);
    if (from->word.kind == SIM_ABORT) {
        *culprit = from->word.culprit;
        return ls_error_set(err, from->word.status, "%s", from->word.reason);
    }
    if (from->word.kind == SIM_DEATH)
        return ls_error_set(err, LS_EPEER, "%s died: its connection ended", lsi_member_text(sim->group, peer, who));
    if (from->word.kind == SIM_BYE) {
        if (!from->cut && ((from->ended && from->in.count > 0) || to->out.count > 0))
            return ls_error_set(err, LS_EPEER, "%s has left the group while it was needed",
                                lsi_member_text(sim->group, peer, who));
        if (!from->cut || from->in.count == 0)
            return LS_OK;
    }
    if (from->cut)
        return ls_error_set(err, LS_EPEER, "%s does not answer: nothing came through for %.1f s",
                            lsi_member_text(sim->group, peer, who), (double)sim->network->options.give_up_ns * 1e-9);
    return LS_OK;
}

static enum ls_status sim_poll(void *state, int *culprit, struct ls_error *err)
{
    struct sim *sim = state;
    struct ls_sim_network *network = sim->network;
    int rank = sim->group->rank;
    enum ls_status status = LS_OK;

    (void)pthread_mutex_lock(&network->lock);
    for (int r = 0; r < network->options.world; r++) {
        if (r == rank || network->member[rank].crashed)
            continue;
        lsi_sim_take(network, r, rank);
        lsi_sim_send(network, rank, r);
    }
    for (int r = 0; r < network->options.world && status == LS_OK; r++)
        if (r != rank)
            status = judge(sim, r, culprit, err);
    if (network->member[rank].crashed) {
        *culprit = rank;
        status = ls_error_set(err, LS_EPEER, "rank %d is dead itself", rank);
    }
    (void)pthread_mutex_unlock(&network->lock);
    return status;
}

static bool all_idle(const struct ls_sim_network *network)
{
    for (int r = 0; r < network->options.world; r++)
        if (network->member[r].group != NULL && !network->member[r].idle && !network->member[r].crashed)
            return false;
    return network->came == network->options.world;
}

/* Members with threads of their own: time passes when all of them wait. */
static bool sim_idle(void *state, int round)
{
    struct sim *sim = state;
    struct ls_sim_network *network = sim->network;
    struct sim_member *self = &network->member[sim->group->rank];

    (void)round;
    (void)pthread_mutex_lock(&network->lock);
    self->idle = true;
    if (all_idle(network) || network->stalls > MOST_STALLS * network->options.world) {
        for (int r = 0; r < network->options.world; r++)
            network->member[r].idle = false;
        lsi_sim_advance(network);
        network->stalls = 0;
    } else {
        struct ls_wait wait = ls_wait_begin("the others of a virtual network", SLEEP_NS);
        uint64_t now = network->now_ns;
        while (self->idle && network->now_ns == now && ls_wait_on(&wait, &network->moved, &network->lock))
            ;
        network->stalls += network->now_ns == now;
    }
    self->idle = false;
    (void)pthread_mutex_unlock(&network->lock);
    return true;
}

static void say(struct sim *sim, const struct sim_word *word)
{
    struct sim_member *self = &sim->network->member[sim->group->rank];

    (void)pthread_mutex_lock(&sim->network->lock);
    if (!self->has_said && !self->crashed)
        lsi_sim_say(sim->network, sim->group->rank, word);
    self->has_said = true;
    (void)pthread_cond_broadcast(&sim->network->moved);
    (void)pthread_mutex_unlock(&sim->network->lock);
}

static void sim_abort(void *state)
{
    struct sim *sim = state;
    struct sim_word word = {.kind = SIM_ABORT};

    (void)lsi_group_end_error(sim->group, NULL);
    word.status = sim->group->end.status;
    word.culprit = sim->group->end.culprit;
    (void)snprintf(word.reason, sizeof word.reason, "%s", sim->group->end.reason);
    say(sim, &word);
}

static void sim_destroy(void *state)
{
    struct sim *sim = state;
    struct ls_sim_network *network = sim->network;
    int rank = sim->group->rank;

    if (!lsi_group_ended(sim->group))
        say(sim, &(struct sim_word){.kind = SIM_BYE});
    (void)pthread_mutex_lock(&network->lock);
    network->member[rank].group = NULL;
    for (int r = 0; r < network->options.world; r++) {
        sim_stream(network, rank, r)->out.count = 0;
        sim_stream(network, r, rank)->in.count = 0;
    }
    (void)pthread_cond_broadcast(&network->moved);
    (void)pthread_mutex_unlock(&network->lock);
    ls_free(sim->links);
    ls_free(sim);
}

static void sim_tell_wait(void *state, int rank)
{
    struct sim *sim = state;
    struct sim_word word = {.kind = SIM_WAITS, .culprit = rank};

    (void)pthread_mutex_lock(&sim->network->lock);
    if (!sim->network->member[sim->group->rank].has_said)
        lsi_sim_say(sim->network, sim->group->rank, &word);
    (void)pthread_mutex_unlock(&sim->network->lock);
}

static int sim_heard_wait(void *state, int peer)
{
    struct sim *sim = state;

    (void)pthread_mutex_lock(&sim->network->lock);
    int rank = sim_stream(sim->network, peer, sim->group->rank)->waits_for;
    (void)pthread_mutex_unlock(&sim->network->lock);
    return rank;
}

static enum ls_status attach(struct sim *sim, struct ls_error *err)
{
    struct ls_sim_network *network = sim->network;
    struct sim_member *self = &network->member[sim->group->rank];
    bool taken;

    (void)pthread_mutex_lock(&network->lock);
    taken = self->came;
    if (!taken) {
        self->came = true;
        self->group = sim->group;
        self->links = sim->links;
        network->came++;
    }
    (void)pthread_mutex_unlock(&network->lock);
    return taken ? ls_error_set(err, LS_EINVAL, "rank %d has been in this network before", sim->group->rank) : LS_OK;
}

static enum ls_status sim_open(const struct ls_group_options *options, struct ls_group *group, void **links,
                               struct lsi_link **link, struct ls_error *err)
{
    struct sim *sim;
    enum ls_status status;

    struct ls_sim_network *network = options->network;

    if (network != NULL && group->origin != NULL)
        network = lsi_sim_child(((struct sim *)((struct lsi_message *)group->origin->group->state)->links)->network,
                                (uint64_t)group->origin->group->splits << 32 | (uint32_t)group->origin->color,
                                options->world);
    if (network == NULL || network->options.world != options->world)
        return ls_error_set(err, LS_EINVAL, "the transport 'sim' needs a virtual network of %d members",
                            options->world);
    sim = ls_alloc_zeroed(1, sizeof *sim);
    if (sim != NULL)
        sim->links = ls_alloc_zeroed((size_t)options->world, sizeof sim->links[0]);
    if (sim == NULL || sim->links == NULL) {
        ls_free(sim);
        return ls_error_set(err, LS_ENOMEM, "no memory for a group");
    }
    sim->group = group;
    sim->network = network;
    status = attach(sim, err);
    if (status != LS_OK) {
        ls_free(sim->links);
        ls_free(sim);
        return status;
    }
    *links = sim;
    *link = sim->links;
    return LS_OK;
}

static const struct lsi_links_ops links_ops = {
    .open = sim_open,
    .send = sim_send,
    .receive = sim_receive,
    .poll = sim_poll,
    .idle = sim_idle,
    .abort = sim_abort,
    .destroy = sim_destroy,
    .look = sim_poll,
    .tell_wait = sim_tell_wait,
    .heard_wait = sim_heard_wait,
};

static uint64_t sim_now(void *state)
{
    struct sim *sim = ((struct lsi_message *)state)->links;

    return ls_sim_now(sim->network);
}

const struct ls_provider_ops lsi_sim_provider = {
    .size = sizeof(struct ls_provider_ops),
    .abi = LSI_PROVIDER_ABI,
    .name = "sim",
    .links = &links_ops,
    .supports = lsi_message_supports,
    .now_ns = sim_now,
};
