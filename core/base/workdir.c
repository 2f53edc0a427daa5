/* SPDX-License-Identifier: Apache-2.0 */
/* Directories of workdir.h; flock, for the kernel ends it with the process. */
#include "core/base/workdir.h"

#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "lockstep-"
#define NAME_BYTES (sizeof PREFIX - 1 + 6) /* with what mkdtemp fills in */

struct ls_workdir {
    char *path;
    int lock; /* held while the directory is in use, -1: none */
};

/* Ours, and its process is gone: the lock exists and can be taken. */
static bool abandoned(const char *directory)
{
    char *lock = ls_str_format("%s/lock", directory);
    struct stat info;
    bool free_to_take = false;
    int fd;

    if (lock == NULL)
        return false;
    fd = open(lock, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0) {
        free_to_take = lstat(directory, &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == geteuid() &&
                       flock(fd, LOCK_EX | LOCK_NB) == 0;
        (void)close(fd);
    }
    ls_free(lock);
    return free_to_take;
}

static void remove_abandoned(const char *parent)
{
    char **names = NULL;
    size_t count = 0;

    if (ls_fs_list(parent, &names, &count, NULL) != LS_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        char *path;

        if (strncmp(names[i], PREFIX, sizeof PREFIX - 1) != 0 || strlen(names[i]) != NAME_BYTES)
            continue;
        path = ls_path_join(parent, names[i]);
        if (path != NULL && abandoned(path))
            (void)ls_fs_remove(path, NULL);
        ls_free(path);
    }
    ls_free(names);
}

/* The lock gets its name only once it is held, so that nobody finds it free before. */
static int take_lock(const char *directory)
{
    char *made = ls_str_format("%s/lock.new", directory);
    char *lock = ls_str_format("%s/lock", directory);
    int fd = -1;

    if (made != NULL && lock != NULL)
        fd = open(made, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0 && (flock(fd, LOCK_EX | LOCK_NB) != 0 || rename(made, lock) != 0)) {
        (void)close(fd);
        fd = -1;
    }
    ls_free(made);
    ls_free(lock);
    return fd;
}

static bool make_under(struct ls_workdir *workdir, const char *parent, size_t longest)
{
    if (parent == NULL || parent[0] != '/')
        return false;
    remove_abandoned(parent);
    if (strlen(parent) + 1 + NAME_BYTES > longest)
        return false;
    workdir->path = ls_str_format("%s/" PREFIX "XXXXXX", parent);
    /* mkdtemp makes it 0700: who may not enter cannot connect to a socket in it. */
    if (workdir->path == NULL || mkdtemp(workdir->path) == NULL) {
        ls_free(workdir->path);
        return false;
    }
    workdir->lock = take_lock(workdir->path);
    return true;
}

enum ls_status ls_workdir_make(const char *const *parents, int count, size_t longest, struct ls_workdir **workdir,
                               struct ls_error *err)
{
    struct ls_workdir *made = ls_alloc_zeroed(1, sizeof *made);

    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for a temporary directory");
    for (int i = 0; i < count; i++)
        if (make_under(made, parents[i], longest)) {
            *workdir = made;
            return LS_OK;
        }
    ls_free(made);
    return ls_error_set(err, LS_EIO, "cannot make a temporary directory under /tmp: %s", strerror(errno));
}

const char *ls_workdir_path(const struct ls_workdir *workdir)
{
    return workdir->path;
}

void ls_workdir_remove(struct ls_workdir *workdir)
{
    if (workdir == NULL)
        return;
    (void)ls_fs_remove(workdir->path, NULL);
    if (workdir->lock >= 0)
        (void)close(workdir->lock);
    ls_free(workdir->path);
    ls_free(workdir);
}
