/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batch reductions: a piece of work is one shard of up to four registers of columns, walked block by block; then the
 * tree over the shards. Formulas and cuts: core/device/ref/batch.c.
 */
#include "core/device/cpu/isa/batch_family.h"
#include "core/device/cpu/isa/isa.h"
#include "core/device/cpu/isa/vec.h"
#include "core/device/ref/call.h"

#include <string.h>

/* Registers of columns that one walk over the rows takes. */
#define STRIP_REGISTERS 4
#define STRIP (STRIP_REGISTERS * VEC_LANES)

enum kind { KIND_SUM, KIND_DOT, KIND_CENTRED };

/* One operand of a reduction, rows of one shard, columns from x on. */
struct walk {
    const float *x, *y; /* y: KIND_DOT */
    int64_t width, begin, end, positions;
    const float *center; /* KIND_CENTRED */
};

/* One row into the block's registers; lanes: those that exist in the only register of a narrow strip. */
static inline __attribute__((always_inline)) void add_row(enum kind kind, int registers, int64_t lanes,
                                                          const struct walk *walk, int64_t at, const vec *center,
                                                          vec *block)
{
    for (int k = 0; k < registers; k++) {
        int64_t n = registers > 1 ? VEC_LANES : lanes;
        vec x = vec_load_some(walk->x + at + k * VEC_LANES, n);

        if (kind == KIND_SUM)
            block[k] = block[k] + x;
        else if (kind == KIND_DOT)
            block[k] = vec_multiply_add(x, vec_load_some(walk->y + at + k * VEC_LANES, n), block[k]);
        else
            block[k] = vec_multiply_add(x - center[k], x - center[k], block[k]);
    }
}

/* Adds the walk's blocks to sum. Lanes that do not exist hold anything and are not stored. */
static inline __attribute__((always_inline)) void walk_strip(enum kind kind, int registers, int64_t lanes,
                                                             const struct walk *walk, float *sum)
{
    vec total[STRIP_REGISTERS], block[STRIP_REGISTERS], center[STRIP_REGISTERS];

    for (int k = 0; k < registers; k++) {
        int64_t n = registers > 1 ? VEC_LANES : lanes;

        total[k] = vec_load_some(sum + k * VEC_LANES, n);
        center[k] = kind == KIND_CENTRED ? vec_load_some(walk->center + k * VEC_LANES, n) : vec_set(0.0f);
    }
    for (int64_t row = walk->begin; row < walk->end;) {
        int64_t stop = lsi_batch_block_end(row, walk->end, walk->positions);

        for (int k = 0; k < registers; k++)
            block[k] = vec_set(0.0f);
        for (; row < stop; row++)
            add_row(kind, registers, lanes, walk, row * walk->width, center, block);
        for (int k = 0; k < registers; k++)
            total[k] = total[k] + block[k];
    }
    for (int k = 0; k < registers; k++)
        vec_store_some(sum + k * VEC_LANES, total[k], registers > 1 ? VEC_LANES : lanes);
}

static inline __attribute__((always_inline)) void walk_kind(enum kind kind, struct walk walk, int64_t columns,
                                                            float *sum)
{
    while (columns > 0) {
        int64_t taken = columns >= STRIP ? STRIP : columns >= 2 * VEC_LANES ? 2 * VEC_LANES : columns;

        taken = taken < 2 * VEC_LANES && taken > VEC_LANES ? VEC_LANES : taken;
        if (taken == STRIP)
            walk_strip(kind, STRIP_REGISTERS, VEC_LANES, &walk, sum);
        else if (taken == 2 * VEC_LANES)
            walk_strip(kind, 2, VEC_LANES, &walk, sum);
        else
            walk_strip(kind, 1, taken, &walk, sum);
        walk.x += taken;
        walk.y += kind == KIND_DOT ? taken : 0;
        walk.center += kind == KIND_CENTRED ? taken : 0;
        sum += taken;
        columns -= taken;
    }
}

