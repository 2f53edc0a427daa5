/* SPDX-License-Identifier: Apache-2.0 */
/* Files of fs.h over POSIX calls. */
#include "core/base/fs.h"

#include "core/base/alloc.h"
#include "core/base/fs_internal.h"
#include "core/base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static size_t bytes_until_failure = SIZE_MAX;

void ls_fs_fail_after(size_t bytes)
{
    bytes_until_failure = bytes;
}

enum ls_status lsi_fs_fail(struct ls_error *err, const char *what, const char *path)
{
    enum ls_status status = errno == ENOENT ? LS_ENOENT : LS_EIO;

    return ls_error_set(err, status, "cannot %s %s: %s", what, path, strerror(errno));
}

bool ls_fs_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static enum ls_status read_all(int fd, const char *path, size_t limit, struct ls_buf *buf, size_t begin,
                               struct ls_error *err)
{
    enum ls_status status = LS_OK;
    char chunk[65536];
    ssize_t got = 1;

    while (got != 0 && status == LS_OK) {
        got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            status = lsi_fs_fail(err, "read", path);
        else if (buf->length - begin + (size_t)got > limit)
            status = ls_error_set(err, LS_EINVAL, "%s is longer than the %zu bytes allowed here", path, limit);
        else if (ls_buf_append(buf, chunk, (size_t)got) != LS_OK)
            status = ls_error_set(err, LS_ENOMEM, "not enough memory to read %s", path);
    }
    explicit_bzero(chunk, sizeof chunk); /* it may have been a secret */
    return status;
}

/* Fills what was made room for behind `begin`; a file that shrank gives less. */
static enum ls_status read_whole(int fd, const char *path, struct ls_buf *buf, size_t begin, struct ls_error *err)
{
    while (begin < buf->length) {
        ssize_t got = read(fd, buf->data + begin, buf->length - begin);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return lsi_fs_fail(err, "read", path);
        if (got == 0)
            break;
        begin += (size_t)got;
    }
    buf->length = begin;
    return LS_OK;
}

enum ls_status lsi_fs_check_plain(int fd, const char *what, const char *path, struct stat *info, struct ls_error *err)
{
    if (fstat(fd, info) != 0)
        return lsi_fs_fail(err, "look at", path);
    if (S_ISREG(info->st_mode))
        return LS_OK;
    return ls_error_set(err, LS_EIO, "cannot %s %s: it is a %s; give a plain file", what, path,
                        S_ISDIR(info->st_mode)    ? "directory"
                        : S_ISFIFO(info->st_mode) ? "pipe"
                                                  : "device");
}

static enum ls_status read_file(const char *path, size_t limit, bool pipes, struct ls_buf *buf, struct ls_error *err)
{
    struct stat info;
    size_t begin = buf->length;
    enum ls_status status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | (pipes ? 0 : O_NONBLOCK));

    if (fd < 0)
        return lsi_fs_fail(err, "open", path);
    status = lsi_fs_check_plain(fd, "read", path, &info, err);
    if (status != LS_OK && pipes && S_ISFIFO(info.st_mode))
        status = LS_OK;
    if (status != LS_OK) {
        (void)close(fd);
        return status;
    }
    /* Room for all of it at once; what is not used stays for later appends. */
    if (S_ISREG(info.st_mode) && info.st_size > 0 && (uint64_t)info.st_size <= limit)
        status = ls_buf_extend(buf, (size_t)info.st_size) != NULL
                     ? read_whole(fd, path, buf, begin, err)
                     : ls_error_set(err, LS_ENOMEM, "not enough memory to read %s", path);
    /* Also the rest of a file that grew, and files that do not know their size. */
    if (status == LS_OK)
        status = read_all(fd, path, limit, buf, begin, err);
    (void)close(fd);
    return status;
}

enum ls_status ls_fs_read(const char *path, size_t limit, struct ls_buf *buf, struct ls_error *err)
{
    return read_file(path, limit, false, buf, err);
}

enum ls_status ls_fs_read_pipe(const char *path, size_t limit, struct ls_buf *buf, struct ls_error *err)
{
    return read_file(path, limit, true, buf, err);
}

