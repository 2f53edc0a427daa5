/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commit of a checkpoint: manifest, rename of the directory, LATEST, each on the disk before the next begins.
 * Until the rename the checkpoint does not exist for a reader; from then on it is complete.
 */
#include "core/ckpt/ckpt_internal.h"

#include "core/base/alloc.h"
#include "core/base/file.h"
#include "core/base/fs.h"
#include "core/base/log.h"
#include "core/base/str.h"

#include <inttypes.h>
#include <string.h>

static enum ls_status read_part(const char *partial, int part, struct lsi_manifest *manifest, struct ls_error *err)
{
    char name[64];
    char *path;
    struct ls_file *file = NULL;
    enum ls_status status;

    lsi_ckpt_part_name(part, manifest->part_count, name);
    path = ls_path_join(partial, name);
    status = path != NULL ? ls_file_open(path, &file, err)
                          : ls_error_set(err, LS_ENOMEM, "not enough memory to commit a checkpoint");
    if (status == LS_OK) {
        status = lsi_part_read_pieces(file, part, manifest, err);
        if (status != LS_OK)
            (void)ls_error_wrap(err, "%s", path);
    }
    ls_file_close(file);
    ls_free(path);
    return status;
}

static enum ls_status fill_manifest(const char *partial, const struct ls_ckpt_meta *meta,
                                    const struct ls_ckpt_tensor *tensors, int tensor_count,
                                    const struct ls_ckpt_part *parts, struct lsi_manifest *manifest,
                                    struct ls_error *err)
{
    enum ls_status status = LS_OK;

    manifest->step = meta->step;
    manifest->generation = meta->generation;
    manifest->meta = ls_str_copy(meta->json);
    manifest->parts = ls_alloc_zeroed((size_t)manifest->part_count, sizeof *manifest->parts);
    manifest->tensors = ls_alloc_zeroed((size_t)tensor_count, sizeof *manifest->tensors);
    if (manifest->meta == NULL || manifest->parts == NULL || manifest->tensors == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to commit a checkpoint");
    for (int i = 0; i < tensor_count; i++) {
        manifest->tensors[i] = tensors[i];
        manifest->tensors[i].path = ls_str_copy(tensors[i].path);
        manifest->tensor_count++;
        if (manifest->tensors[i].path == NULL)
            return ls_error_set(err, LS_ENOMEM, "not enough memory to commit a checkpoint");
    }
    for (int i = 0; i < manifest->part_count && status == LS_OK; i++) {
        manifest->parts[i].bytes = parts[i].bytes;
        memcpy(manifest->parts[i].sha256, parts[i].sha256, sizeof parts[i].sha256);
        status = read_part(partial, i, manifest, err);
    }
    return status == LS_OK ? lsi_manifest_check_tensors(manifest, err) : status;
}

/* The text is read back before it is written: what cannot be loaded must not be committed. */
static enum ls_status write_manifest(const char *partial, const struct lsi_manifest *manifest, struct ls_error *err)
{
    struct lsi_manifest back = {0};
    char *path = ls_path_join(partial, LSI_CKPT_MANIFEST);
    char *text = NULL;
    enum ls_status status = path != NULL ? lsi_manifest_write(manifest, &text, err)
                                         : ls_error_set(err, LS_ENOMEM, "not enough memory to commit a checkpoint");

    if (status == LS_OK)
        status = lsi_manifest_parse(text, strlen(text), &back, err);
    if (status == LS_OK && back.piece_count != manifest->piece_count)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to write the manifest");
    if (status == LS_OK)
        status = ls_fs_write(path, text, strlen(text), err);
    lsi_manifest_deinit(&back);
    ls_free(text);
    ls_free(path);
    return status;
}

static bool is_expected(const char *name, int part_count)
{
    char part[64];

    if (strcmp(name, LSI_CKPT_MANIFEST) == 0)
        return true;
    for (int i = 0; i < part_count; i++) {
        lsi_ckpt_part_name(i, part_count, part);
        if (strcmp(name, part) == 0)
            return true;
    }
    return false;
}

/* Parts of an earlier attempt at this step, with another number of workers. */
static enum ls_status remove_strays(const char *partial, int part_count, struct ls_error *err)
{
    char **names = NULL;
    size_t count = 0;
    enum ls_status status = ls_fs_list(partial, &names, &count, err);

    for (size_t i = 0; i < count && status == LS_OK; i++) {
        char *path;

        if (is_expected(names[i], part_count))
            continue;
        path = ls_path_join(partial, names[i]);
        status = path != NULL ? ls_fs_remove(path, err) : LS_ENOMEM;
        ls_free(path);
    }
    ls_free(names);
    return status == LS_OK ? ls_fs_sync_directory(partial, err) : status;
}

/* An older checkpoint of the same step (one that did not load) steps aside; readers still know it by that name. */
static enum ls_status rename_in(const char *directory, uint64_t step, const char *partial, struct ls_error *err)
{
    char *final = lsi_ckpt_step_path(directory, step, "");
    char *replaced = lsi_ckpt_step_path(directory, step, ".replaced");
    bool aside = false;
    enum ls_status status = LS_OK;

