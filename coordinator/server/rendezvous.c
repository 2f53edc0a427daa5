/* SPDX-License-Identifier: Apache-2.0 */
/* The directory in which shared-memory ranks meet: short enough for a Unix address, gone once they have met. */
#include "coordinator/server/server_internal.h"

#include "core/base/workdir.h"

#include <stdio.h>
#include <stdlib.h>

#define SOCKET_NAME "/group"

enum ls_status lsi_rendezvous_make(struct ls_server *server, struct ls_error *err)
{
    const char *const parents[] = {getenv("XDG_RUNTIME_DIR"), "/tmp", server->options.directory};
    enum ls_status status = ls_workdir_make(parents, sizeof parents / sizeof parents[0],
                                            sizeof server->rendezvous - sizeof SOCKET_NAME, &server->workdir, err);

    if (status != LS_OK)
        return ls_error_wrap(err, "the job's socket");
    (void)snprintf(server->rendezvous, sizeof server->rendezvous, "%s%s", ls_workdir_path(server->workdir),
                   SOCKET_NAME);
    return LS_OK;
}

void lsi_rendezvous_remove(struct ls_server *server)
{
    ls_workdir_remove(server->workdir);
    server->workdir = NULL;
}
