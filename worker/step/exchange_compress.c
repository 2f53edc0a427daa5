/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buckets whose gradients a compressor sends, see exchange_internal.h and worker/compress/compress.h. The replica's
 * thread computes; what carries the collectives between two computations, the courier or that thread, does not show in
 * a bit.
 */
#include "worker/step/exchange_internal.h"

bool lsi_exchange_is_compressed(const struct ls_exchange *ex, const struct lsi_bucket *b)
{
    return b->compressed && ls_compress_active(ex->compress);
}

static struct ls_compress_span span_of(const struct ls_exchange *ex, const struct lsi_bucket *b)
{
    return (struct ls_compress_span){.first = b->first,
                                     .last = b->last,
                                     .partials = ex->partials,
                                     .stride = ex->stack * ex->entry_count,
                                     .leaves =
                                         ex->layout->first_range[ex->rank + 1] - ex->layout->first_range[ex->rank],
                                     .reduced = ex->reduced,
                                     .label = LS_LABEL_BUCKET + (uint32_t)(b - ex->buckets)};
}

enum ls_status lsi_exchange_start_compressed(struct ls_exchange *ex, struct lsi_bucket *b, struct ls_error *err)
{
    struct ls_compress_span span = span_of(ex, b);
    struct ls_collective op;
    enum ls_status status = ls_compress_start(ex->compress, &span, &op, err);

    return status == LS_OK ? lsi_exchange_send(ex, b, &op, err) : status;
}

enum ls_status lsi_exchange_advance_compressed(struct ls_exchange *ex, struct lsi_bucket *b, struct ls_error *err)
{
    struct ls_compress_span span = span_of(ex, b);
    struct ls_collective op;
    enum ls_status status;

    if (b->advanced || b->done || !lsi_exchange_is_compressed(ex, b) || !ls_compress_goes_on(ex->compress))
        return LS_OK;
    b->advanced = true;
    status = lsi_exchange_receive(ex, b, err);
    if (status != LS_OK || !ls_compress_advance(ex->compress, &span, &op))
        return status;
    return lsi_exchange_send(ex, b, &op, err);
}

enum ls_status lsi_exchange_finish_compressed(struct ls_exchange *ex, struct lsi_bucket *b, struct ls_error *err)
{
    struct ls_compress_span span = span_of(ex, b);
    enum ls_status status = lsi_exchange_receive(ex, b, err);

    if (status != LS_OK)
        return status;
    ls_compress_finish(ex->compress, &span);
    b->way = "compressed";
    b->finished_ns = ls_tracing_now(ex->tracing);
    return LS_OK;
}
