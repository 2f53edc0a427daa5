/* SPDX-License-Identifier: Apache-2.0 */
/* The exchange's memory: entries, buckets, partials and reduced values, see exchange.h. */
#include "worker/step/exchange_internal.h"

#include "core/base/alloc.h"

#include <string.h>

static enum lsi_entry_kind kind_of(const struct ls_program_reduce *reduce)
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
        struct lsi_entry *e = &ex->entries[i];

        *e = (struct lsi_entry){.kind = kind_of(reduce),
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

/* A bucket is closed once it holds so much. The first ones are small, so that their collectives begin early. */
static size_t limit_of(const struct ls_exchange *ex)
{
    const struct ls_arrangement *a = &ex->arrangement;

    if (ex->one_by_one)
        return 0;
    return ex->bucket_count <= 1 ? a->first_bucket_bytes : a->bucket_bytes;
}

/* Cuts the f32 sums of a segment into buckets. */
static void cut(struct ls_exchange *ex)
{
    struct lsi_bucket *open = NULL;

    ex->bucket_count = 0;
    for (int i = 0; i < ex->entry_count; i++) {
        struct lsi_entry *e = &ex->entries[i];

        if (open != NULL && (e->kind != ENTRY_SUM || open->segment != e->segment || open->bytes >= limit_of(ex) ||
                             open->compressed != ls_compress_takes(ex->compress, i)))
            open = NULL;
        if (e->kind != ENTRY_SUM)
            continue;
        if (open == NULL) {
            open = &ex->buckets[ex->bucket_count++];
            *open = (struct lsi_bucket){.segment = e->segment,
                                        .first = i,
                                        .compressed = ls_compress_takes(ex->compress, i),
                                        .offset = e->offset};
        }
        open->last = i;
        open->bytes += e->bytes;
        e->bucket = (int)(open - ex->buckets);
    }
}

/* Every entry gets its place in the memory of each leaf and depth, and among the reduced values. */
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
    ex->gathered = ls_alloc_aligned(moments_bytes(ex) * leaves * (size_t)(ex->world + 1));
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
    struct ls_range two[2] = {{0, 1}, {1, 1}}; /* calls of a leaf are merged in pairs */
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
    ex->courier = options->one_by_one ? NULL : options->courier;
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

    if (exchange->one_by_one)
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

int ls_exchange_count(const struct ls_exchange *exchange)
{
    return exchange->entry_count;
}

size_t ls_exchange_value_bytes(const struct ls_exchange *exchange, int reduce)
{
    const struct lsi_entry *e = &exchange->entries[reduce];

    return (size_t)e->count * ls_dtype_size(e->dtype);
}

const void *const *ls_exchange_reduced(const struct ls_exchange *exchange)
{
    return exchange->reduced;
}

double ls_exchange_scalar(const struct ls_exchange *exchange, int leaf, int reduce)
{
    const struct lsi_entry *e = &exchange->entries[reduce];
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
