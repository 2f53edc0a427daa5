/* SPDX-License-Identifier: Apache-2.0 */
/* What every subcommand is made of: a row in main.c's table, options, one sentence for an error. */
#ifndef LOCKSTEP_CLI_COMMAND_H
#define LOCKSTEP_CLI_COMMAND_H

#include "core/base/status.h"

#include <stdbool.h>
#include <stdint.h>

#define LS_MAX_LIST 128

struct ls_list {
    const char *items[LS_MAX_LIST];
    int count;
};

enum ls_option_kind { LS_OPTION_FLAG, LS_OPTION_TEXT, LS_OPTION_ADDRESS, LS_OPTION_COUNT, LS_OPTION_LIST };

/* --name [ARGUMENT]. target: bool *, const char **, const char ** (HOST:PORT), int64_t * (>= 0), struct ls_list * by
 * kind. */
struct ls_option {
    const char *name;
    const char *argument; /* placeholder in --help; NULL for flags */
    const char *help;
    enum ls_option_kind kind;
    void *target;
};

struct ls_command {
    const char *name;
    const char *arguments; /* "JOB [options]" */
    const char *summary;   /* one line for `lockstep --help` */
    const char *about;     /* a paragraph for `lockstep NAME --help`; may be NULL */
    /* argv[0] is the subcommand. Prints its results; returns LS_OK or sets err. */
    enum ls_status (*run)(const struct ls_command *command, int argc, char **argv, struct ls_error *err);
    bool ends_in_order; /* Ctrl-C and SIGTERM are caught from its first moment, see told.h */
};

/* Parses `argc - 1` words: options of the table (NULL name ends it) and positionals. --help prints the help and gives
 * LS_EAGAIN: nothing is left to do. LS_EUSAGE says which word is wrong and what was probably meant. Strings are
 * borrowed from argv. `least` and `most` positionals are wanted. A variable of the environment that is wrong is
 * LS_EUSAGE too. */
enum ls_status ls_options_parse(const struct ls_command *command, const struct ls_option *options, int argc,
                                char **argv, int least, int most, const char **positionals, struct ls_error *err);

/* Every command has exactly one place here, sorted as --help shows them. */
extern const struct ls_command ls_cmd_train, ls_cmd_evaluate, ls_cmd_predict, ls_cmd_plan, ls_cmd_inspect,
    ls_cmd_coordinator, ls_cmd_worker, ls_cmd_bench, ls_cmd_version;

#endif
