/* SPDX-License-Identifier: Apache-2.0 */
/* The ring of a trace and its text. */
#include "core/base/trace.h"

#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <string.h>

/* More events than the ring holds: the newest are there, oldest first. */
Test(trace, keeps_the_newest)
{
    struct ls_trace *trace;
    uint64_t all = LS_TRACE_EVENTS + 1000;

    cr_assert_eq(ls_trace_create(&trace, NULL), LS_OK);
    cr_expect_eq(ls_trace_kept(trace), 0);
    for (uint64_t i = 0; i < all; i++)
        (void)ls_trace_add(trace, LS_TRACE_STEP, i, i + 1, i);
    cr_assert_eq(ls_trace_kept(trace), LS_TRACE_EVENTS);
    for (size_t i = 0; i < LS_TRACE_EVENTS; i++)
        cr_assert_eq(ls_trace_at(trace, i)->step, 1000 + i);
    ls_trace_destroy(trace);
}

/* One line an event, microseconds from the trace's zero on rank 0's clock; a bucket has a track of its own. */
Test(trace, tells_an_event)
{
    struct ls_trace_rank rank = {.rank = 3, .name = "rank 3 on a", .ahead_ns = -500, .zero_ns = 1000};
    struct ls_trace_event wait = {
        .begin_ns = 2000, .end_ns = 4001, .step = 7, .number = 2, .peer = 1, .kind = LS_TRACE_WAIT};
    struct ls_trace_event bucket = {.begin_ns = 1400,
                                    .end_ns = 1500,
                                    .step = 7,
                                    .bytes = 64,
                                    .number = 2,
                                    .peer = -1,
                                    .kind = LS_TRACE_BUCKET,
                                    .note = "direct"};
    struct ls_buf text = {0};

    ls_trace_tell(&text, &rank, &wait);
    ls_trace_tell(&text, &rank, &bucket);
    (void)ls_buf_append(&text, "", 1);
    cr_expect_str_eq((const char *)text.data,
                     "{\"name\":\"wait\",\"cat\":\"wait\",\"ph\":\"X\",\"pid\":3,\"tid\":0,\"ts\":1.500,\"dur\":2.001,"
                     "\"args\":{\"step\":7,\"number\":2,\"for_rank\":1}},\n"
                     "{\"name\":\"bucket 2\",\"cat\":\"bucket\",\"ph\":\"X\",\"pid\":3,\"tid\":3,\"ts\":0.900,"
                     "\"dur\":0.100,\"args\":{\"step\":7,\"number\":2,\"bytes\":64,\"way\":\"direct\"}},\n");
    ls_buf_deinit(&text);
}

/* Events come from other ranks as bytes: nothing in one can break the text or a number. */
Test(trace, tells_strange_events)
{
    struct ls_trace_rank rank = {.name = "rank 0", .ahead_ns = INT64_MIN, .zero_ns = 1};
    struct ls_trace_event odd = {.end_ns = UINT64_MAX,
                                 .step = UINT64_MAX,
                                 .bytes = UINT64_MAX,
                                 .number = INT32_MAX,
                                 .kind = LS_TRACE_BUCKET,
                                 .note = "a\"}\n,b-2"};
    struct ls_buf text = {0};

    ls_trace_tell(&text, &rank, &odd);
    (void)ls_buf_append(&text, "", 1);
    cr_expect_not_null(strstr((const char *)text.data, "\"way\":\"a____b-2\"}},\n"), "%s", (const char *)text.data);
    cr_expect_not_null(strstr((const char *)text.data, "\"tid\":2147483647,"), "%s", (const char *)text.data);
    cr_expect_not_null(strstr((const char *)text.data, "\"bytes\":9223372036854775807,"), "%s",
                       (const char *)text.data);
    cr_expect_not_null(strstr((const char *)text.data, "\"step\":9223372036854775807,"), "%s", (const char *)text.data);
    ls_buf_deinit(&text);
}

/* Parts of some of the ranks become one array; without any there is nothing to join, and no file. */
Test(trace, joins_parts)
{
    struct ls_trace_rank rank = {.name = "a"};
    struct ls_buf text = {0};
    char *directory = lst_scratch_create(), *path = lst_scratch_file(directory, "trace.json", NULL, 0), *part;

    cr_expect_eq(ls_trace_join(path, 4, NULL), LS_ENOENT);
    cr_expect_not(ls_fs_exists(path));
    for (int r = 0; r < 4; r += 2) {
        struct ls_buf own = {0};

        rank.rank = r;
        part = ls_trace_part_path(path, r);
        ls_trace_begin(&own);
        ls_trace_name_rank(&own, &rank);
        cr_assert_eq(ls_trace_write(part, &own, NULL), LS_OK);
        ls_buf_deinit(&own);
        ls_free(part);
    }
    cr_assert_eq(ls_trace_join(path, 4, NULL), LS_OK);
    cr_assert_eq(ls_fs_read(path, 1 << 20, &text, NULL), LS_OK);
    (void)ls_buf_append(&text, "", 1);
    cr_expect_not_null(strstr((const char *)text.data, "\"pid\":0"));
    cr_expect_not_null(strstr((const char *)text.data, "\"pid\":2"));
    cr_expect_null(strstr((const char *)text.data, "]\n,"));
    cr_expect_str_eq((const char *)text.data + text.length - 5, "}\n]\n");
    part = ls_trace_part_path(path, 2);
    cr_expect_not(ls_fs_exists(part));
    ls_free(part);
    ls_buf_deinit(&text);
    ls_free(path);
    lst_scratch_remove(directory);
}