enum ls_status lsi_fs_write_all(int fd, const char *path, const uint8_t *data, size_t length, struct ls_error *err)
{
    while (length > 0) {
        size_t piece = length;
        ssize_t put;

        if (bytes_until_failure != SIZE_MAX) {
            if (bytes_until_failure == 0) {
                errno = ENOSPC;
                return lsi_fs_fail(err, "write", path);
            }
            if (piece > bytes_until_failure)
                piece = bytes_until_failure;
        }
        put = write(fd, data, piece);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return lsi_fs_fail(err, "write", path);
        if (bytes_until_failure != SIZE_MAX)
            bytes_until_failure -= (size_t)put;
        data += put;
        length -= (size_t)put;
    }
    return LS_OK;
}

enum ls_status ls_fs_append_sync(int fd, const void *data, size_t length, const char *path, struct ls_error *err)
{
    enum ls_status status = lsi_fs_write_all(fd, path, data, length, err);

    if (status == LS_OK && fdatasync(fd) != 0)
        status = lsi_fs_fail(err, "sync", path);
    return status;
}

enum ls_status ls_fs_write(const char *path, const void *data, size_t length, struct ls_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    enum ls_status status;

    if (fd < 0)
        return lsi_fs_fail(err, "create", path);
    status = lsi_fs_write_all(fd, path, data, length, err);
    if (status == LS_OK && fsync(fd) != 0)
        status = lsi_fs_fail(err, "sync", path);
    if (close(fd) != 0 && status == LS_OK)
        status = lsi_fs_fail(err, "close", path);
    return status;
}

enum ls_status ls_fs_sync_directory(const char *path, struct ls_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum ls_status status = LS_OK;

    if (fd < 0)
        return lsi_fs_fail(err, "open", path);
    if (fsync(fd) != 0 && errno != EINVAL)
        status = lsi_fs_fail(err, "sync", path);
    (void)close(fd);
    return status;
}

enum ls_status ls_fs_rename(const char *from, const char *to, struct ls_error *err)
{
    if (rename(from, to) != 0)
        return ls_error_set(err, LS_EIO, "cannot rename %s to %s: %s", from, to, strerror(errno));
    return LS_OK;
}

/* Whether a real path is the directory `place` or lies in it. */
static bool is_under(const char *real, const char *place)
{
    size_t length = strlen(place);

    return strncmp(real, place, length) == 0 && (real[length] == '/' || real[length] == '\0');
}

/* Whether the path is a name in a directory that the system fills. */
static bool is_of_system(const char *path)
{
    static const char *const places[] = {"/dev", "/proc", "/sys"};
    char real[PATH_MAX], *directory = ls_path_directory(path);
    bool found = false;

    if (directory != NULL && realpath(directory, real) != NULL) {
        for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
            found = found || is_under(real, places[i]);
        found = found && !is_under(real, "/dev/shm");
    }
    ls_free(directory);
    return found;
}

/* What a link at `at`, which is freed, leads to; NULL where memory is short. */
static char *follow(char *at, const char *link)
{
    char *directory = ls_path_directory(at);
    char *next = directory != NULL ? ls_path_join(directory, link) : NULL;

    ls_free(directory);
    ls_free(at);
    return next;
}

enum ls_status ls_fs_target(const char *path, char **target, struct ls_error *err)
{
    char link[PATH_MAX], *at = ls_str_copy(path);
    enum ls_status status = LS_OK;

    while (at != NULL && status == LS_OK) {
        ssize_t length = readlink(at, link, sizeof link - 1);
        struct stat info;

        if (is_of_system(at)) {
            status =
                ls_error_set(err, LS_EIO, "cannot write %s: %s belongs to the system; name a plain file", path, at);
        } else if (length < 0) {
            *target = at;
            return LS_OK;
        } else if (stat(at, &info) != 0 && errno != ENOENT) {
            /* A loop ends here, and so does a link that the kernel would not follow for us. */
            status = lsi_fs_fail(err, "follow the link", at);
        } else {
            link[length] = '\0';
            at = follow(at, link);
        }
    }
    if (status == LS_OK)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to write %s", path);
    ls_free(at);
    return status;
}

static enum ls_status replace(const char *path, const void *data, size_t length, struct ls_error *err)
{
    char *temporary = ls_str_format("%s.tmp.%ld", path, (long)getpid());
    char *directory = ls_path_directory(path);
    enum ls_status status = LS_ENOMEM;

