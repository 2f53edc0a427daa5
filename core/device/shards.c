/* SPDX-License-Identifier: Apache-2.0 */
/* Logical shards and the canonical tree of shards.h. */
#include "core/device/shards.h"

#include <assert.h>
#include <stddef.h>

/* The largest power of two <= x; 0 for x < 1. */
static int64_t power_below(int64_t x)
{
    int64_t power = 1;

    if (x < 1)
        return 0;
    while (power <= x / 2)
        power *= 2;
    return power;
}

int ls_shards_default(int64_t batch_size)
{
    int64_t small = power_below(batch_size);
    int64_t large = power_below(batch_size / 32);

    small = small < 8 ? small : 8;
    large = large < 64 ? large : 64;
    return (int)(small > large ? small : large);
}

int64_t ls_shard_begin(int64_t n, int v_total, int v)
{
    return v * n / v_total;
}

struct ls_shards ls_shards_of(int64_t n, int v_total, int first, int count)
{
    struct ls_shards shards = {.total = v_total, .first = first, .count = count, .batch_samples = n};
    int i;

    assert(count >= 1 && count <= LS_MAX_SHARDS && first >= 0 && first + count <= v_total);
    shards.first_sample = ls_shard_begin(n, v_total, first);
    for (i = 0; i <= count; i++)
        shards.offset[i] = ls_shard_begin(n, v_total, first + i) - shards.first_sample;
    return shards;
}

/* What the walk down the tree carries. */
struct builder {
    const struct ls_range *ranges;
    int leaves;
    int next; /* first range that has not been placed */
    int height;
    struct ls_tree_program *program;
};

static void emit(struct builder *builder, int code)
{
    struct ls_tree_program *program = builder->program;

    assert((size_t)program->length < sizeof program->code / sizeof program->code[0]);
    program->code[program->length++] = (int16_t)code;
    builder->height += code == LS_TREE_ADD ? -1 : 1;
    if (builder->height > program->depth)
        program->depth = builder->height;
}

/* Emits the subtree of shards [first, first + count); returns whether anything of it is there. */
static int place(struct builder *builder, int first, int count)
{
    const struct ls_range *range = builder->ranges + builder->next;
    int left, right;

    if (builder->next == builder->leaves || range->first >= first + count)
        return 0;
    if (range->first == first && range->count == count) {
        emit(builder, builder->next++);
        return 1;
    }
    assert(count > 1); /* else the ranges overlap, are not aligned or are out of order */
    left = place(builder, first, count / 2);
    right = place(builder, first + count / 2, count / 2);
    if (left && right)
        emit(builder, LS_TREE_ADD);
    return left || right;
}

void ls_tree_program_build(const struct ls_range *ranges, int leaves, int v_total, struct ls_tree_program *program)
{
    struct builder builder = {.ranges = ranges, .leaves = leaves, .program = program};

    program->length = 0;
    program->depth = 0;
    place(&builder, 0, v_total);
    assert(builder.next == leaves);
}
