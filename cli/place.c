/* SPDX-License-Identifier: Apache-2.0 */
/* See place.h. */
#include "cli/place.h"

#include "core/base/alloc.h"
#include "core/base/str.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool same(const struct stat *at, const char *path)
{
    struct stat other;

    return path != NULL && stat(path, &other) == 0 && other.st_dev == at->st_dev && other.st_ino == at->st_ino;
}

static bool is_read(const struct ls_job *job, const char *input, const struct stat *at)
{
    const char *const paths[] = {input,
                                 job->path,
                                 job->model,
                                 job->initial_weights,
                                 job->train.features,
                                 job->train.labels,
                                 job->validation.features,
                                 job->validation.labels,
                                 job->test.features,
                                 job->test.labels};

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        if (same(at, paths[i]))
            return true;
    return false;
}

static enum ls_status check_directory(const char *option, const char *path, struct ls_error *err)
{
    char *directory = ls_path_directory(path);
    enum ls_status status = LS_OK;

    if (directory == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for %s", path);
    if (access(directory, W_OK | X_OK) != 0)
        status = ls_error_set(err, LS_EIO, "%s %s: nothing can be written in %s: %s", option, path, directory,
                              strerror(errno));
    ls_free(directory);
    return status;
}

enum ls_status ls_place_check(const char *option, const char *path, const struct ls_job *job, const char *input,
                              struct ls_error *err)
{
    struct stat at;

    if (path == NULL)
        return LS_OK;
    if (stat(path, &at) != 0)
        return check_directory(option, path, err);
    if (S_ISDIR(at.st_mode))
        return ls_error_set(err, LS_EIO, "%s %s: this is a directory; a file is to be written", option, path);
    if (!S_ISREG(at.st_mode))
        return ls_error_set(err, LS_EIO, "%s %s: this is no plain file; a file is to be written", option, path);
    if (is_read(job, input, &at))
        return ls_error_set(err, LS_EUSAGE, "%s %s: this file is read here; writing it would replace it", option, path);
    return check_directory(option, path, err);
}