    if (temporary == NULL || directory == NULL) {
        (void)ls_error_set(err, LS_ENOMEM, "not enough memory to write %s", path);
        goto free_names;
    }
    status = ls_fs_write(temporary, data, length, err);
    if (status == LS_OK)
        status = ls_fs_rename(temporary, path, err);
    if (status == LS_OK)
        status = ls_fs_sync_directory(directory, err);
    else
        (void)unlink(temporary);
free_names:
    ls_free(directory);
    ls_free(temporary);
    return status;
}

enum ls_status ls_fs_write_atomic(const char *path, const void *data, size_t length, struct ls_error *err)
{
    char *target = NULL;
    struct stat info;
    enum ls_status status;

    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return ls_error_set(err, LS_EIO, "cannot write %s: it is no plain file and would be replaced by one", path);
    status = ls_fs_target(path, &target, err);
    if (status == LS_OK)
        status = replace(target, data, length, err);
    ls_free(target);
    return status;
}

enum ls_status ls_fs_mkdirs(const char *path, struct ls_error *err)
{
    char *copy = ls_str_copy(path);
    enum ls_status status = LS_OK;

    if (copy == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to create %s", path);
    for (char *end = copy + 1;; end++) {
        char kept = *end;

        if (kept != '/' && kept != '\0')
            continue;
        *end = '\0';
        if (mkdir(copy, 0777) != 0 && errno != EEXIST) {
            status = lsi_fs_fail(err, "create the directory", copy);
            break;
        }
        *end = kept;
        if (kept == '\0')
            break;
    }
    ls_free(copy);
    if (status == LS_OK) {
        struct stat info;

        if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
            status = ls_error_set(err, LS_EIO, "%s is not a directory", path);
    }
    return status;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Packs the names (each terminated, in `text`) behind an array of pointers to them, in one block. */
static char **pack_names(const struct ls_buf *text, size_t count)
{
    size_t table = (count + 1) * sizeof(char *);
    char **names = ls_alloc(table + text->length);
    char *place;

    if (names == NULL)
        return NULL;
    place = (char *)names + table;
    if (text->length > 0)
        memcpy(place, text->data, text->length);
    for (size_t i = 0; i < count; i++) {
        names[i] = place;
        place += strlen(place) + 1;
    }
    names[count] = NULL;
    qsort(names, count, sizeof *names, compare_names);
    return names;
}

enum ls_status ls_fs_list(const char *path, char ***names, size_t *count, struct ls_error *err)
{
    DIR *directory = opendir(path);
    struct ls_buf text = {0};
    size_t found = 0;
    struct dirent *entry;
    char **packed;

    if (directory == NULL)
        return lsi_fs_fail(err, "list", path);
    while ((entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        (void)ls_buf_append(&text, entry->d_name, strlen(entry->d_name) + 1);
        found++;
    }
    (void)closedir(directory);
    packed = text.failed ? NULL : pack_names(&text, found);
    ls_buf_deinit(&text);
    if (packed == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to list %s", path);
    *names = packed;
    *count = found;
    return LS_OK;
}

enum ls_status ls_fs_remove(const char *path, struct ls_error *err)
{
    struct stat info;
    char **names;
    size_t count;
    enum ls_status status;

    if (lstat(path, &info) != 0)
        return errno == ENOENT ? LS_OK : lsi_fs_fail(err, "look at", path);
    if (!S_ISDIR(info.st_mode))
        return unlink(path) == 0 || errno == ENOENT ? LS_OK : lsi_fs_fail(err, "remove", path);
    status = ls_fs_list(path, &names, &count, err);
    if (status != LS_OK)
        return ls_fs_exists(path) ? status : LS_OK;
    for (size_t i = 0; i < count && status == LS_OK; i++) {
        char *child = ls_path_join(path, names[i]);

        status = child != NULL ? ls_fs_remove(child, err) : LS_ENOMEM;
        ls_free(child);
    }
    ls_free(names);
    if (status == LS_OK && rmdir(path) != 0 && errno != ENOENT)
        status = lsi_fs_fail(err, "remove", path);
    return status;
}
