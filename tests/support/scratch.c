/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/scratch.h"

#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void give_up(const char *what, const char *name)
{
    fprintf(stderr, "the test cannot %s %s\n", what, name);
    abort();
}

char *lst_scratch_create(void)
{
    /* Memory where there is some: tests that save hundreds of checkpoints need not wait for a disk. */
    const char *base = getenv("TMPDIR") != NULL        ? getenv("TMPDIR")
                       : access("/dev/shm", W_OK) == 0 ? "/dev/shm"
                                                       : "/tmp";
    char *name = ls_str_format("%s/lockstep-test-XXXXXX", base);

    if (name == NULL || mkdtemp(name) == NULL)
        give_up("make a directory", name);
    return name;
}

void lst_scratch_remove(char *directory)
{
    if (ls_fs_remove(directory, NULL) != LS_OK)
        give_up("remove", directory);
    ls_free(directory);
}

char *lst_scratch_file(const char *directory, const char *name, const void *data, size_t length)
{
    char *path = ls_path_join(directory, name);

    if (path == NULL || (data != NULL && ls_fs_write(path, data, length, NULL) != LS_OK))
        give_up("write", name);
    return path;
}
