/* SPDX-License-Identifier: Apache-2.0 */
/* Methods of compression on gradients that are known: what is sent, what is kept, and that nothing is ever lost. */
#include "worker/compress/compress.h"

#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/ckpt/ckpt.h"
#include "core/nn/model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORLD 8 /* most ranks of a test */
#define ITEMS 3
#define STEPS 12

/* A kernel, a bias, a kernel: 12,800, 64 and 4,160 elements, of which every rank of 4 owns parts. */
static const struct ls_compress_item items[ITEMS] = {
    {.reduce = 1, .variable = 0, .path = "a/kernel", .shape = {.rank = 2, .dim = {200, 64}}},
    {.reduce = 2, .variable = 1, .path = "a/bias", .shape = {.rank = 1, .dim = {64}}},
    {.reduce = 4, .variable = 2, .path = "b/kernel", .shape = {.rank = 3, .dim = {13, 5, 64}}}};
#define MOST (200 * 64)
#define REDUCES 5 /* 0 and 3 are others' */

struct team {
    struct ls_compress_options options;
    int leaves; /* of each rank but the last, which is a spare where there are more than two */
    int steps;
    /* gradient of (rank, leaf, step, item, element) */
    float (*gradient)(int rank, int leaf, int step, int item, int64_t element);
    bool twice;              /* each step is begun a second time, as after a vote that failed */
    const char *save, *load; /* directories, nullable */
    struct ls_ckpt_part parts[WORLD];
    float *applied[WORLD][ITEMS]; /* sums of what was applied, in f64-safe tests; last step's bits by rank */
    double *total[ITEMS];         /* over steps, of rank 0 */
    float *residual[WORLD][ITEMS];
    const char *socket;
    struct ls_member members[WORLD];
    struct ls_compress *made[WORLD];
    uint64_t allocations; /* of all ranks from rank 0's third step to its last */
};

struct member {
    struct team *team;
    int rank;
    struct ls_error err;
    enum ls_status status;
};

static int leaves_of(const struct team *t, int rank)
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
    int leaves = leaves_of(t, rank);
    void *partials[2 * REDUCES] = {NULL};
    const void *reduced[REDUCES] = {NULL};
    enum ls_status status = LS_OK;

    for (int l = 0; l < leaves; l++)
        for (int i = 0; i < ITEMS; i++)
            partials[l * REDUCES + items[i].reduce] = ls_alloc_zeroed(MOST, sizeof(float));
    for (int i = 0; i < ITEMS; i++)
        reduced[items[i].reduce] = t->applied[rank][i];
    for (int s = 0; s < t->steps && status == LS_OK; s++) {
        struct ls_compress_span span = {
            .first = 1, .last = 2, .partials = partials, .stride = REDUCES, .leaves = leaves, .reduced = reduced};

        for (int l = 0; l < leaves; l++)
            for (int i = 0; i < ITEMS; i++)
                for (int64_t e = 0; e < ls_shape_count(&items[i].shape); e++)
                    ((float *)partials[l * REDUCES + items[i].reduce])[e] = t->gradient(rank, l, s, i, e);
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
        for (int i = 0; rank == 0 && i < ITEMS; i++)
            for (int64_t e = 0; e < ls_shape_count(&items[i].shape); e++)
                t->total[i][e] += (double)t->applied[0][i][e];
    }
    if (rank == 0)
        t->allocations = ls_alloc_count() - t->allocations;
    for (int p = 0; p < 2 * REDUCES; p++)
        ls_free(partials[p]);
    return status;
}

static enum ls_status save(struct team *t, struct ls_compress *c, int rank, struct ls_error *err)
{
    struct ls_ckpt_meta meta = {.step = 1, .generation = 1, .json = "{}"};
    struct ls_ckpt_piece pieces[4 * ITEMS];
    int count = ls_compress_pieces(c, 0, pieces);

    return ls_ckpt_write_part(t->save, &meta, ls_compress_tensor_at(c, 0), ls_compress_tensor_count(c), pieces, count,
                              rank, t->options.world, &t->parts[rank], err);
}

