/* SPDX-License-Identifier: Apache-2.0 */
/* A session beside whoever has taken the coordinator's port and does not know the secret. */
#include "core/base/buf.h"
#include "core/base/thread.h"
#include "core/wire/channel.h"
#include "tests/support/control.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Takes one caller and refuses it with a status and words of its own choice. */
static void *refuse(void *state)
{
    struct ls_message message = {.type = LS_MESSAGE_REFUSAL,
                                 .refusal = {.status = LS_EINTERRUPTED, .sentence = "all is done, leave"}};
    struct ls_channel channel = {.allowed = 0};
    struct ls_buf frame = {0};
    int fd = accept(*(int *)state, NULL, NULL);
    char heard[4096];

    if (ls_channel_pack(&channel, &message, 0, 0, &frame, NULL) == LS_OK)
        (void)send(fd, frame.data, frame.length, MSG_NOSIGNAL);
    while (recv(fd, heard, sizeof heard, 0) > 0)
        continue;
    close(fd);
    ls_buf_deinit(&frame);
    ls_channel_deinit(&channel);
    return NULL;
}

/* It ends this worker, as a wrong proof does, but neither with a status that it chose nor in the coordinator's name. */
Test(stranger, is_not_taken_for_the_coordinator)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    struct lst_host host = {.server = NULL};
    struct ls_assignment assignment;
    struct ls_session *session = NULL;
    struct ls_error err = LS_ERROR_INIT;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct ls_session_options options;
    pthread_t thread;

    cr_assert(bind(listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(listener, 1) == 0 &&
              getsockname(listener, (struct sockaddr *)&at, &length) == 0);
    cr_assert_eq(ls_thread_start("stranger", 0, refuse, &listener, &thread, NULL), LS_OK);
    (void)snprintf(host.address, sizeof host.address, "127.0.0.1:%u", ntohs(at.sin_port));
    options = lst_session_options(&host, 0);
    cr_expect_eq(ls_session_open(&options, &assignment, &session, &err), LS_EAUTH);
    cr_expect_not_null(strstr(err.message, "has not proved the job's secret"), "%s", err.message);
    cr_expect_null(strstr(err.message, "the coordinator at"), "%s", err.message);
    (void)pthread_join(thread, NULL);
    close(listener);
}
