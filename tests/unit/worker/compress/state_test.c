/* SPDX-License-Identifier: Apache-2.0 */
/* What was kept, saved and taken over by a world of another size. */
#include "tests/unit/worker/compress/team.h"

#include "core/base/fs.h"
#include "core/nn/model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What 4 ranks kept, 2, 3 and 7 ranks and one have together. */
Test(compress, another_world_takes_all_residuals)
{
    static const int worlds[] = {1, 2, 3, 4, 7};
    char folder[] = "/tmp/lockstep-compress-XXXXXX";

    cr_assert_neq(mkdtemp(folder), NULL);
    for (size_t k = 0; k < TEAM_METHODS; k++) {
        struct team from = {
            .options = team_methods[k], .leaves = 2, .steps = 3, .gradient = team_noise, .save = folder};

        from.options.world = 4;
        team_run(&from);
        for (size_t w = 0; w < sizeof worlds / sizeof *worlds; w++) {
            struct team to = {.options = team_methods[k], .gradient = team_noise, .load = folder};
            double worst = 0;

            to.options.world = worlds[w];
            team_run(&to);
            for (int i = 0; i < TEAM_ITEMS; i++)
                for (int64_t e = 0; e < ls_shape_count(&team_items[i].shape); e++)
                    worst = fmax(worst, fabs(team_kept(&to, i, e) - team_kept(&from, i, e)));
            cr_expect_lt(worst, 1e-5, "%s to %d ranks", team_methods[k].method, worlds[w]);
            for (int r = 0; worlds[w] == 4 && r < 4; r++)
                for (int i = 0; i < TEAM_ITEMS; i++)
                    cr_expect_eq(memcmp(to.residual[r][i], from.residual[r][i], TEAM_MOST * sizeof(float)), 0);
            team_discard(&to);
        }
        team_discard(&from);
    }
    (void)ls_fs_remove(folder, NULL);
}

/* A rank without a residual hides none behind it; a checkpoint without any is of another compression. */
Test(compress, one_rank_is_missing)
{
    static float values[3][TEAM_MOST];
    char folder[] = "/tmp/lockstep-compress-XXXXXX";
    struct team alone = {.options = team_methods[1], .load = folder};
    struct ls_ckpt_meta meta = {.step = 1, .generation = 1, .json = "{}"};
    struct ls_ckpt_tensor tensors[2 * TEAM_ITEMS];
    struct ls_ckpt_piece pieces[2 * TEAM_ITEMS];
    struct ls_ckpt_part part;
    struct ls_member self = {.worker = 1, .incarnation = 1, .host = "localhost", .address = "127.0.0.1"};
    struct ls_group_options options = LS_GROUP_OPTIONS_DEFAULT;
    struct ls_group *group = NULL;
    struct ls_compress *c = NULL;
    struct ls_error err = LS_ERROR_INIT;
    char names[2 * TEAM_ITEMS][64];

    cr_assert_neq(mkdtemp(folder), NULL);
    for (int k = 0; k < 2 * TEAM_ITEMS; k++) {
        int rank = k < TEAM_ITEMS ? 1 : 3; /* of 4 */

        (void)snprintf(names[k], sizeof names[k], "compression/residual/%d/%s", rank, team_items[k % TEAM_ITEMS].path);
        tensors[k] = (struct ls_ckpt_tensor){
            .path = names[k], .role = LS_ROLE_COMPRESSION, .dtype = LS_F32, .shape = team_items[k % TEAM_ITEMS].shape};
        pieces[k] = (struct ls_ckpt_piece){
            .tensor = k, .count = ls_shape_count(&team_items[k % TEAM_ITEMS].shape), .data = values[rank - 1]};
    }
    for (int e = 0; e < TEAM_MOST; e++) {
        values[0][e] = 1.0f;
        values[2][e] = 3.0f;
    }
    cr_assert_eq(ls_ckpt_write_part(folder, &meta, tensors, 2 * TEAM_ITEMS, pieces, 2 * TEAM_ITEMS, 0, 1, &part, &err),
                 LS_OK, "%s", err.message);
    cr_assert_eq(ls_ckpt_commit(folder, &meta, tensors, 2 * TEAM_ITEMS, &part, 1, 2, &err), LS_OK, "%s", err.message);
    alone.options.items = team_items;
    alone.options.item_count = TEAM_ITEMS;
    alone.options.reduce_count = TEAM_REDUCES;
    alone.options.world = options.world = 1;
    options.members = &self;
    cr_assert_eq(ls_group_create("self", &options, &group, NULL), LS_OK);
    cr_assert_eq(ls_compress_create(&alone.options, group, &c, NULL), LS_OK);
    cr_assert_eq(team_restore(&alone, c, &err), LS_OK, "%s", err.message);
    cr_assert_eq(ls_compress_pieces(c, 0, pieces), TEAM_ITEMS);
    for (int i = 0; i < TEAM_ITEMS; i++)
        for (int64_t e = 0; e < pieces[i].count; e++)
            cr_assert_eq(((const float *)pieces[i].data)[e], 4.0f, "item %d, element %lld", i, (long long)e);
    ls_group_destroy(group);
    ls_compress_destroy(c);
    (void)ls_fs_remove(folder, NULL);
}

/* A world of one applies what it took over, once. */
Test(compress, alone_with_what_others_kept)
{
    static float values[TEAM_ITEMS][TEAM_MOST];
    char folder[] = "/tmp/lockstep-compress-XXXXXX";
    struct team from = {.options = team_methods[1], .leaves = 1, .steps = 2, .gradient = team_noise, .save = folder};
    struct team alone = {.options = team_methods[1], .gradient = team_noise, .load = folder};
    const void *reduced[TEAM_REDUCES] = {[1] = values[0], [2] = values[1], [4] = values[2]};
    struct ls_member self = {.worker = 1, .incarnation = 1, .host = "localhost", .address = "127.0.0.1"};
    struct ls_group_options options = LS_GROUP_OPTIONS_DEFAULT;
    struct ls_group *group = NULL;
    struct ls_compress *c = NULL;

    cr_assert_neq(mkdtemp(folder), NULL);
    from.options.world = 2;
    team_run(&from);
    alone.options = from.options;
    alone.options.world = 1;
    options.members = &self;
    options.world = 1;
    cr_assert_eq(ls_group_create("self", &options, &group, NULL), LS_OK);
    cr_assert_eq(ls_compress_create(&alone.options, group, &c, NULL), LS_OK);
    cr_assert_eq(team_restore(&alone, c, NULL), LS_OK);
    for (int s = 0; s < 2; s++) {
        memset(values, 0, sizeof values);
        ls_compress_begin(c, (uint64_t)s);
        ls_compress_alone(c, reduced);
        ls_compress_commit(c);
        for (int64_t e = 0; e < TEAM_MOST; e++)
            cr_assert_eq(values[0][e], s == 0 ? (float)team_kept(&from, 0, e) : 0.0f);
    }
    ls_group_destroy(group);
    ls_compress_destroy(c);
    team_discard(&from);
    (void)ls_fs_remove(folder, NULL);
}
