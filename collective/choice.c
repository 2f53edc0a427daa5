/* SPDX-License-Identifier: Apache-2.0 */
/* The table of choices; see choice.h. `lockstep bench allreduce --table` measures what stands here. */
#include "collective/choice.h"

#include "collective/group_impl.h"
#include "core/base/hash.h"
#include "core/base/str.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

static const char *const way_names[] = {
#define WAY_NAME(code, name) name,
    LSI_WAY_LIST(WAY_NAME)
#undef WAY_NAME
};
#define WAYS ((int)(sizeof way_names / sizeof way_names[0]))

static const struct {
    const char *name;
    int kind;
} kinds[] = {{"all-reduce", LS_ALL_REDUCE}, {"reduce-scatter", LS_REDUCE_SCATTER}, {"all-gather", LS_ALL_GATHER},
             {"broadcast", LS_BROADCAST},   {"all-to-all", LS_ALL_TO_ALL},         {"any", LSI_ANY_KIND}};
#define KINDS (sizeof kinds / sizeof kinds[0])

static const struct lsi_choice built_in[] = {
    {"any", LSI_ANY_KIND, INT_MAX, INT64_MAX, LSI_ONE_SHOT},  /* where the values fit a frame */
    {"any", LSI_ANY_KIND, INT_MAX, INT64_MAX, LSI_HIERARCHY}, /* where hosts are composed */
    {"any", LSI_ANY_KIND, INT_MAX, INT64_MAX, LSI_BF16},      /* where the group wants it */
    {"tcp", LS_ALL_REDUCE, 2, 256 << 10, LSI_GATHER},         /* one step less, the same volume */
    {"tcp", LS_ALL_REDUCE, 4, 32 << 10, LSI_GATHER},          /* one step less, more volume */
    {"tcp", LS_ALL_REDUCE, 4, INT64_MAX, LSI_CANONICAL},      /* two steps for all sizes */
    {"tcp", LS_ALL_REDUCE, INT_MAX, 64 << 10, LSI_HALVING},   /* fewer messages: many members, 2^n of them */
    {"tcp", LS_ALL_REDUCE, 8, 32 << 10, LSI_GATHER},
    {"mpi", LS_ALL_REDUCE, 2, 64 << 10, LSI_GATHER},          /* as tcp */
    {"nccl", LS_ALL_REDUCE, INT_MAX, INT64_MAX, LSI_NATIVE},  /* where any order will do */
    {"any", LSI_ANY_KIND, INT_MAX, INT64_MAX, LSI_DIRECT},    /* gathers; shm */
    {"any", LSI_ANY_KIND, INT_MAX, INT64_MAX, LSI_CANONICAL}, /* reductions */
    {"any", LSI_ANY_KIND, INT_MAX, INT64_MAX, LSI_BINOMIAL},  /* broadcasts */
};

const char *lsi_way_name(int way)
{
    return way >= 0 && way < WAYS ? way_names[way] : "?";
}

/* "64K", "4M", "17" or "any". */
static bool parse_limit(const char *text, int64_t most, int64_t *limit)
{
    char digits[24];
    size_t length = strlen(text);
    int64_t unit = 1;

    if (strcmp(text, "any") == 0) {
        *limit = most;
        return true;
    }
    if (length > 1 && text[length - 1] == 'K')
        unit = 1 << 10;
    if (length > 1 && text[length - 1] == 'M')
        unit = 1 << 20;
    length -= unit > 1;
    if (length >= sizeof digits)
        return false;
    (void)snprintf(digits, sizeof digits, "%.*s", (int)length, text);
    if (!ls_str_to_i64(digits, limit) || *limit < 0 || *limit > most / unit)
        return false;
    *limit *= unit;
    return true;
}

/* TRANSPORT/OPERATION/MEMBERS/BYTES=WAY */
static bool parse_row(char *text, struct lsi_choice *row)
{
    char *part[5] = {text};
    int64_t world;
    size_t k = 0;
    int w = 0;

    for (int i = 1; i < 5; i++) {
        char *end = strchr(part[i - 1], i < 4 ? '/' : '=');
        if (end == NULL)
            return false;
        *end = '\0';
        part[i] = end + 1;
    }
    while (k < KINDS && strcmp(kinds[k].name, part[1]) != 0)
        k++;
    while (w < WAYS && strcmp(way_names[w], part[4]) != 0)
        w++;
    if (k == KINDS || w == WAYS || part[0][0] == '\0' || !ls_str_into(row->transport, sizeof row->transport, part[0]) ||
        !parse_limit(part[2], INT_MAX, &world) || !parse_limit(part[3], INT64_MAX, &row->bytes))
        return false;
    row->kind = kinds[k].kind;
    row->world = (int)world;
    row->way = (enum lsi_way)w;
    return true;
}

enum ls_status lsi_choices_make(const char *text, struct lsi_choices *choices, struct ls_error *err)
{
    choices->count = 0;
    for (const char *at = text != NULL ? text : ""; *at != '\0';) {
        size_t length = strcspn(at, ",");
        char row[80];
        (void)snprintf(row, sizeof row, "%.*s", (int)length, at);
        if (choices->count + sizeof built_in / sizeof built_in[0] >= LSI_MAX_CHOICES || length >= sizeof row ||
            !parse_row(row, &choices->row[choices->count]))
            return ls_error_set(err, LS_EINVAL,
                                "the choice of collectives \"%.*s\" is not understood; it reads "
                                "TRANSPORT/OPERATION/MEMBERS/BYTES=WAY, for example tcp/all-reduce/2/64K=gather",
                                (int)length, at);
        choices->count++;
        at += length + (at[length] == ',');
    }
    choices->given = choices->count;
    for (size_t i = 0; i < sizeof built_in / sizeof built_in[0]; i++)
        choices->row[choices->count++] = built_in[i];
    return LS_OK;
}

