/* SPDX-License-Identifier: Apache-2.0 */
/* dense and dense_wgrad in plain C: the definition. docs/numerics.md, "Products", says the same in words. */
#include "core/device/products.h"

#include <math.h>

static float dense_element(const struct lsi_dense *d, int64_t row, int64_t column)
{
    const float *x = d->x + row * d->depth;
    const float *w = d->transposed_w ? d->w + column * d->depth : d->w + column;
    int64_t step = d->transposed_w ? 1 : d->columns;
    float sum = 0.0f;
    int64_t k = 0;

    while (k < d->depth) {
        int64_t end = k + LSI_BLOCK < d->depth ? k + LSI_BLOCK : d->depth;
        float block = 0.0f;

        for (; k < end; k++)
            block = fmaf(x[k], w[k * step], block);
        sum += block;
    }
    if (d->bias != NULL)
        sum += d->bias[column];
    return d->relu ? lsi_relu(sum) : sum;
}

static void dense_range(void *state, int64_t begin, int64_t end, int thread)
{
    const struct lsi_dense *d = state;
    int64_t row, column;

    (void)thread;
    for (row = begin; row < end; row++) {
        for (column = 0; column < d->columns; column++)
            d->y[row * d->columns + column] = dense_element(d, row, column);
    }
}

static enum ls_status dense_run(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    struct lsi_dense dense = lsi_dense_of(call);

    (void)err;
    lsi_device_parallel(device, dense.rows, 1, dense_range, &dense);
    return LS_OK;
}

struct wgrad_job {
    const struct ls_op_call *call;
    struct lsi_wgrad wgrad;
};

/* Adds the blocks of one use to the running sum of element (i, j) of a shard. */
static float add_blocks(const struct wgrad_job *job, const struct lsi_wgrad_pair *pair, int shard, int64_t element,
                        float sum)
{
    int64_t n = job->wgrad.n, k = job->wgrad.k;
    const float *x = pair->x + element / n;
    const float *dy = pair->dy + element % n;
    int64_t row = job->wgrad.offset[shard] * pair->positions;
    int64_t last = job->wgrad.offset[shard + 1] * pair->positions;

    while (row < last) {
        int64_t end = lsi_block_end(pair, row, last);
        float block = 0.0f;

        for (; row < end; row++)
            block = fmaf(x[row * k], dy[row * n], block);
        sum += block;
    }
    return sum;
}

static float running_sum(const struct wgrad_job *job, int shard, int64_t element)
{
    const struct lsi_wgrad *w = &job->wgrad;
    float sum = w->acc != NULL ? w->acc[shard * w->k * w->n + element] : 0.0f;
    int i;

    for (i = 0; i < w->pairs; i++) {
        struct lsi_wgrad_pair pair = lsi_wgrad_pair_of(job->call, w, i);

        sum = add_blocks(job, &pair, shard, element, sum);
    }
    return sum;
}

/* The tree over shards [first, first + count); false where all of them are empty. */
static bool tree_sum(const struct wgrad_job *job, int first, int count, int64_t element, float *sum)
{
    float left, right;
    bool has_left, has_right;

    if (job->wgrad.offset[first] == job->wgrad.offset[first + count])
        return false;
    if (count == 1) {
        *sum = running_sum(job, first, element);
        return true;
    }
    has_left = tree_sum(job, first, count / 2, element, &left);
    has_right = tree_sum(job, first + count / 2, count / 2, element, &right);
    *sum = has_left && has_right ? left + right : has_left ? left : right;
    return true;
}

static void wgrad_range(void *state, int64_t begin, int64_t end, int thread)
{
    const struct wgrad_job *job = state;
    const struct lsi_wgrad *w = &job->wgrad;
    int64_t element;
    int shard;

    (void)thread;
    for (element = begin; element < end; element++) {
        if (w->per_shard) {
            for (shard = 0; shard < w->shards; shard++)
                w->out[shard * w->k * w->n + element] = running_sum(job, shard, element);
        } else if (!tree_sum(job, 0, w->shards, element, &w->out[element])) {
            w->out[element] = 0.0f;
        }
    }
}

static enum ls_status wgrad_run(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    struct wgrad_job job = {.call = call};

    (void)err;
    lsi_wgrad_of(call, &job.wgrad);
    lsi_device_parallel(device, job.wgrad.k * job.wgrad.n, 64, wgrad_range, &job);
    return LS_OK;
}

void lsi_ref_products(struct lsi_kernel *table)
{
    table[LS_OP_DENSE].run = dense_run;
    table[LS_OP_DENSE_WGRAD].run = wgrad_run;
}
