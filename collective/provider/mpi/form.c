/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a group over MPI forms: the process, replica and tags of each member, then a greeting from everybody to
 * everybody. A sub-group takes places from the group that it was split from, and a context of its own.
 */
#include "collective/provider/mpi/mpi_internal.h"

#include "core/base/alloc.h"
#include "core/base/clock.h"

#define MOST_REPLICAS 16

struct mpi_greeting {
    uint64_t generation;
    uint64_t worker;
    uint64_t incarnation;
};

/* Sub-groups may run beside each other: each takes a context that no process of its members has used. */
#define FIRST_SPLIT 64
#define LAST_CONTEXT 127
static _Atomic uint32_t newest_context = FIRST_SPLIT - 1;

uint32_t lsi_mpi_context(void *state)
{
    (void)state;
    return atomic_load(&newest_context);
}

/* Those of a sub-group are where they are in the group that it was split from. */
static enum ls_status place_split(struct mpi *mpi, struct ls_error *err)
{
    const struct lsi_origin *origin = mpi->group->origin;
    const struct mpi *parent = lsi_links_of(origin->group);
    uint32_t newest = atomic_load(&newest_context);

    if (origin->context > LAST_CONTEXT)
        return ls_error_set(err, LS_EUNSUPPORTED, "over MPI a run splits its groups at most %d times",
                            LAST_CONTEXT - FIRST_SPLIT + 1);
    mpi->context = origin->context;
    while (newest < mpi->context && !atomic_compare_exchange_weak(&newest_context, &newest, mpi->context))
        ;
    for (int r = 0; r < mpi->group->world; r++) {
        mpi->peers[r].process = parent->peers[origin->from[r]].process;
        mpi->peers[r].replica = parent->peers[origin->from[r]].replica;
    }
    return LS_OK;
}

/* Process and replica of each member. */
static enum ls_status place_members(struct mpi *mpi, struct ls_error *err)
{
    const struct mpi_launch *launch = lsi_mpi_launch_get();
    const struct ls_group *group = mpi->group;
    int processes = 0;

    for (int r = 0; r < group->world; r++) {
        struct mpi_peer *peer = &mpi->peers[r];
        peer->process = -1;
        for (int i = 0; i < r; i++)
            if (group->members[i].worker == group->members[r].worker) {
                peer->process = mpi->peers[i].process;
                peer->replica = mpi->peers[i].replica + 1;
            }
        if (peer->process < 0)
            peer->process = processes++;
        if (peer->replica >= MOST_REPLICAS)
            return ls_error_set(err, LS_EUNSUPPORTED, "over MPI a worker has at most %d replicas", MOST_REPLICAS);
        if (peer->replica > 0 && !launch->any_thread)
            return ls_error_set(err, LS_EUNSUPPORTED,
                                "this MPI library allows one thread at a time; run with one "
                                "replica a worker");
    }
    if (processes != launch->world || mpi->peers[group->rank].process != launch->rank)
        return ls_error_set(err, LS_EINVAL,
                            "the group has %d workers and rank %d would be process %d, but MPI started "
                            "%d processes and this is number %d",
                            processes, group->rank, mpi->peers[group->rank].process, launch->world, launch->rank);
    return LS_OK;
}

static bool greeted(struct mpi *mpi, bool *here)
{
    bool all = true;

    for (int r = 0; r < mpi->group->world; r++) {
        here[r] = mpi->links[r].receives_done == mpi->links[r].receives_posted;
        all = all && here[r] && mpi->links[r].sends_done == mpi->links[r].sends_posted;
    }
    return all;
}

static enum ls_status check_greetings(const struct mpi *mpi, const struct mpi_greeting *theirs, struct ls_error *err)
{
    char who[128];

    for (int r = 0; r < mpi->group->world; r++) {
        const struct ls_member *member = &mpi->group->members[r];
        if (r != mpi->group->rank &&
            (theirs[r].generation != mpi->group->generation || theirs[r].worker != member->worker ||
             theirs[r].incarnation != member->incarnation))
            return ls_error_set(err, LS_EDIVERGED, "%s says it is the worker with the id %llu of generation %llu",
                                lsi_member_text(mpi->group, r, who), (unsigned long long)theirs[r].worker,
                                (unsigned long long)theirs[r].generation);
    }
    return LS_OK;
}

/* Everybody tells everybody who it is. greetings: room for world + 1. */
static enum ls_status greet(struct mpi *mpi, const struct ls_group_options *options, struct mpi_greeting *greetings,
                            struct ls_error *err)
{
    struct ls_group *group = mpi->group;
    uint64_t deadline = ls_clock_now_ns() + (uint64_t)options->form_deadline_ms * 1000000u;
    const struct ls_member *self = &group->members[group->rank];
    bool here[LS_MAX_MEMBERS];
    enum ls_status status = LS_OK;
    int culprit;

    greetings[group->world] = (struct mpi_greeting){group->generation, self->worker, self->incarnation};
    for (int r = 0; r < group->world && status == LS_OK; r++) {
        if (r == group->rank)
            continue;
        status = lsi_mpi_receive(mpi, r, &greetings[r], sizeof greetings[r], err);
        if (status == LS_OK)
            status = lsi_mpi_send(mpi, r, &greetings[group->world], sizeof greetings[0], err);
    }
    for (int round = 0; status == LS_OK; round++) {
        status = lsi_mpi_poll(mpi, &culprit, err);
        if (status == LS_OK && greeted(mpi, here))
            return check_greetings(mpi, greetings, err);
        if (status == LS_OK && lsi_form_over(group, options, deadline))
            return lsi_missing(group, here, options->form_deadline_ms, err);
        (void)lsi_mpi_idle(mpi, round);
    }
    return status;
}

enum ls_status lsi_mpi_form(struct mpi *mpi, const struct ls_group_options *options, struct ls_error *err)
{
    size_t world = (size_t)mpi->group->world;
    struct mpi_greeting *greetings = ls_alloc_zeroed(world + 1, sizeof *greetings);
    enum ls_status status;

    mpi->context = (uint32_t)(mpi->group->generation % FIRST_SPLIT);
    mpi->peers = ls_alloc_zeroed(world, sizeof mpi->peers[0]);
    mpi->links = ls_alloc_zeroed(world, sizeof mpi->links[0]);
    if (greetings == NULL || mpi->peers == NULL || mpi->links == NULL)
        status = ls_error_set(err, LS_ENOMEM, "no memory for a group of %zu", world);
    else
        status = mpi->group->origin != NULL ? place_split(mpi, err) : place_members(mpi, err);
    if (status == LS_OK)
        status = lsi_mpi_listen(mpi);
    if (status == LS_OK)
        status = greet(mpi, options, greetings, err);
    /* A greeting that is still under way holds the memory; the launch is over then. */
    if (status == LS_OK)
        ls_free(greetings);
    return status;
}
