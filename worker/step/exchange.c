/* SPDX-License-Identifier: Apache-2.0 */
/* Buckets, partials and collectives of a step, see exchange.h. */
#include "worker/step/exchange.h"

#include "core/base/alloc.h"
#include "core/base/str.h"

#include <string.h>

enum entry_kind { ENTRY_SUM, ENTRY_MOMENTS, ENTRY_SCALAR };

struct entry {
    enum entry_kind kind;
    enum ls_dtype dtype;
    int segment;
    int bucket;    /* ENTRY_SUM */
    int64_t count; /* elements */
    size_t offset; /* in a leaf's memory and in the reduced memory, bytes */
    size_t bytes;
};

struct bucket {
    int segment;
    int first, last; /* reduces */
    bool compressed, advanced;
    size_t offset, bytes;
    struct ls_request *request;
    struct ls_parcel parcel;          /* in place of the request where there is a courier */
    uint64_t started_ns, finished_ns; /* of a traced step */
    const char *way;
    bool done;
};

struct ls_exchange {
    struct ls_group *group;
    struct ls_device *device;
    const struct ls_tree_layout *layout;
    int rank, world;
    int entry_count;
    struct entry *entries;
    int bucket_count, started;
    struct bucket *buckets;
    int leaves, stack;
    bool one_by_one;
    struct ls_arrangement arrangement;
    bool carried; /* by the courier, in this step */
    size_t leaf_bytes;
    uint8_t *registered; /* leaves, then the reduced values */
    uint8_t *scratch;    /* stack - 1 more levels for calls inside a leaf */
    void **partials;     /* [leaf][depth][reduce] */
    const void **reduced;
    const void **leaf_pointers; /* [bucket, at most one an entry][own leaf], then [leaf of all ranks] for moments */
    uint8_t *gathered;          /* moments of all leaves of all ranks */
    size_t gathered_bytes;
    struct ls_tree_program pair, tree;
    struct ls_compress *compress;
    struct ls_courier *courier;
    const struct ls_tracing *tracing;
    uint64_t step;
};

static enum entry_kind kind_of(const struct ls_program_reduce *reduce)
{
    if (reduce->moments)
        return ENTRY_MOMENTS;
    return reduce->dtype == LS_F32 ? ENTRY_SUM : ENTRY_SCALAR;
}

/* Lays entries out in ready order. */
static void lay_out(struct ls_exchange *ex, const struct ls_program *program)
{
    size_t offset = 0;

    for (int i = 0; i < ex->entry_count; i++) {
        const struct ls_program_reduce *reduce = ls_program_reduce_at(program, i);
        struct entry *e = &ex->entries[i];

        *e = (struct entry){.kind = kind_of(reduce),
                            .dtype = reduce->dtype,
                            .segment = reduce->segment,
                            .bucket = -1,
                            .count = ls_shape_count(&reduce->shape),
                            .offset = offset};
        e->bytes = ((size_t)e->count * ls_dtype_size(e->dtype) + LS_ALIGNMENT - 1) & ~(size_t)(LS_ALIGNMENT - 1);
        offset += e->bytes;
    }
    ex->leaf_bytes = offset > 0 ? offset : LS_ALIGNMENT;
}

/* Cuts the f32 sums of a segment into buckets. */
static void cut(struct ls_exchange *ex)
{
    const struct ls_arrangement *a = &ex->arrangement;
    struct bucket *open = NULL;

    ex->bucket_count = 0;
    for (int i = 0; i < ex->entry_count; i++) {
        struct entry *e = &ex->entries[i];
        size_t limit = ex->one_by_one ? 0 : ex->bucket_count <= 1 ? a->first_bucket_bytes : a->bucket_bytes;

        if (open != NULL && (e->kind != ENTRY_SUM || open->segment != e->segment || open->bytes >= limit ||
                             open->compressed != ls_compress_takes(ex->compress, i)))
            open = NULL;
        if (e->kind != ENTRY_SUM)
            continue;
        if (open == NULL) {
            open = &ex->buckets[ex->bucket_count++];
            *open = (struct bucket){.segment = e->segment,
                                    .first = i,
                                    .compressed = ls_compress_takes(ex->compress, i),
                                    .offset = e->offset};
        }
        open->last = i;
        open->bytes += e->bytes;
        e->bucket = (int)(open - ex->buckets);
    }
}

