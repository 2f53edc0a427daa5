/* SPDX-License-Identifier: Apache-2.0 */
/* Life of a compressor, its memory, and the frame of a step around the methods; see compress.h. */
#include "worker/compress/compress_internal.h"

#include "core/base/alloc.h"

static const struct lsi_compress_method *const methods[] = {
    &lsi_compress_bf16,
    &lsi_compress_top_k,
    &lsi_compress_power_sgd,
};

#define HISTOGRAM 4096 /* entries, for top_k */

static const struct lsi_compress_method *find_method(const char *name)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(methods[i]->name, name) == 0)
            return methods[i];
    return NULL;
}

/* Whole cache lines a variable. */
static int64_t rounded(int64_t elements)
{
    return (elements + 15) / 16 * 16;
}

static void measure(struct ls_compress *c, const struct ls_compress_item *given)
{
    for (int i = 0; i < c->item_count; i++) {
        struct lsi_compress_item *item = &c->items[i];
        const struct ls_shape *shape = &given[i].shape;

        item->is = given[i];
        item->count = ls_shape_count(shape);
        item->cols = shape->rank > 0 ? shape->dim[shape->rank - 1] : 1;
        item->rows = item->cols > 0 ? item->count / item->cols : 0;
        item->at = c->elements;
        item->shared_at = c->shared_elements;
        c->method->measure(c, item);
        c->elements += rounded(item->count);
        c->shared_elements += rounded(item->shared);
        for (int r = 0; r < LSI_REGIONS; r++) {
            item->place[r] = c->region_bytes[r];
            c->region_bytes[r] += item->bytes[r];
        }
        c->item_of[given[i].reduce] = i;
    }
    for (int r = 0; r < LSI_REGIONS; r++)
        c->region_bytes[r] = (c->region_bytes[r] + LS_ALIGNMENT - 1) & ~(size_t)(LS_ALIGNMENT - 1);
}

static size_t registered_bytes(const struct ls_compress *c)
{
    size_t bytes = 0;

    for (int r = 0; r < LSI_REGIONS && c->world > 1; r++)
        bytes += c->region_bytes[r];
    return bytes;
}

static enum ls_status allocate(struct ls_compress *c, struct ls_error *err)
{
    size_t bytes = registered_bytes(c);
    void *memory = NULL;
    bool enough = true;
    enum ls_status status = LS_OK;

    for (int k = 0; k < 2; k++) {
        c->residual[k] = ls_alloc_aligned((size_t)c->elements * sizeof(float));
        c->shared[k] = ls_alloc_aligned((size_t)c->shared_elements * sizeof(float));
        enough = enough && c->residual[k] != NULL && c->shared[k] != NULL;
    }
    c->histogram = ls_alloc_aligned(HISTOGRAM * sizeof *c->histogram);
    c->counts = ls_alloc_zeroed((size_t)c->item_count + 1, sizeof *c->counts);
    c->digests = ls_alloc_zeroed((size_t)c->world + 1, 32);
    if (!enough || c->histogram == NULL || c->counts == NULL || c->digests == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for the compression of gradients");
    if (bytes > 0)
        status = ls_group_register(c->group, bytes, &memory, err);
    for (int r = 0; r < LSI_REGIONS && status == LS_OK && bytes > 0; r++) {
        c->region[r] = memory;
        memory = c->region[r] + c->region_bytes[r];
    }
    for (int i = 0; i < c->item_count && status == LS_OK && c->method->initialize != NULL; i++)
        c->method->initialize(c, &c->items[i]);
    return status == LS_OK ? lsi_compress_name_tensors(c, err) : status;
}

enum ls_status ls_compress_create(const struct ls_compress_options *options, struct ls_group *group,
                                  struct ls_compress **compress, struct ls_error *err)
{
    struct ls_compress *c = ls_alloc_zeroed(1, sizeof *c);
    enum ls_status status = LS_OK;

