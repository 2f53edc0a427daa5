/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command.h"

#include <stdio.h>

static enum ls_status run(const struct ls_command *command, int argc, char **argv, struct ls_error *err)
{
    static const struct ls_option options[] = {{NULL, NULL, NULL, LS_OPTION_FLAG, NULL}};
    enum ls_status status = ls_options_parse(command, options, argc, argv, 0, 0, NULL, err);

    if (status == LS_OK)
        printf("lockstep %s, numerics 1\n", LS_VERSION);
    return status;
}

const struct ls_command ls_cmd_version = {
    .name = "version", .arguments = "", .summary = "Show the version and that of the numerics", .run = run};
