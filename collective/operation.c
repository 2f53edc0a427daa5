/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An operation as it is asked for: the checks of its arguments, the tree that it is summed along, the signature that
 * all members must share, and its name in sentences. What is then done with it is request.c's.
 */
#include "collective/group_impl.h"
#include "collective/reduce.h"

#include "core/base/hash.h"

#include <stdio.h>
#include <string.h>

static const char *kind_name(int kind)
{
    static const char *const names[] = {
        "canonical all-reduce", "all-reduce", "reduce-scatter", "all-gather", "broadcast", "all-to-all", "barrier"};

    return kind >= 0 && kind <= LS_BARRIER ? names[kind] : "unknown operation";
}

/* What changes bits beside the way: the two upper bits of the hash. */
#define ANY_ORDER (UINT64_C(1) << 63)
#define BF16_WIRE (UINT64_C(1) << 62)

static const char *freedom(uint64_t hash)
{
    return (hash & BF16_WIRE) != 0 ? ", in any order by bf16" : (hash & ANY_ORDER) != 0 ? ", in any order" : "";
}

const char *lsi_operation_text(const struct lsi_signature *signature, uint64_t sequence, char text[128])
{
    static const char *const reductions[] = {"sum", "min", "max", "product", "mean"};
    const char *dtype = ls_dtype_name((enum ls_dtype)signature->dtype);
    bool reduces = signature->kind <= LS_REDUCE_SCATTER && signature->reduction <= LS_MEAN;

    if (signature->kind == LS_BARRIER)
        (void)snprintf(text, 128, "operation %llu (barrier)", (unsigned long long)sequence);
    else
        (void)snprintf(text, 128, "operation %llu (%s of %lld %s%s%s%s, %s, #%08x)", (unsigned long long)sequence,
                       kind_name(signature->kind), (long long)signature->count, dtype, reduces ? ", " : "",
                       reduces ? reductions[signature->reduction] : "", freedom(signature->hash),
                       lsi_way_name(signature->way), (unsigned)(signature->hash & 0xffffffffu));
    return text;
}

enum ls_status lsi_mismatch(const struct ls_request *request, int peer, const struct lsi_signature *theirs,
                            struct ls_error *err)
{
    char own_text[128];
    char their_text[128];
    char who[128];

    lsi_operation_text(&request->signature, request->sequence, own_text);
    lsi_operation_text(theirs, request->sequence, their_text);
    return ls_error_set(err, LS_EDIVERGED, "members run different operations: rank %d runs %s, %s runs %s%s",
                        request->group->rank, own_text, lsi_member_text(request->group, peer, who), their_text,
                        strcmp(own_text, their_text) == 0 ? " with another layout" : "");
}

static enum ls_status check_counts(const struct ls_group *group, const struct ls_collective *op, struct ls_error *err)
{
    int numbers = op->kind == LS_ALL_TO_ALL ? group->world * group->world : group->world;
    int64_t sum = 0;

    if (op->counts == NULL)
        return ls_error_set(err, LS_EINVAL, "%s without the counts of each rank", kind_name((int)op->kind));
    for (int i = 0; i < numbers; i++) {
        if (op->counts[i] < 0 || op->counts[i] > INT64_MAX / 16 - sum)
            return ls_error_set(err, LS_EINVAL, "%s: the count of rank %d is out of range", kind_name((int)op->kind),
                                i / (numbers / group->world));
        sum += op->counts[i];
    }
    if (op->kind == LS_REDUCE_SCATTER && sum != op->count)
        return ls_error_set(err, LS_EINVAL, "reduce-scatter of %lld elements, but the counts add up to %lld",
                            (long long)op->count, (long long)sum);
    return LS_OK;
}

/* Partials of a layout, and not one contribution a rank. */
static bool reduces_layout(const struct ls_collective *op)
{
    return op->kind == LS_ALL_REDUCE_TREE || (op->kind == LS_REDUCE_SCATTER && op->layout != NULL);
}

