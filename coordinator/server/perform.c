/* SPDX-License-Identifier: Apache-2.0 */
/* Actions of the machine, done in their order. */
#include "coordinator/server/server_internal.h"

#include "core/base/alloc.h"
#include "core/base/log.h"
#include "core/base/str.h"

#include <string.h>

#define MEMBER_MESSAGES                                                              \
    (LS_MESSAGE_BIT(LS_MESSAGE_HEARTBEAT) | LS_MESSAGE_BIT(LS_MESSAGE_STEP_REPORT) | \
     LS_MESSAGE_BIT(LS_MESSAGE_CHECKPOINT) | LS_MESSAGE_BIT(LS_MESSAGE_FINISH))

static void welcome(struct ls_server *server, const struct ls_action *action)
{
    struct lsi_connection *connection = lsi_connection_find(server, action->connection);
    struct ls_message message = {.type = LS_MESSAGE_WELCOME};

    if (connection == NULL)
        return;
    connection->stage = LSI_MEMBER;
    connection->worker = action->worker;
    connection->incarnation = action->incarnation;
    connection->channel.allowed = MEMBER_MESSAGES;
    server->stranger_count--;
    message.welcome.worker = action->worker;
    message.welcome.incarnation = action->incarnation;
    message.welcome.heartbeat_ms = (uint32_t)server->options.heartbeat_ms;
    lsi_connection_send(connection, &message);
}

static void send_to(struct ls_server *server, uint64_t worker, const struct ls_message *message)
{
    struct lsi_connection *connection = lsi_connection_of_worker(server, worker);

    if (connection != NULL)
        lsi_connection_send(connection, message);
}

static void assign(struct ls_server *server, uint64_t worker)
{
    struct ls_message message = {.type = LS_MESSAGE_ASSIGNMENT};

    ls_machine_assignment(server->machine, worker, &message.assignment);
    send_to(server, worker, &message);
}

static void order(struct ls_server *server, const struct ls_action *action)
{
    struct ls_message message = {.type = LS_MESSAGE_ORDER};

    message.order.kind = action->order;
    message.order.status = action->status;
    (void)ls_str_into(message.order.reason, sizeof message.order.reason, action->text);
    send_to(server, action->worker, &message);
}

static void journal_generation(struct ls_server *server)
{
    struct ls_record_member members[LS_JOURNAL_MAX_MEMBERS];
    struct ls_record record = {.kind = LS_RECORD_GENERATION, .members = members};
    struct ls_wire_assignment assignment;

    ls_machine_assignment(server->machine, 0, &assignment);
    record.generation = assignment.generation;
    record.member_count = (uint32_t)assignment.world;
    (void)ls_str_into(record.provider, sizeof record.provider, assignment.provider);
    for (int i = 0; i < assignment.world; i++) {
        members[i] = (struct ls_record_member){.worker = assignment.members[i].worker,
                                               .incarnation = assignment.members[i].incarnation,
                                               .replica = (uint32_t)assignment.members[i].replica};
        (void)ls_str_into(members[i].host, sizeof members[i].host, assignment.members[i].host);
    }
    lsi_ledger_add(server, &record, true);
}

static void journal_progress(struct ls_server *server, const struct ls_action *action)
{
    struct ls_record record = {.kind = LS_RECORD_STEPS,
                               .generation = action->generation,
                               .first = action->first_step,
                               .last = action->last_step,
                               .epoch = action->epoch,
                               .digest = action->fingerprint};

    if (action->kind == LS_ACTION_CHECKPOINT) {
        record.kind = LS_RECORD_CHECKPOINT;
        record.text = action->text;
    }
    lsi_ledger_add(server, &record, false);
}

static void end(struct ls_server *server, const struct ls_action *action)
{
    struct ls_record record = {.kind = LS_RECORD_END, .status = action->status};

    server->over = true;
    server->over_ms = lsi_now_ms();
    server->result = action->status;
    if (action->text != NULL)
        server->text = ls_str_copy(action->text);
    if (action->summary != NULL)
        server->summary = ls_str_copy(action->summary);
    record.text = action->text;
    lsi_ledger_add(server, &record, false);
    ls_listener_close(server->listener);
    server->listener = NULL;
}

static void tell_ready(struct ls_server *server)
{
    struct ls_wire_assignment all;
    struct ls_server_ready ready = {.workers = server->options.workers};

    ls_machine_assignment(server->machine, 0, &all);
    ready.members = all.world;
    ready.transport = all.provider;
    for (int i = 1; i < all.world; i++)
        ready.several_hosts = ready.several_hosts || strcmp(all.members[i].host, all.members[0].host) != 0;
    server->options.on_ready(server->options.state, &ready);
}

static void show(struct ls_server *server, const struct ls_action *action)
{
    const struct ls_server_options *options = &server->options;

    if (action->kind == LS_ACTION_LOG && action->warns && options->on_warning != NULL) {
        ls_log(LS_LOG_INFO, "coordinator", "%s", action->text);
        options->on_warning(options->state, action->text);
    } else if (action->kind == LS_ACTION_LOG) {
        lsi_say(server, action->text);
    } else if (action->kind == LS_ACTION_READY && options->on_ready != NULL) {
        tell_ready(server);
    }
    if (action->kind != LS_ACTION_REPORT)
        return;
    lsi_rendezvous_remove(server); /* a step was committed, so every rank has found the others */
    if (options->on_report != NULL)
        options->on_report(options->state, &action->report);
}

static void perform(struct ls_server *server, const struct ls_action *action)
{
    struct ls_message ack = {.type = LS_MESSAGE_HEARTBEAT_ACK};
    struct lsi_connection *connection;

    switch (action->kind) {
    case LS_ACTION_WELCOME:
        welcome(server, action);
        break;
    case LS_ACTION_REFUSE:
        connection = lsi_connection_find(server, action->connection);
        if (connection != NULL)
            lsi_connection_refuse(connection, action->status, action->text);
        break;
    case LS_ACTION_ASSIGN:
        assign(server, action->worker);
        break;
    case LS_ACTION_ORDER:
        order(server, action);
        break;
    case LS_ACTION_ACK_FINISH:
        ack.type = LS_MESSAGE_FINISH_ACK;
        send_to(server, action->worker, &ack);
        break;
    case LS_ACTION_ACK:
        send_to(server, action->worker, &ack);
        break;
    case LS_ACTION_DROP:
        connection = lsi_connection_of_worker(server, action->worker);
        if (connection != NULL)
            lsi_connection_drop(connection, "it was lost", false);
        lsi_child_kill(server, action->child);
        break;
    case LS_ACTION_GENERATION:
        journal_generation(server);
        break;
    case LS_ACTION_STEPS:
    case LS_ACTION_CHECKPOINT:
        journal_progress(server, action);
        break;
    case LS_ACTION_END:
        end(server, action);
        break;
    case LS_ACTION_READY:
    case LS_ACTION_REPORT:
    case LS_ACTION_LOG:
        show(server, action);
        break;
    }
}

void lsi_perform(struct ls_server *server, const struct ls_actions *actions)
{
    bool was_broken = server->ledger_broken;

    /* Nobody may hear of a generation that is not in the journal: what follows it in the list is not done. */
    for (int i = 0; i < actions->count && server->ledger_broken == was_broken; i++)
        perform(server, &actions->items[i]);
    /* What one step gave is synced together; the step ranges of many steps come as one record. */
    lsi_ledger_sync(server);
}
