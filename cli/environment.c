/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of the environment, see environment.h. Those that the libraries refuse themselves (LOCKSTEP_ISA,
 * LOCKSTEP_COLLECTIVES, LOCKSTEP_SECRET) are not here.
 */
#include "cli/environment.h"

#include "collective/transport/tcp/listen.h"
#include "core/base/host.h"
#include "core/base/log.h"
#include "core/base/str.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

static bool is_host(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";

    return strlen(text) <= LS_HOST_NAME_MOST && text[strspn(text, letters)] == '\0';
}

static bool is_streams(const char *text)
{
    int64_t count;

    return ls_str_to_i64(text, &count) && count >= 1 && count <= LS_TCP_MOST_STREAMS;
}

static bool is_rate(const char *text)
{
    int64_t rate;

    return ls_str_to_i64(text, &rate) && rate >= 0;
}

/* RANK:STEP:MILLISECONDS */
static bool is_slow(const char *text)
{
    char part[3][24] = {"", "", ""}, rest;
    int64_t number, most[3] = {INT_MAX, INT64_MAX, INT_MAX};

    if (sscanf(text, "%23[0-9]:%23[0-9]:%23[0-9]%c", part[0], part[1], part[2], &rest) != 3)
        return false;
    for (int i = 0; i < 3; i++)
        if (!ls_str_to_i64(part[i], &number) || number > most[i])
            return false;
    return true;
}

static bool is_directory(const char *text)
{
    struct stat at;

    return stat(text, &at) == 0 && S_ISDIR(at.st_mode);
}

static const struct {
    const char *name;
    bool (*right)(const char *text);
    const char *allowed;
} variables[] = {
    {"LOCKSTEP_LOG", ls_log_is_level, "error, warn, info or debug"},
    {"LOCKSTEP_HOST", is_host, "at most " TEXT(LS_HOST_NAME_MOST) " letters, digits and . - _"},
    {LS_TCP_STREAMS_VARIABLE, is_streams, "a whole number from 1 to " TEXT(LS_TCP_MOST_STREAMS)},
    {"LOCKSTEP_PLUGINS", is_directory, "a directory"},
    {"LOCKSTEP_DEBUG_TCP_RATE", is_rate, "a whole number of bytes a second, 0 for no limit"},
    {"LOCKSTEP_DEBUG_SLOW", is_slow, "RANK:STEP:MILLISECONDS, for example 1:20:500"},
};

enum ls_status ls_environment_check(struct ls_error *err)
{
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        const char *text = getenv(variables[i].name);

        if (text != NULL && text[0] != '\0' && !variables[i].right(text))
            return ls_error_set(err, LS_EUSAGE, "%s in the environment must be %s, not \"%s\"", variables[i].name,
                                variables[i].allowed, text);
    }
    return LS_OK;
}
