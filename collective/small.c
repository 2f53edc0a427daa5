/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small operations, the same for every provider: each member gives its values (at most 4 KiB: own partials one after
 * another, the own part, or the root's), everybody gets everybody's and works out the result alone.
 */
#include "collective/group_impl.h"

#include <string.h>

bool lsi_is_small(const struct ls_request *request)
{
    const struct ls_collective *op = &request->op;
    int64_t elements = op->count;

    if (op->kind == LS_BARRIER)
        return true;
    if (op->kind == LS_ALL_GATHER) {
        elements = 0;
        for (int r = 0; r < request->group->world; r++)
            elements = op->counts[r] > elements ? op->counts[r] : elements;
    }
    if (op->kind == LS_ALL_TO_ALL) {
        elements = 0;
        for (int r = 0; r < request->group->world; r++)
            elements = lsi_row(request, r) > elements ? lsi_row(request, r) : elements;
    }
    if (request->tree != NULL && elements <= LSI_SMALL_BYTES)
        elements *= request->tree->max_partials;
    return elements <= (int64_t)(LSI_SMALL_BYTES / request->element_bytes);
}

void lsi_small_write(const struct ls_request *request, void *values)
{
    const struct ls_collective *op = &request->op;
    int rank = request->group->rank;

    if (op->kind == LS_ALL_GATHER && op->counts[rank] > 0)
        memcpy(values, op->src, (size_t)op->counts[rank] * request->element_bytes);
    if (op->kind == LS_ALL_TO_ALL && lsi_row(request, rank) > 0)
        memcpy(values, op->src, (size_t)lsi_row(request, rank) * request->element_bytes);
    if (op->kind == LS_BROADCAST && op->root == rank && op->count > 0)
        memcpy(values, op->dst, (size_t)op->count * request->element_bytes);
    for (int i = 0; request->tree != NULL && i < request->tree->own_count; i++) {
        void *out = (uint8_t *)values + (size_t)i * (size_t)op->count * request->element_bytes;
        lsi_add_partial(request, &request->tree->own[i], request->leaves, out, op->count);
    }
}

static void gather(const struct ls_request *request, const void *const *values)
{
    const struct ls_collective *op = &request->op;
    uint8_t *dst = op->dst;

    for (int r = 0; r < request->group->world; r++) {
        size_t bytes = (size_t)op->counts[r] * request->element_bytes;
        if (bytes > 0)
            memcpy(dst, values[r], bytes);
        dst += bytes;
    }
}

static void exchange(const struct ls_request *request, const void *const *values)
{
    size_t size = request->element_bytes;

    for (int r = 0; r < request->group->world; r++) {
        struct lsi_pair pair = lsi_pair_of(request, r, request->group->rank);
        if (pair.length > 0)
            memcpy((uint8_t *)request->op.dst + (size_t)pair.dst * size,
                   (const uint8_t *)values[r] + (size_t)pair.src * size, (size_t)pair.length * size);
    }
}

static void add(const struct ls_request *request, const void *const *values, const void **inputs)
{
    const struct ls_collective *op = &request->op;
    const struct lsi_tree *tree = request->tree;
    int64_t begin = 0;
    int64_t length = op->count;

    if (op->kind == LS_REDUCE_SCATTER)
        lsi_part(request, request->group->rank, &begin, &length);
    for (int i = 0; i < tree->partial_count; i++)
        inputs[i] = (const uint8_t *)values[tree->partial_rank[i]] +
                    (size_t)(tree->partial_index[i] * op->count + begin) * request->element_bytes;
    lsi_add_result(request, &tree->top, inputs, op->dst, length);
}

void lsi_small_finish(const struct ls_request *request, const void *const *values, const void **inputs)
{
    const struct ls_collective *op = &request->op;

    if (op->kind <= LS_REDUCE_SCATTER)
        add(request, values, inputs);
    else if (op->kind == LS_ALL_GATHER)
        gather(request, values);
    else if (op->kind == LS_ALL_TO_ALL)
        exchange(request, values);
    else if (op->kind == LS_BROADCAST && op->root != request->group->rank && op->count > 0)
        memcpy(op->dst, values[op->root], (size_t)op->count * request->element_bytes);
}
