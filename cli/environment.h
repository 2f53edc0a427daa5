/* SPDX-License-Identifier: Apache-2.0 */
/* Variables of the environment that would otherwise be taken for something else, or for nothing, without a word. */
#ifndef LOCKSTEP_CLI_ENVIRONMENT_H
#define LOCKSTEP_CLI_ENVIRONMENT_H

#include "core/base/status.h"

/* LS_EUSAGE names the variable and what it may be. A variable that is not set, or empty, is right. */
enum ls_status ls_environment_check(struct ls_error *err);

#endif
