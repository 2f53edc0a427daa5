/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory in which shared-memory ranks meet: fresh, 0700, short enough for a Unix address, gone once they have
 * met. A coordinator that is killed cannot remove its own; a lock in it tells the next one that nobody holds it any
 * more.
 */
#include "coordinator/server/server_internal.h"

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
#define SOCKET_NAME "/group"

/* Ours, and its coordinator is gone: the lock exists and can be taken. */
static bool abandoned(const char *directory)
{
    char *lock = ls_str_format("%s/lock", directory);
    struct stat info;
    bool free_to_take = false;
    int fd;

    if (lock == NULL)
        return false;
    fd = open(lock, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
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

/* Tries one parent; false where the path is too long for a Unix address or nothing can be made there. */
static bool make_under(struct ls_server *server, const char *parent)
{
    char *path;

    if (parent == NULL || parent[0] != '/')
        return false;
    remove_abandoned(parent);
    path = ls_str_format("%s/" PREFIX "XXXXXX", parent);
    /* mkdtemp makes it 0700: who may not enter cannot connect. */
    if (path == NULL || strlen(path) + sizeof SOCKET_NAME > sizeof server->rendezvous || mkdtemp(path) == NULL) {
        ls_free(path);
        return false;
    }
    server->rendezvous_directory = path;
    server->rendezvous_lock = take_lock(path);
    (void)snprintf(server->rendezvous, sizeof server->rendezvous, "%s%s", path, SOCKET_NAME);
    return true;
}

enum ls_status lsi_rendezvous_make(struct ls_server *server, struct ls_error *err)
{
    if (make_under(server, getenv("XDG_RUNTIME_DIR")) || make_under(server, "/tmp") ||
        make_under(server, server->options.directory))
        return LS_OK;
    return ls_error_set(err, LS_EIO, "cannot make a directory for the job's socket under /tmp: %s", strerror(errno));
}

void lsi_rendezvous_remove(struct ls_server *server)
{
    if (server->rendezvous_directory == NULL)
        return;
    (void)ls_fs_remove(server->rendezvous_directory, NULL);
    ls_free(server->rendezvous_directory);
    server->rendezvous_directory = NULL;
    if (server->rendezvous_lock >= 0)
        (void)close(server->rendezvous_lock);
    server->rendezvous_lock = -1;
}
