/* SPDX-License-Identifier: Apache-2.0 */
/* Groups: choice of the provider, members, registered memory, the one recorded reason of an end. */
#include "collective/algo/message.h"
#include "collective/group_impl.h"

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/str.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PACE_STEPS 10 /* a member may save, validate or be disturbed for some steps' time */
#define PACE_FALL 16  /* a shorter step takes one part in so many of the difference off */
#define MOST_WAIT_MS (INT64_C(24) * 3600 * 1000)
#define CHOICES_VARIABLE "LOCKSTEP_COLLECTIVES"

static const struct ls_provider_ops *const providers[] = {
    &lsi_self_provider,   &lsi_shm_provider,        &lsi_tcp_provider,         &lsi_mpi_provider, &lsi_nccl_provider,
    &lsi_hybrid_provider, &lsi_hybrid_mpi_provider, &lsi_hybrid_nccl_provider, &lsi_sim_provider,
};

static const struct ls_provider_ops *find_provider(const char *name)
{
    for (size_t i = 0; i < sizeof providers / sizeof providers[0]; i++)
        if (strcmp(providers[i]->name, name) == 0)
            return providers[i];
    return NULL;
}

static enum ls_status check_options(const struct ls_group_options *options, struct ls_error *err)
{
    if (options->world < 1 || options->world > LS_MAX_MEMBERS)
        return ls_error_set(err, LS_EINVAL, "a group of %d members: it must be 1 to %d", options->world,
                            LS_MAX_MEMBERS);
    if (options->rank < 0 || options->rank >= options->world || options->members == NULL)
        return ls_error_set(err, LS_EINVAL, "rank %d in a group of %d members", options->rank, options->world);
    if (options->form_deadline_ms < 1 || options->form_deadline_ms > MOST_WAIT_MS || options->wait_deadline_ms < 1 ||
        options->wait_deadline_ms > MOST_WAIT_MS)
        return ls_error_set(err, LS_EINVAL, "the deadlines of a group are from 1 ms to a day, not %lld and %lld ms",
                            (long long)options->form_deadline_ms, (long long)options->wait_deadline_ms);
    if (options->bf16_wire && !options->any_order)
        return ls_error_set(
            err, LS_EINVAL,
            "sums that travel as bf16 are rounded: they need a group whose sums may differ (any_order)");
    return LS_OK;
}

/* Frees what group.c itself made. */
static void group_free(struct ls_group *group)
{
    struct ls_request *request;

    while ((request = group->made) != NULL) {
        group->made = request->made_before;
        ls_free(request);
    }
    for (int i = 0; i < group->plain_count; i++)
        ls_free(group->plain[i]);
    ls_free(group->plain);
    lsi_turns_deinit(&group->own_turns);
    lsi_tree_cache_deinit(&group->trees);
    ls_free(group->flat);
    ls_free(group->members);
    ls_free(group->names);
    ls_free((char *)(uintptr_t)group->options.rendezvous);
    explicit_bzero(group->options.secret, sizeof group->options.secret);
    ls_free(group);
}

/* The layout of one contribution a rank: the leaves 0 .. world - 1. */
static void fill_flat(struct ls_tree_layout *flat, int world)
{
    flat->v_total = 1;
    while (flat->v_total < world)
        flat->v_total *= 2;
    flat->world = world;
    flat->range_count = world;
    for (int r = 0; r < world; r++) {
        flat->ranges[r] = (struct ls_range){r, 1};
        flat->first_range[r] = r;
    }
    flat->first_range[world] = world;
}

