/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a job without opening any file: what fuzzing may do with any text. For core/job and its tests. */
#ifndef LOCKSTEP_CORE_JOB_READ_H
#define LOCKSTEP_CORE_JOB_READ_H

#include "core/job/job.h"

/* What a job is read from; everything is borrowed. */
struct lsi_job_source {
    const char *text;
    size_t length;
    const char *path; /* names the text, gives the directory; ".json": read as JSON */
    const char *const *overrides;
    int override_count;
};

/* Everything ls_job_parse does except for reading the model: model_text stays NULL. */
enum ls_status lsi_job_read(const struct lsi_job_source *source, struct ls_job **job, struct ls_error *err);

#endif
