/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How well a traced run hides its communication: the time of a step beside the least that it could take with these
 * buckets, which become ready when they do and travel one after another.
 */
#ifndef LOCKSTEP_CLI_OVERLAP_H
#define LOCKSTEP_CLI_OVERLAP_H

#include "core/base/status.h"

#include <stdint.h>

struct json_t;

/* Medians over the steps, in ms. */
struct ls_overlap {
    int64_t steps; /* that were looked at */
    int buckets;
    double bytes;   /* of a step's buckets */
    double step;    /* from the last rank's beginning to the last rank's end */
    double compute; /* to the end of the last backward pass */
    double
        communication; /* of all buckets, each the least time that it took in any step, once all ranks had it ready */
    double after;      /* the commit */
    /* max(compute, for every bucket: ready + the communication of it and of all behind it) + after, of the same step */
    double bound;
    double ratio; /* of step to bound, step by step */
};

/* trace: the events of a run of `ranks` ranks. Steps before `first`, and those that another number of buckets than the
 * last step's has, are left out. LS_EINVAL where nothing is left. */
enum ls_status ls_overlap_measure(const struct json_t *trace, int ranks, int64_t first, struct ls_overlap *overlap,
                                  struct ls_error *err);

#endif
