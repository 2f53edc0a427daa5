/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share.h by a sealed memfd. Its maker binds an abstract socket "lockstep-share-<name>-<pid>-<fd>", which others find
 * in /proc/net/unix and open as /proc/<pid>/fd/<fd>; kernel objects only, so nothing is left behind. Whatever was
 * opened is believed only if it is a memfd of this user whose seals forbid any change.
 */
#include "core/base/share.h"

#include "core/base/alloc.h"
#include "core/base/buf.h"
#include "core/base/fs.h"
#include "core/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PREFIX "lockstep-share-"
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define MAX_SOCKET_LIST ((size_t)16 << 20)

struct ls_share {
    char name[LS_SHARE_NAME + 1];
    int memory_fd, socket_fd; /* -1: none */
    void *memory;
    size_t bytes;
};

static enum ls_status fail(struct ls_error *err, const char *what)
{
    return ls_error_set(err, LS_EIO, "cannot %s shared memory: %s", what, strerror(errno));
}

static enum ls_status new_share(const char *name, struct ls_share **share, struct ls_error *err)
{
    struct ls_share *made;

    if (strlen(name) > LS_SHARE_NAME)
        return ls_error_set(err, LS_EINTERNAL, "the name %.60s of shared memory is too long", name);
    made = ls_alloc_zeroed(1, sizeof *made);
    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to share memory");
    (void)ls_str_into(made->name, sizeof made->name, name);
    made->memory_fd = made->socket_fd = -1;
    made->memory = MAP_FAILED;
    *share = made;
    return LS_OK;
}

static enum ls_status map(struct ls_share *share, int protection, struct ls_error *err)
{
    share->memory = mmap(NULL, share->bytes, protection, MAP_SHARED, share->memory_fd, 0);
    return share->memory != MAP_FAILED ? LS_OK : fail(err, "map");
}

enum ls_status ls_share_create(const char *name, size_t bytes, struct ls_share **share, struct ls_error *err)
{
    struct ls_share *made = NULL;
    enum ls_status status = new_share(name, &made, err);

    if (status != LS_OK)
        return status;
    made->bytes = bytes;
    made->memory_fd = memfd_create("lockstep-share", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    /* Reserved at once: a write into memory that is not there would be a signal, not an error. */
    if (made->memory_fd < 0)
        status = fail(err, "create");
    else if ((errno = posix_fallocate(made->memory_fd, 0, (off_t)bytes)) != 0)
        status = fail(err, "reserve");
    else
        status = map(made, PROT_READ | PROT_WRITE, err);
    if (status == LS_OK)
        *share = made;
    else
        ls_share_close(made);
    return status;
}

/* Binds the socket whose name tells where the memory is. */
static enum ls_status announce(struct ls_share *share, struct ls_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, PREFIX "%s-%ld-%d", share->name,
                          (long)getpid(), share->memory_fd);

    share->socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (share->socket_fd < 0)
        return fail(err, "announce");
    if (bind(share->socket_fd, (const struct sockaddr *)&address,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)) != 0)
        return fail(err, "announce");
    return LS_OK;
}

enum ls_status ls_share_publish(struct ls_share *share, struct ls_error *err)
{
    enum ls_status status;

    /* The seal against writing is refused while a writable mapping exists. */
    (void)munmap(share->memory, share->bytes);
    share->memory = MAP_FAILED;
    if (fcntl(share->memory_fd, F_ADD_SEALS, SEALS) != 0)
        return fail(err, "seal");
    status = map(share, PROT_READ, err);
    return status == LS_OK ? announce(share, err) : status;
}

/* Opens what a process announced, and maps it if it can be trusted. */
static enum ls_status open_announced(struct ls_share *share, long pid, int fd, struct ls_error *err)
{
    char path[64];
    struct stat info;
    int seals;

    (void)snprintf(path, sizeof path, "/proc/%ld/fd/%d", pid, fd);
    share->memory_fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (share->memory_fd < 0)
        return fail(err, "open");
    seals = fcntl(share->memory_fd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS || fstat(share->memory_fd, &info) != 0 || info.st_uid != geteuid() ||
        info.st_size <= 0)
        return ls_error_set(err, LS_ENOENT, "what is announced as shared memory is none");
    share->bytes = (size_t)info.st_size;
    return map(share, PROT_READ, err);
}

static void give_up_memory(struct ls_share *share)
{
    if (share->memory != MAP_FAILED)
        (void)munmap(share->memory, share->bytes);
    if (share->memory_fd >= 0)
        (void)close(share->memory_fd);
    share->memory = MAP_FAILED;
    share->memory_fd = -1;
}

/* Tries each announcement in the list of sockets until one opens. */
static enum ls_status try_announcements(const char *list, struct ls_share *share, struct ls_error *err)
{
    char wanted[LS_SHARE_NAME + 32];

    (void)snprintf(wanted, sizeof wanted, "@" PREFIX "%s-", share->name);
    for (const char *at = strstr(list, wanted); at != NULL; at = strstr(at + 1, wanted)) {
        long pid;
        int fd;

        if (sscanf(at + strlen(wanted), "%ld-%d", &pid, &fd) != 2 || pid <= 0 || fd < 0)
            continue;
        if (open_announced(share, pid, fd, err) == LS_OK)
            return LS_OK;
        give_up_memory(share);
    }
    return ls_error_set(err, LS_ENOENT, "no shared memory of the name %s", share->name);
}

enum ls_status ls_share_find(const char *name, struct ls_share **share, struct ls_error *err)
{
    struct ls_share *made = NULL;
    struct ls_buf list = {0};
    enum ls_status status = new_share(name, &made, err);

    if (status == LS_OK)
        status = ls_fs_read("/proc/net/unix", MAX_SOCKET_LIST, &list, err);
    if (status == LS_OK && ls_buf_append(&list, "", 1) != LS_OK)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to look for shared memory");
    if (status == LS_OK)
        status = try_announcements((const char *)list.data, made, err);
    ls_buf_deinit(&list);
    if (status == LS_OK)
        *share = made;
    else
        ls_share_close(made);
    return status;
}

void *ls_share_memory(const struct ls_share *share)
{
    return share->memory;
}

size_t ls_share_bytes(const struct ls_share *share)
{
    return share->bytes;
}

void ls_share_close(struct ls_share *share)
{
    if (share == NULL)
        return;
    if (share->socket_fd >= 0)
        (void)close(share->socket_fd);
    give_up_memory(share);
    ls_free(share);
}
