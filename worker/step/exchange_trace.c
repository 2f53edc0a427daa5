/* SPDX-License-Identifier: Apache-2.0 */
/* What a trace tells of buckets, see exchange_internal.h. */
#include "worker/step/exchange_internal.h"

#include "core/base/str.h"

void lsi_exchange_trace_wait(const struct ls_exchange *ex, uint64_t began, int bucket, int missing)
{
    struct ls_trace_event *event = ls_tracing_add(ex->tracing, LS_TRACE_WAIT, began, ex->step);

    if (event == NULL)
        return;
    event->peer = missing;
    event->number = bucket;
}

void lsi_exchange_trace_bucket(const struct ls_exchange *ex, const struct lsi_bucket *b)
{
    struct ls_trace_event *event;

    if (ex->tracing->ring == NULL)
        return;
    event = ls_trace_add(ex->tracing->ring, LS_TRACE_BUCKET, b->started_ns, b->finished_ns, ex->step);
    event->number = (int32_t)(b - ex->buckets);
    event->bytes = b->bytes;
    (void)ls_str_into(event->note, sizeof event->note, b->way);
}