uint64_t ls_group_ways_digest(const struct ls_group *group)
{
    uint64_t digest = 0;
    char text[80];

    for (int i = 0; i < group->choices.given; i++) {
        (void)lsi_choice_text(&group->choices.row[i], text);
        digest = ls_xxh3(text, strlen(text) + 1, digest);
    }
    return digest;
}

static const char *limit_text(int64_t limit, int64_t most, char text[24])
{
    if (limit == most)
        return "any";
    if (limit > 0 && limit % (1 << 20) == 0)
        (void)snprintf(text, 24, "%lldM", (long long)(limit >> 20));
    else if (limit > 0 && limit % (1 << 10) == 0)
        (void)snprintf(text, 24, "%lldK", (long long)(limit >> 10));
    else
        (void)snprintf(text, 24, "%lld", (long long)limit);
    return text;
}

const char *lsi_choice_text(const struct lsi_choice *choice, char text[80])
{
    char world[24], bytes[24];
    const char *kind = "any";

    for (size_t k = 0; k < KINDS; k++)
        if (kinds[k].kind == choice->kind)
            kind = kinds[k].name;
    (void)snprintf(text, 80, "%s/%s/%s/%s=%s", choice->transport, kind, limit_text(choice->world, INT_MAX, world),
                   limit_text(choice->bytes, INT64_MAX, bytes), lsi_way_name(choice->way));
    return text;
}

/* Whole pieces for everybody, so that no message of a ring or of a half is empty. */
#define LEAST_ELEMENTS 64

static bool all_ranks_give(const struct lsi_tree *tree)
{
    for (int r = 0; r < tree->world; r++)
        if (tree->first_leaf[r + 1] == tree->first_leaf[r])
            return false;
    return true;
}

bool lsi_way_fits(const struct ls_request *request, enum lsi_way way)
{
    const struct ls_group_options *options = &request->group->options;
    const struct ls_collective *op = &request->op;
    bool wide = request->signature.count >= (int64_t)LEAST_ELEMENTS * request->group->world;

    switch (way) {
    case LSI_ONE_SHOT:
        return lsi_is_small(request);
    case LSI_NATIVE:
        return options->any_order;
    case LSI_RING:
        return options->any_order && wide && request->group->world > 1 && all_ranks_give(request->tree);
    case LSI_HALVING:
        return wide && request->tree->halves;
    case LSI_BF16:
        return options->bf16_wire && !lsi_is_small(request) && op->kind <= LS_REDUCE_SCATTER && op->dtype == LS_F32 &&
               (op->reduction == LS_SUM || op->reduction == LS_MEAN);
    default:
        return true;
    }
}

static bool fits(const struct lsi_choice *row, const struct ls_request *request)
{
    const struct ls_group *group = request->group;
    int kind = request->op.kind == LS_ALL_REDUCE_TREE ? LS_ALL_REDUCE : (int)request->op.kind;

    if (row->kind != LSI_ANY_KIND && row->kind != kind)
        return false;
    if (group->world > row->world || request->signature.count > row->bytes / (int64_t)request->element_bytes)
        return false;
    if (strcmp(row->transport, "any") != 0 && strcmp(row->transport, group->ops->name) != 0)
        return false;
    if (row->way != LSI_ONE_SHOT && (group->ops->supports == NULL || !group->ops->supports(kind, row->way)))
        return false;
    return lsi_way_fits(request, row->way);
}

/* A tree that mixes the ranks' shards makes several partials a rank, which all travel; a ring carries one. */
static bool ring_saves(const struct ls_request *request)
{
    const struct ls_group *group = request->group;

    return group->ops->supports != NULL && group->ops->supports(LS_ALL_REDUCE, LSI_RING) &&
           request->op.kind == LS_ALL_REDUCE_TREE && lsi_way_fits(request, LSI_RING) &&
           request->tree->partial_count > group->world;
}

/* The way that the caller wishes, where the group's options allow it: some change bits. */
static bool wished(struct ls_request *request)
{
    const struct ls_group *group = request->group;
    int kind = request->op.kind == LS_ALL_REDUCE_TREE ? LS_ALL_REDUCE : (int)request->op.kind;

    for (int way = 0; way < WAYS; way++) {
        if (strcmp(request->op.way, lsi_way_name(way)) != 0 || way == LSI_NATIVE ||
            !lsi_way_fits(request, (enum lsi_way)way))
            continue;
        if (way != LSI_ONE_SHOT && (group->ops->supports == NULL || !group->ops->supports(kind, (enum lsi_way)way)))
            continue;
        request->way = (enum lsi_way)way;
        return true;
    }
    return false;
}

void lsi_choose(struct ls_request *request)
{
    const struct lsi_choices *choices = &request->group->choices;

    request->way = LSI_ONE_SHOT;
    if (request->op.kind == LS_BARRIER || (request->op.way != NULL && wished(request)))
        return;
    for (int i = 0; i < choices->count; i++)
        if (fits(&choices->row[i], request)) {
            request->way = choices->row[i].way;
            if (i >= choices->given && request->way == LSI_CANONICAL && ring_saves(request))
                request->way = LSI_RING;
            return;
        }
}
