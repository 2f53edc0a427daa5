/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How members of one host get the group's memfd: rank 0 listens on a Unix socket in a directory that only its user may
 * enter and hands the descriptor to every member that proves the job's secret. Each side proves it to the other
 * (HMAC over fresh random numbers of both); nothing has a name that could be left behind but the socket, which goes
 * when all have come.
 */
#include "collective/hello.h"
#include "collective/transport/shm/shm_internal.h"

#include "core/base/clock.h"
#include "core/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PIECE_MS 20
#define SILENCE_MS 1000 /* the longest pause in a handshake */

struct meeting {
    const struct ls_group_options *options;
    const struct ls_group *group;
    uint64_t deadline_ns;
    int fd; /* the memfd, rank 0 */
};

static int left_ms(const struct meeting *meeting)
{
    uint64_t now = ls_clock_now_ns();

    if (now >= meeting->deadline_ns || lsi_form_over(meeting->group, meeting->options, meeting->deadline_ns))
        return 0;
    return (int)((meeting->deadline_ns - now) / 1000000u) + 1;
}

/* Waits in pieces, so that a forming that is given up is left soon. */
static bool wait_for(const struct meeting *meeting, int socket, short events, int most_ms)
{
    while (most_ms > 0 && left_ms(meeting) > 0) {
        struct pollfd wait = {socket, events, 0};
        int left = left_ms(meeting), piece = most_ms < PIECE_MS ? most_ms : PIECE_MS;

        if (poll(&wait, 1, left < piece ? left : piece) > 0)
            return true;
        most_ms -= piece;
    }
    return false;
}

static bool transfer(const struct meeting *meeting, int socket, void *data, size_t bytes, bool sends)
{
    size_t done = 0;

    while (done < bytes) {
        ssize_t n = sends ? send(socket, (uint8_t *)data + done, bytes - done, MSG_NOSIGNAL)
                          : recv(socket, (uint8_t *)data + done, bytes - done, 0);
        if (n > 0) {
            done += (size_t)n;
            continue;
        }
        if (n == 0 || (errno != EAGAIN && errno != EINTR) || left_ms(meeting) == 0)
            return false;
        if (!wait_for(meeting, socket, sends ? POLLOUT : POLLIN, SILENCE_MS))
            return false;
    }
    return true;
}

static enum ls_status make_address(const char *path, struct sockaddr_un *address, struct ls_error *err)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (path == NULL || !ls_str_into(address->sun_path, sizeof address->sun_path, path))
        return ls_error_set(err, LS_EINVAL, "the rendezvous '%s' is longer than %zu bytes",
                            path == NULL ? "(none)" : path, sizeof address->sun_path - 1);
    return LS_OK;
}

/* Only the own user may reach the socket. */
static enum ls_status check_directory(const char *path, struct ls_error *err)
{
    char directory[sizeof((struct sockaddr_un *)0)->sun_path];
    struct stat info;
    char *slash;

    (void)ls_str_into(directory, sizeof directory, path);
    slash = strrchr(directory, '/');
    if (slash == NULL)
        return ls_error_set(err, LS_EINVAL, "the rendezvous '%s' names no directory", path);
    *slash = '\0';
    if (stat(directory[0] != '\0' ? directory : "/", &info) != 0)
        return ls_error_set(err, LS_EIO, "the directory of the rendezvous '%s': %s", path, strerror(errno));
    if (info.st_uid != geteuid() || (info.st_mode & 077) != 0)
        return ls_error_set(err, LS_EAUTH,
                            "others can enter the directory of the rendezvous '%s'; it must be ours "
                            "with mode 0700",
                            path);
    return LS_OK;
}

static enum ls_status listen_at(const struct meeting *meeting, int *listener, struct ls_error *err)
{
    const char *path = meeting->options->rendezvous;
    struct sockaddr_un address;
    struct stat info;
    enum ls_status status = make_address(path, &address, err);
    int made;

    if (status == LS_OK)
        status = check_directory(path, err);
    if (status != LS_OK)
        return status;
    /* A socket of a run that was killed. */
    if (lstat(path, &info) == 0 && S_ISSOCK(info.st_mode))
        (void)unlink(path);
    made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (made < 0 || bind(made, (struct sockaddr *)&address, sizeof address) != 0 || listen(made, LS_MAX_MEMBERS) != 0) {
        status = ls_error_set(err, LS_EIO, "cannot listen at the rendezvous '%s': %s", path, strerror(errno));
        if (made >= 0)
            close(made);
        return status;
    }
    *listener = made;
    return LS_OK;
}

static bool send_grant(int socket, struct lsi_grant *grant, int fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {grant, sizeof *grant};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    memset(&control, 0, sizeof control);
    if (fd >= 0) {
        message.msg_control = control.space;
        message.msg_controllen = sizeof control.space;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL) == (ssize_t)sizeof *grant;
}

/* One handshake; true where a member got the descriptor. */
static bool serve(const struct meeting *meeting, int socket, bool *served)
{
    uint8_t challenge[LSI_CHALLENGE_BYTES];
    struct ucred peer;
    socklen_t length = sizeof peer;
    struct lsi_hello hello;
    struct lsi_grant grant = {0};

    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 || peer.uid != geteuid())
        return false;
    if (ls_random_bytes(challenge, sizeof challenge) != LS_OK ||
        !transfer(meeting, socket, challenge, sizeof challenge, true) ||
        !transfer(meeting, socket, &hello, sizeof hello, false))
        return false;
    if (lsi_hello_judge(meeting->group, meeting->options->secret, challenge, &hello, &grant) == LS_OK &&
        served[hello.rank])
        (void)lsi_grant_refuse(&grant, "its rank has come already");
    if (grant.status != LS_OK) {
        (void)send_grant(socket, &grant, -1);
        return false;
    }
    if (!send_grant(socket, &grant, meeting->fd))
        return false;
    served[hello.rank] = true;
    return true;
}

