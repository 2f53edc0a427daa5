/* SPDX-License-Identifier: Apache-2.0 */
/* The table of choices: rows as a user writes them, their order, what is refused; what an operation may wish. */
#include "collective/choice.h"

#include "collective/group_impl.h"

#include <criterion/criterion.h>
#include <string.h>

/* A user's rows stand before the built-in ones, in their order, and are written as they were read. */
Test(choice, rows)
{
    const char *rows[] = {"tcp/all-reduce/2/64K=gather", "any/broadcast/any/3=one-shot", "shm/any/16/4M=staged"};
    struct lsi_choices choices, built_in;
    struct ls_error err = LS_ERROR_INIT;
    char text[80];

    cr_assert_eq(lsi_choices_make("tcp/all-reduce/2/64K=gather,any/broadcast/any/3=one-shot,shm/any/16/4M=staged",
                                  &choices, &err),
                 LS_OK, "%s", err.message);
    cr_assert_eq(lsi_choices_make(NULL, &built_in, &err), LS_OK);
    cr_assert_eq(choices.count, built_in.count + 3);
    for (int i = 0; i < 3; i++)
        cr_assert_str_eq(lsi_choice_text(&choices.row[i], text), rows[i]);
    cr_assert(choices.row[0].bytes == 65536 && choices.row[0].world == 2 && choices.row[0].way == LSI_GATHER);
    for (int i = 0; i < built_in.count; i++)
        cr_assert_eq(choices.row[3 + i].way, built_in.row[i].way);
}

/* Every row that is printed can be given back. */
Test(choice, round_trip)
{
    struct lsi_choices choices, again;
    char text[80];

    cr_assert_eq(lsi_choices_make(NULL, &choices, NULL), LS_OK);
    for (int i = 0; i < choices.count; i++) {
        cr_assert_eq(lsi_choices_make(lsi_choice_text(&choices.row[i], text), &again, NULL), LS_OK, "%s", text);
        cr_assert_eq(again.row[0].bytes, choices.row[i].bytes);
        cr_assert_eq(again.row[0].kind, choices.row[i].kind);
        cr_assert_eq(again.row[0].way, choices.row[i].way);
    }
}

/* What is not a row is refused by its own words. */
Test(choice, refused)
{
    const char *wrong[] = {"gather",
                           "tcp/all-reduce/2=gather",
                           "tcp/all-reduce/2/64K",
                           "tcp/all-reduce/2/64K=fastest",
                           "tcp/sum/2/64K=gather",
                           "tcp/all-reduce/-1/64K=gather",
                           "tcp/all-reduce/2/64G=gather",
                           "tcp/all-reduce/2/K=gather",
                           "/all-reduce/2/64K=gather",
                           "longer-than-any/all-reduce/2/64K=gather",
                           "tcp/all-reduce/2/99999999999999M=gather",
                           "tcp/all-reduce/2/00000000000000000000000064K=gather"};
    struct lsi_choices choices;

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct ls_error err = LS_ERROR_INIT;
        cr_assert_eq(lsi_choices_make(wrong[i], &choices, &err), LS_EINVAL, "%s", wrong[i]);
        cr_assert_not_null(strstr(err.message, wrong[i]), "%s", err.message);
    }
}

/* An operation's wish is heard where the group allows it: a ring adds in another order, bf16 rounds. */
Test(choice, wishes_within_what_the_group_allows)
{
    static const char *const ways[] = {"ring", "bf16", "gather", "one-shot"};
    static const enum lsi_way goes[] = {LSI_CANONICAL, LSI_CANONICAL, LSI_GATHER, LSI_CANONICAL};
    struct ls_group group = {.ops = &lsi_tcp_provider, .world = 4};
    struct ls_request request = {.group = &group, .element_bytes = 4, .signature.count = 1 << 20};

    cr_assert_eq(lsi_choices_make(NULL, &group.choices, NULL), LS_OK);
    request.op = (struct ls_collective){.kind = LS_ALL_REDUCE, .dtype = LS_F32, .reduction = LS_SUM, .count = 1 << 20};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        request.op.way = ways[i];
        lsi_choose(&request);
        cr_expect_eq(request.way, goes[i], "%s", ways[i]);
    }
}
