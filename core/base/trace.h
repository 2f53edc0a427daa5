/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one thread of a run did and when: a ring of events, allocated once, into which the newest are written without a
 * system call or a lock. At the end the rings of all ranks become one file in the trace event format of Chrome (a JSON
 * array), which chrome://tracing and Perfetto open. Format: "Trace Event Format", Google, the phases X and M.
 */
#ifndef LOCKSTEP_CORE_BASE_TRACE_H
#define LOCKSTEP_CORE_BASE_TRACE_H

#include "core/base/buf.h"
#include "core/base/status.h"

#define LS_TRACE_EVENTS 65536 /* of a ring; the newest stay */

/* X(name, text, track): what an event is. Numbers travel between ranks of one build only. */
#define LS_TRACE_KINDS(X)               \
    X(STEP, "step", 0)                  \
    X(VALIDATION, "validation step", 0) \
    X(LOADING, "loading", 0)            \
    X(FORWARD, "forward", 0)            \
    X(BACKWARD, "backward", 0)          \
    X(EAGER, "eager step", 0)           \
    X(WAIT, "wait", 0)                  \
    X(VOTE, "vote", 0)                  \
    X(COMMIT, "commit", 0)              \
    X(CHECKPOINT, "checkpoint", 0)      \
    X(BUCKET, "bucket", 1)

enum ls_trace_kind {
#define LS_TRACE_ENUM(name, text, track) LS_TRACE_##name,
    LS_TRACE_KINDS(LS_TRACE_ENUM)
#undef LS_TRACE_ENUM
        LS_TRACE_KIND_COUNT
};

struct ls_trace_event {
    uint64_t begin_ns, end_ns; /* of the own machine's clock */
    uint64_t step;
    uint64_t bytes; /* 0: not said */
    int32_t number; /* of the bucket or the call, -1: not said */
    int32_t peer;   /* rank that was waited for, -1: nobody, or not known */
    uint8_t kind;
    char note[23]; /* the way that a bucket went; "" */
};

/* Used by one thread. */
struct ls_trace {
    uint64_t count; /* written in all; the newest LS_TRACE_EVENTS of them are kept */
    struct ls_trace_event *events;
};

/* Returned; ends with ls_trace_destroy. */
enum ls_status ls_trace_create(struct ls_trace **trace, struct ls_error *err);
void ls_trace_destroy(struct ls_trace *trace);
/* The place of the next event, its number and peer -1, all else 0; the oldest gives way. */
struct ls_trace_event *ls_trace_add(struct ls_trace *trace, enum ls_trace_kind kind, uint64_t begin_ns, uint64_t end_ns,
                                    uint64_t step);
/* Events kept, and one of them, 0 the oldest. */
size_t ls_trace_kept(const struct ls_trace *trace);
const struct ls_trace_event *ls_trace_at(const struct ls_trace *trace, size_t index);

/* The text of one rank, in order: its name (of printable letters without quotes), then its events, each followed by a
 * comma. ahead_ns is what its clock is ahead of rank 0's, zero_ns what counts as 0 on rank 0's. */
struct ls_trace_rank {
    int rank;
    char name[96];
    int64_t ahead_ns;
    uint64_t zero_ns;
};
void ls_trace_name_rank(struct ls_buf *text, const struct ls_trace_rank *rank);
void ls_trace_tell(struct ls_buf *text, const struct ls_trace_rank *rank, const struct ls_trace_event *event);
/* What the text of the ranks begins with. */
void ls_trace_begin(struct ls_buf *text);
/* Ends the text and writes the file, whole or not at all. */
enum ls_status ls_trace_write(const char *path, struct ls_buf *text, struct ls_error *err);

/* After a failure: the file that a rank writes alone is PATH.rankN. Puts those of world ranks that exist into PATH and
 * removes them; LS_ENOENT where there is none. */
char *ls_trace_part_path(const char *path, int rank);
enum ls_status ls_trace_join(const char *path, int world, struct ls_error *err);

#endif
