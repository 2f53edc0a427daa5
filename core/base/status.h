/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Status codes and the error a user reads.
 *
 * A function that can fail for an outside reason returns an enum ls_status and takes a last, nullable
 * struct ls_error. The first function that knows the reason sets it; callers wrap it outward, so that
 * the user reads one sentence: what failed, where, what to do.
 */
#ifndef LOCKSTEP_CORE_BASE_STATUS_H
#define LOCKSTEP_CORE_BASE_STATUS_H

/* X(code, number, name, exit status of a command, sentence). Exit statuses are documented in docs/cli.md. */
#define LS_STATUS_LIST(X)                                                                   \
    X(LS_OK, 0, "ok", 0, "no error")                                                        \
    X(LS_EINTERNAL, -1, "internal", 1, "an internal error, please report it")               \
    X(LS_EUSAGE, -2, "usage", 2, "the command line is wrong")                               \
    X(LS_EINVAL, -3, "invalid", 3, "the job, model or data is not valid")                   \
    X(LS_ENOMEM, -4, "no memory", 4, "there is not enough memory")                          \
    X(LS_EIO, -5, "input/output", 4, "a file or device could not be read or written")       \
    X(LS_ENOENT, -6, "not found", 4, "a file does not exist")                               \
    X(LS_ECORRUPT, -7, "corrupt", 5, "stored data is damaged")                              \
    X(LS_EPEER, -8, "peer lost", 6, "another process of the job died or stopped answering") \
    X(LS_ETIMEOUT, -9, "timeout", 6, "nobody answered in time")                             \
    X(LS_EAUTH, -10, "refused", 7, "the other side refused the connection")                 \
    X(LS_EBUSY, -11, "busy", 8, "something else is using it")                               \
    X(LS_EUNSUPPORTED, -12, "unsupported", 3, "this is not supported")                      \
    X(LS_EINTERRUPTED, -13, "interrupted", 130, "it was interrupted")                       \
    X(LS_EDIVERGED, -14, "diverged", 9, "ranks disagree about the parameters")              \
    X(LS_EAGAIN, -15, "again", 1, "not ready yet")

enum ls_status {
#define LS_STATUS_ENUM(code, number, name, exit_status, sentence) code = number,
    LS_STATUS_LIST(LS_STATUS_ENUM)
#undef LS_STATUS_ENUM
};

/* What went wrong, in one sentence. Caller's memory; empty after LS_ERROR_INIT. */
struct ls_error {
    enum ls_status status;
    char message[768];
};

#define LS_ERROR_INIT                  \
    {                                  \
        .status = LS_OK, .message = "" \
    }

/* Name of a status, e.g. "not found". Static memory. */
const char *ls_status_name(enum ls_status status);

/* One sentence about a status. Static memory. */
const char *ls_status_sentence(enum ls_status status);

/* Exit status that a command ends with for this status (0..255). */
int ls_status_exit(enum ls_status status);

/* A status that a peer gave for a failure: otherwise, where it is none; LS_EAGAIN would be waited on. */
enum ls_status ls_status_of_peer(long long status, enum ls_status otherwise);

/* Sets *err (may be NULL) to status and the formatted message, replacing what it held; returns status. */
enum ls_status ls_error_set(struct ls_error *err, enum ls_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "<formatted context>: " before the message of *err (may be NULL); returns err's status, or
 * LS_EINTERNAL where err is NULL or has none. */
enum ls_status ls_error_wrap(struct ls_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
