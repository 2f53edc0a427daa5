/* SPDX-License-Identifier: Apache-2.0 */
/* A session that ends with the job's words, see job.h. */
#include "worker/session/job.h"

#include "core/base/alloc.h"
#include "worker/session/session_internal.h"

#include <string.h>

enum ls_status ls_session_fetch_job(const char *coordinator, const uint8_t secret[32], int64_t deadline_ms,
                                    struct ls_fetched_job **job, struct ls_error *err)
{
    struct ls_session_options options = {.coordinator = coordinator, .connect_deadline_ms = deadline_ms};
    struct ls_session *session = NULL;
    enum ls_status status;

    memcpy(options.secret, secret, sizeof options.secret);
    status = lsi_session_start(&options, true, &session, err);
    explicit_bzero(options.secret, sizeof options.secret);
    if (status != LS_OK)
        return status;
    *job = session->fetched;
    session->fetched = NULL;
    ls_session_close(session);
    return LS_OK;
}

void ls_fetched_job_destroy(struct ls_fetched_job *job)
{
    if (job == NULL)
        return;
    ls_wire_job_deinit(&job->job);
    ls_free(job);
}
