/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints as their users see them: what was saved comes back, what is damaged is noticed, what is old goes. */
#include "core/ckpt/ckpt.h"

#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/base/str.h"
#include "tests/support/checkpoints.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char *directory;

static void begin(void)
{
    directory = lst_scratch_create();
}

static void end(void)
{
    lst_scratch_remove(directory);
}

TestSuite(ckpt, .init = begin, .fini = end);

static void save(uint64_t step, int parts)
{
    struct ls_error err = LS_ERROR_INIT;

    cr_assert_eq(lst_ckpt_save(directory, step, parts, 2, &err), LS_OK, "%s", err.message);
}

static void expect_newest(int64_t step, bool expect_fallback)
{
    bool right, fell_back;

    cr_assert_eq(lst_ckpt_newest(directory, &right, &fell_back), step);
    cr_assert(right);
    cr_assert_eq(fell_back, expect_fallback);
}

/* Every tensor, role, shape, step, generation and meta comes back, whatever the number of parts. */
Test(ckpt, round_trip)
{
    for (int parts = 1; parts <= 4; parts++) {
        struct ls_ckpt *ckpt;

        save((uint64_t)parts, parts);
        expect_newest(parts, false);
        cr_assert_eq(ls_ckpt_open(directory, &ckpt, NULL, NULL), LS_OK);
        cr_assert_str_eq(ls_ckpt_meta_json(ckpt), "{\"big\":9007199254740993,\"epoch\":2,\"loss\":0.1}");
        cr_assert_eq(ls_ckpt_find(ckpt, "no such path"), -1);
        ls_ckpt_close(ckpt);
    }
}

/* A checkpoint's own directory opens too, and says when a part is missing. */
Test(ckpt, opens_its_own_directory)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_ckpt *ckpt;
    char *path = ls_path_join(directory, "step-3");
    char *part;

    save(3, 2);
    cr_assert_eq(ls_ckpt_open(path, &ckpt, NULL, &err), LS_OK, "%s", err.message);
    cr_assert_str_eq(ls_ckpt_path(ckpt), path);
    ls_ckpt_close(ckpt);
    part = ls_path_join(path, "part-00001-of-00002.safetensors");
    cr_assert_eq(ls_fs_remove(part, NULL), LS_OK);
    cr_assert_eq(ls_ckpt_open(path, &ckpt, NULL, &err), LS_ECORRUPT);
    cr_assert(strstr(err.message, "part-00001-of-00002.safetensors: it is missing") != NULL, "%s", err.message);
    ls_free(part);
    ls_free(path);
}

/* The newest `keep` checkpoints stay, at least two, LATEST names the newest, and nothing uncommitted is left. */
Test(ckpt, keeps_the_newest)
{
    struct ls_buf latest = {0};
    char *path = ls_path_join(directory, "LATEST");
    char **names;
    size_t count;

    for (uint64_t step = 8; step < 13; step++)
        cr_assert_eq(lst_ckpt_save(directory, step, 2, step == 12 ? 1 : 3, NULL), LS_OK);
    cr_assert_eq(ls_fs_list(directory, &names, &count, NULL), LS_OK);
    cr_assert_eq(count, 3);
    cr_assert_str_eq(names[0], "LATEST");
    cr_assert_str_eq(names[1], "step-11");
    cr_assert_str_eq(names[2], "step-12");
    cr_assert_eq(ls_fs_read(path, 100, &latest, NULL), LS_OK);
    cr_assert_eq(latest.length, 8);
    cr_assert_eq(memcmp(latest.data, "step-12\n", 8), 0);
    ls_buf_deinit(&latest);
    ls_free(names);
    ls_free(path);
}

/* No directory, an empty one, and one with foreign files are all "there is none", not an accident. */
Test(ckpt, none_is_not_corrupt)
{
    struct ls_ckpt *ckpt;
    char *missing = ls_path_join(directory, "missing");
    char *file = lst_scratch_file(directory, "step-zero", "x", 1);

    cr_assert_eq(ls_ckpt_open(missing, &ckpt, NULL, NULL), LS_ENOENT);
    cr_assert_eq(ls_ckpt_open(directory, &ckpt, NULL, NULL), LS_ENOENT);
    ls_free(file);
    ls_free(missing);
}