    if (final == NULL || replaced == NULL)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to commit a checkpoint");
    else if (ls_fs_exists(final)) {
        status = ls_fs_remove(replaced, err);
        if (status == LS_OK)
            status = ls_fs_rename(final, replaced, err);
        aside = status == LS_OK;
    }
    if (status == LS_OK) {
        status = ls_fs_rename(partial, final, err);
        if (status != LS_OK && aside)
            (void)ls_fs_rename(replaced, final, NULL);
    }
    if (status == LS_OK)
        status = ls_fs_sync_directory(directory, err);
    ls_free(final);
    ls_free(replaced);
    return status;
}

static enum ls_status flip_latest(const char *directory, uint64_t step, struct ls_error *err)
{
    char *path = ls_path_join(directory, LSI_CKPT_LATEST);
    char *text = ls_str_format("step-%" PRIu64 "\n", step);
    enum ls_status status = path != NULL && text != NULL
                                ? ls_fs_write_atomic(path, text, strlen(text), err)
                                : ls_error_set(err, LS_ENOMEM, "not enough memory to commit a checkpoint");

    ls_free(text);
    ls_free(path);
    return status;
}

/* The `keep` newest steps up to `newest`: what is below the bound goes. The bound goes down one checkpoint at a
 * time. */
static uint64_t find_bound(const char *directory, char *const *names, size_t count, uint64_t newest, int keep)
{
    uint64_t bound = newest;

    for (int kept = 1; kept < keep && bound > 0; kept++) {
        uint64_t next = 0;

        for (size_t i = 0; i < count; i++) {
            const char *suffix;
            uint64_t step;

            if (lsi_ckpt_parse_step(names[i], &step, &suffix) && suffix[0] == '\0' && step < bound && step >= next &&
                lsi_ckpt_has_manifest(directory, names[i]))
                next = step;
        }
        bound = next;
    }
    return bound;
}

/* Removes uncommitted and replaced directories, earlier ones without a manifest and the oldest complete ones.
 * Checkpoints of later steps are left alone and do not count: the job went on from before them because they did not
 * load, or was told to. */
static void prune(const char *directory, uint64_t newest, int keep)
{
    struct ls_error err = LS_ERROR_INIT;
    char **names = NULL;
    size_t count = 0;
    enum ls_status status = ls_fs_list(directory, &names, &count, &err);
    uint64_t bound = status == LS_OK ? find_bound(directory, names, count, newest, keep) : 0;

    for (size_t i = 0; i < count && status == LS_OK; i++) {
        const char *suffix;
        uint64_t step;

        if (!lsi_ckpt_parse_step(names[i], &step, &suffix))
            continue;
        if (suffix[0] != '\0' || step < bound || (step < newest && !lsi_ckpt_has_manifest(directory, names[i])))
            status = lsi_ckpt_remove_one(directory, names[i], &err);
    }
    ls_free(names);
    if (status != LS_OK)
        ls_log(LS_LOG_WARN, "checkpoint.prune", "an old checkpoint could not be removed: %s", err.message);
}

void ls_ckpt_abandon(const char *directory, uint64_t step)
{
    char *partial = lsi_ckpt_step_path(directory, step, ".partial");

    if (partial != NULL)
        (void)ls_fs_remove(partial, NULL);
    ls_free(partial);
}

enum ls_status ls_ckpt_commit(const char *directory, const struct ls_ckpt_meta *meta,
                              const struct ls_ckpt_tensor *tensors, int tensor_count, const struct ls_ckpt_part *parts,
                              int part_count, int keep, struct ls_error *err)
{
    struct lsi_manifest manifest = {.part_count = part_count};
    char *partial = lsi_ckpt_step_path(directory, meta->step, ".partial");
    enum ls_status status;

    if (partial == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to commit a checkpoint");
    status = fill_manifest(partial, meta, tensors, tensor_count, parts, &manifest, err);
    if (status == LS_OK)
        status = write_manifest(partial, &manifest, err);
    if (status == LS_OK)
        status = remove_strays(partial, part_count, err);
    if (status == LS_OK)
        status = rename_in(directory, meta->step, partial, err);
    if (status == LS_OK)
        status = flip_latest(directory, meta->step, err);
    if (status == LS_OK)
        prune(directory, meta->step, keep < 2 ? 2 : keep);
    else
        (void)ls_error_wrap(err, "the checkpoint of step %" PRIu64 " could not be committed", meta->step);
    if (status != LS_OK)
        ls_ckpt_abandon(directory, meta->step);
    lsi_manifest_deinit(&manifest);
    ls_free(partial);
    return status;
}
