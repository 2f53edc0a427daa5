/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: checks of an operation, its signature, the queue in which operations run one after another, waits. */
#include "collective/group_impl.h"
#include "collective/reduce.h"

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/device/fence_impl.h"

#include <stdio.h>
#include <string.h>

#define ASLEEP (INT32_MAX / 2) /* a round at which no provider spins */

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

static enum ls_status check_operation(const struct ls_group *group, const struct ls_collective *op,
                                      struct ls_error *err)
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

/* Binds the compiled tree and the own leaves of a reduction. */
static enum ls_status bind_tree(struct ls_request *request, struct ls_error *err)
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

static void sign(struct ls_request *request)
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

static struct ls_request *take_request(struct ls_group *group)
{
    struct ls_request *request = group->spare, *before = group->made;

    if (request != NULL) {
        group->spare = request->next;
        before = request->made_before;
    } else {
        request = ls_alloc(sizeof *request);
        if (request == NULL)
            return NULL;
        group->made = request;
    }
    memset(request, 0, sizeof *request);
    request->made_before = before;
    return request;
}

void lsi_request_give(struct ls_request *request)
{
    request->next = request->group->spare;
    request->group->spare = request;
}

static void append(struct ls_group *group, struct ls_request *request)
{
    if (group->head == NULL)
        group->head = request;
    else
        group->tail->next = request;
    group->tail = request;
}

/* What peers were told of a long wait holds no more. */
static void retract_wait(struct ls_group *group)
{
    if (group->told_wait < 0)
        return;
    group->told_wait = -1;
    group->ops->tell_wait(group->state, -1);
}

/* Takes the head off the queue with its result. */
static void finish_head(struct ls_group *group, enum ls_status status)
{
    struct ls_request *request = group->head;

    group->head = request->next;
    request->next = NULL;
    request->status = status;
    request->finished = true;
    group->settled = request->sequence;
    if (status == LS_OK)
        group->completed = request->sequence;
    retract_wait(group);
    lsi_waiting_clear(group);
    if (request->op.finished_ns != NULL)
        *request->op.finished_ns = ls_clock_now_ns();
    if (request->tree != NULL)
        ((struct lsi_tree *)request->tree)->uses--;
    if (request->unattended)
        lsi_request_give(request);
}

/* The group is over: every request ends with the recorded reason. */
static enum ls_status finish_all(struct ls_group *group, struct ls_error *err)
{
    enum ls_status status = lsi_group_end_error(group, err);

    while (group->head != NULL)
        finish_head(group, status);
    return status;
}

/* Records a failure that this member found, tells the peers. */
static enum ls_status fail(struct ls_group *group, enum ls_status status, int culprit, const struct ls_error *why,
                           struct ls_error *err)
{
    lsi_group_end(group, status, culprit, why->message);
    group->ops->abort(group->state);
    return finish_all(group, err);
}

static bool ended(const struct ls_group *group)
{
    return atomic_load_explicit(&group->end_state, memory_order_acquire) != 0;
}

/* Publishes what could not be published before, in order. */
static enum ls_status publish_all(struct ls_group *group, struct ls_error *err)
{
    for (struct ls_request *request = group->head; request != NULL; request = request->next) {
        if (request->published)
            continue;
        enum ls_status status = group->ops->publish(group->state, request, err);
        if (status != LS_OK)
            return status;
        request->published = true;
    }
    return LS_OK;
}

/* One round: publish, advance the head as far as it goes. LS_OK: the queue is empty. */
static enum ls_status advance(struct ls_group *group, struct ls_error *err)
{
    struct ls_error why = LS_ERROR_INIT;
    enum ls_status status = LS_OK;

    if (ended(group))
        return finish_all(group, err);
    while (group->head != NULL) {
        if (group->tail->published)
            status = LS_OK;
        else
            status = publish_all(group, &why);
        if (status == LS_OK || (status == LS_EAGAIN && group->head->published))
            status = group->ops->progress(group->state, group->head, &why);
        if (status == LS_EAGAIN)
            return LS_EAGAIN;
        if (status != LS_OK)
            return fail(group, status, group->waits_for, &why, err);
        group->ticks++;
        finish_head(group, LS_OK);
    }
    return LS_OK;
}

static enum ls_status start(struct ls_group *group, const struct ls_collective *collective, struct ls_request **request,
                            struct ls_error *err)
{
    struct ls_request *made;
    enum ls_status status;