static void walk_columns(enum kind kind, const struct walk *walk, int64_t columns, float *sum)
{
    if (kind == KIND_SUM)
        walk_kind(KIND_SUM, *walk, columns, sum);
    else if (kind == KIND_DOT)
        walk_kind(KIND_DOT, *walk, columns, sum);
    else
        walk_kind(KIND_CENTRED, *walk, columns, sum);
}

struct job {
    const struct ls_op_call *call;
    float *sums; /* (shards, width), or (shards, 3, width) for moments */
    int64_t width, strips;
};

static struct walk walk_of(const struct job *job, int operand, int shard, int64_t column)
{
    const struct ls_view *view = &job->call->in[operand];
    struct lsi_batch_rows rows = lsi_batch_rows_of(job->call, view, job->width);

    return (struct walk){.x = (const float *)view->data + column,
                         .width = job->width,
                         .begin = lsi_shard_offset(job->call, shard, rows.rows) * rows.positions,
                         .end = lsi_shard_offset(job->call, shard + 1, rows.rows) * rows.positions,
                         .positions = rows.positions};
}

static void reduce_piece(const struct job *job, int shard, int64_t column, int64_t columns)
{
    const struct ls_op_call *call = job->call;
    bool accumulate = lsi_batch_attrs(call)->accumulate, dot = call->op == LS_OP_ROW_DOT;
    float *sum = job->sums + shard * job->width + column;

    if (accumulate)
        memcpy(sum, (const float *)call->in[0].data + shard * job->width + column, (size_t)columns * sizeof(float));
    else
        memset(sum, 0, (size_t)columns * sizeof(float));
    for (int k = accumulate; k < call->in_count; k += dot ? 2 : 1) {
        struct walk walk = walk_of(job, k, shard, column);

        walk.y = dot ? (const float *)call->in[k + 1].data + column : NULL;
        walk_columns(dot ? KIND_DOT : KIND_SUM, &walk, columns, sum);
    }
}

static void moments_piece(const struct job *job, int shard, int64_t column, int64_t columns)
{
    float *count = job->sums + shard * 3 * job->width + column, *mean = count + job->width, *m2 = mean + job->width;
    struct walk walk = walk_of(job, 0, shard, column);
    float rows = (float)(walk.end - walk.begin);

    for (int64_t c = 0; c < columns; c++) {
        count[c] = rows;
        mean[c] = 0;
        m2[c] = 0;
    }
    if (walk.end == walk.begin)
        return;
    walk_columns(KIND_SUM, &walk, columns, mean);
    for (int64_t c = 0; c < columns; c++)
        mean[c] /= rows;
    walk.center = mean;
    walk_columns(KIND_CENTRED, &walk, columns, m2);
}

static void piece_range(void *state, int64_t begin, int64_t end, int thread)
{
    const struct job *job = state;

    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        int64_t column = i % job->strips * STRIP, rest = job->width - column;
        int shard = (int)(i / job->strips);

        if (job->call->op == LS_OP_MOMENTS)
            moments_piece(job, shard, column, rest < STRIP ? rest : STRIP);
        else
            reduce_piece(job, shard, column, rest < STRIP ? rest : STRIP);
    }
}

static void run_pieces(struct ls_device *device, struct job *job)
{
    int64_t pieces, elements = 0;

    job->strips = (job->width + STRIP - 1) / STRIP;
    pieces = job->strips * lsi_shard_count(job->call);
    for (int k = 0; k < job->call->in_count; k++)
        elements += ls_shape_count(&job->call->in[k].shape);
    /* At least 16,384 elements a thread. */
    lsi_device_parallel(device, pieces, 1 + pieces * 16384 / (elements + 1), piece_range, job);
}

/* The tree over rows of the shards that have samples. */
struct tree {
    struct ls_tree_program program;
    const void *leaves[LS_MAX_SHARDS];
    float *out;
};

static void tree_range(void *state, int64_t begin, int64_t end, int thread)
{
    const struct tree *tree = state;

    (void)thread;
    LSI_ISA_NAME(lsi_cpu_sweeps)()->tree_sum_f32(&tree->program, tree->leaves, tree->out, begin, end);
}

