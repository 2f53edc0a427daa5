/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking the coordinator which job it leads, for a worker that was given none. One connection of its own, with the
 * proof of the secret both ways; the worker then opens a session as usual and joins with the job's fingerprint.
 */
#ifndef LOCKSTEP_WORKER_SESSION_JOB_H
#define LOCKSTEP_WORKER_SESSION_JOB_H

#include "core/base/status.h"
#include "core/wire/message.h"

struct ls_fetched_job {
    struct ls_wire_job job;
};

/* Keeps trying to connect until the deadline, as ls_session_open does, and fails with its sentences. LS_EINVAL: the
 * coordinator has no job to hand out. Returned; ends with ls_fetched_job_destroy. */
enum ls_status ls_session_fetch_job(const char *coordinator, const uint8_t secret[32], int64_t deadline_ms,
                                    struct ls_fetched_job **job, struct ls_error *err);
/* Accepts NULL. */
void ls_fetched_job_destroy(struct ls_fetched_job *job);

#endif
