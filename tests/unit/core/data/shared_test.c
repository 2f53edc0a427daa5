/* SPDX-License-Identifier: Apache-2.0 */
/* A data set that several processes of a host decode once. */
#include "core/data/array.h"

#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/base/str.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAMPLES 2000
#define SIZE 784

static char *directory;

static void begin(void)
{
    directory = lst_scratch_create();
}

static void end(void)
{
    lst_scratch_remove(directory);
}

TestSuite(shared, .init = begin, .fini = end);

/* An IDX file of 1.5 MB whose bytes follow from `salt`. */
static char *write_file(const char *name, uint8_t salt)
{
    size_t length = 12 + SAMPLES * SIZE;
    uint8_t *bytes = ls_alloc_zeroed(length, 1);
    char *path;

    memcpy(bytes, "\0\0\10\2\0\0\7\xd0\0\0\3\x10", 12);
    for (size_t i = 12; i < length; i++)
        bytes[i] = (uint8_t)(i * 7 + salt);
    path = lst_scratch_file(directory, name, bytes, length);
    ls_free(bytes);
    return path;
}

static bool is_right(const struct ls_view *view, uint8_t salt)
{
    const uint8_t *data = view->data;

    if (view->dtype != LS_U8 || !ls_shape_equal(&view->shape, &LS_SHAPE(SAMPLES, SIZE)))
        return false;
    for (size_t i = 0; i < SAMPLES * SIZE; i++)
        if (data[i] != (uint8_t)((i + 12) * 7 + salt))
            return false;
    return true;
}

static ino_t memory_of(const struct lsi_array *array)
{
    struct ls_buf maps = {0};
    char address[32];
    char *line;
    unsigned long inode = 0;

    cr_assert_eq(ls_fs_read("/proc/self/maps", SIZE_MAX, &maps, NULL), LS_OK);
    cr_assert_eq(ls_buf_append(&maps, "", 1), LS_OK);
    (void)snprintf(address, sizeof address, "%lx-", (unsigned long)(uintptr_t)ls_share_memory(array->share));
    line = strstr((char *)maps.data, address);
    cr_assert(line != NULL && sscanf(line, "%*s %*s %*s %*s %lu", &inode) == 1);
    ls_buf_deinit(&maps);
    return (ino_t)inode;
}

/* A second opener gets the first one's memory, by any path of the same file; another file gets another memory. */
Test(shared, is_decoded_once)
{
    struct lsi_array first = {0}, second = {0}, third = {0};
    char *path = write_file("x.idx", 1), *link_path = ls_path_join(directory, "y.idx");

    cr_assert_eq(lsi_array_read_shared(path, "idx", &first), LS_OK);
    cr_assert(is_right(&first.view, 1));
    cr_assert_eq(symlink(path, link_path), 0);
    cr_assert_eq(lsi_array_read_shared(link_path, "idx", &second), LS_OK);
    cr_assert(is_right(&second.view, 1));
    cr_assert_eq(memory_of(&first), memory_of(&second));
    ls_free(path);
    path = write_file("z.idx", 2);
    cr_assert_eq(lsi_array_read_shared(path, "idx", &third), LS_OK);
    cr_assert(is_right(&third.view, 2));
    cr_assert_neq(memory_of(&first), memory_of(&third));
    cr_assert(is_right(&first.view, 1), "what was opened before does not change");
    lsi_array_deinit(&first);
    cr_assert(is_right(&second.view, 1), "the maker may close first");
    lsi_array_deinit(&second);
    lsi_array_deinit(&third);
    ls_free(path);
    ls_free(link_path);
}

/* Many processes that start at once all get the right bytes, one memory; killing its maker takes nothing away. */
Test(shared, processes_at_once)
{
    enum { PROCESSES = 6 };
    char *path = write_file("x.idx", 3);
    int answers[2], hold[2];
    pid_t children[PROCESSES];
    ino_t memories[PROCESSES];

    cr_assert(pipe(answers) == 0 && pipe(hold) == 0);
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            struct lsi_array array = {0};
            ino_t memory = 0;
            char byte;

            if (lsi_array_read_shared(path, "idx", &array) == LS_OK && is_right(&array.view, 3))
                memory = memory_of(&array);
            (void)!write(answers[1], &memory, sizeof memory);
            (void)close(hold[1]);
            (void)!read(hold[0], &byte, 1);
            _exit(memory != 0 && is_right(&array.view, 3) ? 0 : 1);
        }
    }
    for (int i = 0; i < PROCESSES; i++)
        cr_assert_eq(read(answers[0], &memories[i], sizeof memories[i]), (ssize_t)sizeof memories[i]);
    for (int i = 0; i < PROCESSES; i++)
        cr_assert(memories[i] != 0 && memories[i] == memories[0]);
    (void)kill(children[0], SIGKILL);
    (void)close(hold[1]);
    for (int i = 0; i < PROCESSES; i++) {
        int status;

        cr_assert_eq(waitpid(children[i], &status, 0), children[i]);
        cr_assert(i == 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    }
    ls_free(path);
}

/* After everyone has ended nothing can be found. */
Test(shared, nothing_is_left)
{
    struct ls_share *share = NULL;

    cr_assert_eq(ls_share_create("test-left", 5000, &share, NULL), LS_OK);
    memcpy(ls_share_memory(share), "abc", 3);
    cr_assert_eq(ls_share_publish(share, NULL), LS_OK);
    ls_share_close(share);
    cr_assert_eq(ls_share_find("test-left", &share, NULL), LS_ENOENT);
}

/* Memory is found only after it was published. */
Test(shared, not_before_it_is_published)
{
    struct ls_share *share = NULL, *other = NULL;

    cr_assert_eq(ls_share_create("test-early", 5000, &share, NULL), LS_OK);
    cr_assert_eq(ls_share_find("test-early", &other, NULL), LS_ENOENT);
    memcpy(ls_share_memory(share), "abc", 3);
    cr_assert_eq(ls_share_publish(share, NULL), LS_OK);
    cr_assert_eq(ls_share_find("test-early", &other, NULL), LS_OK);
    cr_assert_eq(ls_share_bytes(other), 5000);
    cr_assert_eq(memcmp(ls_share_memory(other), "abc", 3), 0);
    ls_share_close(other);
    ls_share_close(share);
}

/* A damaged file is refused by the shared way too, and the data set's sentence is that of the private one. */
Test(shared, damage)
{
    char *path = write_file("x.idx", 4);
    struct ls_dataset_options options = {.format = "idx", .features = path, .shared = true};
    struct ls_error err = LS_ERROR_INIT;
    struct lsi_array array = {0};
    struct ls_dataset *set;

    cr_assert_eq(truncate(path, 12 + SAMPLES * SIZE - 1), 0);
    cr_assert_neq(lsi_array_read_shared(path, "idx", &array), LS_OK);
    cr_assert_eq(ls_dataset_open(&options, &set, &err), LS_ECORRUPT);
    cr_assert(strstr(err.message, "truncated") != NULL, "%s", err.message);
    ls_free(path);
}
