/* SPDX-License-Identifier: Apache-2.0 */
/* One line a call to stderr, see log.h. */
#include "core/base/log.h"

#include "core/base/clock.h"
#include "core/base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char process_name[32] = "lockstep";

void ls_log_set_name(const char *name)
{
    (void)ls_str_into(process_name, sizeof process_name, name);
}

static const char *const level_names[] = {"error", "warn", "info", "debug"};

/* -1: no level. */
static int level_of(const char *text)
{
    for (int i = 0; text != NULL && i < (int)(sizeof level_names / sizeof level_names[0]); i++)
        if (strcmp(text, level_names[i]) == 0)
            return i;
    return -1;
}

bool ls_log_is_level(const char *text)
{
    return level_of(text) >= 0;
}

static enum ls_log_level wanted_level(void)
{
    int level = level_of(getenv("LOCKSTEP_LOG"));

    return level >= 0 ? (enum ls_log_level)level : LS_LOG_WARN;
}

void ls_log(enum ls_log_level level, const char *event, const char *format, ...)
{
    char line[1024];
    va_list args;
    int length;

    if (level > wanted_level())
        return;
    length = snprintf(line, sizeof line, "%.3f %s %s %s: ", ls_clock_wall_s(), level_names[level], process_name, event);
    va_start(args, format);
    length += vsnprintf(line + length, sizeof line - (size_t)length, format, args);
    va_end(args);
    if (length > (int)sizeof line - 2)
        length = (int)sizeof line - 2;
    line[length] = '\n';
    (void)!write(STDERR_FILENO, line, (size_t)length + 1);
}
