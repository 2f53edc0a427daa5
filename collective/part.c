/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which elements of an operation are whose: the parts of the ranks, the pieces that parts travel in, and the pairs of
 * an ALL_TO_ALL. All members come to the same numbers; where bytes lie is the provider's.
 */
#include "collective/group_impl.h"

void lsi_slice(int64_t count, int world, int r, int64_t *begin, int64_t *length)
{
    /* Pieces end at whole pages of f32 where there are many, at whole cache lines otherwise. */
    int64_t grain = count >= (int64_t)world * 8192 ? 1024 : 16;
    int64_t grains = (count + grain - 1) / grain;
    int64_t first = grains * r / world * grain;
    int64_t last = grains * (r + 1) / world * grain;

    first = first < count ? first : count;
    last = last < count ? last : count;
    *begin = first;
    *length = last - first;
}

void lsi_part(const struct ls_request *request, int r, int64_t *begin, int64_t *length)
{
    const struct ls_collective *op = &request->op;

    if (op->kind == LS_BROADCAST) {
        *begin = 0;
        *length = r == op->root ? op->count : 0;
    } else if (op->kind == LS_REDUCE_SCATTER || op->kind == LS_ALL_GATHER) {
        *begin = 0;
        for (int i = 0; i < r; i++)
            *begin += op->counts[i];
        *length = op->counts[r];
    } else {
        lsi_slice(op->count, request->group->world, r, begin, length);
    }
}

struct lsi_piece lsi_cut(int64_t count, int64_t size, int64_t s)
{
    struct lsi_piece piece;

    piece.inside = s * size < count ? s * size : count;
    piece.begin = piece.inside;
    piece.length = count - piece.inside < size ? count - piece.inside : size;
    return piece;
}

struct lsi_piece lsi_piece_of(const struct ls_request *request, int64_t size, int owner, int64_t s)
{
    int64_t begin, length;
    struct lsi_piece piece;

    lsi_part(request, owner, &begin, &length);
    piece = lsi_cut(length, size, s);
    piece.begin += begin;
    return piece;
}

int64_t lsi_longest_part(const struct ls_request *request)
{
    int64_t longest = 0;

    for (int r = 0; r < request->group->world; r++) {
        int64_t begin, length;

        lsi_part(request, r, &begin, &length);
        longest = length > longest ? length : longest;
    }
    return longest;
}

int64_t lsi_row(const struct ls_request *request, int from)
{
    int world = request->group->world;
    int64_t sum = 0;

    for (int to = 0; to < world; to++)
        sum += request->op.counts[from * world + to];
    return sum;
}

struct lsi_pair lsi_pair_of(const struct ls_request *request, int from, int to)
{
    const int64_t *counts = request->op.counts;
    int world = request->group->world;
    struct lsi_pair pair = {.length = counts[from * world + to]};

    for (int r = 0; r < to; r++)
        pair.src += counts[from * world + r];
    for (int r = 0; r < from; r++)
        pair.dst += counts[r * world + to];
    return pair;
}
