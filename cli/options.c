/* SPDX-License-Identifier: Apache-2.0 */
/* Options by table: parsing, help, and a suggestion for a misspelt one. */
#include "cli/command.h"
#include "cli/environment.h"
#include "cli/outcome.h"

#include "core/base/str.h"

#include <stdio.h>
#include <string.h>

static void print_help(const struct ls_command *command, const struct ls_option *options)
{
    printf("Usage: lockstep %s%s%s\n\n%s.\n", command->name, command->arguments[0] != '\0' ? " " : "",
           command->arguments, command->summary);
    if (command->about != NULL)
        printf("\n%s\n", command->about);
    printf("\nOptions:\n");
    for (const struct ls_option *o = options; o->name != NULL; o++) {
        char left[64];

        (void)snprintf(left, sizeof left, "--%s%s%s", o->name, o->argument != NULL ? " " : "",
                       o->argument != NULL ? o->argument : "");
        printf("  %-26s %s\n", left, o->help);
    }
    printf("  %-26s %s\n\nExit status: see docs/cli.md.\n", "--help", "show this and leave");
}

static const struct ls_option *find(const struct ls_option *options, const char *name, size_t length)
{
    for (const struct ls_option *o = options; o->name != NULL; o++)
        if (strlen(o->name) == length && strncmp(o->name, name, length) == 0)
            return o;
    return NULL;
}

static enum ls_status unknown(const struct ls_command *command, const struct ls_option *options, const char *word,
                              struct ls_error *err)
{
    const char *names[64];
    size_t count = 0;
    const char *nearest;
    char name[64]; /* without "=VALUE" */

    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
    for (const struct ls_option *o = options; o->name != NULL && count < 64; o++)
        names[count++] = o->name;
    nearest = ls_str_nearest(name, names, count);
    if (nearest != NULL)
        return ls_error_set(err, LS_EUSAGE, "lockstep %s has no option %s; did you mean --%s?", command->name, word,
                            nearest);
    return ls_error_set(err, LS_EUSAGE, "lockstep %s has no option %s; lockstep %s --help lists them", command->name,
                        word, command->name);
}

/* "host:7000", "[::1]:7000" */
static bool is_address(const char *value)
{
    const char *colon = strrchr(value, ':');
    int64_t port;

    if (colon == NULL || colon == value || !ls_str_to_i64(colon + 1, &port) || port < 0 || port > 65535)
        return false;
    return value[0] == '[' ? colon[-1] == ']' : strchr(value, ':') == colon;
}

static enum ls_status store(const struct ls_option *option, const char *value, struct ls_error *err)
{
    struct ls_list *list = option->target;

    /* Most likely a shell's variable that is not set. */
    if (value != NULL && value[0] == '\0')
        return ls_error_set(err, LS_EUSAGE, "--%s has an empty value; write --%s %s, or leave it out", option->name,
                            option->name, option->argument);
    switch (option->kind) {
    case LS_OPTION_FLAG:
        *(bool *)option->target = true;
        return LS_OK;
    case LS_OPTION_TEXT:
        *(const char **)option->target = value;
        return LS_OK;
    case LS_OPTION_ADDRESS:
        if (!is_address(value))
            return ls_error_set(err, LS_EUSAGE,
                                "--%s needs HOST:PORT, for example 127.0.0.1:7000 or [::1]:7000, not \"%s\"",
                                option->name, value);
        *(const char **)option->target = value;
        return LS_OK;
    case LS_OPTION_COUNT:
        if (!ls_str_to_i64(value, option->target) || *(int64_t *)option->target < 0)
            return ls_error_set(err, LS_EUSAGE, "--%s needs a whole number from 0, not \"%s\"", option->name, value);
        return LS_OK;
    case LS_OPTION_LIST:
        if (list->count == LS_MAX_LIST)
            return ls_error_set(err, LS_EUSAGE, "--%s is given more than %d times", option->name, LS_MAX_LIST);
        list->items[list->count++] = value;
        return LS_OK;
    }
    return LS_EINTERNAL;
}

/* One option at argv[*at]; moves *at past its value. */
static enum ls_status take_option(const struct ls_command *command, const struct ls_option *options, int argc,
                                  char **argv, int *at, struct ls_error *err)
{
    const char *word = argv[*at], *equals = strchr(word, '=');
    size_t length = equals != NULL ? (size_t)(equals - word) - 2 : strlen(word) - 2;
    const struct ls_option *option = find(options, word + 2, length);

    if (option == NULL)
        return unknown(command, options, word, err);
    if (option->kind == LS_OPTION_FLAG) {
        if (equals != NULL)
            return ls_error_set(err, LS_EUSAGE, "--%s takes no value", option->name);
        return store(option, NULL, err);
    }
    if (equals != NULL)
        return store(option, equals + 1, err);
    if (*at + 1 >= argc)
        return ls_error_set(err, LS_EUSAGE, "--%s needs a value: --%s %s", option->name, option->name,
                            option->argument);
    return store(option, argv[++*at], err);
}

/* Known before anything can fail: a command line that is wrong is told as JSON too. */
static void look_for_json(const struct ls_option *options, int argc, char **argv)
{
    const struct ls_option *json = find(options, "json", strlen("json"));

    for (int i = 1; i < argc && json != NULL; i++)
        if (strcmp(argv[i], "--json") == 0)
            ls_outcome_set_json(true);
}

enum ls_status ls_options_parse(const struct ls_command *command, const struct ls_option *options, int argc,
                                char **argv, int least, int most, const char **positionals, struct ls_error *err)
{
    int found = 0;

    look_for_json(options, argc, argv);
    for (int i = 1; i < argc; i++) {
        enum ls_status status = LS_OK;

        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_help(command, options);
            return LS_EAGAIN;
        }
        if (strncmp(argv[i], "--", 2) == 0 && argv[i][2] != '\0')
            status = take_option(command, options, argc, argv, &i, err);
        else if (argv[i][0] == '-' && argv[i][1] != '\0')
            status = ls_error_set(err, LS_EUSAGE, "lockstep %s has no option %s; options begin with --", command->name,
                                  argv[i]);
        else if (argv[i][0] == '\0')
            status = ls_error_set(err, LS_EUSAGE, "there is an empty word: lockstep %s %s", command->name,
                                  command->arguments);
        else if (found == most)
            status = ls_error_set(err, LS_EUSAGE, "lockstep %s does not know what to do with \"%s\": lockstep %s%s%s",
                                  command->name, argv[i], command->name, command->arguments[0] != '\0' ? " " : "",
                                  command->arguments);
        else
            positionals[found++] = argv[i];
        if (status != LS_OK)
            return status;
    }
    for (int i = found; i < most; i++)
        positionals[i] = NULL;
    if (found < least)
        return ls_error_set(err, LS_EUSAGE, "%.*s is missing: lockstep %s %s", (int)strcspn(command->arguments, " "),
                            command->arguments, command->name, command->arguments);
    return ls_environment_check(err);
}
