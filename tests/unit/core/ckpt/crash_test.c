/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving under a full disk and under death at every system call: an acknowledged checkpoint loads, and a failed save
 * never costs an older one. The system calls of a save are defined here, before the C library's, so that a child can
 * be ended at the n-th of them; a write ends half done.
 */
#include "core/base/fs.h"

#include "core/base/alloc.h"
#include "tests/support/checkpoints.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static int calls_left = -1; /* -1: off */

static void count_call(void)
{
    if (calls_left > 0 && --calls_left == 0)
        _exit(9);
}

ssize_t write(int fd, const void *data, size_t length)
{
    static ssize_t (*real)(int, const void *, size_t);

    if (real == NULL)
        real = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    if (calls_left == 1)
        (void)!real(fd, data, length / 2);
    count_call();
    return real(fd, data, length);
}

#define LST_CRASHING(type, name, parameters, arguments)         \
    type name parameters                                        \
    {                                                           \
        static type(*real) parameters;                          \
                                                                \
        if (real == NULL)                                       \
            real = (type(*) parameters)dlsym(RTLD_NEXT, #name); \
        count_call();                                           \
        return real arguments;                                  \
    }

LST_CRASHING(int, fsync, (int fd), (fd))
LST_CRASHING(int, rename, (const char *from, const char *to), (from, to))
LST_CRASHING(int, mkdir, (const char *path, mode_t mode), (path, mode))
LST_CRASHING(int, unlink, (const char *path), (path))
LST_CRASHING(int, rmdir, (const char *path), (path))
LST_CRASHING(int, close, (int fd), (fd))

static char *directory;

static void begin(void)
{
    directory = lst_scratch_create();
}

static void end(void)
{
    lst_scratch_remove(directory);
}

TestSuite(crash, .init = begin, .fini = end);

/* Saves step in a child that dies at its n-th call; gives the child's exit status: 9 where it died. */
static int save_and_die(uint64_t step, int parts, int nth)
{
    pid_t child = fork();
    int status = 0;

    if (child == 0) {
        calls_left = nth;
        _exit(lst_ckpt_save(directory, step, parts, 2, NULL) == LS_OK ? 0 : 1);
    }
    cr_assert(waitpid(child, &status, 0) == child && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void restart(uint64_t first, uint64_t second)
{
    cr_assert_eq(ls_fs_remove(directory, NULL), LS_OK);
    for (uint64_t step = first; step <= second; step++)
        cr_assert_eq(lst_ckpt_save(directory, step, 1, 2, NULL), LS_OK);
}

/* Death at any call of a save leaves the old state or the new one, whole; the next save works and cleans up. */
static void die_everywhere(uint64_t step, int parts)
{
    int nth = 1;

    for (int status = 9; status == 9; nth++) {
        bool right, fell_back;
        int64_t newest;

        restart(1, 2);
        status = save_and_die(step, parts, nth);
        cr_assert(status == 0 || status == 9, "the save failed by itself at call %d", nth);
        newest = lst_ckpt_newest(directory, &right, &fell_back);
        cr_assert(right && (newest == (int64_t)step || (status == 9 && newest == 2)), "call %d: step %lld", nth,
                  (long long)newest);
        cr_assert_not(fell_back, "call %d", nth);
        cr_assert_eq(lst_ckpt_save(directory, step + 1, 2, 2, NULL), LS_OK, "call %d", nth);
        cr_assert_eq(lst_ckpt_newest(directory, &right, &fell_back), (int64_t)step + 1);
        cr_assert(right);
    }
    cr_assert_gt(nth, 20, "the calls of a save were not seen");
}

/* A new step. */
Test(crash, death_at_every_call_of_a_save)
{
    die_everywhere(3, 3);
}

/* A step whose checkpoint is there already is replaced with the same care. */
Test(crash, death_at_every_call_of_a_second_save)
{
    die_everywhere(2, 2);
}

/* Starts over in a child that dies at its n-th call; gives the child's exit status: 9 where it died. */
static int start_over_and_die(int nth)
{
    pid_t child = fork();
    int status = 0;

    if (child == 0) {
        calls_left = nth;
        _exit(ls_ckpt_remove_all(directory, NULL) == LS_OK ? 0 : 1);
    }
    cr_assert(waitpid(child, &status, 0) == child && WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Death at any call of the removal of all leaves whole checkpoints or none, never one that stops the next start. */
Test(crash, death_at_every_call_of_starting_over)
{
    int nth = 1;

    for (int status = 9; status == 9; nth++) {
        bool right, fell_back;
        struct ls_ckpt *ckpt = NULL;
        struct ls_error err = LS_ERROR_INIT;
        enum ls_status opened;

        restart(1, 2);
        cr_assert_eq(lst_ckpt_save(directory, 3, 3, 3, NULL), LS_OK);
        status = start_over_and_die(nth);
        cr_assert(status == 0 || status == 9, "it failed by itself at call %d", nth);
        opened = ls_ckpt_open(directory, &ckpt, NULL, &err);
        cr_assert(opened == LS_ENOENT || (status == 9 && opened == LS_OK), "call %d: %s", nth, err.message);
        ls_ckpt_close(ckpt);
        cr_assert_eq(lst_ckpt_save(directory, 4, 2, 2, NULL), LS_OK, "call %d", nth);
        cr_assert_eq(lst_ckpt_newest(directory, &right, &fell_back), 4);
        cr_assert(right && !fell_back, "call %d", nth);
    }
    cr_assert_gt(nth, 10, "the calls of a removal were not seen");
}

/* A disk that is full after any number of bytes fails the save with a sentence and leaves the older ones loadable. */
Test(crash, full_disk_after_any_byte)
{
    struct ls_error err = LS_ERROR_INIT;
    bool right, fell_back;
    enum ls_status status = LS_EIO;

    restart(1, 2);
    for (size_t bytes = 0; status != LS_OK; bytes += bytes % 5 == 0 ? 331 : 1) {
        int64_t newest;

        ls_fs_fail_after(bytes);
        status = lst_ckpt_save(directory, 3, 2, 2, &err);
        ls_fs_fail_after(SIZE_MAX);
        newest = lst_ckpt_newest(directory, &right, &fell_back);
        cr_assert(right && !fell_back, "%zu bytes", bytes);
        if (status != LS_OK)
            cr_assert(status == LS_EIO && err.message[0] != '\0' && (newest == 2 || newest == 3), "%zu bytes: %s",
                      bytes, err.message);
        else
            cr_assert_eq(newest, 3);
        if (newest == 3)
            restart(1, 2);
    }
}

/* Short memory at any allocation fails the save or the load with a status, not with a crash or a false checkpoint. */
Test(crash, short_memory_anywhere)
{
    enum ls_status status = LS_ENOMEM;
    bool right, fell_back;

    restart(1, 2);
    for (uint64_t nth = 1; status != LS_OK && nth < 5000; nth++) {
        struct ls_ckpt *ckpt = NULL;

        ls_alloc_fail_after(nth);
        status = ls_ckpt_open(directory, &ckpt, NULL, NULL);
        ls_alloc_fail_after(0);
        cr_assert(status == LS_OK || status == LS_ENOMEM, "allocation %d: %s", (int)nth, ls_status_name(status));
        if (status == LS_OK)
            cr_assert(ls_ckpt_step(ckpt) == 2 && lst_ckpt_is_right(ckpt));
        ls_ckpt_close(ckpt);
    }
    cr_assert_eq(status, LS_OK);
    cr_assert_eq(lst_ckpt_newest(directory, &right, &fell_back), 2);
}
