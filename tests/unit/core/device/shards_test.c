/* SPDX-License-Identifier: Apache-2.0 */
#include "core/device/shards.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* The default number of shards follows the rule max(min(8, p(B)), min(64, p(B / 32))). */
Test(shards, default_count)
{
    static const int expected[][2] = {{1, 1},     {2, 2},     {3, 2},     {7, 4},       {8, 8},
                                      {255, 8},   {256, 8},   {511, 8},   {512, 16},    {1023, 16},
                                      {1024, 32}, {2047, 32}, {2048, 64}, {1 << 20, 64}};

    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        cr_assert_eq(ls_shards_default(expected[i][0]), expected[i][1], "batch size %d", expected[i][0]);
}

/* The shards of every batch size follow each other without a gap and differ by one sample at most. */
Test(shards, cover_the_batch)
{
    for (int v = 1; v <= LS_MAX_SHARDS; v *= 2) {
        for (int64_t n = 0; n < 600; n++) {
            cr_assert_eq(ls_shard_begin(n, v, 0), 0);
            cr_assert_eq(ls_shard_begin(n, v, v), n);
            for (int i = 0; i < v; i++) {
                int64_t length = ls_shard_begin(n, v, i + 1) - ls_shard_begin(n, v, i);

                cr_assert(length == n / v || length == n / v + 1);
            }
        }
    }
}

/* The layout of a range counts from its own first sample. */
Test(shards, range_layout)
{
    struct ls_shards s = ls_shards_of(10, 8, 4, 4);

    cr_assert_eq(s.first_sample, 5);
    cr_assert_eq(s.batch_samples, 10);
    cr_assert_eq(s.offset[0], 0);
    cr_assert_eq(s.offset[1], 1);
    cr_assert_eq(s.offset[2], 2);
    cr_assert_eq(s.offset[3], 3);
    cr_assert_eq(s.offset[4], 5);
}

#define TEXT 4096

/* The definition, as text: a leaf is its number, a node "(left right)", a node with one child that child. */
static void define(const struct ls_range *ranges, int leaves, int first, int count, char *text)
{
    static char memory[16][2][TEXT];
    static int level;
    char(*part)[TEXT] = memory[level];
    int i, inside = 0;

    text[0] = '\0';
    for (i = 0; i < leaves; i++) {
        if (ranges[i].first == first && ranges[i].count == count) {
            snprintf(text, TEXT, "%d", i);
            return;
        }
        inside += ranges[i].first >= first && ranges[i].first < first + count;
    }
    if (inside == 0)
        return;
    level++;
    define(ranges, leaves, first, count / 2, part[0]);
    define(ranges, leaves, first + count / 2, count / 2, part[1]);
    level--;
    if (part[0][0] && part[1][0])
        cr_assert_lt(snprintf(text, TEXT, "(%s %s)", part[0], part[1]), TEXT);
    else
        memcpy(text, part[part[0][0] ? 0 : 1], TEXT);
}

/* What the program does, as the same text. */
static void run(const struct ls_tree_program *program, char *text)
{
    static char stack[LS_MAX_SHARDS][TEXT];
    static char sum[TEXT];
    int height = 0, depth = 0;

    text[0] = '\0';
    for (int i = 0; i < program->length; i++) {
        if (program->code[i] == LS_TREE_ADD) {
            height--;
            cr_assert_geq(height, 1);
            cr_assert_lt(snprintf(sum, TEXT, "(%s %s)", stack[height - 1], stack[height]), TEXT);
            memcpy(stack[height - 1], sum, TEXT);
        } else {
            snprintf(stack[height++], TEXT, "%d", program->code[i]);
        }
        depth = height > depth ? height : depth;
    }
    cr_assert_eq(depth, program->depth);
    cr_assert_eq(height, program->length > 0);
    if (height)
        memcpy(text, stack[0], TEXT);
}

static void check(const struct ls_range *ranges, int leaves, int v)
{
    static struct ls_tree_program program;
    static char expected[TEXT], got[TEXT];

    ls_tree_program_build(ranges, leaves, v, &program);
    define(ranges, leaves, 0, v, expected);
    run(&program, got);
    cr_assert_str_eq(got, expected);
}

/* Calls check for every set of disjoint aligned ranges of v shards from `at` on. */
static void every_set(struct ls_range *ranges, int leaves, int at, int v)
{
    if (at == v) {
        check(ranges, leaves, v);
        return;
    }
    every_set(ranges, leaves, at + 1, v);
    for (int count = 1; at % count == 0 && at + count <= v; count *= 2) {
        ranges[leaves] = (struct ls_range){at, count};
        every_set(ranges, leaves + 1, at + count, v);
    }
}

/* The program of every set of aligned ranges of up to 8 shards is the recursive definition. */
Test(shards, tree_exhaustive)
{
    struct ls_range ranges[8];

    for (int v = 1; v <= 8; v *= 2)
        every_set(ranges, 0, 0, v);
}

/* All shards of the largest tree fit, nine deep. */
Test(shards, tree_largest)
{
    static struct ls_range ranges[LS_MAX_SHARDS];
    static struct ls_tree_program program;

    for (int i = 0; i < LS_MAX_SHARDS; i++)
        ranges[i] = (struct ls_range){i, 1};
    check(ranges, LS_MAX_SHARDS, LS_MAX_SHARDS);
    ls_tree_program_build(ranges, LS_MAX_SHARDS, LS_MAX_SHARDS, &program);
    cr_assert_eq(program.depth, 9);
    cr_assert_eq(program.length, 2 * LS_MAX_SHARDS - 1);
}
