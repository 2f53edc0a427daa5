/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging: level, stable event id, one sentence, key=value pairs inside the sentence. Lines go to
 * stderr through one write each; LOCKSTEP_LOG=error|warn|info|debug sets the level (warn by default).
 */
#ifndef LOCKSTEP_CORE_BASE_LOG_H
#define LOCKSTEP_CORE_BASE_LOG_H

#include <stdbool.h>

enum ls_log_level { LS_LOG_ERROR, LS_LOG_WARN, LS_LOG_INFO, LS_LOG_DEBUG };

/* Logs one line: time, level, event id (e.g. "join.refused"), sentence. */
void ls_log(enum ls_log_level level, const char *event, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Text put into each line of this process, e.g. "rank 3". Copied, at most 31 bytes. */
void ls_log_set_name(const char *name);
/* Whether LOCKSTEP_LOG may say so; anything else counts as "warn". */
bool ls_log_is_level(const char *text);

#endif