/* Flips a bit of byte `at` of a file and expects the older checkpoint, with a sentence. */
static void flip_and_look(const char *path, struct ls_buf *bytes, size_t at, int bit)
{
    bool right, fell_back;
    int64_t step;

    bytes->data[at] ^= (uint8_t)(1 << bit);
    cr_assert_eq(ls_fs_write(path, bytes->data, bytes->length, NULL), LS_OK);
    step = lst_ckpt_newest(directory, &right, &fell_back);
    cr_assert(step == 1 && right && fell_back, "%s, byte %zu, bit %d: step %lld", path, at, bit, (long long)step);
    bytes->data[at] ^= (uint8_t)(1 << bit);
}

/* Any single bit flipped in any file of the newest checkpoint is seen, and the one before is loaded instead. */
Test(ckpt, any_flipped_bit_is_seen)
{
    char *newest = ls_path_join(directory, "step-2");
    char **names;
    size_t count;

    save(1, 2);
    save(2, 2);
    cr_assert_eq(ls_fs_list(newest, &names, &count, NULL), LS_OK);
    cr_assert_eq(count, 3);
    for (size_t i = 0; i < count; i++) {
        char *path = ls_path_join(newest, names[i]);
        struct ls_buf bytes = {0};

        cr_assert_eq(ls_fs_read(path, SIZE_MAX, &bytes, NULL), LS_OK);
        /* Every byte of what is text, every 97th of the rest. */
        for (size_t at = 0; at < bytes.length; at += at < 1500 ? 3 : 97)
            flip_and_look(path, &bytes, at, (int)(at % 8));
        flip_and_look(path, &bytes, bytes.length - 1, 0);
        cr_assert_eq(ls_fs_write(path, bytes.data, bytes.length, NULL), LS_OK);
        ls_buf_deinit(&bytes);
        ls_free(path);
    }
    expect_newest(2, false);
    ls_free(names);
    ls_free(newest);
}

/* A file that is shorter, longer or missing is seen as well. */
Test(ckpt, cut_grown_and_missing_files_are_seen)
{
    static const char *const files[] = {"step-2/manifest.json", "step-2/part-00000-of-00002.safetensors"};

    save(1, 1);
    save(2, 2);
    for (size_t i = 0; i < 2; i++) {
        char *path = ls_path_join(directory, files[i]);
        struct ls_buf bytes = {0};

        cr_assert_eq(ls_fs_read(path, SIZE_MAX, &bytes, NULL), LS_OK);
        cr_assert_eq(ls_buf_append(&bytes, "x", 1), LS_OK);
        for (size_t length = 0; length <= bytes.length; length += length < 20 ? 1 : bytes.length / 10) {
            if (length == bytes.length - 1)
                continue;
            cr_assert_eq(ls_fs_write(path, bytes.data, length, NULL), LS_OK);
            expect_newest(1, true);
        }
        cr_assert_eq(ls_fs_write(path, bytes.data, bytes.length, NULL), LS_OK);
        expect_newest(1, true);
        cr_assert_eq(ls_fs_remove(path, NULL), LS_OK);
        expect_newest(1, true);
        cr_assert_eq(ls_fs_write(path, bytes.data, bytes.length - 1, NULL), LS_OK);
        expect_newest(2, false);
        ls_buf_deinit(&bytes);
        ls_free(path);
    }
}

/* A damaged or missing LATEST loses nothing: the newest complete checkpoint loads, and damage is mentioned. */
Test(ckpt, latest_is_only_a_hint)
{
    char *path = ls_path_join(directory, "LATEST");

    save(1, 1);
    save(2, 1);
    cr_assert_eq(ls_fs_write(path, "step-1\n", 7, NULL), LS_OK);
    expect_newest(2, false);
    cr_assert_eq(ls_fs_write(path, "step-9\n", 7, NULL), LS_OK);
    expect_newest(2, true);
    cr_assert_eq(ls_fs_write(path, "../etc\n", 7, NULL), LS_OK);
    expect_newest(2, true);
    cr_assert_eq(ls_fs_write(path, "", 0, NULL), LS_OK);
    expect_newest(2, true);
    cr_assert_eq(ls_fs_remove(path, NULL), LS_OK);
    expect_newest(2, false);
    ls_free(path);
}

