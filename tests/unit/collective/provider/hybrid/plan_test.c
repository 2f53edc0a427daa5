/* SPDX-License-Identifier: Apache-2.0 */
/* The tree cut by hosts: what a host adds inside it, and the leaves of each of its partials. */
#include "collective/provider/hybrid/hybrid.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct ls_group group;
static struct ls_member members[8];

/* The plan of ranks that hold one shard each, in order, as member `rank` sees it. */
static const struct hybrid_plan *planned(struct hybrid *h, const char *hosts, int rank, int world)
{
    static struct ls_tree_layout layout;
    static struct lsi_tree tree;
    struct ls_request request = {.group = &group, .op = {.kind = LS_ALL_REDUCE_TREE, .layout = &layout}};
    const struct hybrid_plan *plan = NULL;
    struct ls_error err = LS_ERROR_INIT;

    group.members = members;
    group.rank = rank;
    group.world = world;
    layout.v_total = layout.world = layout.range_count = world;
    for (int r = 0; r < world; r++) {
        (void)snprintf(members[r].host, sizeof members[r].host, "%.1s", hosts + r);
        layout.ranges[r] = (struct ls_range){r, 1};
        layout.first_range[r] = r;
    }
    layout.first_range[world] = world;
    tree.hash = lsi_layout_hash(&layout);
    request.tree = &tree;
    *h = (struct hybrid){.group = &group};
    lsi_hybrid_place(h);
    cr_assert_eq(lsi_hybrid_plan(h, &request, &plan, &err), LS_OK, "%s", err.message);
    return plan;
}

/* Hosts in blocks: one partial each, whatever their members; the result is one addition. */
Test(plan, blocks)
{
    struct hybrid h;
    const struct hybrid_plan *plan = planned(&h, "aaaabbbb", 5, 8);

    cr_assert_eq(plan->hosts->partial_count, 2);
    cr_assert_eq(plan->hosts->top.count, 1);
    cr_assert_eq(plan->hosts->own_count, 1);
    cr_assert_eq(plan->inside[0].world, 4);
    cr_assert_eq(plan->inside[0].range_count, 4);
    for (int j = 0; j < 4; j++)
        cr_assert_eq(plan->inside[0].ranges[plan->inside[0].first_range[j]].first, 4 + j);
    cr_assert_eq(plan->first_own[1], 1);
    lsi_hybrid_plans_deinit(&h);
}

/* Hosts in turns: no two neighbours are on one host, every leaf is a partial. */
Test(plan, turns)
{
    struct hybrid h;
    const struct hybrid_plan *plan = planned(&h, "abababab", 2, 8);

    cr_assert_eq(plan->hosts->partial_count, 8);
    cr_assert_eq(plan->hosts->own_count, 4);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(plan->inside[i].range_count, 1);
        cr_assert_eq(plan->inside[i].ranges[0].first, 2 * i);
        /* Rank 2 is the second member of its host: the second partial is its leaf alone. */
        cr_assert_eq(plan->first_own[i + 1] - plan->first_own[i], i == 1);
    }
    lsi_hybrid_plans_deinit(&h);
}

/* A host that breaks into another one's half: its maximal subtrees, not its leaves. */
Test(plan, maximal)
{
    struct hybrid h;
    const struct hybrid_plan *plan = planned(&h, "aaaaabbb", 0, 8);

    cr_assert_eq(plan->hosts->own_count, 2);
    /* In the order in which they cannot grow any more: shard 4, then shards 0 to 3. */
    cr_assert_eq(plan->inside[0].range_count, 1);
    cr_assert_eq(plan->inside[0].ranges[0].first, 4);
    cr_assert_eq(plan->inside[1].range_count, 4);
    cr_assert_eq(plan->hosts->partials_of[1], 2);
    cr_assert_eq(plan->hosts->max_partials, 2);
    lsi_hybrid_plans_deinit(&h);
}

/* The same layout again is found, not made. */
Test(plan, cached)
{
    struct hybrid h;
    const struct hybrid_plan *plan = planned(&h, "aabb", 0, 4), *again = NULL;
    struct lsi_tree tree = {.hash = plan->hash};
    struct ls_request request = {.group = &group, .tree = &tree};

    cr_assert_eq(lsi_hybrid_plan(&h, &request, &again, NULL), LS_OK);
    cr_assert_eq(again, plan);
    lsi_hybrid_plans_deinit(&h);
}