static enum ls_status restore(struct team *t, struct ls_compress *c, struct ls_error *err)
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
    struct ls_ckpt_piece pieces[4 * ITEMS];
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
        m->status = restore(t, c, &m->err);
    if (m->status == LS_OK)
        m->status = steps(m, c, group, &m->err);
    if (m->status == LS_OK && t->save != NULL)
        m->status = save(t, c, m->rank, &m->err);
    if (m->status == LS_OK) {
        (void)ls_compress_pieces(c, 0, pieces);
        for (int i = 0; i < ITEMS; i++)
            memcpy(t->residual[m->rank][i], pieces[i].data, (size_t)pieces[i].count * sizeof(float));
    }
    ls_group_destroy(group);
    t->made[m->rank] = c;
    return NULL;
}

/* Runs the steps in `world` threads; every rank must end with the same bits. */
static void run(struct team *t)
{
    struct member members[WORLD];
    pthread_t threads[WORLD];
    char folder[] = "/tmp/lockstep-compress-XXXXXX", socket[64];
    int world = t->options.world;

    t->options.items = items;
    t->options.item_count = ITEMS;
    t->options.reduce_count = REDUCES;
    cr_assert_neq(mkdtemp(folder), NULL);
    (void)snprintf(socket, sizeof socket, "%s/group", folder);
    t->socket = socket;
    for (int r = 0; r < world; r++) {
        t->members[r] = (struct ls_member){
            .worker = 1, .incarnation = 1, .replica = r, .host = "localhost", .address = "127.0.0.1"};
        for (int i = 0; i < ITEMS; i++) {
            t->applied[r][i] = ls_alloc_zeroed(MOST, sizeof(float));
            t->residual[r][i] = ls_alloc_zeroed(MOST, sizeof(float));
        }
    }
    for (int i = 0; i < ITEMS; i++)
        t->total[i] = ls_alloc_zeroed(MOST, sizeof(double));
    for (int r = 0; r < world; r++) {
        members[r] = (struct member){.team = t, .rank = r, .err = LS_ERROR_INIT};
        cr_assert_eq(pthread_create(&threads[r], NULL, member_main, &members[r]), 0);
    }
    for (int r = 0; r < world; r++) {
        (void)pthread_join(threads[r], NULL);
        cr_assert_eq(members[r].status, LS_OK, "%s", members[r].err.message);
    }
    for (int r = 1; r < world; r++)
        for (int i = 0; i < ITEMS; i++)
            cr_expect_eq(memcmp(t->applied[r][i], t->applied[0][i], MOST * sizeof(float)), 0, "rank %d, item %d", r, i);
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

static void discard(struct team *t)
{
    for (int i = 0; i < ITEMS; i++) {
        ls_free(t->total[i]);
        for (int r = 0; r < t->options.world; r++) {
            ls_free(t->applied[r][i]);
            ls_free(t->residual[r][i]);
        }
    }
}

static double kept(const struct team *t, int item, int64_t element)
{
    double sum = 0;

    for (int r = 0; r < t->options.world; r++)
        sum += (double)t->residual[r][item][element];
    return sum;
}

/* Numbers of about 1 without a pattern, larger in some rows. */
static float noise(int rank, int leaf, int step, int item, int64_t element)
{
    uint32_t x =
        (uint32_t)element * 2654435761u ^ (uint32_t)(rank * 7 + leaf * 3 + step * 31 + item * 101 + 1) * 40503u;

    x ^= x >> 15;
    x *= 2246822519u;
    x ^= x >> 13;
    return ((float)(x >> 8) * 0x1p-23f - 1) * (element % 64 == 5 ? 4.0f : 1.0f);
}

static const struct ls_compress_options methods[] = {
    {.method = "bf16"}, {.method = "top_k", .ratio = 0.01}, {.method = "power_sgd", .rank_of_matrix = 3, .seed = 5}};

/* Applied + kept = the sum of all gradients, after any number of steps. */
Test(compress, nothing_is_lost)
{
    static const int worlds[] = {2, 3, 4, 7};

    for (size_t k = 0; k < sizeof methods / sizeof *methods; k++)
        for (size_t w = 0; w < sizeof worlds / sizeof *worlds; w++) {
            struct team t = {.options = methods[k], .leaves = 2, .steps = STEPS, .gradient = noise};
            double worst = 0, largest = 0;

            t.options.world = worlds[w];
            run(&t);
            for (int i = 0; i < ITEMS; i++)
                for (int64_t e = 0; e < ls_shape_count(&items[i].shape); e++) {
                    double given = 0;

                    for (int r = 0; r < worlds[w]; r++)
                        for (int l = 0; l < leaves_of(&t, r); l++)
                            for (int s = 0; s < STEPS; s++)
                                given += (double)noise(r, l, s, i, e);
                    worst = fmax(worst, fabs(given - t.total[i][e] - kept(&t, i, e)));
                    largest = fmax(largest, fabs(kept(&t, i, e)));
                }
            cr_expect_lt(worst, 1e-4, "%s, %d ranks: %g is lost", methods[k].method, worlds[w], worst);
            cr_expect_gt(largest, 1e-4, "%s keeps something", methods[k].method);
            cr_expect_eq(t.allocations, 0, "%s: %llu allocations in steady steps", methods[k].method,
                         (unsigned long long)t.allocations);
            discard(&t);
        }
}

/* A step that was not committed leaves no trace. */
Test(compress, a_step_begun_again)
{
    for (size_t k = 0; k < sizeof methods / sizeof *methods; k++) {
        struct team once = {.options = methods[k], .leaves = 1, .steps = 4, .gradient = noise}, again = once;

        once.options.world = again.options.world = 3;
        again.twice = true;
        run(&once);
        run(&again);
        for (int i = 0; i < ITEMS; i++) {
            cr_expect_eq(memcmp(once.applied[0][i], again.applied[0][i], MOST * sizeof(float)), 0);
            for (int r = 0; r < 3; r++)
                cr_expect_eq(memcmp(once.residual[r][i], again.residual[r][i], MOST * sizeof(float)), 0);
        }
        discard(&once);
        discard(&again);
    }
}

/* 1 + 2^-9 is between two bf16 values, nearer to 1. */
static float just_above_one(int rank, int leaf, int step, int item, int64_t element)
{
    (void)rank;
    (void)leaf;
    (void)item;
    (void)element;
    return step == 0 ? 1.0f + 0x1p-9f : 0;
}

Test(compress, bf16_rounds_and_keeps_the_rest)
{
    struct team t = {.options = methods[0], .leaves = 1, .steps = 1, .gradient = just_above_one};

    t.options.world = 2;
    run(&t);
    for (int i = 0; i < ITEMS; i++)
        for (int64_t e = 0; e < ls_shape_count(&items[i].shape); e++) {
            cr_assert_eq(t.applied[0][i][e], 2.0f);
            cr_assert_eq(t.residual[0][i][e], 0x1p-9f);
            cr_assert_eq(t.residual[1][i][e], 0x1p-9f);
        }
    discard(&t);
}

/* 1 and 2^-8: each is a bf16 value, their sum is none. Its owner keeps what is over. */
static float one_and_little(int rank, int leaf, int step, int item, int64_t element)
{
    (void)leaf;
    (void)step;
    (void)item;
    (void)element;
    return rank == 0 ? 1.0f : 0x1p-9f;
}

Test(compress, bf16_the_owner_keeps_what_the_sum_loses)
{
    struct team t = {.options = methods[0], .leaves = 1, .steps = 1, .gradient = one_and_little};
    int64_t owners = 0;

    t.options.world = 2;
    run(&t);
    for (int64_t e = 0; e < MOST; e++) {
        cr_assert_eq(t.applied[0][0][e], 1.0f);
        cr_assert_eq(kept(&t, 0, e), 0x1p-9);
        owners += t.residual[1][0][e] != 0;
    }
    cr_expect_eq(owners, MOST - 8192); /* of its 4 chunks rank 1 owns the last two */
    discard(&t);
}

/* Sizes fall with the element's number; equal ones in pairs. */
static float falling(int rank, int leaf, int step, int item, int64_t element)
{
    (void)leaf;
    (void)item;
    return step > 0 ? 0 : (rank == 0 ? 1.0f : -1.0f) * (float)(20000 - element / 2 * 2 - (rank == 1 ? 1 : 0));
}

Test(compress, top_k_sends_the_largest_and_the_first_of_equals)
{
    struct team t = {.options = {.method = "top_k", .ratio = 0.0002}, .leaves = 1, .steps = 1, .gradient = falling};

    t.options.world = 2;
    run(&t); /* ceil(12,800 x 0.0002) = 3 of a/kernel: elements 0, 1, 2 and not 3, which is as large */
    for (int64_t e = 0; e < MOST; e++) {
        cr_assert_eq(t.applied[0][0][e], e < 3 ? 1.0f : 0.0f, "%lld", (long long)e);
        cr_assert_eq(t.residual[0][0][e], e < 3 ? 0.0f : falling(0, 0, 0, 0, e));
    }
    for (int64_t e = 0; e < 64; e++) { /* a/bias goes whole */
        cr_assert_eq(t.applied[0][1][e], 1.0f);
        cr_assert_eq(t.residual[0][1][e], 0.0f);
    }
    discard(&t);
    t.steps = 2;
    run(&t); /* the next three largest are sent by a gradient of zero */
    for (int64_t e = 0; e < MOST; e++)
        cr_assert_eq(t.applied[0][0][e], e >= 3 && e < 6 ? 1.0f : 0.0f, "%lld", (long long)e);
    discard(&t);
}

static float noise_of_one(int rank, int leaf, int step, int item, int64_t element)
{
    return rank == 0 ? noise(rank, leaf, step, item, element) : 0;
}

/* Whatever was sent is at least as large as whatever was not, and there are as many as the ratio says. */
Test(compress, top_k_sends_nothing_smaller_than_it_keeps)
{
    static const double ratios[] = {0.0001, 0.003, 0.02, 0.3};

    for (size_t k = 0; k < sizeof ratios / sizeof *ratios; k++) {
        struct team t = {
            .options = {.method = "top_k", .ratio = ratios[k]}, .leaves = 1, .steps = 1, .gradient = noise_of_one};
        float least = INFINITY, most = 0;
        int64_t sent = 0;

        t.options.world = 2;
        run(&t);
        for (int64_t e = 0; e < MOST; e++)
            if (t.applied[0][0][e] != 0) {
                sent++;
                least = fminf(least, fabsf(t.applied[0][0][e]));
            } else {
                most = fmaxf(most, fabsf(t.residual[0][0][e]));
            }
        cr_expect_eq(sent, (int64_t)ceil(ratios[k] * MOST), "%g sends %lld", ratios[k], (long long)sent);
        cr_expect_geq(least, most);
        discard(&t);
    }
}

/* Of rank one, the same directions on each rank. */
static float outer(int rank, int leaf, int step, int item, int64_t element)
{
    (void)leaf;
    (void)step;
    (void)item;
    return (float)(rank + 1) * cosf((float)(element / 64)) * (1 + (float)(element % 64));
}

Test(compress, power_sgd_finds_a_matrix_of_its_rank)
{
    struct team t = {
        .options = {.method = "power_sgd", .rank_of_matrix = 1}, .leaves = 1, .steps = 1, .gradient = outer};

    t.options.world = 2;
    run(&t);
    for (int i = 0; i < ITEMS; i++)
        for (int64_t e = 0; e < ls_shape_count(&items[i].shape); e++)
            cr_assert_float_eq(t.applied[0][i][e], outer(0, 0, 0, i, e) + outer(1, 0, 0, i, e), 2e-3);
    discard(&t);
    t.options.rank_of_matrix = 4; /* of which three columns depend on the first */
    t.steps = 3;
    run(&t);
    for (int64_t e = 0; e < MOST; e++)
        cr_assert_float_eq(t.applied[0][0][e], outer(0, 0, 0, 0, e) + outer(1, 0, 0, 0, e), 2e-2);
    discard(&t);
}

static float nothing_at_first(int rank, int leaf, int step, int item, int64_t element)
{
    return step < 2 ? 0 : outer(rank, leaf, step, item, element);
}

/* A factor of zeros would find nothing ever again. */
Test(compress, power_sgd_after_gradients_of_zero)
{
    struct team t = {
        .options = {.method = "power_sgd", .rank_of_matrix = 2}, .leaves = 1, .steps = 3, .gradient = nothing_at_first};

    t.options.world = 3;
    run(&t);
    for (int64_t e = 0; e < MOST; e++)
        cr_assert_float_eq(t.applied[0][0][e], outer(0, 0, 0, 0, e) + outer(1, 0, 0, 0, e), 2e-2);
    discard(&t);
}

/* What 4 ranks kept, 2, 3 and 7 ranks and one have together. */
Test(compress, another_world_takes_all_residuals)
{
    static const int worlds[] = {1, 2, 3, 4, 7};
    char folder[] = "/tmp/lockstep-compress-XXXXXX";

    cr_assert_neq(mkdtemp(folder), NULL);
    for (size_t k = 0; k < sizeof methods / sizeof *methods; k++) {
        struct team from = {.options = methods[k], .leaves = 2, .steps = 3, .gradient = noise, .save = folder};

        from.options.world = 4;
        run(&from);
        for (size_t w = 0; w < sizeof worlds / sizeof *worlds; w++) {
            struct team to = {.options = methods[k], .gradient = noise, .load = folder};
            double worst = 0;

            to.options.world = worlds[w];
            run(&to);
            for (int i = 0; i < ITEMS; i++)
                for (int64_t e = 0; e < ls_shape_count(&items[i].shape); e++)
                    worst = fmax(worst, fabs(kept(&to, i, e) - kept(&from, i, e)));
            cr_expect_lt(worst, 1e-5, "%s to %d ranks", methods[k].method, worlds[w]);
            for (int r = 0; worlds[w] == 4 && r < 4; r++)
                for (int i = 0; i < ITEMS; i++)
                    cr_expect_eq(memcmp(to.residual[r][i], from.residual[r][i], MOST * sizeof(float)), 0);
            discard(&to);
        }
        discard(&from);
    }
    (void)ls_fs_remove(folder, NULL);
}

/* A rank without a residual hides none behind it; a checkpoint without any is of another compression. */
Test(compress, one_rank_is_missing)
{
    static float values[3][MOST];
    char folder[] = "/tmp/lockstep-compress-XXXXXX";
    struct team alone = {.options = methods[1], .load = folder};
    struct ls_ckpt_meta meta = {.step = 1, .generation = 1, .json = "{}"};
    struct ls_ckpt_tensor tensors[2 * ITEMS];
    struct ls_ckpt_piece pieces[2 * ITEMS];
    struct ls_ckpt_part part;
    struct ls_member self = {.worker = 1, .incarnation = 1, .host = "localhost", .address = "127.0.0.1"};
    struct ls_group_options options = LS_GROUP_OPTIONS_DEFAULT;
    struct ls_group *group = NULL;
    struct ls_compress *c = NULL;
    struct ls_error err = LS_ERROR_INIT;
    char names[2 * ITEMS][64];

    cr_assert_neq(mkdtemp(folder), NULL);
    for (int k = 0; k < 2 * ITEMS; k++) {
        int rank = k < ITEMS ? 1 : 3; /* of 4 */

        (void)snprintf(names[k], sizeof names[k], "compression/residual/%d/%s", rank, items[k % ITEMS].path);
        tensors[k] = (struct ls_ckpt_tensor){
            .path = names[k], .role = LS_ROLE_COMPRESSION, .dtype = LS_F32, .shape = items[k % ITEMS].shape};
        pieces[k] = (struct ls_ckpt_piece){
            .tensor = k, .count = ls_shape_count(&items[k % ITEMS].shape), .data = values[rank - 1]};
    }
    for (int e = 0; e < MOST; e++) {
        values[0][e] = 1.0f;
        values[2][e] = 3.0f;
    }
    cr_assert_eq(ls_ckpt_write_part(folder, &meta, tensors, 2 * ITEMS, pieces, 2 * ITEMS, 0, 1, &part, &err), LS_OK,
                 "%s", err.message);
    cr_assert_eq(ls_ckpt_commit(folder, &meta, tensors, 2 * ITEMS, &part, 1, 2, &err), LS_OK, "%s", err.message);
    alone.options.items = items;
    alone.options.item_count = ITEMS;
    alone.options.reduce_count = REDUCES;
    alone.options.world = options.world = 1;
    options.members = &self;
    cr_assert_eq(ls_group_create("self", &options, &group, NULL), LS_OK);
    cr_assert_eq(ls_compress_create(&alone.options, group, &c, NULL), LS_OK);
    cr_assert_eq(restore(&alone, c, &err), LS_OK, "%s", err.message);
    cr_assert_eq(ls_compress_pieces(c, 0, pieces), ITEMS);
    for (int i = 0; i < ITEMS; i++)
        for (int64_t e = 0; e < pieces[i].count; e++)
            cr_assert_eq(((const float *)pieces[i].data)[e], 4.0f, "item %d, element %lld", i, (long long)e);
    ls_group_destroy(group);
    ls_compress_destroy(c);
    (void)ls_fs_remove(folder, NULL);
}

/* A world of one applies what it took over, once. */
Test(compress, alone_with_what_others_kept)
{
    static float values[ITEMS][MOST];
    char folder[] = "/tmp/lockstep-compress-XXXXXX";
    struct team from = {.options = methods[1], .leaves = 1, .steps = 2, .gradient = noise, .save = folder};
    struct team alone = {.options = methods[1], .gradient = noise, .load = folder};
    const void *reduced[REDUCES] = {[1] = values[0], [2] = values[1], [4] = values[2]};
    struct ls_member self = {.worker = 1, .incarnation = 1, .host = "localhost", .address = "127.0.0.1"};
    struct ls_group_options options = LS_GROUP_OPTIONS_DEFAULT;
    struct ls_group *group = NULL;
    struct ls_compress *c = NULL;

    cr_assert_neq(mkdtemp(folder), NULL);
    from.options.world = 2;
    run(&from);
    alone.options = from.options;
    alone.options.world = 1;
    options.members = &self;
    options.world = 1;
    cr_assert_eq(ls_group_create("self", &options, &group, NULL), LS_OK);
    cr_assert_eq(ls_compress_create(&alone.options, group, &c, NULL), LS_OK);
    cr_assert_eq(restore(&alone, c, NULL), LS_OK);
    for (int s = 0; s < 2; s++) {
        memset(values, 0, sizeof values);
        ls_compress_begin(c, (uint64_t)s);
        ls_compress_alone(c, reduced);
        ls_compress_commit(c);
        for (int64_t e = 0; e < MOST; e++)
            cr_assert_eq(values[0][e], s == 0 ? (float)kept(&from, 0, e) : 0.0f);
    }
    ls_group_destroy(group);
    ls_compress_destroy(c);
    discard(&from);
    (void)ls_fs_remove(folder, NULL);
}

Test(compress, figures_without_a_group)
{
    struct ls_compress_options o = {
        .method = "top_k", .ratio = 0.01, .world = 3, .reduce_count = REDUCES, .item_count = ITEMS, .items = items};
    struct ls_compress *c = NULL;

    cr_assert_eq(ls_compress_create(&o, NULL, &c, NULL), LS_OK);
    cr_expect_eq(ls_compress_elements(c), 12800 + 64 + 4160);
    cr_expect_eq(ls_compress_moved_bytes(c), 2 * (128 * 8 + 64 * 4 + 42 * 8));
    cr_expect(ls_compress_takes(c, 4));
    cr_expect_not(ls_compress_takes(c, 3));
    cr_expect_not(ls_compress_takes(NULL, 1));
    ls_compress_destroy(c);
    o.method = "gzip";
    cr_expect_eq(ls_compress_create(&o, NULL, &c, NULL), LS_EINVAL);
}
