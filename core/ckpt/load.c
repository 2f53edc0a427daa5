/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing a checkpoint: the newest that verifies, and what to say when that is not the newest there is. */
#include "core/ckpt/ckpt_open.h"

#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct candidate {
    uint64_t step;
    bool replaced; /* stepped aside for a newer one of the same step */
};

/* Newest first. */
static int compare_candidates(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    if (x->step != y->step)
        return x->step > y->step ? -1 : 1;
    return (int)x->replaced - (int)y->replaced;
}

/* What LATEST says. */
enum latest { LATEST_MISSING, LATEST_DAMAGED, LATEST_NAMES };

static enum latest read_latest(const char *path, uint64_t *named)
{
    struct ls_buf text = {0};
    const char *suffix = "";
    size_t length;
    bool good;

    if (!ls_fs_exists(path))
        return LATEST_MISSING;
    good = ls_fs_read(path, 64, &text, NULL) == LS_OK && ls_buf_append(&text, "", 1) == LS_OK;
    length = good ? strcspn((const char *)text.data, "\n") : 0;
    good = good && length + 2 == text.length && text.data[length] == '\n';
    if (good)
        text.data[length] = '\0';
    good = good && lsi_ckpt_parse_step((const char *)text.data, named, &suffix) && suffix[0] == '\0';
    ls_buf_deinit(&text);
    return good ? LATEST_NAMES : LATEST_DAMAGED;
}

/* Without a manifest a directory is left of a removal or somebody else's, and none at all unless LATEST names it. */
static bool is_candidate(const char *directory, const char *name, struct candidate *candidate)
{
    const char *suffix;
    uint64_t named = 0;
    char *path;
    bool is_named;

    if (!lsi_ckpt_parse_step(name, &candidate->step, &suffix) || strcmp(suffix, ".partial") == 0)
        return false;
    candidate->replaced = suffix[0] != '\0';
    if (lsi_ckpt_has_manifest(directory, name))
        return true;
    path = ls_path_join(directory, LSI_CKPT_LATEST);
    is_named = path == NULL || (read_latest(path, &named) == LATEST_NAMES && named == candidate->step);
    ls_free(path);
    return is_named && !candidate->replaced;
}

static enum ls_status list_candidates(const char *directory, struct candidate **candidates, size_t *count,
                                      struct ls_error *err)
{
    char **names = NULL;
    size_t name_count = 0, found = 0;
    struct candidate *list;
    struct stat at;
    enum ls_status status;

    if (stat(directory, &at) != 0 && errno == ENOENT)
        return ls_error_set(err, LS_ENOENT, "there is no checkpoint in %s: it does not exist", directory);
    if (stat(directory, &at) == 0 && !S_ISDIR(at.st_mode))
        return ls_error_set(err, LS_EIO, "%s is a file; a checkpoint is a directory", directory);
    status = ls_fs_list(directory, &names, &name_count, err);
    if (status != LS_OK)
        return status;
    list = ls_alloc_zeroed(name_count, sizeof *list);
    for (size_t i = 0; list != NULL && i < name_count; i++)
        if (is_candidate(directory, names[i], &list[found]))
            found++;
    ls_free(names);
    if (list == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to look into %s", directory);
    if (found == 0) {
        ls_free(list);
        return ls_error_set(err, LS_ENOENT, "there is no checkpoint in %s", directory);
    }
    qsort(list, found, sizeof *list, compare_candidates);
    *candidates = list;
    *count = found;
    return LS_OK;
}

static enum ls_status open_candidate(const char *directory, const struct candidate *candidate, struct ls_ckpt **ckpt,
                                     struct ls_error *err)
{
    char *path = lsi_ckpt_step_path(directory, candidate->step, candidate->replaced ? ".replaced" : "");
    enum ls_status status = path != NULL ? lsi_ckpt_open_one(path, ckpt, err)
                                         : ls_error_set(err, LS_ENOMEM, "not enough memory to load a checkpoint");

