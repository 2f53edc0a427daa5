/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses as text: "HOST:PORT" taken apart, numeric addresses read and written. Asks no name server. */
#include "core/event/event_internal.h"

#include "core/base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum ls_status refuse(struct ls_error *err, const char *text, const char *why)
{
    return ls_error_set(err, LS_EINVAL, "the address \"%s\" %s; write HOST:PORT, for example 127.0.0.1:7000", text,
                        why);
}

enum ls_status ls_address_split(const char *text, char host[LS_HOST_TEXT], uint16_t *port, struct ls_error *err)
{
    const char *colon = strrchr(text, ':');
    const char *begin = text;
    const char *end = colon;
    int64_t number;

    if (colon == NULL)
        return refuse(err, text, "has no port");
    if (!ls_str_to_i64(colon + 1, &number) || number < 0 || number > 65535)
        return refuse(err, text, "has no port from 0 to 65535");
    if (*text == '[') {
        if (end == text || end[-1] != ']')
            return refuse(err, text, "has no closing bracket before the port");
        begin++;
        end--;
    } else if (memchr(text, ':', (size_t)(colon - text)) != NULL) {
        return refuse(err, text, "is an IPv6 address without brackets");
    }
    if (end == begin)
        return refuse(err, text, "has no host");
    if (end - begin >= LS_HOST_TEXT)
        return refuse(err, text, "has a host name that is too long");
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    *port = (uint16_t)number;
    return LS_OK;
}

bool lsi_address_numeric(const char *host, uint16_t port, struct sockaddr_storage *address)
{
    memset(address, 0, sizeof *address);
    return uv_ip4_addr(host, port, (struct sockaddr_in *)address) == 0 ||
           uv_ip6_addr(host, port, (struct sockaddr_in6 *)address) == 0;
}

void ls_host_name(char host[LS_HOST_NAME_TEXT])
{
    char name[UV_MAXHOSTNAMESIZE] = "";
    const char *given = getenv("LOCKSTEP_HOST");
    size_t size = sizeof name;

    if (given != NULL && given[0] != '\0')
        (void)snprintf(name, sizeof name, "%s", given);
    else if (uv_os_gethostname(name, &size) != 0 || name[0] == '\0')
        (void)ls_str_into(name, sizeof name, "localhost");
    (void)ls_str_into(host, LS_HOST_NAME_TEXT, name);
    for (char *c = host; *c != '\0'; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');

        if (!letter && strchr(".-_", *c) == NULL)
            *c = '-';
    }
}

void lsi_address_text(const struct sockaddr_storage *address, char text[LS_ADDRESS_TEXT], uint16_t *port)
{
    text[0] = '\0';
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;

        (void)uv_ip4_name(in, text, LS_ADDRESS_TEXT);
        if (port != NULL)
            *port = ntohs(in->sin_port);
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

        (void)uv_ip6_name(in6, text, LS_ADDRESS_TEXT);
        if (port != NULL)
            *port = ntohs(in6->sin6_port);
    } else if (port != NULL) {
        *port = 0;
    }
}