    if (c == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for the compression of gradients");
    c->options = *options;
    c->options.items = NULL;
    c->group = group;
    c->method = find_method(options->method);
    c->rank = options->rank;
    c->world = options->world;
    c->item_count = options->item_count;
    c->empty = true;
    c->items = ls_alloc_zeroed((size_t)c->item_count + 1, sizeof *c->items);
    c->item_of = ls_alloc_zeroed((size_t)options->reduce_count + 1, sizeof *c->item_of);
    if (c->method == NULL)
        status = ls_error_set(err, LS_EINVAL, "there is no compression %s", options->method);
    else if (c->items == NULL || c->item_of == NULL)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory for the compression of gradients");
    for (int i = 0; i < options->reduce_count && status == LS_OK; i++)
        c->item_of[i] = -1;
    if (status == LS_OK)
        measure(c, options->items);
    if (status == LS_OK && group != NULL)
        status = allocate(c, err);
    if (status != LS_OK)
        ls_compress_destroy(c);
    else
        *compress = c;
    return status;
}

void ls_compress_destroy(struct ls_compress *c)
{
    if (c == NULL)
        return;
    for (int i = 0; c->names != NULL && i < c->tensor_count; i++)
        ls_free(c->names[i]);
    for (int i = 0; c->counts != NULL && i < c->item_count; i++)
        ls_free(c->counts[i]);
    for (int k = 0; k < 2; k++) {
        ls_free(c->residual[k]);
        ls_free(c->shared[k]);
    }
    ls_free(c->names);
    ls_free(c->tensors);
    ls_free(c->digests);
    ls_free(c->counts);
    ls_free(c->histogram);
    ls_free(c->item_of);
    ls_free(c->items);
    ls_free(c);
}

int64_t ls_compress_elements(const struct ls_compress *c)
{
    int64_t elements = 0;

    for (int i = 0; i < c->item_count; i++)
        elements += c->items[i].count;
    return elements;
}

double ls_compress_moved_bytes(const struct ls_compress *c)
{
    double bytes = 0;

    for (int i = 0; i < c->item_count && c->world > 1; i++)
        bytes += c->items[i].moved;
    return bytes;
}

size_t ls_compress_bytes(const struct ls_compress *c)
{
    return 2 * (size_t)(c->elements + c->shared_elements) * sizeof(float) + registered_bytes(c);
}

bool ls_compress_takes(const struct ls_compress *c, int reduce)
{
    return c != NULL && c->item_of[reduce] >= 0;
}

void ls_compress_begin(struct ls_compress *c, uint64_t step)
{
    c->step = step;
    c->touched = false;
}

bool ls_compress_active(const struct ls_compress *c)
{
    return c->step >= (uint64_t)c->options.start_step;
}

static struct lsi_compress_run run_of(struct ls_compress *c, const struct ls_compress_span *span)
{
    int first = c->item_of[span->first];

    return (struct lsi_compress_run){.items = &c->items[first],
                                     .count = c->item_of[span->last] - first + 1,
                                     .reduced = span->reduced,
                                     .label = span->label,
                                     .counts = c->counts[first]};
}

/* What the method starts from: all own leaves in shard order, then what the steps before left. */
static void add_up(struct ls_compress *c, const struct lsi_compress_item *item, const struct ls_compress_span *span)
{
    const float *restrict residual = c->residual[c->current] + item->at;
    float *restrict sum = lsi_next(c, item);

    if (span->leaves == 0)
        memcpy(sum, residual, (size_t)item->count * sizeof *sum);
    for (int l = 0; l < span->leaves; l++) {
        const float *restrict leaf = span->partials[l * span->stride + item->is.reduce];

        for (int64_t e = 0; e < item->count; e++)
            sum[e] = l == 0 ? leaf[e] : sum[e] + leaf[e];
    }
    for (int64_t e = 0; span->leaves > 0 && e < item->count; e++)
        sum[e] += residual[e];
}

enum ls_status ls_compress_start(struct ls_compress *c, const struct ls_compress_span *span, struct ls_collective *op,
                                 struct ls_error *err)
{
    int first = c->item_of[span->first];
    struct lsi_compress_run run;

    if (c->counts[first] == NULL) {
        c->counts[first] = ls_alloc_zeroed((size_t)c->world * (size_t)c->world + (size_t)c->world, sizeof(int64_t));
        if (c->counts[first] == NULL)
            return ls_error_set(err, LS_ENOMEM, "not enough memory for the compression of gradients");
    }
    run = run_of(c, span);
    for (int i = 0; i < run.count; i++)
        add_up(c, &run.items[i], span);
    c->touched = true;
    c->method->start(c, &run, op);
    return LS_OK;
}

bool ls_compress_goes_on(const struct ls_compress *c)
{
    return c->method->advance != NULL;
}

bool ls_compress_advance(struct ls_compress *c, const struct ls_compress_span *span, struct ls_collective *op)
{
    struct lsi_compress_run run = run_of(c, span);

    return c->method->advance(c, &run, op);
}

void ls_compress_finish(struct ls_compress *c, const struct ls_compress_span *span)
{
    struct lsi_compress_run run = run_of(c, span);

    c->method->finish(c, &run);
}

void ls_compress_alone(struct ls_compress *c, const void *const *reduced)
{
    if (c->empty)
        return;
    for (int i = 0; i < c->item_count; i++) {
        const struct lsi_compress_item *item = &c->items[i];
        const float *residual = c->residual[c->current] + item->at;
        float *sum = (float *)(uintptr_t)reduced[item->is.reduce];

        for (int64_t e = 0; e < item->count; e++)
            sum[e] += residual[e];
    }
    memset(c->residual[!c->current], 0, (size_t)c->elements * sizeof(float));
    memcpy(c->shared[!c->current], c->shared[c->current], (size_t)c->shared_elements * sizeof(float));
    c->touched = true;
}

void ls_compress_commit(struct ls_compress *c)
{
    if (c->touched)
        c->current = !c->current;
    c->empty = c->empty || c->world == 1;
    c->touched = false;
}