static enum ls_status serve_all(const struct meeting *meeting, int listener, struct ls_error *err)
{
    bool served[LS_MAX_MEMBERS] = {true};

    for (int count = 1; count < meeting->group->world;) {
        if (!wait_for(meeting, listener, POLLIN, INT_MAX))
            return lsi_missing(meeting->group, served, meeting->options->form_deadline_ms, err);
        int socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (socket < 0)
            continue;
        if (serve(meeting, socket, served))
            count++;
        close(socket);
    }
    return LS_OK;
}

static enum ls_status make_memory(const struct ls_group *group, size_t bytes, int *fd, struct ls_error *err)
{
    int made = memfd_create("lockstep-group", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    size_t control = sizeof(struct shm_control) + (size_t)group->world * sizeof(struct shm_lane);
    struct shm_control head = {.magic = SHM_MAGIC,
                               .generation = group->generation,
                               .world = (uint32_t)group->world,
                               .lane_bytes = sizeof(struct shm_lane)};

    if (made < 0 || ftruncate(made, (off_t)bytes) != 0 || fallocate(made, 0, 0, (off_t)control) != 0 ||
        pwrite(made, &head, sizeof head, 0) != (ssize_t)sizeof head || fcntl(made, F_ADD_SEALS, F_SEAL_SHRINK) != 0) {
        enum ls_status status =
            ls_error_set(err, LS_ENOMEM, "no shared memory for a group of %d: %s", group->world, strerror(errno));
        if (made >= 0)
            close(made);
        return status;
    }
    *fd = made;
    return LS_OK;
}

static enum ls_status host(struct meeting *meeting, size_t bytes, int *fd, struct ls_error *err)
{
    enum ls_status status = make_memory(meeting->group, bytes, &meeting->fd, err);
    int listener = -1;

    if (status != LS_OK)
        return status;
    if (meeting->group->world > 1) {
        status = listen_at(meeting, &listener, err);
        if (status == LS_OK) {
            status = serve_all(meeting, listener, err);
            close(listener);
            (void)unlink(meeting->options->rendezvous);
        }
    }
    if (status != LS_OK)
        close(meeting->fd);
    else
        *fd = meeting->fd;
    return status;
}

/* A connected socket, or -1 at the deadline. Rank 0 may start later than we do. */
static int connect_until(const struct meeting *meeting, const struct sockaddr_un *address)
{
    while (left_ms(meeting) > 0) {
        struct timespec pause = {0, 500000};
        int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (made >= 0 && connect(made, (const struct sockaddr *)address, sizeof *address) == 0) {
            (void)fcntl(made, F_SETFL, O_NONBLOCK);
            return made;
        }
        if (made >= 0)
            close(made);
        (void)nanosleep(&pause, NULL);
    }
    return -1;
}

static bool receive_grant(const struct meeting *meeting, int socket, struct lsi_grant *grant, int *fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {grant, sizeof *grant};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};

    *fd = -1;
    if (!wait_for(meeting, socket, POLLIN, INT_MAX) ||
        recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof *grant)
        return false;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(header), sizeof *fd);
    return true;
}

/* LS_EAGAIN: the connection broke before an answer (an older socket, say); it is tried again. */
static enum ls_status ask(const struct meeting *meeting, int socket, int *fd, struct ls_error *err)
{
    const struct ls_group_options *options = meeting->options;
    uint8_t challenge[LSI_CHALLENGE_BYTES];
    struct lsi_hello hello;
    struct lsi_grant grant;
    char where[160];
    enum ls_status status;

    if (!transfer(meeting, socket, challenge, sizeof challenge, false))
        return LS_EAGAIN;
    status = lsi_hello_make(meeting->group, options->secret, challenge, 0, 1, &hello, err);
    if (status != LS_OK)
        return status;
    if (!transfer(meeting, socket, &hello, sizeof hello, true) || !receive_grant(meeting, socket, &grant, fd))
        return LS_EAGAIN;
    if (grant.status == LS_OK && *fd < 0)
        return LS_EAGAIN;
    (void)snprintf(where, sizeof where, "the rendezvous '%s'", options->rendezvous);
    status = lsi_grant_check(meeting->group, options->secret, challenge, &hello, &grant, where, err);
    if (status != LS_OK && *fd >= 0)
        close(*fd);
    return status;
}

static enum ls_status visit(const struct meeting *meeting, int *fd, struct ls_error *err)
{
    struct sockaddr_un address;
    char who[128];
    enum ls_status status = make_address(meeting->options->rendezvous, &address, err);

    if (status != LS_OK)
        return status;
    for (;;) {
        int socket = connect_until(meeting, &address);
        if (socket < 0)
            return ls_error_set(
                err, LS_ETIMEOUT, "%s did not open the rendezvous '%s' of generation %llu within %.1f s",
                lsi_member_text(meeting->group, 0, who), meeting->options->rendezvous,
                (unsigned long long)meeting->group->generation, (double)meeting->options->form_deadline_ms * 1e-3);
        status = ask(meeting, socket, fd, err);
        close(socket);
        if (status != LS_EAGAIN)
            return status;
    }
}

enum ls_status lsi_shm_rendezvous(const struct ls_group_options *options, const struct ls_group *group, size_t bytes,
                                  int *fd, struct ls_error *err)
{
    struct meeting meeting = {.options = options,
                              .group = group,
                              .deadline_ns = ls_clock_now_ns() + (uint64_t)options->form_deadline_ms * 1000000u,
                              .fd = -1};

    return options->rank == 0 ? host(&meeting, bytes, fd, err) : visit(&meeting, fd, err);
}
