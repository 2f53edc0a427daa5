/* SPDX-License-Identifier: Apache-2.0 */
/* The three standard descriptors: none may be anything else, and what is lost on standard output is an error. */
#ifndef LOCKSTEP_CLI_STANDARD_H
#define LOCKSTEP_CLI_STANDARD_H

#include "core/base/status.h"

/* Before anything opens a file: /dev/null in the place of each that is closed, so that no file or socket gets its
 * number. That of standard output cannot be written: results do not vanish without a word. LS_EIO. */
enum ls_status ls_standard_open(struct ls_error *err);
/* Writes what standard output still holds. LS_EIO where any of it was lost, now or before. */
enum ls_status ls_standard_flush(struct ls_error *err);

#endif
