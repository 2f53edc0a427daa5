/* SPDX-License-Identifier: Apache-2.0 */
/* Names of checkpoint files, their lock and their removal. Nothing here follows a name found in a file. */
#include "core/ckpt/ckpt_internal.h"

#include "core/base/alloc.h"
#include "core/base/file.h"
#include "core/base/fs.h"
#include "core/base/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

char *lsi_ckpt_step_path(const char *directory, uint64_t step, const char *suffix)
{
    return ls_str_format("%s/step-%" PRIu64 "%s", directory, step, suffix);
}

void lsi_ckpt_part_name(int part, int parts, char name[64])
{
    (void)snprintf(name, 64, "part-%05d-of-%05d.safetensors", part, parts);
}

bool lsi_ckpt_parse_step(const char *name, uint64_t *step, const char **suffix)
{
    const char *digits = name + 5;
    uint64_t number = 0;
    size_t count;

    if (strncmp(name, "step-", 5) != 0)
        return false;
    count = strspn(digits, "0123456789");
    if (count == 0 || count > 16 || (count > 1 && digits[0] == '0'))
        return false;
    for (size_t i = 0; i < count; i++)
        number = number * 10 + (uint64_t)(digits[i] - '0');
    *suffix = digits + count;
    *step = number;
    return number <= LSI_CKPT_MAX_STEP &&
           ((*suffix)[0] == '\0' || strcmp(*suffix, ".partial") == 0 || strcmp(*suffix, ".replaced") == 0);
}

bool ls_ckpt_keeps(const char *name)
{
    const char *suffix;
    uint64_t step;

    return strcmp(name, LSI_CKPT_LATEST) == 0 || strcmp(name, LSI_CKPT_LOCK) == 0 ||
           lsi_ckpt_parse_step(name, &step, &suffix);
}

bool ls_ckpt_is_one(const char *directory)
{
    return lsi_ckpt_has_manifest(directory, ".");
}

struct ls_ckpt_lock {
    struct ls_file_lock *file;
};

enum ls_status ls_ckpt_lock_open(const char *directory, struct ls_ckpt_lock **lock, struct ls_error *err)
{
    struct ls_ckpt_lock *made = ls_alloc_zeroed(1, sizeof *made);
    char *path = ls_str_format("%s/" LSI_CKPT_LOCK, directory);
    enum ls_status status;

    if (made == NULL || path == NULL)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to lock %s", directory);
    else
        status = ls_fs_mkdirs(directory, err);
    if (status == LS_OK)
        status = ls_file_lock_open(path, &made->file, err);
    if (status == LS_EBUSY)
        (void)ls_error_wrap(err, "another job uses the checkpoint directory %s; end it or choose another directory",
                            directory);
    else if (status != LS_OK)
        (void)ls_error_wrap(err, "cannot use the checkpoint directory %s", directory);
    ls_free(path);
    if (status == LS_OK)
        *lock = made;
    else
        ls_free(made);
    return status;
}

void ls_ckpt_lock_close(struct ls_ckpt_lock *lock)
{
    if (lock == NULL)
        return;
    ls_file_lock_close(lock->file);
    ls_free(lock);
}

bool lsi_ckpt_has_manifest(const char *directory, const char *name)
{
    char *path = ls_str_format("%s/%s/" LSI_CKPT_MANIFEST, directory, name);
    bool has = path == NULL || ls_fs_exists(path);

    ls_free(path);
    return has;
}

enum ls_status lsi_ckpt_remove_one(const char *directory, const char *name, struct ls_error *err)
{
    char *path = ls_path_join(directory, name), *partial = NULL;
    const char *suffix;
    uint64_t step;
    enum ls_status status = LS_OK;

    if (path != NULL && lsi_ckpt_parse_step(name, &step, &suffix) && strcmp(suffix, ".partial") != 0) {
        partial = lsi_ckpt_step_path(directory, step, ".partial");
        status = partial != NULL ? ls_fs_remove(partial, err)
                                 : ls_error_set(err, LS_ENOMEM, "not enough memory to remove %s", name);
        if (status == LS_OK)
            status = ls_fs_rename(path, partial, err);
    }
    if (status == LS_OK)
        status = path != NULL ? ls_fs_remove(partial != NULL ? partial : path, err)
                              : ls_error_set(err, LS_ENOMEM, "not enough memory to remove %s", name);
    ls_free(partial);
    ls_free(path);
    return status;
}

enum ls_status ls_ckpt_remove_all(const char *directory, struct ls_error *err)
{
    char **names = NULL;
    size_t count = 0;
    enum ls_status status;

    if (!ls_fs_exists(directory))
        return LS_OK;
    status = lsi_ckpt_remove_one(directory, LSI_CKPT_LATEST, err);
    if (status == LS_OK)
        status = ls_fs_list(directory, &names, &count, err);
    for (size_t i = 0; i < count && status == LS_OK; i++) {
        const char *suffix;
        uint64_t step;

        if (lsi_ckpt_parse_step(names[i], &step, &suffix))
            status = lsi_ckpt_remove_one(directory, names[i], err);
    }
    ls_free(names);
    return status == LS_OK ? ls_fs_sync_directory(directory, err) : status;
}
