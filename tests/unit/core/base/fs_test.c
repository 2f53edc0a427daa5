/* SPDX-License-Identifier: Apache-2.0 */
/* Files: whole or not at all, limits, injected full disks, locks that end with their holder. */
#include "core/base/fs.h"

#include "core/base/alloc.h"
#include "core/base/file.h"
#include "core/base/str.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *directory;

static void begin(void)
{
    directory = lst_scratch_create();
}

static void end(void)
{
    ls_fs_fail_after(SIZE_MAX);
    lst_scratch_remove(directory);
}

TestSuite(fs, .init = begin, .fini = end);

static void expect_content(const char *path, const char *wanted)
{
    struct ls_buf buf = {0};

    cr_assert_eq(ls_fs_read(path, 1000, &buf, NULL), LS_OK);
    cr_assert(buf.length == strlen(wanted) && memcmp(buf.data, wanted, buf.length) == 0);
    ls_buf_deinit(&buf);
}

/* An atomic write that runs out of disk leaves the old file and nothing beside it. */
Test(fs, write_atomic_is_atomic)
{
    char *path = lst_scratch_file(directory, "f", "old", 3);
    struct ls_error err = LS_ERROR_INIT;
    char **names;
    size_t count;

    for (size_t bytes = 0; bytes < 3; bytes++) {
        ls_fs_fail_after(bytes);
        cr_assert_eq(ls_fs_write_atomic(path, "new", 3, &err), LS_EIO);
        ls_fs_fail_after(SIZE_MAX);
        cr_assert(strstr(err.message, "No space left") != NULL, "%s", err.message);
        expect_content(path, "old");
    }
    cr_assert_eq(ls_fs_write_atomic(path, "new", 3, NULL), LS_OK);
    expect_content(path, "new");
    cr_assert_eq(ls_fs_list(directory, &names, &count, NULL), LS_OK);
    cr_assert_eq(count, 1);
    ls_free(names);
    ls_free(path);
}

/* A pipe or a device (/dev/null) is not replaced by a file. */
Test(fs, write_atomic_spares_devices)
{
    struct ls_error err = LS_ERROR_INIT;
    char *path = ls_path_join(directory, "pipe");
    struct stat at;

    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(ls_fs_write_atomic(path, "new", 3, &err), LS_EIO);
    cr_expect_neq(strstr(err.message, "no plain file"), NULL, "%s", err.message);
    cr_assert_eq(stat(path, &at), 0);
    cr_expect(S_ISFIFO(at.st_mode));
    ls_free(path);
}

/* A link stays and its target is written, there or not; names of the system are refused (nothing is written here). */
Test(fs, write_atomic_follows_links)
{
    const char *const refused[] = {"/dev/stdout",     "/dev/null", "/dev/fd/1",
                                   "/proc/self/fd/1", "/dev/none", "/proc/none"};
    char *path = ls_path_join(directory, "link"), *target = NULL;
    char *file = ls_path_join(directory, "file");
    struct ls_error err = LS_ERROR_INIT;
    struct stat at;

    cr_assert_eq(symlink("file", path), 0);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(ls_fs_write_atomic(path, i == 0 ? "new" : "more", 3, NULL), LS_OK);
        cr_assert_eq(lstat(path, &at), 0);
        cr_expect(S_ISLNK(at.st_mode));
        expect_content(file, i == 0 ? "new" : "mor");
    }
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        cr_assert_eq(ls_fs_target(refused[i], &target, &err), LS_EIO, "%s", refused[i]);
        cr_expect_neq(strstr(err.message, "belongs to the system"), NULL, "%s", err.message);
    }
    cr_assert_eq(ls_fs_target("/dev/shm/t.json", &target, NULL), LS_OK);
    cr_expect_str_eq(target, "/dev/shm/t.json");
    ls_free(target);
    ls_free(file);
    ls_free(path);
}

/* Reading appends, respects the limit to the byte, and names at once what is missing or no file: a pipe would be waited
 * for, a device may have no end. */
Test(fs, read, .timeout = 20)
{
    char *pipe = ls_path_join(directory, "pipe");
    char *path = lst_scratch_file(directory, "f", "12345", 5);
    struct ls_buf buf = {0};
    struct ls_error err = LS_ERROR_INIT;

    cr_assert_eq(mkfifo(pipe, 0600), 0);
    cr_assert_eq(ls_fs_read(path, 5, &buf, NULL), LS_OK);
    cr_assert_eq(ls_fs_read(path, 5, &buf, NULL), LS_OK);
    cr_assert_eq(buf.length, 10);
    cr_assert_eq(ls_fs_read(path, 4, &buf, &err), LS_EINVAL);
    cr_assert(strstr(err.message, path) != NULL);
    cr_assert_eq(ls_fs_read("/no/such/file", 5, &buf, NULL), LS_ENOENT);
    for (int i = 0; i < 3; i++) {
        static const char *const kinds[] = {"is a directory", "is a device", "is a pipe"};
        const char *const places[] = {directory, "/dev/zero", pipe};

        cr_assert_eq(ls_fs_read(places[i], 65536, &buf, &err), LS_EIO);
        cr_expect(strstr(err.message, places[i]) != NULL && strstr(err.message, kinds[i]) != NULL, "%s", err.message);
    }
    cr_assert_eq(ls_fs_read("/proc/self/stat", 100000, &buf, NULL), LS_OK, "a file that does not know its size");
    cr_assert_gt(buf.length, 10);
    ls_buf_deinit(&buf);
    ls_free(pipe);
    ls_free(path);
}

