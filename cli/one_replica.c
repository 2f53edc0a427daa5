/* SPDX-License-Identifier: Apache-2.0 */
/* A group of one and a checkpoint for commands that start no workers, see one_replica.h. */
#include "cli/one_replica.h"

#include "core/base/alloc.h"
#include "core/base/log.h"

enum ls_status ls_group_of_one(struct ls_group **group, struct ls_error *err)
{
    struct ls_member me = {.worker = 1, .incarnation = 1, .host = "localhost", .address = "127.0.0.1"};
    struct ls_group_options options = LS_GROUP_OPTIONS_DEFAULT;

    options.members = &me;
    options.world = 1;
    options.generation = 1;
    return ls_group_create("self", &options, group, err);
}

enum ls_status ls_checkpoint_of_job(const struct ls_job *job, const char *directory, struct ls_ckpt **ckpt,
                                    struct ls_error *err)
{
    const char *from = directory != NULL ? directory : job->checkpoint_directory;
    char *fell_back = NULL;
    enum ls_status status;

    if (from == NULL)
        return ls_error_set(err, LS_EUSAGE, "%s names no run.checkpoint.directory; give --checkpoint DIR", job->path);
    status = ls_ckpt_open(from, ckpt, &fell_back, err);
    if (fell_back != NULL)
        ls_log(LS_LOG_WARN, "checkpoint.fallback", "%s", fell_back);
    ls_free(fell_back);
    if (status == LS_ENOENT && directory == NULL)
        return ls_error_set(err, LS_ENOENT, "there is no checkpoint in %s yet; lockstep train %s makes one", from,
                            job->path);
    return status;
}
