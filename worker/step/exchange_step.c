/* SPDX-License-Identifier: Apache-2.0 */
/* A step's way through the exchange: buckets start as they are ready, moments are gathered between segments, then all
 * is waited for. See exchange.h. */
#include "worker/step/exchange_internal.h"

#include <string.h>

void ls_exchange_begin(struct ls_exchange *exchange, const struct ls_tree_layout *layout, uint64_t step)
{
    exchange->layout = layout;
    exchange->step = step;
    exchange->carried = exchange->courier != NULL && exchange->arrangement.beside;
    exchange->started = 0;
    for (int b = 0; b < exchange->bucket_count; b++) {
        exchange->buckets[b].sent = false;
        exchange->buckets[b].advanced = false;
        exchange->buckets[b].done = exchange->world == 1;
    }
    ls_tree_program_build(layout->ranges, layout->range_count, layout->v_total, &exchange->tree);
}

void *const *ls_exchange_partials(struct ls_exchange *exchange, int leaf, int depth)
{
    return exchange->partials + (leaf * exchange->stack + depth) * exchange->entry_count;
}

void ls_exchange_merge(struct ls_exchange *exchange, int leaf, int depth, int segment)
{
    void *const *into = ls_exchange_partials(exchange, leaf, depth);
    void *const *from = ls_exchange_partials(exchange, leaf, depth + 1);

    for (int i = 0; i < exchange->entry_count; i++) {
        const struct lsi_entry *e = &exchange->entries[i];
        const void *pair[2] = {into[i], from[i]};

        if (e->segment != segment)
            continue;
        if (e->kind == ENTRY_MOMENTS)
            ls_device_tree_moments(exchange->device, &exchange->pair, pair, into[i], e->count / 3);
        else
            ls_device_tree_sum(exchange->device, e->dtype, &exchange->pair, pair, into[i], e->count);
    }
}

enum ls_status lsi_exchange_send(struct ls_exchange *ex, struct lsi_bucket *b, const struct ls_collective *op,
                                 struct ls_error *err)
{
    enum ls_status status = LS_OK;

    if (ex->carried) {
        b->parcel.op = *op;
        ls_courier_give(ex->courier, &b->parcel);
    } else {
        status = ls_group_start(ex->group, op, &b->request, err);
    }
    b->sent = status == LS_OK;
    return status;
}

enum ls_status lsi_exchange_receive(struct ls_exchange *ex, struct lsi_bucket *b, struct ls_error *err)
{
    enum ls_status status;

    if (!b->sent)
        return LS_OK;
    b->sent = false;
    if (ex->carried) {
        status = ls_courier_wait(ex->courier, &b->parcel, err);
        b->way = b->parcel.way;
        b->missing = b->parcel.missing;
        return status;
    }
    b->way = ls_request_way(b->request);
    status = ls_request_wait(b->request, err);
    b->missing = ls_group_missing(ex->group);
    return status;
}

static enum ls_status start_bucket(struct ls_exchange *ex, struct lsi_bucket *b, struct ls_error *err)
{
    const void **leaves = ex->leaf_pointers + (b - ex->buckets) * ex->leaves;
    struct ls_collective op = {.kind = LS_ALL_REDUCE_TREE,
                               .reduction = LS_SUM,
                               .dtype = LS_F32,
                               .count = (int64_t)(b->bytes / sizeof(float)),
                               .layout = ex->layout,
                               .leaves = leaves};
    int own = ex->layout->first_range[ex->rank + 1] - ex->layout->first_range[ex->rank];

    b->started_ns = ls_tracing_now(ex->tracing);
    b->way = NULL;
    if (lsi_exchange_is_compressed(ex, b))
        return lsi_exchange_start_compressed(ex, b, err);
    for (int l = 0; l < own; l++)
        leaves[l] = ex->registered + (size_t)l * ex->leaf_bytes + b->offset;
    op.dst = ex->registered + (size_t)ex->leaves * ex->leaf_bytes + b->offset;
    op.way = ex->arrangement.way;
    op.label = LS_LABEL_BUCKET + (uint32_t)(b - ex->buckets);
    op.finished_ns = ex->tracing->ring != NULL ? &b->finished_ns : NULL;
    return lsi_exchange_send(ex, b, &op, err);
}

enum ls_status ls_exchange_ready(struct ls_exchange *exchange, int reduce, struct ls_error *err)
{
    enum ls_status status = LS_OK;

    if (exchange->world == 1)
        return LS_OK;
    while (status == LS_OK && exchange->started < exchange->bucket_count &&
           exchange->buckets[exchange->started].last <= reduce)
        status = start_bucket(exchange, &exchange->buckets[exchange->started++], err);
    return status;
}

/* One operation to its end, behind those that were started before. */
static enum ls_status run_operation(struct ls_exchange *ex, const struct ls_collective *op, int *missing,
                                    struct ls_error *err)
{
    struct ls_parcel parcel = {.op = *op};
    enum ls_status status;