static void run_tree(struct ls_device *device, const struct ls_op_call *call, const float *sums, int64_t width)
{
    struct ls_range ranges[LS_MAX_SHARDS];
    struct tree tree;
    int leaves = 0, first = call->shards ? call->shards->first : 0, total = call->shards ? call->shards->total : 1;

    for (int v = 0; v < lsi_shard_count(call); v++) {
        if (lsi_shard_offset(call, v + 1, 1) > lsi_shard_offset(call, v, 1)) {
            ranges[leaves] = (struct ls_range){first + v, 1};
            tree.leaves[leaves++] = sums + v * width;
        }
    }
    tree.out = call->out[0].data;
    if (leaves == 0) {
        memset(tree.out, 0, (size_t)width * sizeof(float));
        return;
    }
    ls_tree_program_build(ranges, leaves, total, &tree.program);
    lsi_device_parallel(device, width, 4096, tree_range, &tree);
}

static enum ls_status row_reduction(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    bool per_shard = lsi_batch_attrs(call)->per_shard;
    struct job job = {call, per_shard ? call->out[0].data : call->workspace, lsi_batch_width(call), 0};

    (void)err;
    run_pieces(device, &job);
    if (!per_shard)
        run_tree(device, call, job.sums, job.width);
    return LS_OK;
}

static enum ls_status shard_tree(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    (void)err;
    run_tree(device, call, call->in[0].data, ls_shape_count(&call->out[0].shape));
    return LS_OK;
}

/* b's set is joined to a's. */
static void merge_moments(float *restrict a, const float *restrict b, int64_t width)
{
    for (int64_t c = 0; c < width; c++) {
        float na = a[c], n = na + b[c], ratio = b[c] / n, d = b[width + c] - a[width + c];

        a[c] = n;
        a[width + c] = __builtin_fmaf(d, ratio, a[width + c]);
        a[2 * width + c] = (a[2 * width + c] + b[2 * width + c]) + (d * d) * (na * ratio);
    }
}

static enum ls_status moments(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    struct job job = {call, call->workspace, lsi_batch_width(call), 0};
    int shards = lsi_shard_count(call);
    int64_t triple = 3 * job.width;

    (void)err;
    run_pieces(device, &job);
    for (int step = 1; step < shards; step *= 2) {
        for (int v = 0; v + step < shards; v += 2 * step) {
            float *left = job.sums + v * triple, *right = job.sums + (v + step) * triple;

            /* A count of 0 tells of an empty shard or subtree. */
            if (job.width && left[0] > 0 && right[0] > 0)
                merge_moments(left, right, job.width);
            else if (job.width && right[0] > 0)
                memcpy(left, right, (size_t)triple * sizeof(float));
        }
    }
    memcpy(call->out[0].data, job.sums, (size_t)triple * sizeof(float));
    return LS_OK;
}

static size_t sums_workspace(const struct ls_device *device, const struct ls_op_call *call)
{
    size_t copies = call->op == LS_OP_MOMENTS ? 3 : 1;

    (void)device;
    if (lsi_batch_attrs(call)->per_shard)
        return 0;
    return copies * (size_t)lsi_shard_count(call) * (size_t)lsi_batch_width(call) * sizeof(float);
}

static bool accepts(const struct ls_device *device, const struct ls_op_call *call)
{
    (void)device;
    for (int k = 0; k < call->in_count; k++) {
        if (call->in[k].dtype != LS_F32)
            return false;
    }
    return call->out[0].dtype == LS_F32;
}

void LSI_ISA_NAME(lsi_cpu_batch)(struct lsi_kernel *table)
{
    table[LS_OP_ROW_SUM] = (struct lsi_kernel){row_reduction, sums_workspace, accepts};
    table[LS_OP_ROW_DOT] = (struct lsi_kernel){row_reduction, sums_workspace, accepts};
    table[LS_OP_MOMENTS] = (struct lsi_kernel){moments, sums_workspace, accepts};
    table[LS_OP_SHARD_TREE] = (struct lsi_kernel){shard_tree, NULL, accepts};
    LSI_ISA_NAME(lsi_cpu_batch_norm)(table);
}