    /* The name is outside every checksum: a directory may have been copied or renamed. */
    if (status == LS_OK && (*ckpt)->manifest.step != candidate->step) {
        status = ls_error_set(err, LS_ECORRUPT, "the checkpoint %s: its manifest is that of step %" PRIu64, path,
                              (*ckpt)->manifest.step);
        ls_ckpt_close(*ckpt);
    }
    ls_free(path);
    return status;
}

/* What LATEST says against what was opened: NULL where they agree or LATEST is merely behind (a crash between the
 * rename and the flip). */
static char *judge_latest(const char *directory, uint64_t opened)
{
    char *path = ls_path_join(directory, LSI_CKPT_LATEST);
    uint64_t named = 0;
    char *sentence = NULL;
    enum latest latest = path != NULL ? read_latest(path, &named) : LATEST_MISSING;

    if (latest == LATEST_DAMAGED)
        sentence = ls_str_format("%s is damaged; the newest complete checkpoint is step %" PRIu64, path, opened);
    else if (latest == LATEST_NAMES && named > opened)
        sentence = ls_str_format("%s names step %" PRIu64 ", which is not there; the newest complete checkpoint is "
                                 "step %" PRIu64,
                                 path, named, opened);
    ls_free(path);
    return sentence;
}

static bool is_final(enum ls_status status)
{
    /* Another checkpoint would not help, or would hide that a newer Lockstep wrote this one. */
    return status == LS_OK || status == LS_ENOMEM || status == LS_EUNSUPPORTED;
}

static enum ls_status open_newest(const char *directory, struct ls_ckpt **ckpt, char **fell_back, struct ls_error *err)
{
    struct candidate *candidates = NULL;
    struct ls_error first = LS_ERROR_INIT, local = LS_ERROR_INIT;
    size_t count = 0, tried = 0;
    enum ls_status status = list_candidates(directory, &candidates, &count, err);

    if (status != LS_OK)
        return status;
    do
        status = open_candidate(directory, &candidates[tried], ckpt, tried == 0 ? &first : &local);
    while (!is_final(status) && ++tried < count);
    ls_free(candidates);
    if (status != LS_OK) {
        if (is_final(status))
            return ls_error_set(err, status, "%s", tried == 0 ? first.message : local.message);
        return ls_error_set(err, LS_ECORRUPT, "%s%s; to start over: lockstep train --fresh --overwrite", first.message,
                            count > 1 ? "; the older checkpoints do not load either" : "");
    }
    if (fell_back != NULL)
        *fell_back = tried > 0 ? ls_str_format("%s; going back to step %" PRIu64, first.message, ls_ckpt_step(*ckpt))
                               : judge_latest(directory, ls_ckpt_step(*ckpt));
    return LS_OK;
}

enum ls_status ls_ckpt_open(const char *directory, struct ls_ckpt **ckpt, char **fell_back, struct ls_error *err)
{
    char *manifest = ls_path_join(directory, LSI_CKPT_MANIFEST);
    bool is_one = manifest != NULL && ls_fs_exists(manifest);

    ls_free(manifest);
    if (fell_back != NULL)
        *fell_back = NULL;
    return is_one ? lsi_ckpt_open_one(directory, ckpt, err) : open_newest(directory, ckpt, fell_back, err);
}

uint64_t ls_ckpt_step(const struct ls_ckpt *ckpt)
{
    return ckpt->manifest.step;
}

uint64_t ls_ckpt_generation(const struct ls_ckpt *ckpt)
{
    return ckpt->manifest.generation;
}

const char *ls_ckpt_meta_json(const struct ls_ckpt *ckpt)
{
    return ckpt->manifest.meta;
}

const char *ls_ckpt_path(const struct ls_ckpt *ckpt)
{
    return ckpt->path;
}

int ls_ckpt_tensor_count(const struct ls_ckpt *ckpt)
{
    return ckpt->manifest.tensor_count;
}

const struct ls_ckpt_tensor *ls_ckpt_tensor_at(const struct ls_ckpt *ckpt, int index)
{
    return &ckpt->manifest.tensors[index];
}

int ls_ckpt_find(const struct ls_ckpt *ckpt, const char *path)
{
    for (int i = 0; i < ckpt->manifest.tensor_count; i++)
        if (strcmp(ckpt->manifest.tensors[i].path, path) == 0)
            return i;
    return -1;
}
