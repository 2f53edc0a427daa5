/* SPDX-License-Identifier: Apache-2.0 */
/* Child processes whose output is read, see capture.h. */
#include "cli/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static enum ls_status start(char *const *argv, int to, pid_t *pid, struct ls_error *err)
{
    posix_spawn_file_actions_t actions;
    int result = posix_spawn_file_actions_init(&actions);

    if (result == 0)
        result = posix_spawn_file_actions_adddup2(&actions, to, STDOUT_FILENO);
    if (result == 0)
        result = posix_spawnp(pid, argv[0], &actions, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (result != 0)
        return ls_error_set(err, LS_EIO, "cannot run %s: %s", argv[0], strerror(result));
    return LS_OK;
}

static void read_all(int from, struct ls_buf *out)
{
    char chunk[4096];
    ssize_t got;

    while ((got = read(from, chunk, sizeof chunk)) > 0 || (got < 0 && errno == EINTR))
        if (got > 0)
            (void)ls_buf_append(out, chunk, (size_t)got);
    (void)ls_buf_append(out, "", 1);
}

enum ls_status ls_capture(char *const *argv, struct ls_buf *out, struct ls_error *err)
{
    int ends[2], how = 0;
    pid_t pid = -1;
    enum ls_status status;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return ls_error_set(err, LS_EIO, "cannot make a pipe: %s", strerror(errno));
    status = start(argv, ends[1], &pid, err);
    (void)close(ends[1]);
    if (status == LS_OK) {
        read_all(ends[0], out);
        while (waitpid(pid, &how, 0) < 0 && errno == EINTR)
            continue;
        if (!WIFEXITED(how) || WEXITSTATUS(how) != 0)
            status = ls_error_set(err, LS_EIO, "%s %s ended with status %d", argv[0], argv[1] != NULL ? argv[1] : "",
                                  WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how));
    }
    (void)close(ends[0]);
    return status == LS_OK && out->failed ? ls_error_set(err, LS_ENOMEM, "not enough memory for a command's output")
                                          : status;
}

struct json_t *ls_last_json_line(const char *text)
{
    const char *end = text + strlen(text);

    while (end > text) {
        const char *begin = end;

        while (begin > text && begin[-1] != '\n')
            begin--;
        if (*begin == '{')
            return json_loadb(begin, (size_t)(end - begin), 0, NULL);
        end = begin > text ? begin - 1 : text;
    }
    return NULL;
}