/* What a group keeps of its options, for itself and for those that are split from it. */
static enum ls_status keep_options(struct ls_group *group, const struct ls_group_options *options, struct ls_error *err)
{
    group->options = *options;
    group->options.members = NULL;
    group->options.listener = -1;
    group->options.abandon = NULL;
    group->options.collectives = NULL;
    group->options.rendezvous = options->rendezvous != NULL ? ls_str_copy(options->rendezvous) : NULL;
    group->world = options->world;
    group->rank = options->rank;
    group->generation = options->generation;
    group->wait_deadline_ms = options->wait_deadline_ms;
    group->told_wait = -1;
    group->members = ls_alloc_zeroed((size_t)group->world, sizeof group->members[0]);
    group->flat = ls_alloc_zeroed(1, sizeof *group->flat);
    if (group->members == NULL || group->flat == NULL ||
        (options->rendezvous != NULL && group->options.rendezvous == NULL))
        return ls_error_set(err, LS_ENOMEM, "no memory for a group of %d members", options->world);
    memcpy(group->members, options->members, (size_t)group->world * sizeof group->members[0]);
    fill_flat(group->flat, group->world);
    return lsi_choices_make(options->collectives != NULL ? options->collectives : getenv(CHOICES_VARIABLE),
                            &group->choices, err);
}

static enum ls_status keep_names(struct ls_group *group, const struct lsi_origin *origin, struct ls_error *err)
{
    group->names = ls_alloc_zeroed((size_t)group->world, sizeof group->names[0]);
    if (group->names == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for a group of %d members", group->world);
    memcpy(group->names, origin->from, (size_t)group->world * sizeof group->names[0]);
    return LS_OK;
}

enum ls_status lsi_group_create(const struct ls_provider_ops *ops, const struct ls_group_options *options,
                                const struct lsi_origin *origin, struct ls_group **group, struct ls_error *err)
{
    enum ls_status status = check_options(options, err);
    struct ls_group *made, *ended;

    if (status != LS_OK)
        return status;
    made = ls_alloc_zeroed(1, sizeof *made);
    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for a group");
    made->ops = lsi_message_complete(ops, &made->table);
    made->origin = origin;
    made->parent = origin != NULL && !origin->inside ? origin->group : NULL;
    lsi_turns_init(&made->own_turns);
    made->turns = made->parent != NULL ? made->parent->turns : &made->own_turns;
    status = keep_options(made, options, err);
    if (status == LS_OK && origin != NULL && origin->inside)
        status = keep_names(made, origin, err);
    if (status == LS_OK && origin != NULL)
        made->choices = origin->group->choices;
    if (status == LS_OK)
        status = made->ops->create(options, made, &made->state, err);
    if (status != LS_OK && (ended = lsi_ended_parent(made)) != NULL)
        status = lsi_group_end_error(ended, err);
    made->origin = NULL;
    if (status != LS_OK) {
        group_free(made);
        return status;
    }
    *group = made;
    return LS_OK;
}

enum ls_status ls_group_create(const char *provider, const struct ls_group_options *options, struct ls_group **group,
                               struct ls_error *err)
{
    const struct ls_provider_ops *ops = find_provider(provider);

    if (ops == NULL)
        return ls_error_set(err, LS_EUNSUPPORTED, "there is no transport '%s'", provider);
    return lsi_group_create(ops, options, NULL, group, err);
}

int ls_group_rank(const struct ls_group *group)
{
    return group->rank;
}

int ls_group_world(const struct ls_group *group)
{
    return group->world;
}

uint64_t ls_group_generation(const struct ls_group *group)
{
    return group->generation;
}

const char *ls_group_provider(const struct ls_group *group)
{
    return group->ops->name;
}

bool ls_provider_carries_bf16(const char *provider, bool several_hosts)
{
    const struct ls_provider_ops *ops = find_provider(provider);

    if (ops == NULL || ops->supports == NULL || !ops->supports(LS_ALL_REDUCE, LSI_BF16))
        return false;
    return several_hosts || !ops->supports(LS_ALL_REDUCE, LSI_HIERARCHY); /* which shares memory inside a host */
}

bool ls_group_carries_bf16(const struct ls_group *group)
{
    bool several_hosts = false;

    for (int r = 1; r < group->world; r++)
        several_hosts = several_hosts || strcmp(group->members[r].host, group->members[0].host) != 0;
    return group->options.bf16_wire && group->world > 1 && ls_provider_carries_bf16(group->ops->name, several_hosts);
}

bool ls_group_ways_given(const struct ls_group *group)
{
    return group->choices.given > 0;
}

uint64_t ls_group_bytes_moved(const struct ls_group *group)
{
    return atomic_load_explicit(&group->bytes_moved, memory_order_relaxed);
}

/* What members tell each other when they register memory. */
struct reservation {
    uint64_t bytes;
    int64_t status;
};

/* All members reserved the same bytes and none failed. */
static enum ls_status agree(struct ls_group *group, size_t bytes, enum ls_status own, struct ls_error *err)
{
    struct reservation mine = {bytes, own};
    struct reservation all[LS_MAX_MEMBERS];
    int64_t counts[LS_MAX_MEMBERS];
    char who[128];
    enum ls_status status;

