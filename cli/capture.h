/* SPDX-License-Identifier: Apache-2.0 */
/* Running a command and keeping what it prints: what benches race whole commands with. */
#ifndef LOCKSTEP_CLI_CAPTURE_H
#define LOCKSTEP_CLI_CAPTURE_H

#include "core/base/buf.h"

#define LS_CAPTURE_MS (INT64_C(3600) * 1000) /* ample for a round of a bench */

/* Runs argv[0] (found on PATH) to its end, appends its standard output, terminated, to out. Its standard error is shown
 * only where it fails: LS_EIO then names the command and its status. One that has not ended after so long is killed and
 * named with LS_ETIMEOUT, one that prints more than 16 MiB with LS_EIO. */
enum ls_status ls_capture(char *const *argv, int64_t deadline_ms, struct ls_buf *out, struct ls_error *err);
/* The last line of text that begins with '{', parsed; NULL where there is none. json_decref ends it. */
struct json_t *ls_last_json_line(const char *text);

#endif