/* Where none verifies, the error is "corrupt" and says what is wrong with the newest. */
Test(ckpt, all_damaged)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_ckpt *ckpt;

    for (int step = 1; step <= 2; step++) {
        char *path = ls_str_format("%s/step-%d/manifest.json", directory, step);

        save((uint64_t)step, 1);
        cr_assert_eq(ls_fs_write(path, "{}", 2, NULL), LS_OK);
        ls_free(path);
    }
    cr_assert_eq(ls_ckpt_open(directory, &ckpt, NULL, &err), LS_ECORRUPT);
    cr_assert(strstr(err.message, "step-2: its manifest is damaged") != NULL, "%s", err.message);
    cr_assert(strstr(err.message, "older") != NULL, "%s", err.message);
    cr_assert(strstr(err.message, "--fresh --overwrite") != NULL, "%s", err.message);
}

static void make_empty(const char *name)
{
    char *path = ls_path_join(directory, name);

    cr_assert_eq(ls_fs_mkdirs(path, NULL), LS_OK);
    ls_free(path);
}

static void remove_inside(const char *name)
{
    char *path = ls_path_join(directory, name);

    cr_assert_eq(ls_fs_remove(path, NULL), LS_OK);
    ls_free(path);
}

/* A directory without a manifest, left by a kill or made by others, is no checkpoint where LATEST does not name it. */
Test(ckpt, without_a_manifest_is_none)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_ckpt *ckpt;

    make_empty("step-99");
    cr_assert_eq(ls_ckpt_open(directory, &ckpt, NULL, &err), LS_ENOENT, "%s", err.message);
    save(5, 2);
    expect_newest(5, false);
    remove_inside("step-5/manifest.json");
    cr_assert_eq(ls_ckpt_open(directory, &ckpt, NULL, &err), LS_ECORRUPT, "LATEST names it");
    cr_assert(strstr(err.message, "manifest.json") != NULL && strstr(err.message, "--fresh --overwrite") != NULL, "%s",
              err.message);
    remove_inside("LATEST");
    cr_assert_eq(ls_ckpt_open(directory, &ckpt, NULL, &err), LS_ENOENT, "%s", err.message);
}

/* The next save removes an older one without a manifest, which takes no complete one's place; a later one stays. */
Test(ckpt, sweeps_what_has_no_manifest)
{
    char **names;
    size_t count;

    save(3, 1);
    make_empty("step-4");
    make_empty("step-99");
    save(5, 1);
    cr_assert_eq(ls_fs_list(directory, &names, &count, NULL), LS_OK);
    cr_assert_eq(count, 4);
    cr_assert_str_eq(names[1], "step-3");
    cr_assert_str_eq(names[2], "step-5");
    cr_assert_str_eq(names[3], "step-99");
    ls_free(names);
    expect_newest(5, false);
}

/* A step that is saved again after its checkpoint was damaged replaces it; a later damaged one does not cost a
 * place. */
Test(ckpt, saves_over_a_damaged_one)
{
    char *path = ls_path_join(directory, "step-5/manifest.json");

    save(3, 1);
    save(5, 1);
    cr_assert_eq(ls_fs_write(path, "{}", 2, NULL), LS_OK);
    expect_newest(3, true);
    save(4, 1);
    cr_assert(ls_fs_exists(path), "the later one is left alone");
    expect_newest(4, true);
    save(5, 2);
    expect_newest(5, false);
    ls_free(path);
}

/* A second job is refused with the id of the process that holds the directory; the lock ends with its holder. */
Test(ckpt, lock_names_its_holder)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_ckpt_lock *lock = NULL, *other = NULL;
    char *inside = ls_path_join(directory, "a/b");
    char pid[32];

    cr_assert_eq(ls_ckpt_lock_open(inside, &lock, &err), LS_OK, "%s", err.message);
    cr_assert_eq(ls_ckpt_lock_open(inside, &other, &err), LS_EBUSY);
    (void)snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    cr_assert(strstr(err.message, pid) != NULL, "%s", err.message);
    ls_ckpt_lock_close(lock);
    cr_assert_eq(ls_ckpt_lock_open(inside, &other, &err), LS_OK);
    ls_ckpt_lock_close(other);
    ls_free(inside);
}

/* Starting over removes checkpoints and leaves other files alone. */
Test(ckpt, remove_all)
{
    char *file = lst_scratch_file(directory, "notes.txt", "x", 1);
    struct ls_ckpt *ckpt;

    save(1, 1);
    save(2, 3);
    cr_assert_eq(ls_ckpt_remove_all(directory, NULL), LS_OK);
    cr_assert_eq(ls_ckpt_open(directory, &ckpt, NULL, NULL), LS_ENOENT);
    cr_assert(ls_fs_exists(file));
    ls_free(file);
}
