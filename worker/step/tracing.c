/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Meeting and gathering of traced replicas, see tracing.h. Clocks: machines leave a barrier at about the same time, so
 * the median of a few differences behind one says how far two clocks are apart, to about the round trip between them.
 */
#include "worker/step/rings.h"

#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS 9
#define MOST_EVENTS ((size_t)1 << 20) /* in one file; of more ranks each gives fewer */
#define NO_PLACE 0                    /* no boot id: a machine of its own */

/* What every rank tells at the start. */
struct greeting {
    uint64_t place; /* one number for all processes of a machine */
    uint32_t traced;
    uint32_t unused;
};

static uint64_t place_here(void)
{
    struct ls_buf text = {0};
    uint64_t place = NO_PLACE;

    if (ls_fs_read("/proc/sys/kernel/random/boot_id", 256, &text, NULL) == LS_OK && text.length > 0)
        place = ls_xxh3(text.data, text.length, 0);
    ls_buf_deinit(&text);
    return place;
}

static enum ls_status gather(struct ls_group *group, const void *own, void *all, size_t bytes, struct ls_error *err)
{
    int64_t counts[LS_MAX_MEMBERS];
    struct ls_collective op = {.kind = LS_ALL_GATHER, .dtype = LS_U8, .src = own, .dst = all, .counts = counts};

    for (int r = 0; r < ls_group_world(group); r++)
        counts[r] = (int64_t)bytes;
    return ls_group_run(group, &op, err);
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static enum ls_status compare_clocks(struct ls_group *group, struct ls_tracing *tracing, struct ls_error *err)
{
    struct ls_collective barrier = {.kind = LS_BARRIER};
    uint64_t times[LS_MAX_MEMBERS] = {0}, now;
    int64_t ahead[ROUNDS];
    enum ls_status status = LS_OK;

    for (int i = 0; i < ROUNDS && status == LS_OK; i++) {
        status = ls_group_run(group, &barrier, err);
        now = ls_clock_now_ns();
        if (status == LS_OK)
            status = gather(group, &now, times, sizeof now, err);
        ahead[i] = (int64_t)(now - times[0]);
    }
    qsort(ahead, ROUNDS, sizeof ahead[0], ascending);
    tracing->ahead_ns = ahead[ROUNDS / 2];
    tracing->zero_ns = times[0];
    return status;
}

enum ls_status ls_tracing_meet(struct ls_group *group, struct ls_trace *ring, struct ls_tracing *tracing,
                               struct ls_error *err)
{
    struct greeting own = {.place = place_here(), .traced = ring != NULL}, all[LS_MAX_MEMBERS];
    struct ls_tracing made = {.ring = ring};
    enum ls_status status = gather(group, &own, all, sizeof own, err);

    for (int r = 0; r < ls_group_world(group) && status == LS_OK; r++)
        made.any = made.any || all[r].traced != 0;
    if (status == LS_OK && made.any)
        status = compare_clocks(group, &made, err);
    if (status != LS_OK)
        return status;
    if (all[0].place != NO_PLACE && all[0].place == own.place)
        made.ahead_ns = 0;
    *tracing = made;
    return LS_OK;
}

static struct ls_ring_header header_of(const struct ls_tracing *tracing, int world)
{
    size_t kept = tracing->ring != NULL ? ls_trace_kept(tracing->ring) : 0, most = MOST_EVENTS / (size_t)world;
    struct ls_ring_header header = {.ahead_ns = tracing->ahead_ns, .kept = kept < most ? kept : most};

    if (gethostname(header.name, sizeof header.name - 1) != 0)
        header.name[0] = '\0';
    return header;
}

static enum ls_status write_all(const struct ls_tracing *tracing, int world, const struct ls_ring_header *headers,
                                const struct ls_trace_event *events, const char *path, struct ls_error *err)
{
    struct ls_buf text = {0};
    enum ls_status status;

    ls_rings_tell(tracing, world, headers, events, &text);
    status = ls_trace_write(path, &text, err);
    ls_buf_deinit(&text);
    return status;
}

/* Everyone's events in order, at rank 0 alone. own: LS_TRACE_EVENTS at most; all: what rank 0 gets. */
static enum ls_status send_events(struct ls_group *group, const struct ls_ring_header *headers, const void *own,
                                  void *all, struct ls_error *err)
{
    int world = ls_group_world(group);
    int64_t *counts = ls_alloc_zeroed((size_t)world * (size_t)world, sizeof *counts);
    struct ls_collective op = {.kind = LS_ALL_TO_ALL, .dtype = LS_U8, .src = own, .dst = all, .counts = counts};
    enum ls_status status;

    if (counts == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to gather a trace");
    for (int r = 0; r < world; r++)
        counts[(size_t)r * (size_t)world] = (int64_t)(headers[r].kept * sizeof(struct ls_trace_event));
    status = ls_group_run(group, &op, err);
    ls_free(counts);
    return status;
}

/* The newest `kept` of the ring's events, oldest first. Returned: ls_free; NULL where memory is short. */
static struct ls_trace_event *in_order(const struct ls_trace *ring, size_t kept)
{
    struct ls_trace_event *events = ls_alloc_zeroed(kept > 0 ? kept : 1, sizeof *events);

    for (size_t i = 0; i < kept && events != NULL; i++)
        events[i] = *ls_trace_at(ring, ls_trace_kept(ring) - kept + i);
    return events;
}

enum ls_status ls_tracing_write(struct ls_group *group, const struct ls_tracing *tracing, const char *path,
                                struct ls_error *err)
{
    struct ls_ring_header own = header_of(tracing, ls_group_world(group)), headers[LS_MAX_MEMBERS];
    struct ls_trace_event *mine, *all = NULL;
    size_t total = 0;
    enum ls_status status;

    if (!tracing->any)
        return LS_OK;
    status = gather(group, &own, headers, sizeof own, err);
    if (status == LS_OK)
        status = ls_rings_count(headers, ls_group_world(group), &total, err);
    if (status != LS_OK)
        return status;
    mine = in_order(tracing->ring, (size_t)own.kept);
    all = ls_alloc_zeroed(ls_group_rank(group) == 0 ? total + 1 : 1, sizeof *all);
    if (mine == NULL || all == NULL)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to gather a trace of %zu events", total);
    else
        status = send_events(group, headers, mine, all, err);
    if (status == LS_OK && ls_group_rank(group) == 0 && path != NULL)
        status = write_all(tracing, ls_group_world(group), headers, all, path, err);
    ls_free(all);
    ls_free(mine);
    return status;
}

enum ls_status ls_tracing_write_part(int rank, const struct ls_tracing *tracing, const char *path, struct ls_error *err)
{
    struct ls_ring_header own = header_of(tracing, 1);
    struct ls_trace_rank who = ls_rings_name(tracing, rank, &own);
    struct ls_buf text = {0};
    char *part = ls_trace_part_path(path, rank);
    enum ls_status status;

    if (part == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to write the trace of rank %d", rank);
    if (tracing->ring == NULL) {
        ls_free(part);
        return LS_OK;
    }
    ls_trace_begin(&text);
    ls_trace_name_rank(&text, &who);
    for (size_t i = 0; i < (size_t)own.kept; i++)
        ls_trace_tell(&text, &who, ls_trace_at(tracing->ring, i));
    status = ls_trace_write(part, &text, err);
    ls_buf_deinit(&text);
    ls_free(part);
    return status;
}
