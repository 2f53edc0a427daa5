/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The trace of a run (core/base/trace.h) as its replicas see it: whether any of them writes one, how far their clocks
 * are apart, and the rings of all made into one file at the end.
 */
#ifndef LOCKSTEP_WORKER_STEP_TRACING_H
#define LOCKSTEP_WORKER_STEP_TRACING_H

#include "collective/group.h"
#include "core/base/clock.h"
#include "core/base/trace.h"

struct ls_tracing {
    struct ls_trace *ring; /* borrowed, NULL: this replica writes none */
    bool any;              /* some replica of the group does */
    int64_t ahead_ns;      /* of rank 0's clock; 0 where both are on one machine */
    uint64_t zero_ns;      /* rank 0's time of the meeting: where the trace begins */
};

/* Every rank calls it before the first step. ring: borrowed while *tracing is used, NULL where this one is not traced.
 * Errors are those of ls_group_run. */
enum ls_status ls_tracing_meet(struct ls_group *group, struct ls_trace *ring, struct ls_tracing *tracing,
                               struct ls_error *err);
/* Every rank calls it behind the last step, with a path or NULL alike; where any rank is traced, rank 0 writes all of
 * them into one file. LS_ENOMEM, LS_EIO, or what ls_group_run gives. */
enum ls_status ls_tracing_write(struct ls_group *group, const struct ls_tracing *tracing, const char *path,
                                struct ls_error *err);
/* The group is broken: what this rank has goes to ls_trace_part_path; nothing where it is not traced. LS_ENOMEM,
 * LS_EIO. */
enum ls_status ls_tracing_write_part(int rank, const struct ls_tracing *tracing, const char *path,
                                     struct ls_error *err);

/* The time where there is a ring, else 0 without a look at the clock. */
static inline uint64_t ls_tracing_now(const struct ls_tracing *tracing)
{
    return tracing->ring != NULL ? ls_clock_now_ns() : 0;
}
/* An event from begin_ns to now; NULL without a ring. */
static inline struct ls_trace_event *ls_tracing_add(const struct ls_tracing *tracing, enum ls_trace_kind kind,
                                                    uint64_t begin_ns, uint64_t step)
{
    return tracing->ring != NULL ? ls_trace_add(tracing->ring, kind, begin_ns, ls_clock_now_ns(), step) : NULL;
}

#endif
