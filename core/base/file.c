/* SPDX-License-Identifier: Apache-2.0 */
/* Open files of file.h over POSIX calls, and locks by flock, which the kernel ends with the process. */
#include "core/base/file.h"

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/fs_internal.h"
#include "core/base/hash.h"
#include "core/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct ls_file {
    int fd;
    uint64_t length, identity;
    char *path;
};

struct ls_file_lock {
    int fd;
    bool names_holder; /* the file is ours and holds a process id */
};

static uint64_t identity_of(const struct stat *info)
{
    uint64_t parts[] = {(uint64_t)info->st_dev,         (uint64_t)info->st_ino,          (uint64_t)info->st_size,
                        (uint64_t)info->st_mtim.tv_sec, (uint64_t)info->st_mtim.tv_nsec, (uint64_t)info->st_ctim.tv_sec,
                        (uint64_t)info->st_ctim.tv_nsec};

    return ls_xxh3(parts, sizeof parts, 0);
}

static enum ls_status open_with(const char *path, int flags, struct ls_file **file, struct ls_error *err)
{
    struct ls_file *made = ls_alloc_zeroed(1, sizeof *made);
    struct stat info;
    enum ls_status status = LS_OK;

    if (made != NULL)
        made->path = ls_str_copy(path);
    if (made == NULL || made->path == NULL) {
        ls_free(made);
        return ls_error_set(err, LS_ENOMEM, "not enough memory to open %s", path);
    }
    made->fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0666);
    if (made->fd < 0)
        status = lsi_fs_fail(err, (flags & O_CREAT) != 0 ? "create" : "open", path);
    else
        status = lsi_fs_check_plain(made->fd, (flags & O_CREAT) != 0 ? "write" : "read", path, &info, err);
    if (status != LS_OK) {
        ls_file_close(made);
        return status;
    }
    made->length = (uint64_t)info.st_size;
    made->identity = identity_of(&info);
    *file = made;
    return LS_OK;
}

enum ls_status ls_file_open(const char *path, struct ls_file **file, struct ls_error *err)
{
    return open_with(path, O_RDONLY, file, err);
}

enum ls_status ls_file_create(const char *path, struct ls_file **file, struct ls_error *err)
{
    return open_with(path, O_WRONLY | O_CREAT | O_TRUNC, file, err);
}

uint64_t ls_file_length(const struct ls_file *file)
{
    return file->length;
}

uint64_t ls_file_identity(const struct ls_file *file)
{
    return file->identity;
}

enum ls_status ls_file_read(const struct ls_file *file, uint64_t offset, void *data, size_t length,
                            struct ls_error *err)
{
    uint8_t *place = data;

    while (length > 0) {
        ssize_t got = pread(file->fd, place, length, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return lsi_fs_fail(err, "read", file->path);
        if (got == 0)
            return ls_error_set(err, LS_ECORRUPT, "%s is truncated: %zu bytes are missing at byte %llu", file->path,
                                length, (unsigned long long)offset);
        place += got;
        offset += (uint64_t)got;
        length -= (size_t)got;
    }
    return LS_OK;
}

enum ls_status ls_file_append(struct ls_file *file, const void *data, size_t length, struct ls_error *err)
{
    enum ls_status status = lsi_fs_write_all(file->fd, file->path, data, length, err);

    if (status == LS_OK)
        file->length += length;
    return status;
}

enum ls_status ls_file_sync(struct ls_file *file, struct ls_error *err)
{
    return fsync(file->fd) == 0 ? LS_OK : lsi_fs_fail(err, "sync", file->path);
}

void ls_file_close(struct ls_file *file)
{
    if (file == NULL)
        return;
    if (file->fd >= 0)
        (void)close(file->fd);
    ls_free(file->path);
    ls_free(file);
}

/* The process id in a lock file, 0 where there is none. */
static long holder_of(int fd)
{
    char text[32] = "";
    int64_t pid = 0;
    ssize_t got = pread(fd, text, sizeof text - 1, 0);

    if (got <= 0)
        return 0;
    text[strcspn(text, "\n")] = '\0';
    return ls_str_to_i64(text, &pid) ? (long)pid : 0;
}

enum ls_status ls_file_lock_open(const char *path, struct ls_file_lock **lock, struct ls_error *err)
{
    struct ls_file_lock *made = ls_alloc_zeroed(1, sizeof *made);
    enum ls_status status;
    char text[32];

    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to lock %s", path);
    made->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (made->fd < 0) {
        status = lsi_fs_fail(err, "create", path);
        goto free_lock;
    }
    if (flock(made->fd, LOCK_EX | LOCK_NB) != 0) {
        status = errno == EWOULDBLOCK
                     ? ls_error_set(err, LS_EBUSY, "%s is locked by process %ld", path, holder_of(made->fd))
                     : lsi_fs_fail(err, "lock", path);
        goto close_file;
    }
    (void)snprintf(text, sizeof text, "%ld\n", (long)getpid());
    /* The id is for people; a full disk must not keep a job from being looked at. */
    if (ftruncate(made->fd, 0) == 0)
        (void)!pwrite(made->fd, text, strlen(text), 0);
    made->names_holder = true;
    *lock = made;
    return LS_OK;
close_file:
    (void)close(made->fd);
free_lock:
    ls_free(made);
    return status;
}

/* Locks within timeout_ms; 0, or the reason why not (EWOULDBLOCK: time ran out). */
static int lock_within(int fd, int timeout_ms)
{
    uint64_t deadline = ls_clock_now_ns() + (uint64_t)timeout_ms * 1000000;

    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EINTR)
            continue;
        if (errno != EWOULDBLOCK || ls_clock_now_ns() >= deadline)
            return errno;
        (void)poll(NULL, 0, 1);
    }
    return 0;
}

enum ls_status ls_file_lock_wait(const char *path, int timeout_ms, struct ls_file_lock **lock, struct ls_error *err)
{
    struct ls_file_lock *made = ls_alloc_zeroed(1, sizeof *made);
    enum ls_status status;

    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to lock %s", path);
    made->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (made->fd < 0) {
        status = lsi_fs_fail(err, "open", path);
        ls_free(made);
        return status;
    }
    errno = lock_within(made->fd, timeout_ms);
    if (errno == 0) {
        *lock = made;
        return LS_OK;
    }
    status = errno == EWOULDBLOCK ? ls_error_set(err, LS_ETIMEOUT, "%s is locked by another process", path)
                                  : lsi_fs_fail(err, "lock", path);
    ls_file_lock_close(made);
    return status;
}

void ls_file_lock_close(struct ls_file_lock *lock)
{
    if (lock == NULL)
        return;
    if (lock->names_holder)
        (void)!ftruncate(lock->fd, 0);
    (void)close(lock->fd);
    ls_free(lock);
}
