/* SPDX-License-Identifier: Apache-2.0 */
/* Listening where peers can reach us, see listen.h: a datagram socket is connected to learn the route; nothing is
 * sent. */
#include "collective/transport/tcp/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 256

static enum ls_status local_address(const char *host, struct sockaddr_storage *address, socklen_t *length,
                                    struct ls_error *err)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM}, *found = NULL;
    int result = getaddrinfo(host, "9", &hints, &found), fd = -1, failed;

    if (result != 0)
        return ls_error_set(err, LS_EIO, "cannot resolve %s: %s", host, gai_strerror(result));
    fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    failed = fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0 ||
             getsockname(fd, (struct sockaddr *)address, length) != 0;
    if (failed)
        (void)ls_error_set(err, LS_EIO, "cannot find a route to %s: %s", host, strerror(errno));
    freeaddrinfo(found);
    if (fd >= 0)
        (void)close(fd);
    return failed ? LS_EIO : LS_OK;
}

static uint16_t *port_of(struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET6)
        return &((struct sockaddr_in6 *)(void *)address)->sin6_port;
    return &((struct sockaddr_in *)(void *)address)->sin_port;
}

void ls_tcp_unpace(int fd)
{
    (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
}

enum ls_status ls_tcp_listen(const char *host, int *fd, uint16_t *port, struct ls_error *err)
{
    struct sockaddr_storage address = {.ss_family = AF_INET};
    socklen_t length = sizeof address;
    enum ls_status status = local_address(host, &address, &length, err);
    int made;

    if (status != LS_OK)
        return status;
    *port_of(&address) = 0;
    made = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (made >= 0)
        ls_tcp_unpace(made);
    if (made < 0 || bind(made, (struct sockaddr *)&address, length) != 0 || listen(made, BACKLOG) != 0 ||
        getsockname(made, (struct sockaddr *)&address, &length) != 0) {
        status = ls_error_set(err, LS_EIO, "cannot listen for other workers: %s", strerror(errno));
        ls_tcp_unlisten(made);
        return status;
    }
    *fd = made;
    *port = ntohs(*port_of(&address));
    return LS_OK;
}

void ls_tcp_unlisten(int fd)
{
    if (fd >= 0)
        (void)close(fd);
}
