/* SPDX-License-Identifier: Apache-2.0 */
/* Names, counts and the text of gathered rings, see rings.h. */
#include "worker/step/rings.h"

#include <ctype.h>
#include <stdio.h>

/* Names come from elsewhere: only letters that need no care in JSON. */
struct ls_trace_rank ls_rings_name(const struct ls_tracing *tracing, int rank, const struct ls_ring_header *header)
{
    struct ls_trace_rank who = {.rank = rank, .ahead_ns = header->ahead_ns, .zero_ns = tracing->zero_ns};
    size_t used = (size_t)snprintf(who.name, sizeof who.name, "rank %d", rank);

    if (header->name[0] != '\0')
        used += (size_t)snprintf(who.name + used, sizeof who.name - used, " on ");
    for (size_t i = 0; i < sizeof header->name && header->name[i] != '\0' && used + 1 < sizeof who.name; i++) {
        unsigned char c = (unsigned char)header->name[i];

        who.name[used++] = isalnum(c) || c == '-' || c == '.' ? (char)c : '_';
    }
    who.name[used] = '\0';
    return who;
}

/* Counts of others size memory. */
enum ls_status ls_rings_count(const struct ls_ring_header *headers, int world, size_t *total, struct ls_error *err)
{
    size_t sum = 0;

    for (int r = 0; r < world; r++) {
        if (headers[r].kept > LS_TRACE_EVENTS)
            return ls_error_set(err, LS_EPEER,
                                "rank %d says that its trace has %llu events, more than a ring of %d holds", r,
                                (unsigned long long)headers[r].kept, LS_TRACE_EVENTS);
        sum += (size_t)headers[r].kept;
    }
    *total = sum;
    return LS_OK;
}

void ls_rings_tell(const struct ls_tracing *tracing, int world, const struct ls_ring_header *headers,
                   const struct ls_trace_event *events, struct ls_buf *text)
{
    ls_trace_begin(text);
    for (int r = 0; r < world; r++) {
        struct ls_trace_rank who = ls_rings_name(tracing, r, &headers[r]);

        ls_trace_name_rank(text, &who);
        for (uint64_t i = 0; i < headers[r].kept; i++)
            ls_trace_tell(text, &who, events++);
    }
}
