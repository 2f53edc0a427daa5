/* SPDX-License-Identifier: Apache-2.0 */
/* The threads of a team: forming the group, its steps, saving and loading what was kept. */
#include "tests/unit/worker/compress/team.h"

#include "core/base/alloc.h"
#include "core/base/fs.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct ls_compress_item team_items[TEAM_ITEMS] = {
    {.reduce = 1, .variable = 0, .path = "a/kernel", .shape = {.rank = 2, .dim = {200, 64}}},
    {.reduce = 2, .variable = 1, .path = "a/bias", .shape = {.rank = 1, .dim = {64}}},
    {.reduce = 4, .variable = 2, .path = "b/kernel", .shape = {.rank = 3, .dim = {13, 5, 64}}}};

const struct ls_compress_options team_methods[TEAM_METHODS] = {
    {.method = "bf16"}, {.method = "top_k", .ratio = 0.01}, {.method = "power_sgd", .rank_of_matrix = 3, .seed = 5}};

struct member {
    struct team *team;
    int rank;
    struct ls_error err;
    enum ls_status status;
};

int team_leaves(const struct team *t, int rank)
{
    return t->options.world > 2 && rank == t->options.world - 1 ? 0 : t->leaves;
}

/* One step of one bucket over reduces first .. last. */
static enum ls_status bucket(struct ls_compress *c, struct ls_group *group, const struct ls_compress_span *span,
                             struct ls_error *err)
{
    struct ls_collective op;
    enum ls_status status = ls_compress_start(c, span, &op, err);

    if (status == LS_OK)
        status = ls_group_run(group, &op, err);
    if (status == LS_OK && ls_compress_goes_on(c) && ls_compress_advance(c, span, &op))
        status = ls_group_run(group, &op, err);
    if (status == LS_OK)
        ls_compress_finish(c, span);
    return status;
}

static enum ls_status steps(const struct member *m, struct ls_compress *c, struct ls_group *group, struct ls_error *err)
{
    struct team *t = m->team;
    int rank = m->rank;
    int leaves = team_leaves(t, rank);
    void *partials[2 * TEAM_REDUCES] = {NULL};
    const void *reduced[TEAM_REDUCES] = {NULL};
    enum ls_status status = LS_OK;

    for (int l = 0; l < leaves; l++)
        for (int i = 0; i < TEAM_ITEMS; i++)
            partials[l * TEAM_REDUCES + team_items[i].reduce] = ls_alloc_zeroed(TEAM_MOST, sizeof(float));
    for (int i = 0; i < TEAM_ITEMS; i++)
        reduced[team_items[i].reduce] = t->applied[rank][i];
    for (int s = 0; s < t->steps && status == LS_OK; s++) {
        struct ls_compress_span span = {
            .first = 1, .last = 2, .partials = partials, .stride = TEAM_REDUCES, .leaves = leaves, .reduced = reduced};

        for (int l = 0; l < leaves; l++)
            for (int i = 0; i < TEAM_ITEMS; i++)
                for (int64_t e = 0; e < ls_shape_count(&team_items[i].shape); e++)
                    ((float *)partials[l * TEAM_REDUCES + team_items[i].reduce])[e] = t->gradient(rank, l, s, i, e);
        for (int attempt = 0; attempt <= t->twice && status == LS_OK; attempt++) {
            ls_compress_begin(c, (uint64_t)s);
            span.first = 1;
            span.last = 2;
            status = bucket(c, group, &span, err);
            span.first = span.last = 4;
            if (status == LS_OK)
                status = bucket(c, group, &span, err);
        }
        ls_compress_commit(c);
        if (rank == 0 && s == 1)
            t->allocations = ls_alloc_count();
        for (int i = 0; rank == 0 && i < TEAM_ITEMS; i++)
            for (int64_t e = 0; e < ls_shape_count(&team_items[i].shape); e++)
                t->total[i][e] += (double)t->applied[0][i][e];
    }
    if (rank == 0)
        t->allocations = ls_alloc_count() - t->allocations;
    for (int p = 0; p < 2 * TEAM_REDUCES; p++)
        ls_free(partials[p]);
    return status;
}

static enum ls_status save(struct team *t, struct ls_compress *c, int rank, struct ls_error *err)
{
    struct ls_ckpt_meta meta = {.step = 1, .generation = 1, .json = "{}"};
    struct ls_ckpt_piece pieces[4 * TEAM_ITEMS];
    int count = ls_compress_pieces(c, 0, pieces);

    return ls_ckpt_write_part(t->save, &meta, ls_compress_tensor_at(c, 0), ls_compress_tensor_count(c), pieces, count,
                              rank, t->options.world, &t->parts[rank], err);
}

enum ls_status team_restore(struct team *t, struct ls_compress *c, struct ls_error *err)
{
    struct ls_ckpt *ckpt = NULL;
    enum ls_status status = ls_ckpt_open(t->load, &ckpt, NULL, err);

    if (status == LS_OK)
        status = ls_compress_load(c, ckpt, err);
    ls_ckpt_close(ckpt);
    return status;
}

