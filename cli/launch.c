/* SPDX-License-Identifier: Apache-2.0 */
/* Starting workers and reading the secret they share, see launch.h. */
#include "cli/launch.h"

#include "cli/told.h"
#include "core/base/alloc.h"
#include "core/base/buf.h"
#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/base/str.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

/* The environment with the secret set. Returned; entries other than [0] are borrowed. */
static char **child_environment(const uint8_t secret[32])
{
    size_t count = 0, kept = 1;
    char hex[65], **made;

    while (environ[count] != NULL)
        count++;
    ls_hex(secret, 32, hex);
    made = ls_alloc_zeroed(count + 2, sizeof *made);
    if (made != NULL)
        made[0] = ls_str_format("%s=%s", LS_SECRET_VARIABLE, hex);
    explicit_bzero(hex, sizeof hex);
    if (made == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++)
        if (strncmp(environ[i], LS_SECRET_VARIABLE "=", sizeof LS_SECRET_VARIABLE) != 0)
            made[kept++] = environ[i];
    if (made[0] == NULL) {
        ls_free(made);
        return NULL;
    }
    return made;
}

/* Both signals of told.h are held back until the worker's handlers stand: one to the whole process group finds it there
 * and does not kill it. */
static int spawn(pid_t *pid, const char *program, char *const *argv, char *const *environment)
{
    posix_spawnattr_t how;
    sigset_t held, before;
    int result = posix_spawnattr_init(&how);

    if (result != 0)
        return result;
    ls_told_signals(&held);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &before);
    (void)sigorset(&held, &held, &before);
    result = posix_spawnattr_setsigmask(&how, &held);
    if (result == 0)
        result = posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK);
    if (result == 0)
        result = posix_spawn(pid, program, NULL, &how, argv, environment);
    (void)posix_spawnattr_destroy(&how);
    return result;
}

enum ls_status ls_launch(char *const *arguments, const uint8_t secret[32], pid_t *pid, struct ls_error *err)
{
    char program[] = "/proc/self/exe", name[] = "lockstep";
    char **environment = child_environment(secret), *argv[LS_LAUNCH_MAX_ARGUMENTS + 2] = {name};
    int result, count = 0;

    if (environment == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to start a worker");
    while (arguments[count] != NULL && count < LS_LAUNCH_MAX_ARGUMENTS) {
        argv[count + 1] = arguments[count];
        count++;
    }
    result = spawn(pid, program, argv, environment);
    explicit_bzero(environment[0], strlen(environment[0])); /* only the child needs the secret now */
    ls_free(environment[0]);
    ls_free(environment);
    if (result != 0)
        return ls_error_set(err, LS_EIO, "cannot start a worker process: %s", strerror(result));
    return LS_OK;
}

enum ls_status ls_launch_tie_to_parent(pid_t parent, struct ls_error *err)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return ls_error_set(err, LS_EIO, "cannot tie this worker to its launcher: %s", strerror(errno));
    if (getppid() != parent)
        return ls_error_set(err, LS_EPEER, "the launcher (pid %ld) is gone", (long)parent);
    return LS_OK;
}

static enum ls_status read_variable(uint8_t secret[32], struct ls_error *err)
{
    const char *text = getenv(LS_SECRET_VARIABLE);

    if (text == NULL || text[0] == '\0')
        return ls_error_set(
            err, LS_EUSAGE,
            "the job's secret is needed: --secret-file FILE (64 hexadecimal digits, mode 0600) or %s in "
            "the environment",
            LS_SECRET_VARIABLE);
    if (!ls_unhex(text, secret, 32))
        return ls_error_set(err, LS_EUSAGE,
                            "%s in the environment is not 64 hexadecimal digits; set it right, or give "
                            "--secret-file FILE",
                            LS_SECRET_VARIABLE);
    return LS_OK;
}

/* A pipe of the shell's is as good as a file. */
static enum ls_status check_file(const char *file, struct ls_error *err)
{
    struct stat info;

    if (stat(file, &info) != 0)
        return LS_OK; /* reading it says why */
    if (!S_ISREG(info.st_mode) && !S_ISFIFO(info.st_mode))
        return ls_error_set(err, LS_EIO,
                            "%s is not used as a secret, because it is no regular file; name one with 64 "
                            "hexadecimal digits",
                            file);
    if ((info.st_mode & 077) != 0)
        return ls_error_set(err, LS_EIO, "%s is not used as a secret, because others can read it; chmod 600 it", file);
    return LS_OK;
}

enum ls_status ls_secret_read(const char *file, uint8_t secret[32], struct ls_error *err)
{
    struct ls_buf buf = {0};
    enum ls_status status;

    if (file == NULL)
        return read_variable(secret, err);
    status = check_file(file, err);
    if (status == LS_OK)
        status = ls_fs_read_pipe(file, 4096, &buf, err);
    if (status == LS_OK) {
        while (buf.length > 0 && (buf.data[buf.length - 1] == '\n' || buf.data[buf.length - 1] == ' '))
            buf.length--;
        if (ls_buf_append(&buf, "", 1) != LS_OK || !ls_unhex((const char *)buf.data, secret, 32))
            status = ls_error_set(err, LS_EINVAL, "%s does not hold 64 hexadecimal digits", file);
    }
    if (buf.data != NULL)
        explicit_bzero(buf.data, buf.capacity);
    ls_buf_deinit(&buf);
    return status;
}