static void point(struct ls_exchange *ex)
{
    for (int l = 0; l < ex->leaves; l++)
        for (int d = 0; d < ex->stack; d++)
            for (int i = 0; i < ex->entry_count; i++) {
                uint8_t *base = d == 0 ? ex->registered + (size_t)l * ex->leaf_bytes
                                       : ex->scratch + (size_t)(d - 1) * ex->leaf_bytes;

                ex->partials[(l * ex->stack + d) * ex->entry_count + i] = base + ex->entries[i].offset;
            }
    for (int i = 0; i < ex->entry_count; i++) {
        size_t place = ex->world == 1 ? 0 : (size_t)ex->leaves * ex->leaf_bytes;

        ex->reduced[i] = ex->registered + place + ex->entries[i].offset;
    }
}

static size_t moments_bytes(const struct ls_exchange *ex)
{
    size_t most = 0;

    for (int i = 0; i < ex->entry_count; i++)
        if (ex->entries[i].kind == ENTRY_MOMENTS && ex->entries[i].bytes > most)
            most = ex->entries[i].bytes;
    return most;
}

static enum ls_status allocate(struct ls_exchange *ex, struct ls_error *err)
{
    size_t entries = (size_t)ex->entry_count, leaves = (size_t)ex->leaves;
    size_t copies = leaves + (ex->world > 1 ? 1 : 0);

    ex->partials = ls_alloc_zeroed(leaves * (size_t)ex->stack * entries, sizeof(void *));
    ex->reduced = ls_alloc_zeroed(entries, sizeof(void *));
    ex->leaf_pointers = ls_alloc_zeroed((entries + (size_t)ex->world) * leaves, sizeof(void *));
    ex->scratch = ls_alloc_aligned((size_t)(ex->stack - 1) * ex->leaf_bytes);
    ex->gathered_bytes = moments_bytes(ex) * leaves * (size_t)(ex->world + 1);
    ex->gathered = ls_alloc_aligned(ex->gathered_bytes);
    if (ex->partials == NULL || ex->reduced == NULL || ex->leaf_pointers == NULL || ex->scratch == NULL ||
        ex->gathered == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for the gradients of %d shard ranges", ex->leaves);
    return ls_group_register(ex->group, copies * ex->leaf_bytes, (void **)&ex->registered, err);
}

enum ls_status ls_exchange_create(const struct ls_program *program, struct ls_group *group, struct ls_device *device,
                                  const struct ls_exchange_options *options, struct ls_exchange **exchange,
                                  struct ls_error *err)
{
    struct ls_exchange *ex = ls_alloc_zeroed(1, sizeof *ex);
    struct ls_range two[2] = {{0, 1}, {1, 1}};
    struct ls_tuner usual;
    enum ls_status status;

