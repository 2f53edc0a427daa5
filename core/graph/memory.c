/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where things lie in the arena. Storages and workspaces are blocks with a lifetime in steps; largest first, each
 * goes to the lowest place that is free over its whole lifetime. O(n^2) in the number of blocks, once a compile.
 */
#include "core/graph/program_internal.h"

#include "core/base/alloc.h"

#include <stdlib.h>

struct block {
    size_t bytes, offset;
    int first, last;
    int number; /* ties: the one that was added first */
    size_t *place;
};

static int larger_first(const void *a, const void *b)
{
    const struct block *x = a, *y = b;

    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return x->number - y->number;
}

static int by_offset(const void *a, const void *b)
{
    const struct block *x = *(const struct block *const *)a, *y = *(const struct block *const *)b;

    return x->offset == y->offset ? x->number - y->number : x->offset < y->offset ? -1 : 1;
}

static size_t round_up(size_t bytes)
{
    return (bytes + LS_ALIGNMENT - 1) / LS_ALIGNMENT * LS_ALIGNMENT;
}

/* Lowest place for blocks[n] among those before it. `met` has room for n pointers. */
static size_t find_place(const struct block *blocks, int n, const struct block **met)
{
    size_t offset = 0;
    int count = 0;

    for (int i = 0; i < n; i++)
        if (blocks[i].first <= blocks[n].last && blocks[n].first <= blocks[i].last)
            met[count++] = &blocks[i];
    qsort(met, (size_t)count, sizeof(*met), by_offset);
    for (int i = 0; i < count; i++) {
        if (met[i]->offset >= offset + blocks[n].bytes)
            break;
        if (met[i]->offset + met[i]->bytes > offset)
            offset = met[i]->offset + met[i]->bytes;
    }
    return offset;
}

static int collect(struct ls_program *program, struct block *blocks)
{
    int count = 0;

    for (int i = 0; i < program->storage_count; i++) {
        struct lsi_storage *storage = &program->storages[i];

        if (storage->place != LSI_ARENA || storage->first < 0)
            continue;
        blocks[count] = (struct block){.bytes = round_up(storage->bytes),
                                       .first = storage->first,
                                       .last = storage->last,
                                       .number = count,
                                       .place = &storage->offset};
        count++;
    }
    for (int i = 0; i < program->step_count; i++) {
        struct lsi_step *step = &program->steps[i];

        if (step->workspace_bytes == 0)
            continue;
        blocks[count] = (struct block){.bytes = round_up(step->workspace_bytes),
                                       .first = i,
                                       .last = i,
                                       .number = count,
                                       .place = &step->workspace_offset};
        count++;
    }
    return count;
}

enum ls_status lsi_program_plan(struct ls_program *program, struct ls_error *err)
{
    size_t most = (size_t)program->storage_count + (size_t)program->step_count;
    struct block *blocks = ls_alloc_zeroed(most, sizeof(*blocks));
    const struct block **met = ls_alloc_zeroed(most, sizeof(*met));
    enum ls_status status = LS_OK;

    if (blocks == NULL || met == NULL) {
        status = ls_error_set(err, LS_ENOMEM, "no memory to plan a program of %d steps", program->step_count);
    } else {
        int count = collect(program, blocks);

        qsort(blocks, (size_t)count, sizeof(*blocks), larger_first);
        for (int i = 0; i < count; i++) {
            blocks[i].offset = find_place(blocks, i, met);
            *blocks[i].place = blocks[i].offset;
            if (blocks[i].offset + blocks[i].bytes > program->arena_bytes)
                program->arena_bytes = blocks[i].offset + blocks[i].bytes;
        }
    }
    ls_free(blocks);
    ls_free(met);
    return status;
}