    for (int r = 0; r < group->world; r++)
        counts[r] = (int64_t)sizeof mine;
    struct ls_collective op = {
        .kind = LS_ALL_GATHER, .dtype = LS_U8, .src = &mine, .dst = all, .counts = counts, .way = "one-shot"};
    struct ls_error inner = LS_ERROR_INIT;
    status = ls_group_run(group, &op, &inner);
    if (own != LS_OK)
        return own;
    if (status != LS_OK) {
        ls_error_set(err, status, "%s", inner.message);
        return status;
    }
    for (int r = 0; r < group->world; r++) {
        if (all[r].status != LS_OK)
            return ls_error_set(err, ls_status_of_peer(all[r].status, LS_EPEER), "%s could not reserve %zu bytes",
                                lsi_member_text(group, r, who), bytes);
        if (all[r].bytes != bytes)
            return ls_error_set(err, LS_EDIVERGED, "rank %d registers %zu bytes, %s %llu", group->rank, bytes,
                                lsi_member_text(group, r, who), (unsigned long long)all[r].bytes);
    }
    return LS_OK;
}

void ls_group_set_pace(struct ls_group *group, uint64_t slowest_ns)
{
    bool turn = lsi_turn_take(group->turns);
    int64_t wait_ms;

    /* A peer's number: one that means nothing fades as soon as the longest that counts. */
    if (slowest_ns > (uint64_t)MOST_WAIT_MS * 1000000u / PACE_STEPS)
        slowest_ns = (uint64_t)MOST_WAIT_MS * 1000000u / PACE_STEPS;
    if (slowest_ns > group->pace_ns)
        group->pace_ns = slowest_ns;
    else
        group->pace_ns -= (group->pace_ns - slowest_ns) / PACE_FALL;
    wait_ms = (int64_t)(group->pace_ns / 1000000u) * PACE_STEPS;
    group->wait_deadline_ms = wait_ms > group->options.wait_deadline_ms ? wait_ms : group->options.wait_deadline_ms;
    lsi_turn_give(group->turns, turn);
}

/* Zeroed memory that the group frees at its end. */
static enum ls_status reserve_plain(struct ls_group *group, size_t bytes, struct ls_error *err)
{
    void **grown = ls_realloc(group->plain, (size_t)group->plain_count + 1, sizeof group->plain[0]);

    if (grown != NULL) {
        group->plain = grown;
        group->plain[group->plain_count] = ls_alloc_aligned(bytes);
        if (group->plain[group->plain_count] != NULL) {
            group->plain_count++;
            return LS_OK;
        }
    }
    return ls_error_set(err, LS_ENOMEM, "no memory for %zu bytes of a group's buffers", bytes);
}

static enum ls_status register_memory(struct ls_group *group, size_t bytes, void **memory, struct ls_error *err)
{
    enum ls_status status;