static void *member_main(void *state)
{
    struct member *m = state;
    struct team *t = m->team;
    struct ls_group_options options = LS_GROUP_OPTIONS_DEFAULT;
    struct ls_compress_options mine = t->options;
    struct ls_ckpt_piece pieces[4 * TEAM_ITEMS];
    struct ls_compress *c = NULL;
    struct ls_group *group = NULL;

    options.members = t->members;
    options.world = t->options.world;
    options.rank = m->rank;
    options.generation = 1;
    options.rendezvous = t->socket;
    mine.rank = m->rank;
    m->status = ls_group_create(options.world > 1 ? "shm" : "self", &options, &group, &m->err);
    if (m->status == LS_OK)
        m->status = ls_compress_create(&mine, group, &c, &m->err);
    if (m->status == LS_OK && t->load != NULL)
        m->status = team_restore(t, c, &m->err);
    if (m->status == LS_OK)
        m->status = steps(m, c, group, &m->err);
    if (m->status == LS_OK && t->save != NULL)
        m->status = save(t, c, m->rank, &m->err);
    if (m->status == LS_OK) {
        (void)ls_compress_pieces(c, 0, pieces);
        for (int i = 0; i < TEAM_ITEMS; i++)
            memcpy(t->residual[m->rank][i], pieces[i].data, (size_t)pieces[i].count * sizeof(float));
    }
    ls_group_destroy(group);
    t->made[m->rank] = c;
    return NULL;
}

void team_run(struct team *t)
{
    struct member members[TEAM_WORLD];
    pthread_t threads[TEAM_WORLD];
    char folder[] = "/tmp/lockstep-compress-XXXXXX", socket[64];
    int world = t->options.world;

    t->options.items = team_items;
    t->options.item_count = TEAM_ITEMS;
    t->options.reduce_count = TEAM_REDUCES;
    cr_assert_neq(mkdtemp(folder), NULL);
    (void)snprintf(socket, sizeof socket, "%s/group", folder);
    t->socket = socket;
    for (int r = 0; r < world; r++) {
        t->members[r] = (struct ls_member){
            .worker = 1, .incarnation = 1, .replica = r, .host = "localhost", .address = "127.0.0.1"};
        for (int i = 0; i < TEAM_ITEMS; i++) {
            t->applied[r][i] = ls_alloc_zeroed(TEAM_MOST, sizeof(float));
            t->residual[r][i] = ls_alloc_zeroed(TEAM_MOST, sizeof(float));
        }
    }
    for (int i = 0; i < TEAM_ITEMS; i++)
        t->total[i] = ls_alloc_zeroed(TEAM_MOST, sizeof(double));
    for (int r = 0; r < world; r++) {
        members[r] = (struct member){.team = t, .rank = r, .err = LS_ERROR_INIT};
        cr_assert_eq(pthread_create(&threads[r], NULL, member_main, &members[r]), 0);
    }
    for (int r = 0; r < world; r++) {
        (void)pthread_join(threads[r], NULL);
        cr_assert_eq(members[r].status, LS_OK, "%s", members[r].err.message);
    }
    for (int r = 1; r < world; r++)
        for (int i = 0; i < TEAM_ITEMS; i++)
            cr_expect_eq(memcmp(t->applied[r][i], t->applied[0][i], TEAM_MOST * sizeof(float)), 0, "rank %d, item %d",
                         r, i);
    if (t->save != NULL) {
        struct ls_ckpt_meta meta = {.step = 1, .generation = 1, .json = "{}"};
        struct ls_error err = LS_ERROR_INIT;

        cr_assert_eq(ls_ckpt_commit(t->save, &meta, ls_compress_tensor_at(t->made[0], 0),
                                    ls_compress_tensor_count(t->made[0]), t->parts, world, 2, &err),
                     LS_OK, "%s", err.message);
    }
    for (int r = 0; r < world; r++)
        ls_compress_destroy(t->made[r]);
    (void)ls_fs_remove(folder, NULL);
}

void team_discard(struct team *t)
{
    for (int i = 0; i < TEAM_ITEMS; i++) {
        ls_free(t->total[i]);
        for (int r = 0; r < t->options.world; r++) {
            ls_free(t->applied[r][i]);
            ls_free(t->residual[r][i]);
        }
    }
}

double team_kept(const struct team *t, int item, int64_t element)
{
    double sum = 0;

    for (int r = 0; r < t->options.world; r++)
        sum += (double)t->residual[r][item][element];
    return sum;
}

float team_noise(int rank, int leaf, int step, int item, int64_t element)
{
    uint32_t x =
        (uint32_t)element * 2654435761u ^ (uint32_t)(rank * 7 + leaf * 3 + step * 31 + item * 101 + 1) * 40503u;

    x ^= x >> 15;
    x *= 2246822519u;
    x ^= x >> 13;
    return ((float)(x >> 8) * 0x1p-23f - 1) * (element % 64 == 5 ? 4.0f : 1.0f);
}
