/* SPDX-License-Identifier: Apache-2.0 */
/* What rank 0 makes of the rings of a trace that it gathers: other ranks' bytes, of which only the form is trusted. */
#ifndef LOCKSTEP_WORKER_STEP_RINGS_H
#define LOCKSTEP_WORKER_STEP_RINGS_H

#include "worker/step/tracing.h"

/* What rank 0 needs of each rank, before its events. */
struct ls_ring_header {
    int64_t ahead_ns;
    uint64_t kept;
    char name[48];
};

/* *total: events of all ranks, for which there is to be memory; LS_EPEER names a rank that cannot have so many. */
enum ls_status ls_rings_count(const struct ls_ring_header *headers, int world, size_t *total, struct ls_error *err);
/* How the text names a rank. */
struct ls_trace_rank ls_rings_name(const struct ls_tracing *tracing, int rank, const struct ls_ring_header *header);
/* The text of all ranks, up to the end that ls_trace_write gives it. events: of one rank behind those of another. */
void ls_rings_tell(const struct ls_tracing *tracing, int world, const struct ls_ring_header *headers,
                   const struct ls_trace_event *events, struct ls_buf *text);

#endif
