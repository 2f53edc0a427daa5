/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a worker that has joined, turned into events of the machine. */
#include "coordinator/server/server_internal.h"

void lsi_handle_member(struct lsi_connection *connection, const struct ls_message *message,
                       const struct ls_frame_info *info)
{
    struct ls_event event = {.worker = connection->worker, .generation = info->generation};
    struct ls_step_report report;

    if (info->incarnation != connection->incarnation) {
        lsi_connection_drop(connection, "it spoke for another incarnation", false);
        return;
    }
    switch (message->type) {
    case LS_MESSAGE_HEARTBEAT:
        event.kind = LS_EVENT_HEARTBEAT;
        event.heartbeat = message->heartbeat;
        break;
    case LS_MESSAGE_STEP_REPORT:
        report = message->report.report;
        report.generation = info->generation;
        event.kind = LS_EVENT_REPORT;
        event.reported.report = &report;
        event.reported.first_step = message->report.first_step;
        break;
    case LS_MESSAGE_CHECKPOINT:
        event.kind = LS_EVENT_CHECKPOINT;
        event.said.step = message->checkpoint.step;
        event.said.text = message->checkpoint.path;
        break;
    case LS_MESSAGE_FINISH:
        event.kind = LS_EVENT_FINISH;
        event.said.status = message->finish.status;
        event.said.text = message->finish.text;
        break;
    default:
        return; /* the channel lets no other type through */
    }
    lsi_feed(connection->server, &event);
}
