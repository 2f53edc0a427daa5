/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of a reduction cut by hosts. A host is to the tree what a rank is elsewhere: its leaves are those of all its
 * members. Each of its partials is added inside the host by a reduce-scatter of the inner group, whose layout holds the
 * leaves of that partial alone: absent shards pass the other operand up, so the association is that of the whole tree.
 */
#include "collective/provider/hybrid/hybrid.h"

#include "core/base/alloc.h"

#include <string.h>

/* The layout by hosts; order: for each leaf of this host, in rising order, its range in the layout by ranks. */
static void merge_ranks(const struct hybrid *h, const struct ls_tree_layout *whole, struct ls_tree_layout *hosts,
                        int16_t *order)
{
    int at_shard[LS_MAX_SHARDS], owner[LS_MAX_SHARDS];
    int own = 0;

    memset(at_shard, -1, sizeof at_shard);
    for (int r = 0; r < whole->world; r++)
        for (int i = whole->first_range[r]; i < whole->first_range[r + 1]; i++) {
            at_shard[whole->ranges[i].first] = i;
            owner[whole->ranges[i].first] = r;
        }
    hosts->v_total = whole->v_total;
    hosts->world = h->hosts;
    hosts->range_count = 0;
    for (int host = 0; host < h->hosts; host++) {
        hosts->first_range[host] = hosts->range_count;
        for (int v = 0; v < whole->v_total; v++) {
            if (at_shard[v] < 0 || h->host_of[owner[v]] != host)
                continue;
            if (host == h->host)
                order[own++] = (int16_t)at_shard[v];
            hosts->ranges[hosts->range_count++] = whole->ranges[at_shard[v]];
        }
    }
    hosts->first_range[h->hosts] = hosts->range_count;
}

/* The leaves that a partial is the sum of. */
static void mark_leaves(const struct lsi_steps *steps, bool used[LSI_MAX_LEAVES])
{
    memset(used, 0, LSI_MAX_LEAVES * sizeof used[0]);
    if (steps->count == 0)
        used[steps->only] = true;
    for (int i = 0; i < steps->count; i++) {
        if (steps->step[i].a >= 0)
            used[steps->step[i].a] = true;
        if (steps->step[i].b >= 0)
            used[steps->step[i].b] = true;
    }
}

/* The layout of one partial among the members of this host. */
static void lay_out(const struct hybrid *h, struct hybrid_plan *plan, const struct ls_tree_layout *whole,
                    const int16_t *order, int leaves, int partial)
{
    struct ls_tree_layout *inside = &plan->inside[partial];
    bool used[LSI_MAX_LEAVES];

    mark_leaves(&plan->hosts->own[partial], used);
    inside->v_total = whole->v_total;
    inside->world = hybrid_size(h, h->host);
    plan->first_own[partial + 1] = plan->first_own[partial];
    for (int j = 0; j < inside->world; j++) {
        int rank = hybrid_rank(h, h->host, j);
        inside->first_range[j] = inside->range_count;
        for (int i = 0; i < leaves; i++) {
            int range = order[i];
            if (!used[i] || range < whole->first_range[rank] || range >= whole->first_range[rank + 1])
                continue;
            inside->ranges[inside->range_count++] = whole->ranges[range];
            if (j == h->index)
                plan->own[plan->first_own[partial + 1]++] = (int16_t)(range - whole->first_range[rank]);
        }
    }
    inside->first_range[inside->world] = inside->range_count;
}

static void plan_destroy(struct hybrid_plan *plan)
{
    if (plan == NULL)
        return;
    lsi_tree_cache_deinit(&plan->cache);
    ls_free(plan->inside);
    ls_free(plan->first_own);
    ls_free(plan);
}

static enum ls_status build(const struct hybrid *h, const struct ls_tree_layout *whole, struct hybrid_plan *plan,
                            struct ls_error *err)
{
    struct ls_tree_layout hosts;
    int16_t order[LSI_MAX_LEAVES];
    enum ls_status status;

    merge_ranks(h, whole, &hosts, order);
    status = lsi_tree_get(&plan->cache, &hosts, h->host, &plan->hosts, err);
    if (status != LS_OK)
        return status;
    plan->inside = ls_alloc_zeroed((size_t)plan->hosts->own_count + 1, sizeof plan->inside[0]);
    plan->first_own = ls_alloc_zeroed((size_t)plan->hosts->own_count + 1, sizeof plan->first_own[0]);
    if (plan->inside == NULL || plan->first_own == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for the sums of a host's %d partials", plan->hosts->own_count);
    for (int i = 0; i < plan->hosts->own_count; i++)
        lay_out(h, plan, whole, order, hosts.first_range[h->host + 1] - hosts.first_range[h->host], i);
    return LS_OK;
}

enum ls_status lsi_hybrid_plan(struct hybrid *h, const struct ls_request *request, const struct hybrid_plan **plan,
                               struct ls_error *err)
{
    struct hybrid_plan *made;
    enum ls_status status;

    for (int i = 0; i < HYBRID_PLANS; i++)
        if (h->plans[i] != NULL && h->plans[i]->hash == request->tree->hash) {
            *plan = h->plans[i];
            return LS_OK;
        }
    made = ls_alloc_zeroed(1, sizeof *made);
    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for the plan of a reduction over %d hosts", h->hosts);
    made->hash = request->tree->hash;
    status = build(h, lsi_request_layout(request), made, err);
    if (status != LS_OK) {
        plan_destroy(made);
        return status;
    }
    /* Only one operation runs at a time, and it has just asked: no other plan is in use. */
    plan_destroy(h->plans[h->next_plan]);
    h->plans[h->next_plan] = made;
    h->next_plan = (h->next_plan + 1) % HYBRID_PLANS;
    *plan = made;
    return LS_OK;
}

void lsi_hybrid_plans_deinit(struct hybrid *h)
{
    for (int i = 0; i < HYBRID_PLANS; i++)
        plan_destroy(h->plans[i]);
}
