/* SPDX-License-Identifier: Apache-2.0 */
/* Compiles the canonical tree of a layout (core/device/shards.h) into steps; see tree.h. */
#include "collective/tree.h"

#include "core/base/alloc.h"
#include "core/base/hash.h"

#include <string.h>

uint64_t lsi_layout_hash(const struct ls_tree_layout *layout)
{
    uint64_t hash = ls_xxh3(layout->ranges, (size_t)layout->range_count * sizeof layout->ranges[0], 0x6c61796f7574u);

    hash = ls_xxh3(layout->first_range, ((size_t)layout->world + 1) * sizeof layout->first_range[0], hash);
    return ls_xxh3(&layout->v_total, sizeof layout->v_total, hash);
}

static enum ls_status check_rank(const struct ls_tree_layout *layout, int r, uint8_t *taken, struct ls_error *err)
{
    int end = 0;

    for (int i = layout->first_range[r]; i < layout->first_range[r + 1]; i++) {
        const struct ls_range *range = &layout->ranges[i];
        if (range->count < 1 || (range->count & (range->count - 1)) != 0 || range->first < 0 ||
            range->first % range->count != 0 || range->first + range->count > layout->v_total)
            return ls_error_set(err, LS_EINVAL, "rank %d has the shard range [%d, %d) of %d, which is not aligned", r,
                                range->first, range->first + range->count, layout->v_total);
        if (range->first < end)
            return ls_error_set(err, LS_EINVAL, "the shard ranges of rank %d do not rise", r);
        end = range->first + range->count;
        for (int v = range->first; v < end; v++) {
            if (taken[v])
                return ls_error_set(err, LS_EINVAL, "shard %d is given to two ranges", v);
            taken[v] = 1;
        }
    }
    return LS_OK;
}

enum ls_status lsi_layout_check(const struct ls_tree_layout *layout, int world, struct ls_error *err)
{
    uint8_t taken[LS_MAX_SHARDS] = {0};
    int v = layout->v_total;

    if (v < 1 || v > LS_MAX_SHARDS || (v & (v - 1)) != 0)
        return ls_error_set(err, LS_EINVAL, "a layout of %d shards: it must be a power of two up to %d", v,
                            LS_MAX_SHARDS);
    if (layout->world != world || layout->range_count < 1 || layout->range_count > LSI_MAX_LEAVES ||
        layout->first_range[0] != 0 || layout->first_range[world] != layout->range_count)
        return ls_error_set(err, LS_EINVAL, "a layout of %d ranges for %d ranks does not fit a group of %d",
                            layout->range_count, layout->world, world);
    for (int r = 0; r < world; r++) {
        if (layout->first_range[r + 1] < layout->first_range[r] || layout->first_range[r + 1] > layout->range_count)
            return ls_error_set(err, LS_EINVAL, "the layout's first ranges fall at rank %d", r);
        enum ls_status status = check_rank(layout, r, taken, err);
        if (status != LS_OK)
            return status;
    }
    return LS_OK;
}

/* Steps of one subtree's postfix code; operand[k] stands for leaf k. Slots are stack positions. */
static void steps_build(const int16_t *code, int length, const int16_t *operand, struct lsi_steps *steps)
{
    int16_t stack[LSI_MAX_SLOTS * 2];
    int top = 0;

    steps->count = 0;
    for (int i = 0; i < length; i++) {
        if (code[i] != LS_TREE_ADD) {
            stack[top++] = operand[code[i]];
            continue;
        }
        top--;
        steps->step[steps->count++] = (struct lsi_step){(int16_t)(-top), stack[top - 1], stack[top]};
        stack[top - 1] = (int16_t)(-top);
    }
    steps->only = stack[0];
}

/* A subtree on the stack while the tree is cut. rank < 0: mixed, `operand` is its slot. */
struct piece {
    int rank;
    int begin;
    int end;
    int16_t operand;
};

struct cutter {
    struct lsi_tree *tree;
    const struct ls_tree_program *program;
    int own_begin[LSI_MAX_LEAVES];
    int own_end[LSI_MAX_LEAVES];
};

/* A subtree of one rank that cannot grow: it becomes a partial. */
static void close_piece(struct cutter *cut, struct piece *piece)
{
    struct lsi_tree *tree = cut->tree;
    int id = tree->partial_count;

    if (piece->rank < 0)
        return;
    tree->partial_rank[id] = (int16_t)piece->rank;
    tree->partial_index[id] = (int16_t)tree->partials_of[piece->rank]++;
    if (piece->rank == tree->rank) {
        cut->own_begin[tree->own_count] = piece->begin;
        cut->own_end[tree->own_count++] = piece->end;
    }
    tree->partial_count++;
    piece->operand = (int16_t)id;
    piece->rank = -1;
}

static void cut_tree(struct cutter *cut)
{
    struct piece stack[LSI_MAX_SLOTS * 2];
    struct lsi_tree *tree = cut->tree;
    int top = 0;

    for (int i = 0; i < cut->program->length; i++) {
        int16_t code = cut->program->code[i];
        if (code != LS_TREE_ADD) {
            stack[top++] = (struct piece){tree->leaf_rank[code], i, i + 1, 0};
            continue;
        }
        top--;
        struct piece *a = &stack[top - 1];
        struct piece *b = &stack[top];
        if (a->rank >= 0 && a->rank == b->rank) {
            a->end = i + 1;
            continue;
        }
        close_piece(cut, a);
        close_piece(cut, b);
        tree->top.step[tree->top.count++] = (struct lsi_step){(int16_t)(-top), a->operand, b->operand};
        a->operand = (int16_t)(-top);
    }
    close_piece(cut, &stack[0]);
    tree->top.only = stack[0].operand;
}

