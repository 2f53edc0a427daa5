/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines: what goes where, and one sentence for each that is wrong. */
#include "cli/command.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static bool flag;
static const char *text, *address;
static int64_t count;
static struct ls_list list;

static const struct ls_option options[] = {{"json", NULL, "a flag", LS_OPTION_FLAG, &flag},
                                           {"output", "FILE", "a text", LS_OPTION_TEXT, &text},
                                           {"listen", "HOST:PORT", "an address", LS_OPTION_ADDRESS, &address},
                                           {"max-steps", "N", "a count", LS_OPTION_COUNT, &count},
                                           {"set", "KEY=VALUE", "a list", LS_OPTION_LIST, &list},
                                           {NULL, NULL, NULL, LS_OPTION_FLAG, NULL}};
static const struct ls_command command = {.name = "try", .arguments = "JOB [options]"};

/* Parses up to 8 words after the command's name; positionals: at least 1, at most 2. */
static enum ls_status parse(char *const *words, const char *positionals[2], struct ls_error *err)
{
    char *argv[10] = {(char *)"try"};
    int argc = 1;

    while (words[argc - 1] != NULL && argc < 9) {
        argv[argc] = words[argc - 1];
        argc++;
    }
    return ls_options_parse(&command, options, argc, argv, 1, 2, positionals, err);
}
#define WORDS(...) ((char *[]){__VA_ARGS__, NULL})

/* Values after a space or an equals sign; a list in the order given; what is no option is a positional. */
Test(options, every_kind)
{
    const char *positionals[2] = {NULL, NULL};

    cr_assert_eq(
        parse(WORDS("--set", "a=1", "job.yaml", "--set=b=2", "--json", "--max-steps=24", "--listen", "127.0.0.1:0"),
              positionals, NULL),
        LS_OK);
    cr_expect_str_eq(positionals[0], "job.yaml");
    cr_expect_null(positionals[1]);
    cr_expect(flag);
    cr_expect_eq(count, 24);
    cr_expect_str_eq(address, "127.0.0.1:0");
    cr_assert_eq(list.count, 2);
    cr_expect_str_eq(list.items[0], "a=1");
    cr_expect_str_eq(list.items[1], "b=2");
}

static void expect_said(char *const *words, const char *said)
{
    struct ls_error err = LS_ERROR_INIT;
    const char *positionals[2];

    cr_expect_eq(parse(words, positionals, &err), LS_EUSAGE, "%s", said);
    cr_expect_neq(strstr(err.message, said), NULL, "\"%s\" does not say \"%s\"", err.message, said);
}

/* A misspelt option is answered with the one that was meant, also where a value hangs on it. */
Test(options, wrong_words)
{
    expect_said(WORDS("job", "--outptu", "x"), "did you mean --output?");
    expect_said(WORDS("job", "--outptu=some/long/name.npy"), "did you mean --output?");
    expect_said(WORDS("job", "--zzzzzzzz"), "--help lists them");
    expect_said(WORDS("job", "-x"), "options begin with --");
    expect_said(WORDS("job", "--output"), "needs a value");
    expect_said(WORDS("job", "--json=yes"), "takes no value");
    expect_said(WORDS("job", "--max-steps", "-3"), "whole number");
    expect_said(WORDS("job", "--max-steps", "many"), "whole number");
    expect_said(WORDS("job", "--listen", "7000"), "HOST:PORT");
    expect_said(WORDS("job", "--listen", ":7000"), "HOST:PORT");
    expect_said(WORDS("job", "--listen", "host:70000"), "HOST:PORT");
    expect_said(WORDS("a", "b", "c"), "what to do with \"c\"");
    expect_said(WORDS("job", "--listen", "::1:70"), "[::1]:7000");
    expect_said(WORDS("--json"), "JOB is missing: lockstep try JOB [options]");
}

/* An empty value is a shell's variable that is not set: it is never a default, a file or a key. */
Test(options, empty_words)
{
    const char *positionals[2];

    expect_said(WORDS("job", "--output", ""), "--output has an empty value; write --output FILE, or leave it out");
    expect_said(WORDS("job", "--output="), "--output has an empty value");
    expect_said(WORDS("job", "--set", ""), "write --set KEY=VALUE");
    expect_said(WORDS("job", "--listen="), "write --listen HOST:PORT");
    expect_said(WORDS("job", "--max-steps="), "write --max-steps N");
    expect_said(WORDS(""), "there is an empty word: lockstep try JOB [options]");
    cr_expect_eq(parse(WORDS("job", "--listen", "[::1]:0"), positionals, NULL), LS_OK);
}

/* A list has a limit and says so. */
Test(options, list_is_bounded)
{
    list.count = LS_MAX_LIST;
    expect_said(WORDS("job", "--set", "a=1"), "more than");
}

/* A variable that would be taken for something else is refused by its name and with what it may be; an empty one is
 * none. */
Test(options, environment)
{
    static const struct {
        const char *name, *right, *wrong, *said;
    } all[] = {{"LOCKSTEP_LOG", "debug", "verbose", "error, warn, info or debug, not \"verbose\""},
               {"LOCKSTEP_LOG", "", "INFO", "LOCKSTEP_LOG"},
               {"LOCKSTEP_HOST", "node-7.rack_3", "node 7", "at most 63 letters, digits and . - _"},
               {"LOCKSTEP_HOST", "a", "n\xc3\xb6rd", "LOCKSTEP_HOST"},
               {"LOCKSTEP_TCP_STREAMS", "8", "9", "from 1 to 8"},
               {"LOCKSTEP_DEBUG_TCP_RATE", "0", "1e6", "bytes a second"},
               {"LOCKSTEP_DEBUG_SLOW", "1:20:500", "1:20", "RANK:STEP:MILLISECONDS"},
               {"LOCKSTEP_DEBUG_SLOW", "0:0:0", "1:20:99999999999", "RANK:STEP:MILLISECONDS"}};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const char *positionals[2];

        cr_assert_eq(setenv(all[i].name, all[i].wrong, 1), 0);
        expect_said(WORDS("job.yaml"), all[i].said);
        cr_assert_eq(setenv(all[i].name, all[i].right, 1), 0);
        cr_expect_eq(parse(WORDS("job.yaml"), positionals, NULL), LS_OK, "%s=%s", all[i].name, all[i].right);
        cr_assert_eq(unsetenv(all[i].name), 0);
    }
    (void)setenv("LOCKSTEP_HOST", "0123456789012345678901234567890123456789012345678901234567890123", 1);
    expect_said(WORDS("job.yaml"), "LOCKSTEP_HOST");
}
