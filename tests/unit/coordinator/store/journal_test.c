/* SPDX-License-Identifier: Apache-2.0 */
/* The journal survives what a crash can do to a file. */
#include "coordinator/store/journal.h"
#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/base/str.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[64];
static char path[96];

static void begin(void)
{
    (void)ls_str_into(directory, sizeof directory, "/tmp/lockstep-test-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/journal", directory);
}

static void end(void)
{
    (void)ls_fs_remove(directory, NULL);
}

static struct ls_journal *reopen(struct ls_journal_state *state)
{
    struct ls_journal *journal = NULL;
    struct ls_error err = LS_ERROR_INIT;

    cr_assert_eq(ls_journal_open(path, &journal, state, &err), LS_OK, "%s", err.message);
    return journal;
}

static const struct ls_record_member members[2] = {{.worker = 1, .incarnation = 1, .replica = 0, .host = "a"},
                                                   {.worker = 2, .incarnation = 3, .replica = 1, .host = "b"}};

/* A short life of a job: begin, generation 4, steps 1 to 9, a checkpoint at 8. */
static void write_some(struct ls_journal *journal)
{
    const struct ls_record records[] = {
        {.kind = LS_RECORD_JOB, .fingerprint = "abc"},
        {.kind = LS_RECORD_GENERATION, .generation = 4, .provider = "shm", .member_count = 2, .members = members},
        {.kind = LS_RECORD_STEPS, .generation = 4, .first = 1, .last = 7, .epoch = 1, .digest = 5},
        {.kind = LS_RECORD_CHECKPOINT, .generation = 4, .last = 8, .text = "/data/step-8"},
        {.kind = LS_RECORD_STEPS, .generation = 4, .first = 8, .last = 9, .epoch = 1, .digest = 6},
    };

    for (size_t i = 0; i < sizeof records / sizeof records[0]; i++)
        cr_assert_eq(ls_journal_append(journal, &records[i], NULL), LS_OK);
    cr_assert_eq(ls_journal_sync(journal, NULL), LS_OK);
}

/* What was synced is there after reopening, and more can be added. */
Test(journal, comes_back)
{
    struct ls_journal_state state;
    struct ls_journal *journal;

    begin();
    journal = reopen(&state);
    cr_expect_eq(state.records, 0);
    write_some(journal);
    ls_journal_close(journal);
    journal = reopen(&state);
    cr_expect_eq(state.records, 5);
    cr_expect_eq(state.last_generation, 4);
    cr_expect_eq(state.committed, 9);
    cr_expect_eq(state.checkpoint_step, 8);
    cr_expect_str_eq(state.fingerprint, "abc");
    write_some(journal);
    ls_journal_close(journal);
    journal = reopen(&state);
    cr_expect_eq(state.records, 10);
    ls_journal_close(journal);
    end();
}

/* Every field of every record kind is read back as it was written. */
Test(journal, keeps_every_field)
{
    struct ls_record record = {
        .kind = LS_RECORD_GENERATION, .generation = 4, .provider = "shm", .member_count = 2, .members = members};
    struct ls_record_reader *reader = ls_alloc_zeroed(1, sizeof *reader);
    struct ls_buf bytes = {0};
    struct ls_record read;

    cr_assert_eq(ls_record_encode(&record, &bytes), LS_OK);
    record = (struct ls_record){.kind = LS_RECORD_END, .status = LS_EPEER, .text = "worker 1 was killed"};
    cr_assert_eq(ls_record_encode(&record, &bytes), LS_OK);
    reader->bytes = ls_reader_over(bytes.data, bytes.length);
    cr_assert_eq(ls_record_next(reader, &read), LS_OK);
    cr_expect_eq(read.member_count, 2);
    cr_expect_eq(read.members[1].worker, 2);
    cr_expect_eq(read.members[1].incarnation, 3);
    cr_expect_eq(read.members[1].replica, 1);
    cr_expect_str_eq(read.members[1].host, "b");
    cr_expect_str_eq(read.provider, "shm");
    cr_assert_eq(ls_record_next(reader, &read), LS_OK);
    cr_expect_eq(read.status, LS_EPEER);
    cr_expect_str_eq(read.text, "worker 1 was killed");
    cr_expect_eq(ls_record_next(reader, &read), LS_EAGAIN);
    ls_buf_deinit(&bytes);
    ls_free(reader);
}