    if (ex == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for the step's exchange");
    ex->group = group;
    ex->device = device;
    ex->rank = ls_group_rank(group);
    ex->world = ls_group_world(group);
    ex->entry_count = ls_program_reduce_count(program);
    ex->leaves = options->leaves > 0 ? options->leaves : 1;
    ex->stack = options->depth > 0 ? options->depth : 1;
    ex->one_by_one = options->one_by_one;
    ex->tracing = options->tracing;
    ex->courier = options->compress == NULL && !options->one_by_one ? options->courier : NULL;
    ex->compress = options->compress;
    ls_tree_program_build(two, 2, 2, &ex->pair);
    ex->entries = ls_alloc_zeroed((size_t)ex->entry_count, sizeof *ex->entries);
    ex->buckets = ls_alloc_zeroed((size_t)ex->entry_count, sizeof *ex->buckets);
    if (ex->entries == NULL || ex->buckets == NULL) {
        status = ls_error_set(err, LS_ENOMEM, "not enough memory for the step's exchange");
    } else {
        lay_out(ex, program);
        ls_tuner_init(&usual, &(struct ls_tuner_options){.fixed = true, .beside = ex->courier != NULL});
        ex->arrangement = *ls_tuner_arrangement(&usual);
        cut(ex);
        status = allocate(ex, err);
    }
    if (status != LS_OK) {
        ls_exchange_destroy(ex);
        return status;
    }
    point(ex);
    *exchange = ex;
    return LS_OK;
}

void ls_exchange_destroy(struct ls_exchange *exchange)
{
    if (exchange == NULL)
        return;
    ls_free(exchange->gathered);
    ls_free(exchange->scratch);
    ls_free((void *)exchange->leaf_pointers);
    ls_free((void *)exchange->reduced);
    ls_free(exchange->partials);
    ls_free(exchange->buckets);
    ls_free(exchange->entries);
    ls_free(exchange);
}

size_t ls_exchange_bytes(const struct ls_exchange *exchange)
{
    return ((size_t)exchange->leaves + (exchange->world > 1 ? 1 : 0)) * exchange->leaf_bytes;
}

void ls_exchange_arrange(struct ls_exchange *exchange, const struct ls_arrangement *arrangement)
{
    bool cuts = exchange->arrangement.first_bucket_bytes != arrangement->first_bucket_bytes ||
                exchange->arrangement.bucket_bytes != arrangement->bucket_bytes;

    if (exchange->compress != NULL || exchange->one_by_one)
        return;
    exchange->arrangement = *arrangement;
    if (cuts)
        cut(exchange);
}

int ls_exchange_bucket_count(const struct ls_exchange *exchange)
{
    return exchange->bucket_count;
}

size_t ls_exchange_largest_bucket(const struct ls_exchange *exchange)
{
    size_t most = 0;

    for (int b = 0; b < exchange->bucket_count; b++)
        if (exchange->buckets[b].bytes > most)
            most = exchange->buckets[b].bytes;
    return most;
}

const char *ls_exchange_way(const struct ls_exchange *exchange)
{
    const char *way = exchange->bucket_count > 0 ? exchange->buckets[exchange->bucket_count - 1].way : NULL;

    return way != NULL ? way : "";
}

void ls_exchange_begin(struct ls_exchange *exchange, const struct ls_tree_layout *layout, uint64_t step)
{
    exchange->layout = layout;
    exchange->step = step;
    exchange->carried = exchange->courier != NULL && exchange->arrangement.beside;
    exchange->started = 0;
    for (int b = 0; b < exchange->bucket_count; b++) {
        exchange->buckets[b].request = NULL;
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
        const struct entry *e = &exchange->entries[i];
        const void *pair[2] = {into[i], from[i]};

        if (e->segment != segment)
            continue;
        if (e->kind == ENTRY_MOMENTS)
            ls_device_tree_moments(exchange->device, &exchange->pair, pair, into[i], e->count / 3);
        else
            ls_device_tree_sum(exchange->device, e->dtype, &exchange->pair, pair, into[i], e->count);
    }
}

/* This step's bucket is the compressor's. */
static bool is_compressed(const struct ls_exchange *ex, const struct bucket *b)
{
    return b->compressed && ls_compress_active(ex->compress);
}

static struct ls_compress_span span_of(const struct ls_exchange *ex, const struct bucket *b)
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

static enum ls_status advance_compressed(struct ls_exchange *ex, struct bucket *b, struct ls_error *err)
{
    struct ls_compress_span span = span_of(ex, b);

    if (b->advanced || b->done || !is_compressed(ex, b))
        return LS_OK;
    b->advanced = true;
    return ls_compress_advance(ex->compress, &span, &b->request, err);
}

static enum ls_status finish_compressed(struct ls_exchange *ex, struct bucket *b, struct ls_error *err)
{
    struct ls_compress_span span = span_of(ex, b);

    return ls_compress_finish(ex->compress, &span, &b->request, err);
}

static enum ls_status start_bucket(struct ls_exchange *ex, struct bucket *b, struct ls_error *err)
{
    const void **leaves = ex->leaf_pointers + (b - ex->buckets) * ex->leaves;
    struct ls_collective op = {.kind = LS_ALL_REDUCE_TREE,
                               .reduction = LS_SUM,
                               .dtype = LS_F32,
                               .count = (int64_t)(b->bytes / sizeof(float)),
                               .layout = ex->layout,
                               .leaves = leaves};
    struct ls_compress_span span = span_of(ex, b);
    enum ls_status status;

