/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a command ended, told once: a sentence on standard error where it failed, and with --json one object as the last
 * line on standard output, whatever happened.
 */
#ifndef LOCKSTEP_CLI_OUTCOME_H
#define LOCKSTEP_CLI_OUTCOME_H

#include "core/base/status.h"

#include <stdbool.h>

/* The program as it was typed; borrowed. */
void ls_outcome_begin(const char *program);
const char *ls_outcome_program(void);
/* Whether a failure is told as JSON too (--json). */
void ls_outcome_set_json(bool json);
/* Prints an object's text, with `status`, `exit_status` and for a failure `error` added at its end. Once: it is the
 * outcome. */
void ls_outcome_print(const char *object, enum ls_status status, const struct ls_error *err);
/* A failure: the sentence, and the object where one is wanted and none was printed. */
void ls_outcome_tell(enum ls_status status, const struct ls_error *err);

#endif
