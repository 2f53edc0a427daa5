/* SPDX-License-Identifier: Apache-2.0 */
/* Child processes whose output is read, see capture.h. */
#include "cli/capture.h"

#include "core/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define REAP_EVERY_MS 5 /* looks for a process that has closed its output but not yet ended */
#define KILL_MS 5000
#define MOST_MIB 16 /* a bench prints some lines */
#define MOST_BYTES ((size_t)MOST_MIB << 20)

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

/* Milliseconds that poll may wait, at most a moment so that a wait may also look at something else. */
static int moment(uint64_t until_ns, int most_ms)
{
    uint64_t now = ls_clock_now_ns(), left = until_ns > now ? (until_ns - now) / 1000000 + 1 : 0;

    return left < (uint64_t)most_ms ? (int)left : most_ms;
}

/* Until the other end is closed. LS_ETIMEOUT: that takes too long, however much comes meanwhile; LS_EIO: too much
 * has come. */
static enum ls_status read_all(int from, uint64_t until_ns, struct ls_buf *out)
{
    struct pollfd readable = {.fd = from, .events = POLLIN};
    char chunk[4096];

    for (int wait = moment(until_ns, 1000); wait > 0; wait = moment(until_ns, 1000)) {
        ssize_t got;

        if (poll(&readable, 1, wait) <= 0)
            continue;
        got = read(from, chunk, sizeof chunk);
        if (got > 0)
            (void)ls_buf_append(out, chunk, (size_t)got);
        else if (got == 0 || errno != EINTR)
            return LS_OK;
        if (out->length > MOST_BYTES)
            return LS_EIO;
    }
    return LS_ETIMEOUT;
}

/* Until the process has ended, however it closed its output; false where that takes too long. */
static bool reap(pid_t pid, uint64_t until_ns, int *how)
{
    for (;;) {
        int wait = moment(until_ns, REAP_EVERY_MS);
        pid_t got = waitpid(pid, how, WNOHANG);

        if (got == pid)
            return true;
        if (wait == 0 || (got < 0 && errno != EINTR))
            return false;
        (void)poll(NULL, 0, wait);
    }
}

static enum ls_status await(char *const *argv, pid_t pid, int from, int64_t deadline_ms, struct ls_buf *out,
                            struct ls_error *err)
{
    uint64_t until_ns = ls_clock_now_ns() + (uint64_t)deadline_ms * 1000000;
    const char *word = argv[1] != NULL ? argv[1] : "";
    enum ls_status status;
    int how = 0;

    status = read_all(from, until_ns, out);
    if (status == LS_OK && !reap(pid, until_ns, &how))
        status = LS_ETIMEOUT;
    if (status != LS_OK) {
        (void)kill(pid, SIGKILL);
        (void)reap(pid, ls_clock_now_ns() + UINT64_C(1000000) * KILL_MS, &how);
        if (status == LS_EIO)
            return ls_error_set(err, LS_EIO, "%s %s printed more than %d MiB and was killed", argv[0], word, MOST_MIB);
        return ls_error_set(err, LS_ETIMEOUT, "%s %s did not end within %.3g s and was killed", argv[0], word,
                            (double)deadline_ms / 1000);
    }
    (void)ls_buf_append(out, "", 1);
    if (!WIFEXITED(how) || WEXITSTATUS(how) != 0)
        return ls_error_set(err, LS_EIO, "%s %s ended with status %d", argv[0], word,
                            WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how));
    return out->failed ? ls_error_set(err, LS_ENOMEM, "not enough memory for a command's output") : LS_OK;
}

enum ls_status ls_capture(char *const *argv, int64_t deadline_ms, struct ls_buf *out, struct ls_error *err)
{
    int ends[2];
    pid_t pid = -1;
    enum ls_status status;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return ls_error_set(err, LS_EIO, "cannot make a pipe: %s", strerror(errno));
    status = start(argv, ends[1], &pid, err);
    (void)close(ends[1]);
    if (status == LS_OK)
        status = await(argv, pid, ends[0], deadline_ms, out, err);
    (void)close(ends[0]);
    return status;
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
