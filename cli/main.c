/* SPDX-License-Identifier: Apache-2.0 */
/* The one binary: picks the subcommand; the only place that turns an error into an exit status. */
#include "cli/command.h"
#include "cli/outcome.h"
#include "cli/standard.h"
#include "cli/told.h"

#include "core/base/str.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct ls_command *const commands[] = {
    &ls_cmd_train,       &ls_cmd_evaluate, &ls_cmd_predict, &ls_cmd_plan,    &ls_cmd_inspect,
    &ls_cmd_coordinator, &ls_cmd_worker,   &ls_cmd_bench,   &ls_cmd_version,
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static void print_help(void)
{
    printf("Lockstep %s: train one model on one core or many machines and get the same bits.\n\n"
           "Usage: lockstep COMMAND [arguments]\n\nCommands:\n",
           LS_VERSION);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        printf("  %-12s %s\n", commands[i]->name, commands[i]->summary);
    printf("\nlockstep COMMAND --help tells more. First steps: lockstep train examples/mnist/mlp.yaml\n");
}

static enum ls_status unknown(const char *word, struct ls_error *err)
{
    const char *names[COMMAND_COUNT];
    const char *nearest;

    for (size_t i = 0; i < COMMAND_COUNT; i++)
        names[i] = commands[i]->name;
    nearest = ls_str_nearest(word, names, COMMAND_COUNT);
    if (nearest != NULL)
        return ls_error_set(err, LS_EUSAGE, "there is no command \"%s\"; did you mean lockstep %s?", word, nearest);
    return ls_error_set(err, LS_EUSAGE, "there is no command \"%s\"; lockstep --help lists them", word);
}

static enum ls_status dispatch(int argc, char **argv, struct ls_error *err)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(argv[1], commands[i]->name) == 0) {
            if (commands[i]->ends_in_order)
                ls_told_begin();
            return commands[i]->run(commands[i], argc - 1, argv + 1, err);
        }
    return unknown(argv[1], err);
}

static bool asks_for_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
}

/* Does what the command line says; --help gives LS_OK or LS_EAGAIN. */
static enum ls_status obey(int argc, char **argv, struct ls_error *err)
{
    static char help[] = "--help";

    if (argc == 2 && asks_for_help(argv[1])) {
        print_help();
        return LS_OK;
    }
    if (asks_for_help(argv[1])) {
        /* "help train" is "train --help". */
        argv[1] = argv[2];
        argv[2] = help;
        argc = 3;
    }
    if (strcmp(argv[1], "--version") == 0)
        argv[1] = argv[1] + 2;
    return dispatch(argc, argv, err);
}

int main(int argc, char **argv)
{
    struct ls_error err = LS_ERROR_INIT;
    enum ls_status status = ls_standard_open(&err), written;

    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a write beyond the limit fails like one on a full disk, with a sentence */
    if (argc > 0)
        ls_outcome_begin(argv[0]);
    if (status == LS_OK && argc < 2)
        print_help();
    else if (status == LS_OK)
        status = obey(argc, argv, &err);
    if (status != LS_OK && status != LS_EAGAIN) {
        ls_outcome_tell(status, &err);
        return ls_status_exit(status);
    }
    written = ls_standard_flush(&err);
    if (written == LS_OK)
        return argc < 2 ? ls_status_exit(LS_EUSAGE) : 0;
    ls_outcome_set_json(false); /* it goes where nothing can be written */
    ls_outcome_tell(written, &err);
    return ls_status_exit(written);
}