/* Partials that a step's operand adds up: `first` of [first, first + count). */
struct span {
    int first;
    int count;
};

static struct span span_of(int16_t x, const struct span *slots)
{
    return x >= 0 ? (struct span){x, 1} : slots[-1 - x];
}

/* The rest of the tree is that of 2^n leaves, one a rank. */
static bool is_halving(const struct lsi_tree *tree)
{
    struct span slots[LSI_MAX_SLOTS * 2], sum = {0, 1};

    if (tree->world < 2 || tree->partial_count != tree->world || tree->max_partials != 1)
        return false;
    for (int i = 0; i < tree->top.count; i++) {
        const struct lsi_step *step = &tree->top.step[i];
        struct span a = span_of(step->a, slots), b = span_of(step->b, slots);
        if (a.count != b.count || a.first + a.count != b.first)
            return false;
        sum = (struct span){a.first, 2 * a.count};
        slots[-1 - step->dst] = sum;
    }
    return sum.count == tree->world;
}

/* Sorts the leaves of all ranks by their first shard. */
static void sort_leaves(struct lsi_tree *tree, const struct ls_tree_layout *layout, struct ls_range *sorted)
{
    int at_shard[LS_MAX_SHARDS];
    int owner[LS_MAX_SHARDS];

    memset(at_shard, -1, sizeof at_shard);
    for (int r = 0; r < layout->world; r++)
        for (int i = layout->first_range[r]; i < layout->first_range[r + 1]; i++) {
            at_shard[layout->ranges[i].first] = i;
            owner[layout->ranges[i].first] = r;
        }
    for (int v = 0; v < layout->v_total; v++) {
        if (at_shard[v] < 0)
            continue;
        tree->leaf_rank[tree->leaf_count] = (int16_t)owner[v];
        tree->leaf_index[tree->leaf_count] = (int16_t)(at_shard[v] - layout->first_range[owner[v]]);
        sorted[tree->leaf_count++] = layout->ranges[at_shard[v]];
    }
}

static enum ls_status compile(struct lsi_tree *tree, const struct ls_tree_layout *layout)
{
    struct ls_range sorted[LSI_MAX_LEAVES];
    int16_t identity[LSI_MAX_LEAVES];
    struct ls_tree_program program;
    struct cutter cut = {.tree = tree, .program = &program};

    sort_leaves(tree, layout, sorted);
    for (int r = 0; r <= layout->world; r++)
        tree->first_leaf[r] = layout->first_range[r];
    ls_tree_program_build(sorted, tree->leaf_count, layout->v_total, &program);
    if (program.depth > LSI_MAX_SLOTS)
        return LS_EINTERNAL;
    for (int i = 0; i < tree->leaf_count; i++)
        identity[i] = (int16_t)i;
    steps_build(program.code, program.length, identity, &tree->all);
    cut_tree(&cut);
    for (int r = 0; r < layout->world; r++)
        tree->max_partials = tree->partials_of[r] > tree->max_partials ? tree->partials_of[r] : tree->max_partials;
    tree->halves = is_halving(tree);
    tree->own = ls_alloc_zeroed((size_t)tree->own_count + 1, sizeof tree->own[0]);
    if (tree->own == NULL)
        return LS_ENOMEM;
    for (int i = 0; i < tree->own_count; i++)
        steps_build(program.code + cut.own_begin[i], cut.own_end[i] - cut.own_begin[i], tree->leaf_index,
                    &tree->own[i]);
    return LS_OK;
}

static void tree_destroy(struct lsi_tree *tree)
{
    if (tree == NULL)
        return;
    ls_free(tree->own);
    ls_free(tree);
}

enum ls_status lsi_tree_get(struct lsi_tree_cache *cache, const struct ls_tree_layout *layout, int rank,
                            const struct lsi_tree **tree, struct ls_error *err)
{
    uint64_t hash = lsi_layout_hash(layout);
    struct lsi_tree *made;
    enum ls_status status;

    for (int i = 0; i < LSI_TREE_CACHE; i++)
        if (cache->tree[i] != NULL && cache->tree[i]->hash == hash) {
            *tree = cache->tree[i];
            return LS_OK;
        }
    status = lsi_layout_check(layout, layout->world, err);
    if (status != LS_OK)
        return status;
    for (int i = 0; i < LSI_TREE_CACHE && cache->tree[cache->next] != NULL && cache->tree[cache->next]->uses > 0; i++)
        cache->next = (cache->next + 1) % LSI_TREE_CACHE;
    if (cache->tree[cache->next] != NULL && cache->tree[cache->next]->uses > 0)
        return ls_error_set(err, LS_EBUSY, "operations with %d different layouts are running; wait for some first",
                            LSI_TREE_CACHE);
    made = ls_alloc_zeroed(1, sizeof *made);
    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for the summation tree of a group");
    made->hash = hash;
    made->rank = rank;
    made->world = layout->world;
    status = compile(made, layout);
    if (status != LS_OK) {
        tree_destroy(made);
        return ls_error_set(err, status, "the summation tree of a layout with %d ranges could not be built",
                            layout->range_count);
    }
    tree_destroy(cache->tree[cache->next]);
    cache->tree[cache->next] = made;
    cache->next = (cache->next + 1) % LSI_TREE_CACHE;
    *tree = made;
    return LS_OK;
}

void lsi_tree_cache_deinit(struct lsi_tree_cache *cache)
{
    for (int i = 0; i < LSI_TREE_CACHE; i++) {
        tree_destroy(cache->tree[i]);
        cache->tree[i] = NULL;
    }
}
