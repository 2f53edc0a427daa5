/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranks that compress known gradients together, each in a thread over shared memory, and what they applied and kept.
 * A failure ends the test.
 */
#ifndef LOCKSTEP_TESTS_UNIT_WORKER_COMPRESS_TEAM_H
#define LOCKSTEP_TESTS_UNIT_WORKER_COMPRESS_TEAM_H

#include "core/ckpt/ckpt.h"
#include "worker/compress/compress.h"

#define TEAM_WORLD 8 /* most ranks of a test */
#define TEAM_ITEMS 3
#define TEAM_MOST (200 * 64) /* elements of the largest item */
#define TEAM_REDUCES 5       /* 0 and 3 are others' */

/* A kernel, a bias, a kernel: 12,800, 64 and 4,160 elements, of which every rank of 4 owns parts. */
extern const struct ls_compress_item team_items[TEAM_ITEMS];
/* bf16, top_k, power_sgd */
#define TEAM_METHODS 3
extern const struct ls_compress_options team_methods[TEAM_METHODS];

struct team {
    struct ls_compress_options options;
    int leaves; /* of each rank but the last, which is a spare where there are more than two */
    int steps;
    /* gradient of (rank, leaf, step, item, element) */
    float (*gradient)(int rank, int leaf, int step, int item, int64_t element);
    bool twice;              /* each step is begun a second time, as after a vote that failed */
    const char *save, *load; /* directories, nullable */
    struct ls_ckpt_part parts[TEAM_WORLD];
    float *applied[TEAM_WORLD][TEAM_ITEMS]; /* sums of what was applied, in f64-safe tests; last step's bits by rank */
    double *total[TEAM_ITEMS];              /* over steps, of rank 0 */
    float *residual[TEAM_WORLD][TEAM_ITEMS];
    const char *socket;
    struct ls_member members[TEAM_WORLD];
    struct ls_compress *made[TEAM_WORLD];
    uint64_t allocations; /* of all ranks from rank 0's third step to its last */
};

/* Runs the steps in `world` threads; every rank must end with the same bits. */
void team_run(struct team *t);
void team_discard(struct team *t);
/* Leaves that a rank has gradients of. */
int team_leaves(const struct team *t, int rank);
/* What all ranks together have kept of an element. */
double team_kept(const struct team *t, int item, int64_t element);
/* Loads what t->load holds. */
enum ls_status team_restore(struct team *t, struct ls_compress *c, struct ls_error *err);
/* A gradient: numbers of about 1 without a pattern, larger in some rows. */
float team_noise(int rank, int leaf, int step, int item, int64_t element);

#endif