enum ls_status lsi_operation_check(const struct ls_group *group, const struct ls_collective *op, struct ls_error *err)
{
    if ((unsigned)op->kind > LS_BARRIER)
        return ls_error_set(err, LS_EINVAL, "there is no collective operation %d", (int)op->kind);
    if (op->kind == LS_BARRIER)
        return LS_OK;
    if (ls_dtype_size(op->dtype) == 0)
        return ls_error_set(err, LS_EINVAL, "%s: there is no dtype %d", kind_name((int)op->kind), (int)op->dtype);
    if (op->kind != LS_ALL_GATHER && op->kind != LS_ALL_TO_ALL && (op->count < 0 || op->count > INT64_MAX / 16))
        return ls_error_set(err, LS_EINVAL, "%s of %lld elements", kind_name((int)op->kind), (long long)op->count);
    if (op->kind == LS_BROADCAST && (op->root < 0 || op->root >= group->world))
        return ls_error_set(err, LS_EINVAL, "broadcast from rank %d in a group of %d", op->root, group->world);
    if (op->kind <= LS_REDUCE_SCATTER && lsi_combine_get(op->dtype, op->reduction) == NULL)
        return ls_error_set(err, LS_EUNSUPPORTED, "%s cannot reduce %s%s", kind_name((int)op->kind),
                            ls_dtype_name(op->dtype), op->reduction == LS_MEAN ? " to a mean" : "");
    if (op->kind == LS_ALL_REDUCE_TREE && op->layout == NULL)
        return ls_error_set(err, LS_EINVAL, "canonical all-reduce without a layout");
    if (reduces_layout(op) && op->layout->world != group->world)
        return ls_error_set(err, LS_EINVAL, "a layout for %d ranks in a group of %d", op->layout->world, group->world);
    if (op->kind == LS_REDUCE_SCATTER || op->kind == LS_ALL_GATHER || op->kind == LS_ALL_TO_ALL)
        return check_counts(group, op, err);
    return LS_OK;
}

const struct ls_tree_layout *lsi_request_layout(const struct ls_request *request)
{
    return reduces_layout(&request->op) ? request->op.layout : request->group->flat;
}

enum ls_status lsi_operation_bind(struct ls_request *request, struct ls_error *err)
{
    struct ls_group *group = request->group;
    const struct ls_collective *op = &request->op;
    const struct ls_tree_layout *layout = lsi_request_layout(request);
    enum ls_status status;

    request->tree = NULL;
    if (op->kind > LS_REDUCE_SCATTER)
        return LS_OK;
    status = lsi_tree_get(&group->trees, layout, group->rank, &request->tree, err);
    if (status != LS_OK)
        return status;
    request->divisor = op->reduction == LS_MEAN ? request->tree->leaf_count : 1;
    request->own_leaf = op->src;
    request->leaves = reduces_layout(op) ? op->leaves : &request->own_leaf;
    if (request->leaves == NULL && layout->first_range[group->rank + 1] > layout->first_range[group->rank])
        return ls_error_set(err, LS_EINVAL, "%s without this rank's partials", kind_name((int)op->kind));
    return LS_OK;
}

void lsi_operation_sign(struct ls_request *request)
{
    const struct ls_collective *op = &request->op;
    struct lsi_signature *signature = &request->signature;
    int numbers = request->group->world * (op->kind == LS_ALL_TO_ALL ? request->group->world : 1);
    int64_t count = op->count;

    memset(signature, 0, sizeof *signature);
    signature->kind = (uint8_t)op->kind;
    if (op->kind == LS_BARRIER)
        return;
    signature->dtype = (uint8_t)op->dtype;
    if (op->kind <= LS_REDUCE_SCATTER)
        signature->reduction = (uint8_t)op->reduction;
    if (op->kind == LS_BROADCAST)
        signature->root = op->root;
    if (op->kind == LS_ALL_GATHER || op->kind == LS_ALL_TO_ALL)
        for (int i = count = 0; i < numbers; i++)
            count += op->counts[i];
    signature->count = count;
    if (op->kind == LS_ALL_REDUCE_TREE)
        signature->hash = request->tree->hash;
    if (op->kind == LS_ALL_GATHER || op->kind == LS_REDUCE_SCATTER || op->kind == LS_ALL_TO_ALL)
        signature->hash =
            ls_xxh3(op->counts, (size_t)numbers * sizeof op->counts[0], reduces_layout(op) ? request->tree->hash : 0);
    signature->hash &= ~(ANY_ORDER | BF16_WIRE);
    signature->hash |= request->group->options.any_order ? ANY_ORDER : 0;
    signature->hash |= request->group->options.bf16_wire ? BF16_WIRE : 0;
    lsi_choose(request);
    signature->way = (uint8_t)request->way;
}
