/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The canonical tree of a layout, compiled: steps "slot = a + b" over leaves, and the same tree cut into what each
 * rank can add alone (its partials: maximal subtrees whose leaves are all its own) and the rest.
 */
#ifndef LOCKSTEP_COLLECTIVE_TREE_H
#define LOCKSTEP_COLLECTIVE_TREE_H

#include "collective/group.h"

#define LSI_MAX_LEAVES LS_MAX_SHARDS
#define LSI_MAX_SLOTS 16

/* dst and operands: >= 0 an input, < 0 the slot -1 - x. The last step's dst is the result. */
struct lsi_step {
    int16_t dst;
    int16_t a;
    int16_t b;
};

/* count 0: the result is input `only`. */
struct lsi_steps {
    int count;
    int16_t only;
    struct lsi_step step[LSI_MAX_LEAVES];
};

struct lsi_tree {
    uint64_t hash;
    int uses; /* requests that hold it */
    int rank; /* whose part it was compiled for */
    int world;
    int leaf_count;
    int16_t leaf_rank[LSI_MAX_LEAVES];  /* in tree order */
    int16_t leaf_index[LSI_MAX_LEAVES]; /* among the rank's own */
    int first_leaf[LS_MAX_MEMBERS + 1]; /* leaves by rank: [first_leaf[r], first_leaf[r + 1]) of the layout */
    struct lsi_steps all;               /* inputs: leaves in tree order */
    int partial_count;
    int16_t partial_rank[LSI_MAX_LEAVES];
    int16_t partial_index[LSI_MAX_LEAVES]; /* among the rank's own */
    int partials_of[LS_MAX_MEMBERS];
    int max_partials;      /* of any rank */
    bool halves;           /* a partial a rank, 2^n ranks, every node of the top adds equally many */
    struct lsi_steps top;  /* inputs: partials */
    int own_count;         /* == partials_of[rank] */
    struct lsi_steps *own; /* inputs: own leaves by index */
};

#define LSI_TREE_CACHE 16
struct lsi_tree_cache {
    struct lsi_tree *tree[LSI_TREE_CACHE];
    int next;
};

/* LS_EINVAL where ranges are not aligned, overlap, fall in a rank's order or there are none. */
enum ls_status lsi_layout_check(const struct ls_tree_layout *layout, int world, struct ls_error *err);
uint64_t lsi_layout_hash(const struct ls_tree_layout *layout);
/* The compiled tree of a layout, from the cache or into it. Borrowed; stays while its `uses` is not 0. LS_EBUSY where
 * every place of the cache is in use. */
enum ls_status lsi_tree_get(struct lsi_tree_cache *cache, const struct ls_tree_layout *layout, int rank,
                            const struct lsi_tree **tree, struct ls_error *err);
void lsi_tree_cache_deinit(struct lsi_tree_cache *cache);

#endif
