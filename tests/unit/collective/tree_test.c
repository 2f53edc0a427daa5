/* SPDX-License-Identifier: Apache-2.0 */
/* The compiled tree equals the recursion it stands for, whole and cut into partials of ranks. */
#include "collective/tree.h"

#include <criterion/criterion.h>
#include <string.h>

static struct ls_tree_layout layout_of(int v_total, int world, int count, const struct ls_range *ranges,
                                       const int *owner)
{
    struct ls_tree_layout layout = {.v_total = v_total, .world = world};

    for (int r = 0; r < world; r++) {
        layout.first_range[r] = layout.range_count;
        for (int i = 0; i < count; i++)
            if (owner[i] == r)
                layout.ranges[layout.range_count++] = ranges[i];
    }
    layout.first_range[world] = layout.range_count;
    return layout;
}

static const struct lsi_tree *compiled(struct lsi_tree_cache *cache, const struct ls_tree_layout *layout, int rank)
{
    const struct lsi_tree *tree = NULL;
    struct ls_error err = LS_ERROR_INIT;

    cr_assert_eq(lsi_tree_get(cache, layout, rank, &tree, &err), LS_OK, "%s", err.message);
    return tree;
}

/* Two neighbours of one rank become one partial; a rank between others gives each range alone. */
Test(tree, partials)
{
    struct ls_range ranges[] = {{0, 2}, {2, 1}, {3, 1}, {4, 4}};
    int owner[] = {0, 1, 1, 0};
    struct ls_tree_layout layout = layout_of(8, 3, 4, ranges, owner);
    struct lsi_tree_cache cache = {0};
    const struct lsi_tree *tree = compiled(&cache, &layout, 1);

    cr_assert_eq(tree->leaf_count, 4);
    cr_assert_eq(tree->all.count, 3);
    cr_assert_eq(tree->partial_count, 3);
    cr_assert_eq(tree->partials_of[0], 2);
    cr_assert_eq(tree->partials_of[1], 1);
    cr_assert_eq(tree->partials_of[2], 0);
    cr_assert_eq(tree->own_count, 1);
    cr_assert_eq(tree->own[0].count, 1);
    cr_assert_eq(tree->own[0].step[0].a, 0);
    cr_assert_eq(tree->own[0].step[0].b, 1);
    cr_assert_eq(tree->top.count, 2);
    lsi_tree_cache_deinit(&cache);
}

/* One leaf: there is nothing to add, the result is that leaf. */
Test(tree, one_leaf)
{
    struct ls_range range = {4, 2};
    int owner = 1;
    struct ls_tree_layout layout = layout_of(8, 2, 1, &range, &owner);
    struct lsi_tree_cache cache = {0};
    const struct lsi_tree *tree = compiled(&cache, &layout, 0);

    cr_assert_eq(tree->all.count, 0);
    cr_assert_eq(tree->all.only, 0);
    cr_assert_eq(tree->top.count, 0);
    cr_assert_eq(tree->partial_rank[0], 1);
    cr_assert_eq(tree->own_count, 0);
    lsi_tree_cache_deinit(&cache);
}

/* The cache gives the same tree for the same layout, another for another, and keeps trees that are in use. */
Test(tree, cache)
{
    struct ls_range ranges[] = {{0, 1}, {1, 1}};
    int owner[] = {0, 1};
    int other[] = {1, 0};
    struct ls_tree_layout a = layout_of(2, 2, 2, ranges, owner);
    struct ls_tree_layout b = layout_of(2, 2, 2, ranges, other);
    struct lsi_tree_cache cache = {0};
    const struct lsi_tree *first = compiled(&cache, &a, 0);

    ((struct lsi_tree *)first)->uses = 1;
    cr_assert_eq(compiled(&cache, &a, 0), first);
    cr_assert_neq(compiled(&cache, &b, 0), first);
    for (int v = 4; v <= 256; v *= 2)
        for (int shift = 0; shift < 4; shift++) {
            struct ls_range range = {shift, 1};
            struct ls_tree_layout c = layout_of(v, 2, 1, &range, owner);
            (void)compiled(&cache, &c, 0);
        }
    cr_assert_eq(compiled(&cache, &a, 0), first);
    lsi_tree_cache_deinit(&cache);
}

/* Layouts that no batch can have are refused with a reason. */
Test(tree, bad_layouts)
{
    struct {
        int v_total;
        struct ls_range ranges[2];
    } bad[] = {
        {8, {{1, 2}, {4, 1}}},  /* not aligned */
        {8, {{0, 3}, {4, 1}}},  /* no power of two */
        {8, {{0, 2}, {1, 1}}},  /* overlap */
        {8, {{0, 8}, {8, 1}}},  /* beyond the end */
        {6, {{0, 2}, {2, 1}}},  /* V is no power of two */
        {8, {{4, 1}, {-1, 1}}}, /* before the beginning */
    };
    int owner[] = {0, 1};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct ls_tree_layout layout = layout_of(bad[i].v_total, 2, 2, bad[i].ranges, owner);
        struct lsi_tree_cache cache = {0};
        const struct lsi_tree *tree = NULL;
        struct ls_error err = LS_ERROR_INIT;
        cr_assert_eq(lsi_tree_get(&cache, &layout, 0, &tree, &err), LS_EINVAL, "case %zu", i);
        cr_assert(err.message[0] != '\0');
        lsi_tree_cache_deinit(&cache);
    }
}

/* Halving is for 2^n ranks with a partial each, in any order of the ranks, where every node adds equally many. */
Test(tree, halves)
{
    struct ls_range even[] = {{0, 2}, {2, 2}, {4, 2}, {6, 2}}, uneven[] = {{0, 1}, {1, 1}, {2, 2}, {4, 4}};
    int straight[] = {0, 1, 2, 3}, mixed[] = {2, 0, 3, 1}, twice[] = {0, 1, 0, 1}, pair[] = {0, 0, 1, 1};
    struct {
        struct ls_range *ranges;
        int *owner;
        int world, count;
        bool halves;
    } cases[] = {{even, straight, 4, 4, true}, {even, mixed, 4, 4, true}, {uneven, straight, 4, 4, false},
                 {even, twice, 2, 4, false},   {even, pair, 2, 4, true},  {even, straight, 3, 3, false},
                 {even, straight, 1, 1, false}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ls_tree_layout layout = layout_of(8, cases[i].world, cases[i].count, cases[i].ranges, cases[i].owner);
        struct lsi_tree_cache cache = {0};
        cr_assert_eq(compiled(&cache, &layout, 0)->halves, cases[i].halves, "case %zu", i);
        lsi_tree_cache_deinit(&cache);
    }
}