    if (ended(group))
        return finish_all(group, err);
    status = check_operation(group, collective, err);
    if (status != LS_OK)
        return status;
    made = take_request(group);
    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for a request");
    made->group = group;
    made->op = *collective;
    made->element_bytes = collective->kind == LS_BARRIER ? 1 : ls_dtype_size(collective->dtype);
    status = bind_tree(made, err);
    if (status != LS_OK) {
        lsi_request_give(made);
        return status;
    }
    if (made->tree != NULL)
        ((struct lsi_tree *)made->tree)->uses++;
    sign(made);
    made->sequence = ++group->sequence;
    append(group, made);
    /* A failure here belongs to the requests: each of them reports it when it is waited for. */
    (void)advance(group, NULL);
    *request = made;
    return LS_OK;
}

enum ls_status ls_group_start(struct ls_group *group, const struct ls_collective *collective,
                              struct ls_request **request, struct ls_error *err)
{
    bool turn = lsi_turn_take(group->turns);
    enum ls_status status = start(group, collective, request, err);

    lsi_turn_give(group->turns, turn);
    return status;
}

static uint64_t now_ns(const struct ls_group *group)
{
    return group->ops->now_ns != NULL ? group->ops->now_ns(group->state) : ls_clock_now_ns();
}

/* From the rank that is waited for to the one that it waits for in turn, as far as that is known. */
static int end_of_waits(const struct ls_group *group, int rank)
{
    for (int hops = 0; hops < group->world && group->ops->heard_wait != NULL; hops++) {
        int next = group->ops->heard_wait(group->state, rank);
        if (next < 0 || next >= group->world || next == group->rank || next == rank)
            break;
        rank = next;
    }
    return rank;
}

/* Who is waited for, in what, for how long. */
static void time_out(struct ls_group *group, uint64_t silence_ns)
{
    struct ls_error why = LS_ERROR_INIT;
    int culprit = end_of_waits(group, group->waits_for);
    char operation[128];
    char who[128];
    char does[64];

    if (culprit == group->waits_for)
        (void)snprintf(does, sizeof does, "%s", group->waits_why != NULL ? group->waits_why : "has not answered");
    else
        (void)snprintf(does, sizeof does, "rank %d waits for as well", group->waits_for);
    ls_error_set(&why, LS_ETIMEOUT, "%s: rank %d waited %.1f s for %s, which %s",
                 lsi_operation_text(&group->head->signature, group->head->sequence, operation), group->rank,
                 (double)silence_ns * 1e-9, lsi_member_text(group, culprit, who), does);
    (void)fail(group, LS_ETIMEOUT, culprit, &why, NULL);
}

struct ls_group *lsi_ended_parent(const struct ls_group *group)
{
    struct ls_group *parent = group->parent;

    if (group->origin != NULL && group->origin->inside)
        parent = group->origin->group->parent; /* that one is being formed itself */
    for (; parent != NULL; parent = parent->parent) {
        struct ls_error why = LS_ERROR_INIT;
        int culprit = -1;
        enum ls_status status = LS_OK;
        if (!ended(parent) && parent->ops->look != NULL)
            status = parent->ops->look(parent->state, &culprit, &why);
        if (status != LS_OK && status != LS_EAGAIN)
            (void)fail(parent, status, culprit, &why, NULL);
        if (ended(parent))
            return parent;
    }
    return NULL;
}

/* A sub-group ends with the group that it was split from. */
static void watch_parents(struct ls_group *group)
{
    struct ls_group *parent = lsi_ended_parent(group);
    struct ls_error why = LS_ERROR_INIT;

    if (parent != NULL)
        (void)fail(group, lsi_group_end_error(parent, &why), -1, &why, NULL);
}

/* Ends the group where nothing has moved for its deadline, which starts anew with every bit of progress. Before that
 * peers are told, so that they do not take this member for the silent one. */
static void watch_deadline(struct ls_group *group)
{
    uint64_t now = now_ns(group), deadline = (uint64_t)group->wait_deadline_ms * 1000000u;

    if (group->ticks != group->seen_ticks || group->since_ns == 0) {
        group->seen_ticks = group->ticks;
        group->since_ns = now;
        retract_wait(group);
    }
    lsi_waiting_say(group);
    if (now - group->since_ns > deadline)
        time_out(group, now - group->since_ns);
    else if (now - group->since_ns > deadline / 4 && group->told_wait != group->waits_for &&
             group->ops->tell_wait != NULL) {
        group->told_wait = group->waits_for;
        group->ops->tell_wait(group->state, group->waits_for);
    }
}

void lsi_group_poll(struct ls_group *group, uint64_t sequence)
{
    if (group->settled < sequence)
        (void)advance(group, NULL);
    if (group->settled < sequence)
        watch_parents(group);
    if (group->settled < sequence)
        watch_deadline(group);
}