    if (ex->carried) {
        ls_courier_give(ex->courier, &parcel);
        status = ls_courier_wait(ex->courier, &parcel, err);
        *missing = parcel.missing;
        return status;
    }
    status = ls_group_run(ex->group, op, err);
    *missing = ls_group_missing(ex->group);
    return status;
}

/* Everyone's leaves, gathered and merged in tree order. */
static enum ls_status finish_moments(struct ls_exchange *ex, int reduce, struct ls_error *err)
{
    const struct lsi_entry *e = &ex->entries[reduce];
    const struct ls_tree_layout *layout = ex->layout;
    int64_t counts[LS_MAX_MEMBERS];
    int own = layout->first_range[ex->rank + 1] - layout->first_range[ex->rank];
    const void **leaves = ex->leaf_pointers + ex->entry_count * ex->leaves;
    uint8_t *all = ex->gathered, *mine = ex->gathered + (size_t)(ex->world * ex->leaves) * e->bytes;
    struct ls_collective op = {
        .kind = LS_ALL_GATHER, .dtype = LS_U8, .src = mine, .dst = all, .counts = counts, .label = LS_LABEL_MOMENTS};
    uint64_t began = ls_tracing_now(ex->tracing);
    int missing;
    enum ls_status status;

    for (int r = 0; r < ex->world; r++)
        counts[r] = (int64_t)e->bytes * (layout->first_range[r + 1] - layout->first_range[r]);
    for (int l = 0; l < own; l++)
        memcpy(mine + (size_t)l * e->bytes, ls_exchange_partials(ex, l, 0)[reduce], e->bytes);
    status = run_operation(ex, &op, &missing, err);
    if (status != LS_OK)
        return status;
    lsi_exchange_trace_wait(ex, began, -1, missing);
    for (int k = 0; k < layout->range_count; k++)
        leaves[k] = all + (size_t)k * e->bytes;
    ls_device_tree_moments(ex->device, &ex->tree, leaves, (float *)(uintptr_t)ex->reduced[reduce], e->count / 3);
    return LS_OK;
}

enum ls_status ls_exchange_end_segment(struct ls_exchange *exchange, int segment, bool more, struct ls_error *err)
{
    int last = -1;
    enum ls_status status;

    for (int i = 0; i < exchange->entry_count; i++)
        if (exchange->entries[i].segment <= segment)
            last = i;
    status = ls_exchange_ready(exchange, last, err);
    for (int i = 0; i <= last && status == LS_OK && exchange->world > 1; i++)
        if (exchange->entries[i].segment == segment && exchange->entries[i].kind == ENTRY_MOMENTS)
            status = finish_moments(exchange, i, err);
    for (int i = 0; i <= last && status == LS_OK && more; i++)
        status = ls_exchange_wait(exchange, i, err);
    return status;
}

enum ls_status ls_exchange_wait(struct ls_exchange *exchange, int reduce, struct ls_error *err)
{
    int index = exchange->entries[reduce].bucket;
    struct lsi_bucket *b = index >= 0 ? &exchange->buckets[index] : NULL;
    uint64_t began = ls_tracing_now(exchange->tracing);
    enum ls_status status;

    if (b == NULL || b->done)
        return LS_OK;
    status = lsi_exchange_advance_compressed(exchange, b, err);
    b->done = true;
    if (status != LS_OK)
        return status;
    status = lsi_exchange_is_compressed(exchange, b) ? lsi_exchange_finish_compressed(exchange, b, err)
                                                     : lsi_exchange_receive(exchange, b, err);
    if (status == LS_OK && b->finished_ns > began)
        lsi_exchange_trace_wait(exchange, began, index, b->missing);
    if (status == LS_OK)
        lsi_exchange_trace_bucket(exchange, b);
    return status;
}

enum ls_status ls_exchange_finish(struct ls_exchange *exchange, int reduce, struct ls_error *err)
{
    enum ls_status status;

    if (exchange->world == 1)
        return LS_OK;
    if (exchange->entries[reduce].kind == ENTRY_MOMENTS)
        return finish_moments(exchange, reduce, err);
    status = ls_exchange_ready(exchange, reduce, err);
    return status == LS_OK ? ls_exchange_wait(exchange, reduce, err) : status;
}

enum ls_status ls_exchange_wait_all(struct ls_exchange *exchange, struct ls_error *err)
{
    enum ls_status status = LS_OK;

    /* All second collectives run before the first of them is waited for. */
    for (int b = 0; b < exchange->bucket_count && status == LS_OK; b++)
        status = lsi_exchange_advance_compressed(exchange, &exchange->buckets[b], err);
    for (int i = 0; i < exchange->entry_count && status == LS_OK; i++)
        status = ls_exchange_wait(exchange, i, err);
    return status;
}
