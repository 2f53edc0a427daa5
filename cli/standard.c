/* SPDX-License-Identifier: Apache-2.0 */
/* See standard.h. */
#include "cli/standard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum ls_status ls_standard_open(struct ls_error *err)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
            continue;
        /* The lowest number that is free: this one. Children inherit it. */
        if (open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY) != fd)
            return ls_error_set(err, LS_EIO, "standard descriptor %d is closed and /dev/null does not take its place",
                                fd);
    }
    return LS_OK;
}

enum ls_status ls_standard_flush(struct ls_error *err)
{
    bool lost_before = ferror(stdout) != 0;

    if (fflush(stdout) != 0)
        return ls_error_set(err, LS_EIO, "cannot write to standard output: %s", strerror(errno));
    if (lost_before)
        return ls_error_set(err, LS_EIO, "cannot write to standard output: a part of the result is lost");
    return LS_OK;
}