    b->started_ns = ls_tracing_now(ex->tracing);
    b->way = "compressed";
    if (is_compressed(ex, b))
        return ls_compress_start(ex->compress, &span, &b->request, err);
    for (int l = 0; l < span.leaves; l++)
        leaves[l] = ex->registered + (size_t)l * ex->leaf_bytes + b->offset;
    op.dst = ex->registered + (size_t)ex->leaves * ex->leaf_bytes + b->offset;
    op.way = ex->arrangement.way;
    op.label = span.label;
    op.finished_ns = ex->tracing->ring != NULL ? &b->finished_ns : NULL;
    if (ex->carried) {
        b->parcel.op = op;
        ls_courier_give(ex->courier, &b->parcel);
        return LS_OK;
    }
    status = ls_group_start(ex->group, &op, &b->request, err);
    if (status == LS_OK)
        b->way = ls_request_way(b->request);
    return status;
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

/* A wait for a bucket, or for moments (-1). */
static void trace_wait(const struct ls_exchange *ex, uint64_t began, int bucket, int missing)
{
    struct ls_trace_event *event = ls_tracing_add(ex->tracing, LS_TRACE_WAIT, began, ex->step);

    if (event == NULL)
        return;
    event->peer = missing;
    event->number = bucket;
}

/* A bucket from its start to its completion. */
static void trace_bucket(const struct ls_exchange *ex, const struct bucket *b)
{
    struct ls_trace_event *event;

    if (ex->tracing->ring == NULL)
        return;
    event = ls_trace_add(ex->tracing->ring, LS_TRACE_BUCKET, b->started_ns, b->finished_ns, ex->step);
    event->number = (int32_t)(b - ex->buckets);
    event->bytes = b->bytes;
    (void)ls_str_into(event->note, sizeof event->note, b->way);
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
    const struct entry *e = &ex->entries[reduce];
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
    trace_wait(ex, began, -1, missing);
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

static enum ls_status finish_bucket(struct ls_exchange *ex, struct bucket *b, int *missing, struct ls_error *err)
{
    enum ls_status status;

    if (is_compressed(ex, b)) {
        status = finish_compressed(ex, b, err);
        b->finished_ns = ls_tracing_now(ex->tracing);
    } else if (ex->carried) {
        status = ls_courier_wait(ex->courier, &b->parcel, err);
        b->way = b->parcel.way;
        *missing = b->parcel.missing;
        return status;
    } else {
        status = ls_request_wait(b->request, err);
    }
    *missing = ls_group_missing(ex->group);
    return status;
}

enum ls_status ls_exchange_wait(struct ls_exchange *exchange, int reduce, struct ls_error *err)
{
    int index = exchange->entries[reduce].bucket;
    struct bucket *b = index >= 0 ? &exchange->buckets[index] : NULL;
    uint64_t began = ls_tracing_now(exchange->tracing);
    int missing;
    enum ls_status status;

    if (b == NULL || b->done)
        return LS_OK;
    status = advance_compressed(exchange, b, err);
    b->done = true;
    if (status != LS_OK)
        return status;
    status = finish_bucket(exchange, b, &missing, err);
    if (status == LS_OK && b->finished_ns > began)
        trace_wait(exchange, began, index, missing);
    if (status == LS_OK)
        trace_bucket(exchange, b);
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

int ls_exchange_count(const struct ls_exchange *exchange)
{
    return exchange->entry_count;
}

size_t ls_exchange_value_bytes(const struct ls_exchange *exchange, int reduce)
{
    const struct entry *e = &exchange->entries[reduce];

    return (size_t)e->count * ls_dtype_size(e->dtype);
}

enum ls_status ls_exchange_wait_all(struct ls_exchange *exchange, struct ls_error *err)
{
    enum ls_status status = LS_OK;

    /* All second collectives run before the first of them is waited for. */
    for (int b = 0; b < exchange->bucket_count && status == LS_OK; b++)
        status = advance_compressed(exchange, &exchange->buckets[b], err);
    for (int i = 0; i < exchange->entry_count && status == LS_OK; i++)
        status = ls_exchange_wait(exchange, i, err);
    return status;
}

const void *const *ls_exchange_reduced(const struct ls_exchange *exchange)
{
    return exchange->reduced;
}

double ls_exchange_scalar(const struct ls_exchange *exchange, int leaf, int reduce)
{
    const struct entry *e = &exchange->entries[reduce];
    const void *data = exchange->registered + (size_t)leaf * exchange->leaf_bytes + e->offset;
    double real;
    int64_t whole;

    if (e->dtype == LS_F64) {
        memcpy(&real, data, sizeof real);
        return real;
    }
    memcpy(&whole, data, sizeof whole);
    return (double)whole;
}
