/* SPDX-License-Identifier: Apache-2.0 */
/* Worker processes of this machine, by exec of this binary; they die with their parent. */
#ifndef LOCKSTEP_CLI_LAUNCH_H
#define LOCKSTEP_CLI_LAUNCH_H

#include "core/base/status.h"

#include <stdint.h>
#include <sys/types.h>

/* Name of the environment variable that carries the job's secret as hex. */
#define LS_SECRET_VARIABLE "LOCKSTEP_SECRET"
#define LS_LAUNCH_MAX_ARGUMENTS 300

/* Starts `lockstep ARGUMENTS...` (NULL-terminated, without the program's name) with the secret in its environment. */
enum ls_status ls_launch(char *const *arguments, const uint8_t secret[32], pid_t *pid, struct ls_error *err);
/* In a started process: ends it when its parent ends. parent: pid of the starter. */
enum ls_status ls_launch_tie_to_parent(pid_t parent, struct ls_error *err);
/* The secret: --secret-file (its permissions must be 0600 or stricter) or the environment. LS_EUSAGE: neither. */
enum ls_status ls_secret_read(const char *file, uint8_t secret[32], struct ls_error *err);

#endif
