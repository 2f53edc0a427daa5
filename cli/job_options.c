/* SPDX-License-Identifier: Apache-2.0 */
/* Options of a job command as overrides of the job file. */
#include "cli/job_options.h"

#include "core/base/alloc.h"
#include "core/base/str.h"

static enum ls_status add(char **made, int *count, const char *key, const char *value)
{
    if (value == NULL)
        return LS_OK;
    made[*count] = ls_str_format("%s=%s", key, value);
    return made[(*count)++] != NULL ? LS_OK : LS_ENOMEM;
}

enum ls_status ls_job_options_load(const struct ls_job_options *options, const char *path, struct ls_job **job,
                                   struct ls_error *err)
{
    const char *all[LS_MAX_LIST + 4];
    char *made[4] = {NULL};
    int count = 0, total = 0;
    enum ls_status status = add(made, &count, "run.workers", options->workers);

    if (status == LS_OK)
        status = add(made, &count, "run.replicas", options->replicas);
    if (status == LS_OK)
        status = add(made, &count, "run.threads", options->threads);
    if (status == LS_OK)
        status = add(made, &count, "run.transport", options->transport);
    for (int i = 0; i < options->set.count; i++)
        all[total++] = options->set.items[i];
    for (int i = 0; i < count; i++)
        all[total++] = made[i];
    if (status == LS_OK)
        status = ls_job_load(path, all, total, job, err);
    else
        (void)ls_error_set(err, status, "not enough memory for the options");
    if (status == LS_OK && options->max_steps > 0)
        (*job)->max_steps = options->max_steps;
    for (int i = 0; i < count; i++)
        ls_free(made[i]);
    return status;
}