/* Directories are made with their parents, listed in order and removed with all in them. */
Test(fs, directories)
{
    char *deep = ls_path_join(directory, "a/b/c"), *top = ls_path_join(directory, "a");
    char *file = ls_path_join(directory, "a/file");
    char **names;
    size_t count;

    cr_assert_eq(ls_fs_mkdirs(deep, NULL), LS_OK);
    cr_assert_eq(ls_fs_mkdirs(deep, NULL), LS_OK);
    cr_assert_eq(ls_fs_write(file, "x", 1, NULL), LS_OK);
    cr_assert_neq(ls_fs_mkdirs(file, NULL), LS_OK);
    cr_assert_eq(ls_fs_list(top, &names, &count, NULL), LS_OK);
    cr_assert(count == 2 && strcmp(names[0], "b") == 0 && strcmp(names[1], "file") == 0);
    cr_assert_eq(ls_fs_remove(top, NULL), LS_OK);
    cr_assert_eq(ls_fs_remove(top, NULL), LS_OK);
    cr_assert_not(ls_fs_exists(top));
    ls_free(names);
    ls_free(deep);
    ls_free(top);
    ls_free(file);
}

static void *remove_tree(void *tree)
{
    return ls_fs_remove(tree, NULL) == LS_OK ? tree : NULL;
}

/* Two that remove the same tree at once both find it gone: neither takes what the other removed for a failure. */
Test(fs, removed_by_two)
{
    char *top = ls_path_join(directory, "tree");

    for (int round = 0; round < 300; round++) {
        pthread_t threads[2];
        void *done[2];

        for (int i = 0; i < 12; i++) {
            char *deep = ls_str_format("%s/%d/%d", top, i / 4, i);

            cr_assert_eq(ls_fs_mkdirs(deep, NULL), LS_OK);
            ls_free(deep);
        }
        for (int t = 0; t < 2; t++)
            cr_assert_eq(pthread_create(&threads[t], NULL, remove_tree, top), 0);
        for (int t = 0; t < 2; t++)
            cr_assert_eq(pthread_join(threads[t], &done[t]), 0);
        cr_assert(done[0] == top && done[1] == top, "round %d", round);
        cr_assert_not(ls_fs_exists(top));
    }
    ls_free(top);
}

/* An open file is read at offsets to its exact end, and written piece by piece under the injected limit. */
Test(fs, open_files)
{
    char *path = ls_path_join(directory, "f");
    struct ls_file *file;
    char bytes[8];

    cr_assert_eq(ls_file_create(path, &file, NULL), LS_OK);
    cr_assert_eq(ls_file_append(file, "abc", 3, NULL), LS_OK);
    ls_fs_fail_after(1);
    cr_assert_eq(ls_file_append(file, "xyz", 3, NULL), LS_EIO);
    ls_fs_fail_after(SIZE_MAX);
    cr_assert_eq(ls_file_sync(file, NULL), LS_OK);
    ls_file_close(file);
    cr_assert_eq(ls_file_open(path, &file, NULL), LS_OK);
    cr_assert_eq(ls_file_length(file), 4);
    cr_assert_eq(ls_file_read(file, 1, bytes, 3, NULL), LS_OK);
    cr_assert_eq(memcmp(bytes, "bcx", 3), 0);
    cr_assert_eq(ls_file_read(file, 2, bytes, 3, NULL), LS_ECORRUPT);
    ls_file_close(file);
    cr_assert_eq(ls_file_open(directory, &file, NULL), LS_EIO);
    cr_assert_eq(ls_file_open("/dev/zero", &file, NULL), LS_EIO);
    ls_free(path);
}

/* A lock held by a process that is killed is free at once, without anything left to clean up. */
Test(fs, lock_ends_with_its_holder)
{
    char *path = ls_path_join(directory, "LOCK");
    struct ls_error err = LS_ERROR_INIT;
    struct ls_file_lock *lock;
    char *name, byte;
    int ready[2], status;
    pid_t child;

    cr_assert_eq(pipe(ready), 0);
    child = fork();
    if (child == 0) {
        (void)!write(ready[1], ls_file_lock_open(path, &lock, NULL) == LS_OK ? "y" : "n", 1);
        for (;;)
            (void)pause();
    }
    cr_assert(read(ready[0], &byte, 1) == 1 && byte == 'y');
    cr_assert_eq(ls_file_lock_open(path, &lock, &err), LS_EBUSY);
    name = ls_str_format("process %ld", (long)child);
    cr_assert(strstr(err.message, name) != NULL, "%s", err.message);
    cr_assert_eq(kill(child, SIGKILL), 0);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(ls_file_lock_open(path, &lock, &err), LS_OK, "%s", err.message);
    ls_file_lock_close(lock);
    ls_free(name);
    ls_free(path);
}