    if (bytes == 0 || bytes > (size_t)1 << 46)
        return ls_error_set(err, LS_EINVAL, "cannot register %zu bytes", bytes);
    if (group->head != NULL)
        return ls_error_set(err, LS_EBUSY, "memory is registered while operations run");
    status =
        group->ops->reserve != NULL ? group->ops->reserve(group->state, bytes, err) : reserve_plain(group, bytes, err);
    status = agree(group, bytes, status, err);
    if (status != LS_OK)
        return status;
    if (group->ops->map != NULL)
        return group->ops->map(group->state, bytes, memory, err);
    *memory = group->plain[group->plain_count - 1];
    return LS_OK;
}

enum ls_status ls_group_register(struct ls_group *group, size_t bytes, void **memory, struct ls_error *err)
{
    bool turn = lsi_turn_take(group->turns);
    enum ls_status status = register_memory(group, bytes, memory, err);

    lsi_turn_give(group->turns, turn);
    return status;
}

enum ls_status lsi_group_end(struct ls_group *group, enum ls_status status, int culprit, const char *reason)
{
    int runs = 0;

    if (atomic_compare_exchange_strong(&group->end_state, &runs, 1)) {
        group->end.status = status;
        group->end.culprit = culprit;
        (void)snprintf(group->end.reason, sizeof group->end.reason, "%s", reason);
        atomic_store_explicit(&group->end_state, 2, memory_order_release);
    }
    return status;
}

enum ls_status lsi_group_end_error(const struct ls_group *group, struct ls_error *err)
{
    /* Another thread is between the two stores of lsi_group_end: a few instructions. */
    while (atomic_load_explicit(&group->end_state, memory_order_acquire) == 1)
        ;
    return ls_error_set(err, group->end.status, "%s", group->end.reason);
}

void ls_group_abort(struct ls_group *group, const char *reason)
{
    char text[400];

    (void)snprintf(text, sizeof text, "rank %d of generation %llu ended the group: %s",
                   lsi_rank_name(group, group->rank), (unsigned long long)group->generation, reason);
    lsi_group_end(group, LS_EINTERRUPTED, group->rank, text);
    group->ops->abort(group->state);
}

void ls_group_destroy(struct ls_group *group)
{
    if (group == NULL)
        return;
    assert(atomic_load(&group->held) == 0); /* its streams have seen its operations end, or were destroyed */
    if (group->head != NULL)
        ls_group_abort(group, "it was closed while an operation ran");
    group->ops->destroy(group->state);
    group_free(group);
}

int lsi_rank_name(const struct ls_group *group, int rank)
{
    return group->names != NULL ? group->names[rank] : rank;
}

const char *lsi_member_text(const struct ls_group *group, int rank, char text[128])
{
    const struct ls_member *member = &group->members[rank];

    (void)snprintf(text, 128, "rank %d (worker %d, replica %d on %.63s)", lsi_rank_name(group, rank), member->index,
                   member->replica, member->host[0] != '\0' ? member->host : "an unnamed host");
    return text;
}

bool lsi_form_over(const struct ls_group *group, const struct ls_group_options *options, uint64_t deadline_ns)
{
    return ls_clock_now_ns() > deadline_ns || lsi_ended_parent(group) != NULL ||
           (options->abandon != NULL && atomic_load_explicit(options->abandon, memory_order_relaxed));
}

enum ls_status lsi_missing(const struct ls_group *group, const bool *here, int64_t form_deadline_ms,
                           struct ls_error *err)
{
    char names[500] = "";
    char who[128];
    size_t at = 0;
    int missing = 0;

    for (int r = 0; r < group->world; r++) {
        if (here[r])
            continue;
        if (missing++ < 3 && at < sizeof names)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%s at %.63s:%u", missing > 1 ? ", " : "",
                                   lsi_member_text(group, r, who), group->members[r].address, group->members[r].port);
    }
    return ls_error_set(err, LS_ETIMEOUT,
                        "%d of %d members did not come to the group of generation %llu within %.1f s: %s%s", missing,
                        group->world, (unsigned long long)group->generation, (double)form_deadline_ms * 1e-3, names,
                        missing > 3 ? ", ..." : "");
}
