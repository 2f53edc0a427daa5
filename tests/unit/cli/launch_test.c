/* SPDX-License-Identifier: Apache-2.0 */
/* The job's secret: from a file that nobody else may read, or the environment; otherwise one sentence. */
#include "cli/launch.h"

#include "core/base/alloc.h"
#include "core/base/str.h"
#include "core/base/thread.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define HEX "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static enum ls_status read_text(const char *content, mode_t mode, uint8_t secret[32])
{
    char path[] = "/tmp/lockstep-secret-XXXXXX";
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");
    enum ls_status status;

    cr_assert_neq(file, NULL);
    (void)fputs(content, file);
    (void)fclose(file);
    cr_assert_eq(chmod(path, mode), 0);
    status = ls_secret_read(path, secret, NULL);
    (void)remove(path);
    return status;
}

/* A newline at its end does not matter; a short, long or foreign text and a readable file do. */
Test(launch, secret_from_a_file)
{
    uint8_t secret[32] = {0};
    struct ls_error err = LS_ERROR_INIT;

    cr_expect_eq(read_text(HEX "\n", 0600, secret), LS_OK);
    cr_expect_eq(secret[1], 0x11);
    cr_expect_eq(secret[31], 0xff);
    cr_expect_eq(read_text(HEX, 0644, secret), LS_EIO);
    cr_expect_eq(read_text("0011", 0600, secret), LS_EINVAL);
    cr_expect_eq(read_text(HEX "00", 0600, secret), LS_EINVAL);
    cr_expect_eq(read_text("", 0600, secret), LS_EINVAL);
    cr_expect_eq(ls_secret_read("/nowhere/secret", secret, NULL), LS_ENOENT);
    cr_expect_eq(ls_secret_read("/dev/null", secret, &err), LS_EIO);
    cr_expect_neq(strstr(err.message, "no regular file"), NULL);
}

static void *write_secret(void *state)
{
    FILE *pipe = fopen(state, "w");

    cr_assert(pipe != NULL && fputs(HEX "\n", pipe) >= 0 && fclose(pipe) == 0);
    return NULL;
}

/* What a shell puts in place of <(command) is as good as a file. */
Test(launch, secret_from_a_pipe)
{
    char *directory = lst_scratch_create(), *path = ls_path_join(directory, "pipe");
    uint8_t secret[32] = {0};
    pthread_t thread;

    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(ls_thread_start("writer", 0, write_secret, path, &thread, NULL), LS_OK);
    cr_expect_eq(ls_secret_read(path, secret, NULL), LS_OK);
    cr_expect_eq(secret[31], 0xff);
    (void)pthread_join(thread, NULL);
    ls_free(path);
    lst_scratch_remove(directory);
}

/* Without a file the environment has it, or the words say how to give one. */
Test(launch, secret_from_the_environment)
{
    uint8_t secret[32] = {0};
    struct ls_error err = LS_ERROR_INIT;

    cr_assert_eq(setenv(LS_SECRET_VARIABLE, HEX, 1), 0);
    cr_expect_eq(ls_secret_read(NULL, secret, NULL), LS_OK);
    cr_expect_eq(secret[2], 0x22);
    cr_assert_eq(setenv(LS_SECRET_VARIABLE, "", 1), 0);
    cr_expect_eq(ls_secret_read(NULL, secret, &err), LS_EUSAGE);
    cr_expect_neq(strstr(err.message, "is needed"), NULL);
    cr_assert_eq(setenv(LS_SECRET_VARIABLE, "short", 1), 0);
    cr_expect_eq(ls_secret_read(NULL, secret, &err), LS_EUSAGE);
    cr_expect_neq(strstr(err.message, "--secret-file"), NULL);
}
