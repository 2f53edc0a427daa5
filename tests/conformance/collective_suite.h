/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every provider of collectives must do, run by each member of a group: all members draw the same random
 * operations from a seed, make everybody's data and compare each result with a scalar reference, bit for bit.
 */
#ifndef LOCKSTEP_TESTS_CONFORMANCE_COLLECTIVE_SUITE_H
#define LOCKSTEP_TESTS_CONFORMANCE_COLLECTIVE_SUITE_H

#include "collective/group.h"

struct suite_options {
    uint64_t seed;
    int rounds;
    int64_t max_count; /* elements of an operation at most */
    bool is_split;     /* a sub-group: not split again */
    bool any_order;    /* sums are near the reference, and have the same bits in all members */
    bool bf16_wire;    /* and rounded on their way */
};

/* Number of failures; each is printed to stderr. */
int suite_run(struct ls_group *group, const struct suite_options *options);
/* A random layout: aligned ranges of V shards dealt to world ranks at random; some ranks get none. */
void suite_layout(uint64_t *random, int world, struct ls_tree_layout *layout);
uint64_t suite_random(uint64_t *state);

#endif