enum ls_status ls_request_test(struct ls_request *request, struct ls_error *err)
{
    struct ls_group *group = request->group;
    bool turn = lsi_turn_take(group->turns);
    enum ls_status status = LS_EAGAIN;

    lsi_group_poll(group, request->sequence);
    if (request->finished)
        status = request->status != LS_OK ? lsi_group_end_error(group, err) : LS_OK;
    if (request->finished && status == LS_OK)
        lsi_request_give(request);
    lsi_turn_give(group->turns, turn);
    return status;
}

/* The group's own deadline is the end of every wait; whoever waits may lose patience before. */
static enum ls_status lose_patience(const struct ls_group *group, uint64_t sequence,
                                    const struct lsi_patience *patience, uint64_t began_ns, struct ls_error *err)
{
    int rank = lsi_rank_name(group, group->rank);
    uint64_t now;

    if (patience->abandon != NULL && atomic_load_explicit(patience->abandon, memory_order_relaxed))
        return ls_error_set(err, LS_EINTERRUPTED, "%s was closed while it waited for operation %llu of rank %d",
                            patience->who, (unsigned long long)sequence, rank);
    if (patience->deadline_ns == UINT64_MAX)
        return LS_OK;
    now = ls_clock_now_ns();
    if (now >= patience->deadline_ns)
        return ls_error_set(err, LS_ETIMEOUT, "%s waited %.1f s for operation %llu of rank %d, which goes on",
                            patience->who, (double)(now - began_ns) * 1e-9, (unsigned long long)sequence, rank);
    return LS_OK;
}

enum ls_status lsi_group_drive(struct ls_group *group, uint64_t sequence, const struct lsi_patience *patience,
                               struct ls_error *err)
{
    const _Atomic bool *hurry = patience != NULL ? patience->hurry : NULL;
    uint64_t ticks = group->ticks, began_ns = patience != NULL ? ls_clock_now_ns() : 0;
    bool slept = false, asleep;
    int round = 0;

    for (;;) {
        (void)advance(group, NULL);
        if (group->settled >= sequence)
            return LS_OK;
        if (group->ticks != ticks) {
            ticks = group->ticks;
            round = 0;
        }
        /* The clock is read after sleeps and now and then. */
        if ((round & 63) == 63 || slept) {
            enum ls_status status = LS_OK;
            watch_parents(group);
            if (group->settled < sequence)
                watch_deadline(group);
            if (group->settled < sequence && patience != NULL)
                status = lose_patience(group, sequence, patience, began_ns, err);
            if (status != LS_OK)
                return status;
        }
        if (group->settled >= sequence)
            return LS_OK;
        /* Others who wait go first, which is a round as well: its clock is read, and now and then the provider's wait
         * is made all the same, where alarms are heard and virtual time passes. */
        slept = false;
        if (!lsi_turn_pass(group->turns) || (round & 15) == 15) {
            asleep = hurry != NULL && !atomic_load_explicit(hurry, memory_order_relaxed);
            slept = group->ops->idle(group->state, asleep ? ASLEEP : round);
        }
        round = round < INT32_MAX ? round + 1 : round;
    }
}

static enum ls_status wait_for(struct ls_request *request, const _Atomic bool *hurry, struct ls_error *err)
{
    const struct lsi_patience patience = {.deadline_ns = UINT64_MAX, .hurry = hurry};
    struct ls_group *group = request->group;
    bool turn = lsi_turn_take(group->turns);
    enum ls_status status;

    if (!request->finished)
        (void)lsi_group_drive(group, request->sequence, hurry != NULL ? &patience : NULL, NULL);
    status = request->status;
    if (status != LS_OK)
        status = lsi_group_end_error(group, err);
    lsi_request_give(request);
    lsi_turn_give(group->turns, turn);
    return status;
}

enum ls_status ls_request_wait(struct ls_request *request, struct ls_error *err)
{
    return wait_for(request, NULL, err);
}

enum ls_status ls_request_wait_beside(struct ls_request *request, const _Atomic bool *hurry, struct ls_error *err)
{
    return wait_for(request, hurry, err);
}

bool ls_group_drives_beside(const struct ls_group *group)
{
    return group->world > 1 && group->ops->drives_beside != NULL && group->ops->drives_beside(group->state);
}

const char *ls_request_way(const struct ls_request *request)
{
    return lsi_way_name(request->signature.way);
}

enum ls_status ls_group_run(struct ls_group *group, const struct ls_collective *collective, struct ls_error *err)
{
    struct ls_request *request;
    enum ls_status status = ls_group_start(group, collective, &request, err);

    return status != LS_OK ? status : ls_request_wait(request, err);
}
