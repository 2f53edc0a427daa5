/* SPDX-License-Identifier: Apache-2.0 */
/* Names, sentences and exit statuses from the one list in status.h; setting and wrapping an error. */
#include "core/base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *ls_status_name(enum ls_status status)
{
    switch (status) {
#define LS_STATUS_CASE(code, number, name, exit_status, sentence) \
    case code:                                                    \
        return name;
        LS_STATUS_LIST(LS_STATUS_CASE)
#undef LS_STATUS_CASE
    }
    return "unknown";
}

const char *ls_status_sentence(enum ls_status status)
{
    switch (status) {
#define LS_STATUS_CASE(code, number, name, exit_status, sentence) \
    case code:                                                    \
        return sentence;
        LS_STATUS_LIST(LS_STATUS_CASE)
#undef LS_STATUS_CASE
    }
    return "an unknown status";
}

int ls_status_exit(enum ls_status status)
{
    switch (status) {
#define LS_STATUS_CASE(code, number, name, exit_status, sentence) \
    case code:                                                    \
        return exit_status;
        LS_STATUS_LIST(LS_STATUS_CASE)
#undef LS_STATUS_CASE
    }
    return 1;
}

enum ls_status ls_status_of_peer(long long status, enum ls_status otherwise)
{
    return status < LS_OK && status > LS_EAGAIN ? (enum ls_status)status : otherwise;
}

enum ls_status ls_error_set(struct ls_error *err, enum ls_status status, const char *format, ...)
{
    va_list args;

    if (err == NULL)
        return status;
    err->status = status;
    va_start(args, format);
    (void)vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    return status;
}

enum ls_status ls_error_wrap(struct ls_error *err, const char *format, ...)
{
    char context[sizeof err->message];
    char inner[sizeof err->message];
    va_list args;
    int length;

    if (err == NULL)
        return LS_EINTERNAL;
    if (err->status == LS_OK)
        (void)ls_error_set(err, LS_EINTERNAL, "it failed without a reason"); /* never a success to whoever wraps it */
    va_start(args, format);
    length = vsnprintf(context, sizeof context, format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= sizeof context - 2)
        return err->status;
    memcpy(inner, err->message, sizeof inner);
    (void)snprintf(err->message, sizeof err->message, "%s: %.*s", context, (int)(sizeof inner - (size_t)length - 3),
                   inner);
    return err->status;
}