/* Cut at any byte, the file opens with the whole records before the cut, and can be written on. */
Test(journal, survives_a_torn_tail)
{
    struct ls_journal_state state;
    struct ls_journal *journal;
    struct ls_buf whole = {0};

    begin();
    journal = reopen(&state);
    write_some(journal);
    ls_journal_close(journal);
    cr_assert_eq(ls_fs_read(path, 1 << 20, &whole, NULL), LS_OK);
    for (size_t cut = 0; cut <= whole.length; cut++) {
        uint64_t before;

        cr_assert_eq(ls_fs_write(path, whole.data, cut, NULL), LS_OK);
        journal = reopen(&state);
        before = state.records;
        cr_expect_leq(before, 5);
        cr_expect_leq(state.good_bytes, cut);
        cr_expect(cut < whole.length || before == 5);
        write_some(journal);
        ls_journal_close(journal);
        journal = reopen(&state);
        cr_expect_eq(state.records, before + 5, "cut at %zu", cut);
        ls_journal_close(journal);
    }
    ls_buf_deinit(&whole);
    end();
}

/* One flipped bit anywhere in a record ends the replay before that record; nothing damaged is believed. */
Test(journal, finds_every_flipped_bit)
{
    struct ls_journal_state state;
    struct ls_journal *journal;
    struct ls_buf whole = {0};

    begin();
    journal = reopen(&state);
    write_some(journal);
    ls_journal_close(journal);
    cr_assert_eq(ls_fs_read(path, 1 << 20, &whole, NULL), LS_OK);
    for (size_t bit = 64; bit < 8 * whole.length; bit++) {
        whole.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_eq(ls_journal_replay(whole.data, whole.length, &state), LS_OK);
        cr_expect_lt(state.records, 5, "bit %zu", bit);
        cr_expect_leq(state.good_bytes, bit / 8);
        whole.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    ls_buf_deinit(&whole);
    end();
}

/* A file that is something else is refused and left as it is. */
Test(journal, leaves_a_foreign_file_alone)
{
    struct ls_journal_state state;
    struct ls_journal *journal = NULL;
    struct ls_error err = LS_ERROR_INIT;
    struct ls_buf after = {0};

    begin();
    cr_assert_eq(ls_fs_write(path, "dear diary", 10, NULL), LS_OK);
    cr_expect_eq(ls_journal_open(path, &journal, &state, &err), LS_ECORRUPT);
    cr_expect_not_null(strstr(err.message, path));
    cr_assert_eq(ls_fs_read(path, 1 << 20, &after, NULL), LS_OK);
    cr_expect_eq(after.length, 10);
    ls_buf_deinit(&after);
    end();
}

/* Two coordinators cannot share one journal. */
Test(journal, has_one_writer)
{
    struct ls_journal_state state;
    struct ls_journal *journal, *second = NULL;
    struct ls_error err = LS_ERROR_INIT;

    begin();
    journal = reopen(&state);
    cr_expect_eq(ls_journal_open(path, &second, &state, &err), LS_EBUSY);
    ls_journal_close(journal);
    end();
}

/* A full disk is an error with the path in it, and the journal does not pretend afterwards. */
Test(journal, stays_failed)
{
    struct ls_record record = {.kind = LS_RECORD_STEPS, .generation = 1, .first = 1, .last = 1};
    struct ls_journal_state state;
    struct ls_journal *journal;
    struct ls_error err = LS_ERROR_INIT;

    begin();
    journal = reopen(&state);
    cr_assert_eq(ls_journal_append(journal, &record, NULL), LS_OK);
    ls_fs_fail_after(10);
    cr_expect_eq(ls_journal_sync(journal, &err), LS_EIO);
    cr_expect_not_null(strstr(err.message, path), "%s", err.message);
    ls_fs_fail_after(SIZE_MAX);
    cr_assert_eq(ls_journal_append(journal, &record, NULL), LS_OK);
    cr_expect_eq(ls_journal_sync(journal, &err), LS_EIO);
    ls_journal_close(journal);
    journal = reopen(&state);
    cr_expect_eq(state.records, 0);
    ls_journal_close(journal);
    end();
}

/* A journal that has grown long begins anew when it is opened, and knows what the old one knew. */
Test(journal, rotates)
{
    struct ls_record record = {.kind = LS_RECORD_STEPS, .generation = 4, .first = 10, .last = 10};
    struct ls_journal_state state;
    struct ls_journal *journal;
    char old[128];

    begin();
    (void)snprintf(old, sizeof old, "%s.1", path);
    journal = reopen(&state);
    write_some(journal);
    for (uint64_t i = 0; i < LS_JOURNAL_ROTATE_BYTES / 40; i++) {
        record.first = record.last = 10 + i;
        cr_assert_eq(ls_journal_append(journal, &record, NULL), LS_OK);
    }
    cr_assert_eq(ls_journal_sync(journal, NULL), LS_OK);
    ls_journal_close(journal);
    journal = reopen(&state);
    cr_expect_eq(state.committed, record.last);
    cr_expect(ls_fs_exists(old));
    ls_journal_close(journal);
    journal = reopen(&state);
    cr_expect_leq(state.records, 3);
    cr_expect_eq(state.last_generation, 4);
    cr_expect_eq(state.committed, record.last);
    ls_journal_close(journal);
    end();
}
