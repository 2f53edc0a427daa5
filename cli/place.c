/* SPDX-License-Identifier: Apache-2.0 */
/* See place.h. */
#include "cli/place.h"

#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/base/str.h"
#include "core/ckpt/ckpt.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool same(const struct stat *at, const char *path)
{
    struct stat other;

    return path != NULL && stat(path, &other) == 0 && other.st_dev == at->st_dev && other.st_ino == at->st_ino;
}

static bool is_read(const struct ls_place_reads *reads, const struct stat *at)
{
    const struct ls_job *job = reads->job;
    const char *const paths[] = {reads->file,
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

/* The path without links and dots; a last name that is not there yet stays. NULL where its directory is not there. */
static char *real_path(const char *path)
{
    char *directory = ls_path_directory(path);
    const char *slash = strrchr(path, '/');
    char real[PATH_MAX], *made = NULL;

    if (directory != NULL && realpath(directory, real) != NULL)
        made = ls_str_format("%s/%s", strcmp(real, "/") != 0 ? real : "", slash != NULL ? slash + 1 : path);
    ls_free(directory);
    return made;
}

/* Whether a checkpoint directory keeps something under this name. */
static bool is_kept(const char *name)
{
    return ls_ckpt_keeps(name) || strncmp(name, "journal", strlen("journal")) == 0;
}

/* Whether a real path is something that the directory keeps, or lies in it. `directory` may be a checkpoint itself:
 * then all of it is kept. */
static bool is_below(char *real, const char *directory)
{
    bool whole = ls_ckpt_is_one(directory), found = false;
    struct stat at;

    if (stat(directory, &at) != 0)
        return false;
    for (char *slash = strrchr(real, '/'); slash != NULL && !found; slash = strrchr(real, '/')) {
        *slash = '\0';
        found = same(&at, real[0] != '\0' ? real : "/") && (whole || is_kept(slash + 1));
    }
    return found;
}

/* Whether the path leads into what a checkpoint directory keeps, as it is written or as its last link has it. */
static bool is_in(const char *path, const char *directory)
{
    char target[PATH_MAX], *real = real_path(path);
    bool found;

    if (directory == NULL || real == NULL) {
        ls_free(real);
        return false;
    }
    found = is_below(real, directory) || (realpath(path, target) != NULL && is_below(target, directory));
    ls_free(real);
    return found;
}

/* `target` is where the path that was given leads, or the path itself. */
static enum ls_status check_directory(const char *option, const char *path, const char *target, struct ls_error *err)
{
    char *directory = ls_path_directory(target);
    enum ls_status status = LS_OK;

    if (directory == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for %s", path);
    if (access(directory, W_OK | X_OK) != 0)
        status = ls_error_set(err, LS_EIO, "%s %s: nothing can be written in %s: %s", option, path, directory,
                              strerror(errno));
    ls_free(directory);
    return status;
}

/* What is at the path already, and whether a file may be written there. */
static enum ls_status check_kind(const char *option, const char *path, const struct ls_place_reads *reads,
                                 struct ls_error *err)
{
    struct stat at;

    if (stat(path, &at) != 0)
        return LS_OK;
    if (S_ISDIR(at.st_mode))
        return ls_error_set(err, LS_EIO, "%s %s: this is a directory; a file is to be written", option, path);
    if (!S_ISREG(at.st_mode))
        return ls_error_set(err, LS_EIO, "%s %s: this is no plain file; a file is to be written", option, path);
    if (is_read(reads, &at))
        return ls_error_set(err, LS_EUSAGE, "%s %s: this file is read here; writing it would replace it", option, path);
    return LS_OK;
}

enum ls_status ls_place_check(const char *option, const char *path, const struct ls_place_reads *reads,
                              struct ls_error *err)
{
    const char *directories[] = {reads->job->checkpoint_directory, reads->checkpoint};
    char *target = NULL;
    enum ls_status status;

    if (path == NULL)
        return LS_OK;
    status = check_kind(option, path, reads, err);
    if (status == LS_OK && ls_fs_target(path, &target, err) != LS_OK)
        status = ls_error_wrap(err, "%s", option);
    for (size_t i = 0; i < 2 && status == LS_OK; i++)
        if (is_in(path, directories[i]) || is_in(target, directories[i]))
            status = ls_error_set(err, LS_EUSAGE, "%s %s: this place belongs to a checkpoint; choose one outside it",
                                  option, path);
    if (status == LS_OK)
        status = check_directory(option, path, target, err);
    ls_free(target);
    return status;
}

/* Whether both would be written as one file; what leads nowhere was refused before. */
static bool same_place(const char *a, const char *b)
{
    char *target_a = NULL, *target_b = NULL, *real_a = NULL, *real_b = NULL;
    struct stat at;
    bool found = stat(a, &at) == 0 && same(&at, b);

    if (ls_fs_target(a, &target_a, NULL) == LS_OK && ls_fs_target(b, &target_b, NULL) == LS_OK) {
        real_a = real_path(target_a);
        real_b = real_path(target_b);
        found = found || (real_a != NULL && real_b != NULL && strcmp(real_a, real_b) == 0);
    }
    ls_free(real_a);
    ls_free(real_b);
    ls_free(target_a);
    ls_free(target_b);
    return found;
}

enum ls_status ls_place_check_run(const char *trace, const char *save_weights, const struct ls_place_reads *reads,
                                  struct ls_error *err)
{
    enum ls_status status = ls_place_check("--trace", trace, reads, err);

    /* The parts of the ranks stand beside the name as it was given, also where that is a link. */
    if (status == LS_OK && trace != NULL)
        status = check_directory("--trace", trace, trace, err);
    if (status == LS_OK)
        status = ls_place_check("--save-weights", save_weights, reads, err);
    if (status == LS_OK && trace != NULL && save_weights != NULL && same_place(trace, save_weights))
        status =
            ls_error_set(err, LS_EUSAGE, "--save-weights %s: --trace writes this file too; name another", save_weights);
    return status;
}
